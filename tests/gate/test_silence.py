"""Every connection of a client ends when its link is dead; how soon is for `python -m tests.trials.dead_link` to measure."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ftpgate import ftp, http
from ftpgate.ftp import data_commands
from ftpgate.ftp.data_connection import DataConnection
from ftpgate.net.silence import PROBE_AFTER, PROBE_EVERY, SILENCE
from ftpgate.net.tcp_info import TRUTHFUL
from tests.support.inprocess import InProcessGate
from tests.support.media import write_album
from tests.support.rawftp import RawFtp
from tests.support.waiting import wait_until

pytestmark = pytest.mark.skipif(not TRUTHFUL, reason="the system has no such limit")

LISTEN = {"http": http.listen, "https": http.listen_tls, "ftp": ftp.listen, "ftps": ftp.listen_tls}


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[InProcessGate]:
    write_album(tmp_path / "media" / "Album", {"a.ogg": 20_000_000})
    with InProcessGate(tmp_path / "media", LISTEN, certificate=True) as running:  # type: ignore[arg-type]
        yield running


@pytest.fixture
def session(gate: InProcessGate) -> Iterator[RawFtp]:
    token = gate.shop.issue([gate.item("Album")])
    with RawFtp(gate.address("ftp")) as session:
        yield session.login(token.reveal())


def limits(gate: InProcessGate, client: socket.socket) -> tuple[int, ...]:
    """The gate's end of a connection: seconds without an answer, and those of keep-alive."""
    name = client.getsockname()

    def find() -> tuple[int, ...] | None:
        for fd in gate.loop.socket_map:
            with socket.socket(fileno=os.dup(fd)) as sock:
                try:
                    if sock.getpeername() != name:
                        continue
                except OSError:
                    continue  # a listening one, or none
                tcp = [socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_USER_TIMEOUT]
                keep_alive = sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                return (keep_alive, *(sock.getsockopt(socket.IPPROTO_TCP, option) for option in tcp))
        return None

    return wait_until(lambda: gate.call(find), 10, "the connection")


EXPECTED = (1, PROBE_AFTER, PROBE_EVERY, int(SILENCE * 1000))


@pytest.mark.parametrize("protocol", LISTEN)
def test_on_connections_that_clients_make(gate: InProcessGate, protocol: str) -> None:
    with socket.create_connection(gate.address(protocol), 20) as client:
        assert limits(gate, client) == EXPECTED


def test_on_passive_data_connections(gate: InProcessGate, session: RawFtp) -> None:
    with closing(session.data()) as data:
        assert limits(gate, data) == EXPECTED


def test_on_active_data_connections(gate: InProcessGate, session: RawFtp) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(20)
        session.do(f"EPRT |1|127.0.0.1|{listening.getsockname()[1]}|", "200")
        session.do("RETR Album/a.ogg", "150")
        data, _ = listening.accept()
        with data:
            assert limits(gate, data) == EXPECTED


@pytest.mark.parametrize("error", [errno.ETIMEDOUT, errno.EHOSTUNREACH])
@pytest.mark.parametrize("answers", [True, False])
def test_a_session_ends_with_its_transfer_when_its_client_answers_nowhere(
    gate: InProcessGate, session: RawFtp, error: int, answers: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A last reply would be waited for as long as the data were, and its place be taken for as long."""
    if not answers:
        monkeypatch.setattr(data_commands, "UNANSWERED", -1.0)
    with closing(session.data(buffer=65_536)):
        session.do("RETR Album/a.ogg", "150")

        def give_up() -> None:
            (channel,) = (found for found in gate.loop.socket_map.values() if isinstance(found, DataConnection))
            channel._broken(error)

        gate.call(give_up)
        assert session.reply()[:3] == ("426" if answers else "")
    gate.settled()
    assert [record.outcome for record in gate.shop.records] == ["cut"]
