"""Written is not delivered: raw clients that read nothing, a part, everything, and what is recorded of each.

Each case runs over HTTP and FTP, plain and over TLS, against a gate in this process, whose shop is in memory; what is
compared is what the ledger has recorded, so that a credit which is only meant does not count.
"""

from __future__ import annotations

import contextlib
import fcntl
import socket
import ssl
import struct
import termios
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from ftpgate import ftp, http
from ftpgate.grants import File, GrantState, Item, Tier
from ftpgate.proof.coverage import SpanSet
from ftpgate.tokens import Token
from tests.gate import raw
from tests.support.inprocess import InProcessGate
from tests.support.waiting import wait_until

MB = 1_000_000
SIZES = {"big.bin": 50 * MB, "three.bin": 3 * MB, "one.bin": MB, "small.bin": 100_000, "tiny.bin": 30_000}
LIMITED = Tier("limited", 20 * MB, 64)
UNLIMITED = Tier("unlimited", 0, 64)

LISTEN = {"http": http.listen, "ftp": ftp.listen, "https": http.listen_tls, "ftps": ftp.listen_tls}

every = pytest.mark.parametrize("protocol", LISTEN)
over_http = pytest.mark.parametrize("protocol", ["http", "https"])
over_ftp = pytest.mark.parametrize("protocol", ["ftp", "ftps"])
over_tls = pytest.mark.parametrize("protocol", ["https", "ftps"])


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessGate]:
    media = tmp_path_factory.mktemp("truth") / "media"
    for name, size in SIZES.items():
        raw.write(media / name.partition(".")[0] / name, size)
    with InProcessGate(media, LISTEN, certificate=True) as running:  # type: ignore[arg-type]
        yield running


class Case:
    """One grant for one file."""

    def __init__(self, gate: InProcessGate, name: str, tier: Tier, user: str) -> None:
        self.gate = gate
        self.item: Item = gate.item(name.partition(".")[0])
        self.file: File = self.item.files[0]
        self.token: Token = gate.shop.issue([self.item], tier=tier, user=user)
        self.path = f"{self.item.folder}/{self.file.path}"

    def get(self, protocol: str, start: int = 0, **tcp: int) -> raw.Download:
        address, secure = self.gate.address(protocol), self.trusted(protocol)
        if protocol.startswith("ftp"):
            return raw.ftp_get(address, self.token.reveal(), self.path, start, secure=secure, **tcp)
        return raw.http_get(address, self.target, start, secure=secure, **tcp)

    def connect(self, protocol: str) -> socket.socket:
        return raw.connect(self.gate.address(protocol), secure=self.trusted(protocol))

    def trusted(self, protocol: str) -> ssl.SSLContext | None:
        return self.gate.certificate.trusted() if protocol in ("https", "ftps") else None

    @property
    def target(self) -> str:
        return f"/d/{self.token.reveal()}/{self.path}"

    def spans(self) -> list[tuple[int, int]]:
        return self.gate.shop.spans(self.token.grant, self.file)

    def credited(self) -> int:
        return sum(end - start for start, end in self.spans())

    def settled(self) -> int:
        """Wait until nothing of this grant runs, then what is recorded of it."""

        def quiet() -> bool:
            grants = [grant for grant in self.gate.grant_cache.grants() if grant.id == self.token.grant]
            return not any(grant.transfers for grant in grants) and not self.gate.ledger.backlog

        wait_until(lambda: self.gate.call(quiet), 15, "the end of all transfers")
        return self.credited()

    def complete(self) -> bool:
        return self.gate.shop.status(self.token.grant).state is GrantState.COMPLETE

    def unconfirmed(self) -> list[tuple[int, int]]:
        """What the gate knows to have been sent without proof, and not delivered since."""
        grant = next(grant for grant in self.gate.grant_cache.grants() if grant.id == self.token.grant)
        return self.gate.call(lambda: list(grant.unconfirmed().get(self.file.id, ())))

    def wait_accounted(self) -> None:
        """Wait until every byte is delivered or unconfirmed: what a client that holds all may expect at the least."""

        def accounted() -> bool:
            return SpanSet([*self.spans(), *self.unconfirmed()]).covers(0, self.file.size)

        wait_until(accounted, 15, f"that all is accounted for; recorded {self.spans()}")

    def wait_complete(self) -> None:
        wait_until(self.complete, 15, f"completion; recorded {self.spans()}")


@pytest.fixture
def case(gate: InProcessGate, request: pytest.FixtureRequest) -> Callable[..., Case]:
    return lambda name, tier=UNLIMITED: Case(gate, name, tier, request.node.name)


@every
@pytest.mark.parametrize("tier", [LIMITED, UNLIMITED], ids=lambda tier: tier.name)
def test_reads_all_and_closes(case: Callable[..., Case], protocol: str, tier: Tier) -> None:
    it = case("three.bin", tier)
    with it.get(protocol) as download:
        # Over FTPS to the end, as clients do: who leaves close_notify unread resets the connection.
        assert download.read(4 * MB if protocol == "ftps" else 3 * MB) == 3 * MB
    it.wait_complete()


@every
def test_reads_all_and_keeps_the_connection(case: Callable[..., Case], protocol: str) -> None:
    """While it is open, nobody knows whether the end lies unread; the client's own end tells."""
    for name in ("tiny.bin", "three.bin"):
        it = case(name)
        with it.get(protocol) as download:
            assert download.read(SIZES[name]) == SIZES[name]
            assert not it.complete()
        it.wait_complete()


@every
@pytest.mark.parametrize("name", ["small.bin", "three.bin"])
@pytest.mark.parametrize("tier", [LIMITED, UNLIMITED], ids=lambda tier: tier.name)
def test_reads_nothing_and_closes(case: Callable[..., Case], protocol: str, name: str, tier: Tier) -> None:
    it = case(name, tier)
    download = it.get(protocol)
    wait_until(lambda: _readable(download.socket) >= 60_000, 10, "data in the client's buffer")
    download.close()
    assert it.settled() == 0
    assert not it.complete()


@every
def test_lets_a_small_file_lie(case: Callable[..., Case], protocol: str) -> None:
    """All of it is acknowledged and the connection stays open, but the window is shut: waiting earns nothing."""
    it = case("small.bin")
    with it.get(protocol) as download:
        wait_until(lambda: _readable(download.socket) >= 100_000, 10, "all data in the client's buffer")
        acknowledged = time.monotonic()
        wait_until(lambda: time.monotonic() - acknowledged > 2.5, 10, "twice the time that an open window needs")
        assert it.credited() == 0
    assert it.settled() == 0
    assert not it.complete()


@every
@pytest.mark.parametrize("part", [5 * MB, 12_345_678])
def test_reads_a_part_of_a_limited_file(case: Callable[..., Case], protocol: str, part: int) -> None:
    """Not a byte more is credited; resumed from there, nothing of the file is unaccounted for. How much of it is, trials
    measure."""
    it = case("big.bin", LIMITED)
    with it.get(protocol) as download:
        assert download.read(part) == part
    assert it.settled() <= part
    with it.get(protocol, part) as rest:
        assert rest.read(50 * MB) == 50 * MB - part
    it.wait_accounted()


def pauses(download: raw.Download) -> None:
    for _ in range(6):
        download.read(MB)
        time.sleep(0.15)


def pauses_shortly(download: raw.Download) -> None:
    for _ in range(16):
        download.read(400_000)
        time.sleep(0.04)


def is_slow(download: raw.Download) -> None:
    """By a tenth slower than what comes."""
    for _ in range(400):
        began = time.monotonic()
        download.read(16_384)
        time.sleep(max(began + 16_384 / 18_000_000 - time.monotonic(), 0))


@every
@pytest.mark.parametrize("segment", [0, 1_448], ids=["64 kB", "1.4 kB"])
@pytest.mark.parametrize("reads", [pauses, pauses_shortly, is_slow], ids=lambda reads: reads.__name__)
def test_reads_unevenly_and_stops(
    case: Callable[..., Case], protocol: str, segment: int, reads: Callable[[raw.Download], None]
) -> None:
    """Its window widens while data lie unread, and hides them: neither then, nor while it lets them lie, nor at the cut is more
    credited than it has read."""
    it = case("big.bin", LIMITED)
    with it.get(protocol, segment=segment) as download:
        reads(download)
        for _ in range(10):
            time.sleep(0.05)
            assert it.credited() <= download.position
    assert 0 < it.settled() <= download.position


@every
def test_reads_a_part_of_an_unlimited_file(case: Callable[..., Case], protocol: str) -> None:
    it = case("big.bin")
    with it.get(protocol) as download:
        assert download.read(30 * MB) == 30 * MB
    assert it.settled() <= 30 * MB
    with it.get(protocol, 30 * MB) as rest:
        assert rest.read(50 * MB) == 20 * MB
    it.wait_accounted()


@every
def test_reads_a_part_and_resets(case: Callable[..., Case], protocol: str) -> None:
    it = case("three.bin", LIMITED)
    download = it.get(protocol)
    download.read(2 * MB)
    download.reset()
    assert it.settled() <= 2 * MB
    with it.get(protocol, 2 * MB) as rest:
        assert rest.read(3 * MB) == MB
    it.wait_accounted()


@every
def test_a_reset_never_credits_the_last_byte(case: Callable[..., Case], protocol: str) -> None:
    it = case("three.bin", LIMITED)
    download = it.get(protocol)
    assert download.read(3 * MB) == 3 * MB
    download.reset()
    it.settled()
    assert not it.complete()
    assert all(end < 3 * MB for _, end in it.spans())


@over_tls
def test_says_goodbye_in_tls_before_it_ends(case: Callable[..., Case], protocol: str) -> None:
    """It sends its close_notify, waits for the gate's, and closes."""
    it = case("three.bin")
    download = it.get(protocol)
    assert download.read(3 * MB) == 3 * MB
    assert isinstance(download.socket, ssl.SSLSocket)
    with download.socket.unwrap():
        pass
    download.close()
    it.wait_complete()


@over_tls
def test_a_goodbye_in_tls_is_no_proof_of_reading(case: Callable[..., Case], protocol: str) -> None:
    """It says goodbye with a record unread, so that its kernel resets the connection right behind the close_notify."""
    it = case("tiny.bin")
    download = it.get(protocol)
    wait_until(lambda: _readable(download.socket) >= 30_000, 10, "all data in the client's buffer")
    assert isinstance(download.socket, ssl.SSLSocket)
    with contextlib.suppress(ssl.SSLError):  # data come where only a close_notify may
        download.socket.unwrap()
    download.close()
    it.settled()
    assert not it.complete()


@every
def test_the_last_ten_bytes_only(case: Callable[..., Case], protocol: str) -> None:
    it = case("one.bin")
    with it.get(protocol, MB - 10) as download:
        assert download.read(MB) == 10
    wait_until(lambda: it.spans() == [(MB - 10, MB)], 10, "ten bytes")
    assert it.settled() == 10
    assert not it.complete()


@over_http
def test_head_uses_nothing_up(case: Callable[..., Case], protocol: str) -> None:
    it = case("one.bin")
    sock = it.connect(protocol)
    for _ in range(3):
        raw.http_request(sock, it.target, method="HEAD")
        assert raw.read_head(sock)[0] == 200
    sock.close()
    assert it.settled() == 0


@over_http
def test_the_next_request_credits_at_once(case: Callable[..., Case], protocol: str) -> None:
    it = case("tiny.bin")
    sock = it.connect(protocol)
    raw.http_request(sock, it.target, end=20_000)
    raw.read_head(sock)
    raw.Download(0, sock).read(20_000)
    raw.http_request(sock, it.target, method="HEAD")
    raw.read_head(sock)
    wait_until(lambda: it.spans() == [(0, 20_000)], 10, "its body")
    sock.close()


@over_http
def test_requests_sent_ahead_credit_nothing(case: Callable[..., Case], protocol: str) -> None:
    """Three at once, nothing read, gone: the second request is no proof that the first answer was read."""
    it = case("small.bin")
    sock = it.connect(protocol)
    sock.sendall(f"GET {it.target} HTTP/1.1\r\nHost: gate\r\n\r\n".encode() * 3)
    wait_until(lambda: _readable(sock) >= 100_000, 10, "data in the client's buffer")
    sock.close()
    assert it.settled() == 0
    assert not it.complete()


@every
def test_a_half_closed_client_gets_everything(case: Callable[..., Case], protocol: str) -> None:
    """Its early FIN is no proof of having read, and there is no other end to come: the rest stays unconfirmed."""
    it = case("three.bin", LIMITED)
    with it.get(protocol) as download:
        download.end_sending()
        assert download.read(3 * MB) == 3 * MB
    it.settled()
    assert it.unconfirmed() == [(it.credited(), 3 * MB)]


@every
def test_a_half_closed_client_that_reads_nothing(case: Callable[..., Case], protocol: str) -> None:
    """Its early FIN is no proof of having read. Its buffer takes a part only, so that no window can hide what lies unread there:
    how often one does is measured by the trial `tails`."""
    it = case("three.bin")
    download = it.get(protocol, receive_buffer=32_768)
    download.end_sending()
    wait_until(lambda: _readable(download.socket) >= 10_000, 10, "data in the client's buffer")
    wait_until(lambda: _is_half_closed(download.socket), 10, "the gate's acknowledgement of the FIN")
    download.close()
    assert it.settled() == 0
    assert not it.complete()


@over_ftp
def test_eight_unread_segments_and_one_tail(case: Callable[..., Case], protocol: str) -> None:
    """Eight segments of 119 kB read nothing and are cut together; then one reads from 952,000 to the end."""
    it = case("one.bin")
    downloads = [it.get(protocol, n * 119_000) for n in range(8)]
    for download in downloads:
        wait_until(lambda sock=download.socket: _readable(sock) >= 40_000, 10, "data in the client's buffer")  # type: ignore[misc]
    for download in downloads:
        download.close()
    it.settled()
    with it.get(protocol, 952_000) as tail:
        assert tail.read(MB) == 48_000
    it.settled()
    assert not it.complete()


@every
def test_forty_streams_on_one_file(case: Callable[..., Case], protocol: str) -> None:
    it = case("big.bin")
    part = 50 * MB // 40
    failures: list[BaseException] = []

    def fetch(number: int) -> None:
        try:
            with it.get(protocol, number * part) as download:
                assert download.read(part if number < 39 else 50 * MB) == part
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=fetch, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    it.wait_accounted()


def _readable(sock: socket.socket) -> int:
    """Bytes in the socket's receive buffer (FIONREAD)."""
    count: int = struct.unpack("i", fcntl.ioctl(sock, termios.FIONREAD, b"\0" * 4))[0]
    return count


def _is_half_closed(sock: socket.socket) -> bool:
    """Has the other side acknowledged our FIN? (`tcpi_state` is FIN-WAIT-2.)"""
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == 5
