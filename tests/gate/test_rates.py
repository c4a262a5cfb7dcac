"""A customer's rate holds over all connections and both protocols, and follows a change.

What the gate has sent is compared with what it may, by its own clock: that holds however busy the machine is. How near to
the rate it comes is for `make bench` and the trials to say.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from ftpgate import ftp, http
from ftpgate.grants import Item, Tier
from ftpgate.shaping.token_bucket import LATE
from ftpgate.tokens import Token
from tests.gate import raw
from tests.support.inprocess import InProcessGate
from tests.support.waiting import wait_until

RATE = 2_000_000
SIZE = 60_000_000


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("rates") / "media"
    raw.write(folder / "big" / "f.bin", SIZE)
    return folder


@pytest.fixture
def gate(media: Path) -> Iterator[InProcessGate]:
    with InProcessGate(media, {"http": http.listen, "ftp": ftp.listen}) as running:
        yield running


def begin(gate: InProcessGate, token: Token, item: Item, number: int) -> raw.Download:
    """The `number`-th connection: FTP and HTTP by turns, each at a place of its own in the file."""
    path, start = f"{item.folder}/{item.files[0].path}", number * 1_000_000
    if number % 2:
        return raw.ftp_get(gate.address("ftp"), token.reveal(), path, start)
    return raw.http_get(gate.address("http"), f"/d/{token.reveal()}/{path}", start)


@contextmanager
def reading(downloads: list[raw.Download]) -> Iterator[None]:
    """All are read at the same time, and left in the end; each has got something by then."""
    over = threading.Event()

    def read(download: raw.Download) -> None:
        while not over.is_set() and download.read(65_536):
            pass

    threads = [threading.Thread(target=read, args=(download,)) for download in downloads]
    for thread in threads:
        thread.start()
    try:
        yield
        wait_until(lambda: all(download.position > download.start for download in downloads), 30, "something for everybody")
    finally:
        over.set()
        for thread in threads:
            thread.join()
        for download in downloads:
            download.close()


class Sent:
    """What the gate has sent from now on."""

    def __init__(self, gate: InProcessGate) -> None:
        self._gate = gate
        self._began, self._before = self._now()

    def _now(self) -> tuple[float, int]:
        running = self._gate.engine.transfers
        return self._gate.call(lambda: (time.monotonic(), sum(transfer._body.written for transfer in running)))

    def exceeds(self, rate: int) -> bool:
        """Is it more than this rate allows, with all that it saves up and makes up for?"""
        now, sent = self._now()
        return sent - self._before > (now - self._began) * rate + (LATE + 0.1) * rate + 1

    def keeps(self, rate: int, seconds: float = 2.0) -> None:
        """Look at it again and again for so long."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            assert not self.exceeds(rate)
            time.sleep(0.05)


@pytest.mark.parametrize("connections", [1, 8, 40])
def test_one_rate_for_all_connections(gate: InProcessGate, connections: int) -> None:
    item = gate.item("big")
    token = gate.shop.issue([item], tier=Tier("two", RATE, 64))
    with reading([begin(gate, token, item, number) for number in range(connections)]):
        Sent(gate).keeps(RATE)


def test_two_grants_of_one_customer_share_his_rate(gate: InProcessGate) -> None:
    item = gate.item("big")
    tokens = [gate.shop.issue([item], tier=Tier("two", RATE, 64), user="the same") for _ in range(2)]
    with reading([begin(gate, token, item, number) for number, token in enumerate(tokens * 2)]):
        Sent(gate).keeps(RATE)


def test_another_rate_reaches_running_transfers(gate: InProcessGate) -> None:
    item = gate.item("big")
    token = gate.shop.issue([item], tier=Tier("slow", 200_000, 64))
    with reading([begin(gate, token, item, number) for number in range(4)]):
        Sent(gate).keeps(200_000, 1.0)
        for before, rate in ((200_000, 2_000_000), (2_000_000, 0)):
            gate.shop.change(token.grant, tier=Tier("slow", rate, 64))
            wait_until(partial(Sent(gate).exceeds, before), 30, f"more than {before} bytes a second")


def test_a_limit_of_all_is_one_for_two_customers(media: Path) -> None:
    with InProcessGate(media, {"http": http.listen, "ftp": ftp.listen}, settings={"FTPGATE_TOTAL_RATE": "2M"}) as gate:
        item = gate.item("big")
        many, one = (gate.shop.issue([item], user=name) for name in ("many", "one"))
        with reading([begin(gate, many, item, number) for number in range(20)] + [begin(gate, one, item, 0)]):
            Sent(gate).keeps(RATE)


def test_a_hang_up_is_seen_while_its_turn_is_far_away(gate: InProcessGate) -> None:
    item = gate.item("big")
    token = gate.shop.issue([item], tier=Tier("tiny", 2_000, 64))
    downloads = [begin(gate, token, item, number) for number in range(6)]
    for download in downloads:
        download.close()
    gate.settled(5)
