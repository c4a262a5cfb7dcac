"""One address cannot take the places of others, whatever it opens; nor those of handshakes."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from ftpgate import ftp, http
from ftpgate.net import handshake, places
from ftpgate.net.handshake import Handshake
from tests.support.inprocess import InProcessGate
from tests.support.media import write_album
from tests.support.rawftp import RawFtp, read_all, reset
from tests.support.rawhttp import RawClient
from tests.support.waiting import wait_until

FRONTS = {"ftp": ftp.listen, "http": http.listen, "ftps": ftp.listen_tls, "https": http.listen_tls}
STRANGER = "127.0.0.66"


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[InProcessGate]:
    write_album(tmp_path / "media" / "Album", {"a.bin": 5_000})
    with InProcessGate(tmp_path / "media", FRONTS, most_connections=64, certificate=True) as gate:  # type: ignore[arg-type]
        yield gate


def connect(gate: InProcessGate, protocol: str, source: str = STRANGER) -> socket.socket:
    return socket.create_connection(gate.address(protocol), 20, source_address=(source, 0))


@contextlib.contextmanager
def idle(gate: InProcessGate, protocols: tuple[str, ...], count: int, source: str = STRANGER) -> Iterator[list[socket.socket]]:
    """`count` connections of one address, over these protocols in turn, which have been accepted and do nothing."""
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(connect(gate, protocols[number % len(protocols)], source)) for number in range(count)]
        for protocol in set(protocols):  # who comes later is accepted later
            stack.enter_context(connect(gate, protocol, source))
        wait_until(lambda: gate.call(lambda: gate.gate.places.taken) >= places.LEAST, 10, "their places")
        yield opened


@pytest.mark.parametrize("protocols", [("http",), ("ftp",), ("https",), ("ftps",), ("ftp", "http", "https", "ftps")])
def test_a_customer_gets_in_beside_a_stranger_with_many_connections(gate: InProcessGate, protocols: tuple[str, ...]) -> None:
    token = gate.shop.issue([gate.item("Album")]).reveal()
    with idle(gate, protocols, 100):
        with RawClient(gate.address("http")) as client:
            assert client.ask(f"/d/{token}/").reply().status == 200
        with RawFtp(gate.address("ftp")) as session:
            assert len(session.login(token).retrieve("Album/a.bin")) == 5_000
    wait_until(lambda: gate.call(lambda: gate.gate.places.taken) == 0, 20, "free places")


def test_strangers_of_many_addresses_give_way(gate: InProcessGate) -> None:
    token = gate.shop.issue([gate.item("Album")]).reveal()
    with contextlib.ExitStack() as stack:
        for number in range(1, 9):
            stack.enter_context(idle(gate, ("http", "ftp"), 16, f"127.0.0.{50 + number}"))
        with RawClient(gate.address("http")) as client:
            assert client.ask(f"/d/{token}/").reply().status == 200
            with RawFtp(gate.address("ftp")) as session:
                session.login(token)
                for number in range(1, 9):
                    stack.enter_context(idle(gate, ("http", "ftp"), 16, f"127.0.1.{number}"))
                session.do("NOOP", "200")
            assert client.ask(f"/d/{token}/").reply().status == 200


def test_who_gets_no_place_is_told(gate: InProcessGate) -> None:
    with idle(gate, ("http",), 16) as opened:
        assert opened
        for _ in range(10):
            with connect(gate, "ftp") as refused:
                assert refused.recv(3) == b"421"
            with connect(gate, "http") as refused:
                assert refused.recv(12) == b"HTTP/1.1 503"
                assert b"Too many connections" in read_all(refused)


@pytest.mark.parametrize("protocol", ["https", "ftps"])
def test_who_gets_no_place_is_told_over_tls_too(gate: InProcessGate, protocol: str) -> None:
    with (
        idle(gate, ("http",), 16),
        connect(gate, protocol) as sock,
        gate.certificate.trusted().wrap_socket(sock, server_hostname="localhost") as refused,
    ):
        assert refused.recv(100).startswith(b"421" if protocol == "ftps" else b"HTTP/1.1 503")


def test_connections_with_a_token_leave_strangers_their_places(gate: InProcessGate) -> None:
    token = gate.shop.issue([gate.item("Album")]).reveal()
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            client = stack.enter_context(RawClient(gate.address("http")))
            assert client.ask(f"/d/{token}/").reply().status == 200
        strangers = [stack.enter_context(RawFtp(gate.address("ftp"))) for _ in range(8)]
        strangers[0].login(token)
        assert client.ask(f"/d/{token}/").reply().status == 200


@pytest.mark.parametrize("protocol", ["ftp", "http", "ftps", "https"])
def test_who_has_left_before_it_is_accepted_takes_no_place(
    gate: InProcessGate, protocol: str, caplog: pytest.LogCaptureFixture
) -> None:
    def held_up() -> None:
        for _ in range(20):
            reset(connect(gate, protocol))

    gate.call(held_up)  # on the loop, which accepts them when they are gone
    with RawFtp(gate.address("ftp")) as session:
        session.do("NOOP", "200")
    wait_until(lambda: gate.call(lambda: (gate.gate.places.taken, gate.gate.connections)) == (0, 0), 10, "free places")
    assert "error" not in caplog.text


# -- handshakes


def ended(sock: socket.socket) -> bool:
    sock.settimeout(20)
    with contextlib.suppress(ConnectionResetError):
        return sock.recv(1) == b""
    return True


def under_way(gate: InProcessGate, count: int) -> None:
    tls = gate.gate.tls
    assert tls is not None
    wait_until(lambda: gate.call(lambda: len(tls)) == count, 10, f"{count} handshakes")


def test_a_handshake_of_the_address_with_the_most_gives_way(gate: InProcessGate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshake, "MOST", 6)
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(connect(gate, "https", "127.0.0.2"))
        under_way(gate, 1)
        most = [stack.enter_context(connect(gate, "ftps", "127.0.0.3")) for _ in range(5)]
        under_way(gate, 6)
        stack.enter_context(connect(gate, "https", "127.0.0.4"))
        assert ended(most[0])
        under_way(gate, 6)
        first.setblocking(False)
        with pytest.raises(BlockingIOError):
            first.recv(1)


def test_handshakes_of_one_address_are_bounded(gate: InProcessGate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshake, "MOST_OF_ONE", 3)
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(connect(gate, "https")) for _ in range(5)]
        assert all(ended(sock) for sock in opened[:2])
        other = stack.enter_context(connect(gate, "https", "127.0.0.2"))
        under_way(gate, 4)
        assert gate.certificate.trusted().wrap_socket(other, server_hostname="localhost").version()


def client_hello(context: ssl.SSLContext) -> bytes:
    outgoing = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost").do_handshake()
    return outgoing.read()


def test_the_turn_of_an_address_with_few_handshakes_comes_first(gate: InProcessGate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshake, "BUDGET", 1e-9)
    turns: list[str] = []
    go_on = Handshake.go_on

    def noted(self: Handshake) -> None:
        turns.append(self.address)
        go_on(self)

    monkeypatch.setattr(Handshake, "go_on", noted)
    with contextlib.ExitStack() as stack:
        many = [stack.enter_context(connect(gate, "https", "127.0.0.3")) for _ in range(10)]
        one = stack.enter_context(connect(gate, "https", "127.0.0.2"))
        under_way(gate, 11)
        hello = client_hello(gate.certificate.trusted())

        def held_up() -> None:
            for sock in (*many, one):
                sock.sendall(hello)

        gate.call(held_up)  # on the loop: the next poll reports all of them
        wait_until(lambda: len(turns) == 11, 10, "all turns")
        assert "127.0.0.2" in turns[:2], "one goes on at once, the others wait"
