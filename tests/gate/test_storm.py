"""A storm of clients that come and go, and then fetch everything in one go: whoever does so is complete.

Every customer has a grant of its own and a script drawn from a seed: it reads some, or nothing, leaves in one way or
another, comes back where it left off, in one stream or in segments, over HTTP or FTP. How often one is credited what it has
not read is measured by `make trials`.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from ftpgate import ftp, http
from ftpgate.grants import GrantState, Item, Tier
from ftpgate.proof.coverage import SpanSet
from ftpgate.tokens import Token
from tests.gate import raw
from tests.support.inprocess import InProcessGate
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

SIZE = 1_500_000
LIMITED = Tier("limited", 20_000_000, 64)
UNLIMITED = Tier("unlimited", 0, 64)
CUSTOMERS = 60


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessGate]:
    media = tmp_path_factory.mktemp("storm") / "media"
    raw.write(media / "storm" / "f.bin", SIZE)
    with InProcessGate(media, {"http": http.listen, "ftp": ftp.listen}) as running:
        yield running


class Customer:
    """One client program with a memory of what it holds."""

    def __init__(self, gate: InProcessGate, item: Item, seed: int) -> None:
        self.random = random.Random(seed)
        self.gate = gate
        self.file = item.files[0]
        self.tier = self.random.choice([LIMITED, UNLIMITED])
        self.token: Token = gate.shop.issue([item], tier=self.tier, user=f"customer-{seed}")
        self.path = f"{item.folder}/{self.file.path}"
        self.held = SpanSet()
        self._lock = threading.Lock()

    def run(self) -> None:
        for _ in range(self.random.randrange(1, 6)):
            self.random.choice([self.one_stream, self.nothing, self.segments, self.head_only])()
        if self.random.random() < 0.7:
            self.finish()

    def get(self, start: int) -> raw.Download:
        buffer = self.random.choice([0, 0, 32_768, 400_000])
        if self.random.random() < 0.5:
            return raw.ftp_get(self.gate.address("ftp"), self.token.reveal(), self.path, start, receive_buffer=buffer)
        target = f"/d/{self.token.reveal()}/{self.path}"
        return raw.http_get(self.gate.address("http"), target, start, receive_buffer=buffer)

    def read(self, start: int, count: int) -> None:
        """Read `count` bytes from `start` on and leave."""
        download = self.get(start)
        download.read(count, step=self.random.choice([1_000, 16_384, 65_536, 262_144]))
        with self._lock:
            self.held.add(start, download.position)
        leave = self.random.choice([download.close, download.close, download.reset])
        if download.position == SIZE:
            leave = download.close
        leave()

    def first_missing(self) -> int:
        """Where a client that fetches in order goes on."""
        return next((start for start, _ in self.held.missing(0, SIZE)), SIZE)

    def one_stream(self) -> None:
        start = self.first_missing()
        if start < SIZE:
            self.read(start, self.random.randrange(1, SIZE - start + 1))

    def nothing(self) -> None:
        download = self.get(self.first_missing() % SIZE)
        if self.random.random() < 0.5:
            download.reset()
        else:
            download.close()

    def head_only(self) -> None:
        sock = raw.connect(self.gate.address("http"))
        raw.http_request(sock, f"/d/{self.token.reveal()}/{self.path}", method="HEAD")
        raw.read_head(sock)
        sock.close()

    def segments(self) -> None:
        """A download manager: every hole in segments, each up to the next one's start; stopped half-way, or not."""
        holes = list(self.held.missing(0, SIZE))
        bounds = []
        for start, end in holes:
            step = max((end - start) // self.random.choice([2, 4, 8]), 65_536)
            bounds += [(at, min(at + step, end)) for at in range(start, end, step)]
        bounds = bounds[:16]
        share = self.random.choice([0.3, 0.5, 1.0])
        downloads = [self.get(start) for start, _ in bounds]

        def fetch(download: raw.Download, end: int) -> None:
            download.read(int((end - download.start) * share))
            with self._lock:
                self.held.add(download.start, download.position)

        threads = [threading.Thread(target=fetch, args=(d, end)) for d, (_, end) in zip(downloads, bounds, strict=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for download in downloads:
            download.close()

    def accounted(self) -> bool:
        """Is all of the file delivered, or unconfirmed?"""
        grants = [grant for grant in self.gate.grant_cache.grants() if grant.id == self.token.grant]
        unconfirmed = self.gate.call(lambda: [span for grant in grants for span in grant.unconfirmed().get(self.file.id, ())])
        return SpanSet([*self.gate.shop.spans(self.token.grant, self.file), *unconfirmed]).covers(0, SIZE)

    def finish(self) -> None:
        """Fetch what is missing in one stream each, to the end of the file; done when nothing of it is missing."""
        while (start := self.first_missing()) < SIZE:
            self.read(start, SIZE)


def test_who_reads_everything_has_it_accounted_for(gate: InProcessGate) -> None:
    """After whatever has happened before: delivered, or unconfirmed at the most, and delivered to most."""
    item = gate.item("storm")
    customers = [Customer(gate, item, seed) for seed in range(CUSTOMERS)]

    def run(customer: Customer) -> None:
        customer.run()
        customer.held = SpanSet()
        customer.finish()

    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(run, customer) for customer in customers]:
            future.result()
    for seed, customer in enumerate(customers):
        wait_until(customer.accounted, 15, f"customer {seed} accounted for")
    complete = sum(gate.shop.status(customer.token.grant).state is GrantState.COMPLETE for customer in customers)
    assert complete > CUSTOMERS // 2
