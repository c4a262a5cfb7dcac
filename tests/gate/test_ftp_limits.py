"""What an FTP client can make grow, and how long it may wait: all of it is bounded."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ftpgate import ftp
from ftpgate.ftp import control_connection, data_commands, file_sender, listing_sender, server
from ftpgate.ftp import lingering as lingering_module
from ftpgate.ftp import session as ftp_session
from tests.support.inprocess import InProcessGate
from tests.support.media import write_album
from tests.support.rawftp import RawFtp, read_all, read_exactly, reset
from tests.support.waiting import wait_until


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "SWEEP_EVERY", 0.1)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[InProcessGate]:
    write_album(tmp_path / "media" / "Album", {"big.bin": 30_000_000, "small.bin": 5_000})
    with InProcessGate(tmp_path / "media", {"ftp": ftp.listen}, most_connections=16) as gate:
        yield gate


@pytest.fixture
def session(gate: InProcessGate) -> Iterator[RawFtp]:
    with RawFtp(gate.address("ftp")) as session:
        yield session.login(gate.shop.issue([gate.item("Album")]).reveal())


def test_an_idle_session_ends(session: RawFtp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ftp_session, "IDLE", 0.3)
    session.expect("421")
    assert session.closed()


def test_a_session_with_a_transfer_is_not_idle(session: RawFtp, gate: InProcessGate, monkeypatch: pytest.MonkeyPatch) -> None:
    with session.data(buffer=65_536) as data:
        session.do("RETR Album/big.bin", "150")
        monkeypatch.setattr(ftp_session, "IDLE", 0.3)
        session.socket.settimeout(1.0)
        with pytest.raises(TimeoutError):
            session.reply()
        session.socket.settimeout(20)
        monkeypatch.setattr(ftp_session, "IDLE", 300.0)
        assert len(read_all(data)) == 30_000_000
        session.expect("226")


@pytest.mark.parametrize("said", ["NOOP\r\n", "USER anonymous\r\nPASS a@b.c\r\n", "REIN\r\n", "x", "\n"])
def test_a_stranger_is_not_kept_by_what_he_says(gate: InProcessGate, monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setattr(ftp_session, "LOGIN_WITHIN", 0.5)
    with RawFtp(gate.address("ftp")) as stranger:
        stranger.socket.settimeout(0.05)
        received = b""

        def ended() -> bool:
            nonlocal received
            stranger.socket.sendall(said.encode())
            with contextlib.suppress(TimeoutError):
                received += stranger.socket.recv(65_536)
            return b"421 Nothing was heard" in received

        wait_until(ended, 10, "the end")


def test_acknowledged_connections_take_an_eighth_of_the_places(gate: InProcessGate, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each session may have several that wait for their clients' end, and others need sockets for their data."""
    monkeypatch.setattr(lingering_module, "MOST_OF_ONE", 2)
    monkeypatch.setattr(file_sender, "APART", 0.0)
    lingering = gate.listeners["ftp"].context.lingering  # type: ignore[attr-defined]
    monkeypatch.setattr(lingering, "_most", lingering_module.Lingering(24)._most)
    token = gate.shop.issue([gate.item("Album")]).reveal()
    kept: list[socket.socket] = []
    for _ in range(3):
        with RawFtp(gate.address("ftp")) as session:
            session.login(token)
            for _ in range(2):
                kept.append(session.data())
                session.do("RETR Album/small.bin", "150")
                session.expect("226")
            assert gate.call(lambda: len(lingering)) <= 3
    for data in kept:
        data.close()


def test_the_kernel_keeps_little_of_commands_and_replies(gate: InProcessGate, session: RawFtp) -> None:
    def buffers() -> list[int]:
        (sock,) = [each.control.socket for each in gate.listeners["ftp"].context.sessions]  # type: ignore[attr-defined]
        return [sock.getsockopt(socket.SOL_SOCKET, name) for name in (socket.SO_SNDBUF, socket.SO_RCVBUF)]

    assert max(gate.call(buffers)) <= 2 * server.BUFFER
    assert len(session.retrieve("Album/big.bin")) == 30_000_000


def test_a_client_that_is_gone_before_it_is_accepted_leaves_nothing(
    gate: InProcessGate, caplog: pytest.LogCaptureFixture
) -> None:
    """Its socket has no peer any more."""
    left = threading.Event()
    waiting = threading.Thread(target=gate.call, args=(lambda: left.wait(15),))
    waiting.start()
    watched = len(gate.loop.socket_map)
    for _ in range(3):
        reset(socket.create_connection(gate.address("ftp")))
    left.set()
    waiting.join()
    with RawFtp(gate.address("ftp")) as later:
        assert gate.call(lambda: (gate.gate.sessions, gate.gate.places.taken)) == (1, server.SOCKETS)
        later.do("QUIT", "221")
    wait_until(lambda: gate.call(lambda: len(gate.loop.socket_map)) == watched, 10, "the end of all")
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_a_data_connection_that_does_not_come(session: RawFtp, gate: InProcessGate, monkeypatch: pytest.MonkeyPatch) -> None:
    sockets = len(gate.loop.socket_map)
    address = session.passive()
    session.do("RETR Album/small.bin", "150")
    monkeypatch.setattr(data_commands, "CONNECT_WITHIN", 0.2)
    session.expect("425")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, 5)
    address = session.passive()
    wait_until(lambda: len(gate.loop.socket_map) == sockets, 10, "a closed port")
    session.do("NLST", "425")
    monkeypatch.setattr(data_commands, "CONNECT_WITHIN", 30.0)
    assert len(session.retrieve("Album/small.bin")) == 5_000


def test_a_listing_that_nobody_reads_ends(gate: InProcessGate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing_sender, "STALLED", 0.5)
    album = gate.item("Album")
    items = [replace(album, id=str(number), folder=f"{number} " + "x" * 200) for number in range(8_000)]
    with RawFtp(gate.address("ftp")) as session, session.login(gate.shop.issue(items).reveal()).data(buffer=4_096) as data:
        session.do("LIST", "150")
        session.expect("426 Nothing was taken")
        with pytest.raises(ConnectionResetError):
            read_all(data)
        session.do("NOOP", "200")


def test_sessions_leave_room_for_their_data(gate: InProcessGate, session: RawFtp) -> None:
    others = [RawFtp(gate.address("ftp")) for _ in range(7)]
    with RawFtp(gate.address("ftp"), greeting="421") as refused:
        assert refused.closed()
    assert len(session.retrieve("Album/small.bin")) == 5_000
    for other in others:
        other.close()
    wait_until(lambda: gate.call(lambda: gate.gate.connections) == 1, 10, "room")
    with RawFtp(gate.address("ftp")) as late:
        late.do("NOOP", "200")


def test_replies_that_nobody_reads_stop_the_commands(gate: InProcessGate, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is held stays within its bounds: one read beyond HELD, one reply beyond OWED."""
    monkeypatch.setattr(control_connection, "OWED", 4_096)
    with RawFtp(gate.address("ftp")) as client:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        client.socket.settimeout(1.0)
        with pytest.raises(TimeoutError):
            client.socket.sendall(b"HELP\r\n" * 5_000_000)
        held = gate.call(
            lambda: [(len(s.control._commands.held), len(s.control._output)) for s in gate.listeners["ftp"].context.sessions]  # type: ignore[attr-defined]
        )  # type: ignore[attr-defined]
        client.socket.settimeout(20)
        reply = client.expect("214")
        assert held[0][0] < control_connection.HELD + control_connection._RECEIVED
        assert held[0][1] < control_connection.OWED + len(reply.encode()) + len("\r\n")
        read_exactly(client.socket, 50_000)


def test_a_reply_reaches_a_client_that_has_sent_more(gate: InProcessGate) -> None:
    """A plain close would reset the connection, and the client would never see why."""
    gate.shop.away = True
    with RawFtp(gate.address("ftp")) as client:
        token = gate.shop.issue([]).reveal()
        client.send(f"USER me\r\nPASS {token}\r\n" + "NOOP\r\n" * 10_000)
        client.expect("331")
        client.expect("421")
        assert client.reply() == ""


def test_a_client_that_does_not_go_is_gone_in_a_moment(gate: InProcessGate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ftp_session, "GOODBYE", 0.2)
    with RawFtp(gate.address("ftp")) as client:
        client.do("QUIT", "221")
        wait_until(lambda: gate.call(lambda: gate.gate.connections) == 0, 10, "the end")


def test_an_idle_gate_does_not_spin(gate: InProcessGate, session: RawFtp) -> None:
    """Half-closed and hung-up sockets are levels that a poll reports for ever."""
    halves = []
    for _ in range(2):
        data = session.data(buffer=65_536)
        data.shutdown(socket.SHUT_WR)
        session.do("RETR Album/small.bin", "150")
        session.expect("226")
        halves.append(data)
    stuck = session.data(buffer=65_536)
    session.do("RETR Album/big.bin", "150")
    stuck.shutdown(socket.SHUT_WR)
    polls = 0
    poll = gate.loop.poll

    def counted(timeout: float | None) -> None:
        nonlocal polls
        polls += 1
        poll(timeout)

    gate.loop.poll = counted
    session.socket.settimeout(1.0)
    with pytest.raises(TimeoutError):
        session.reply()
    assert polls < 300
    for data in (*halves, stuck):
        data.close()
