"""When a client that does not answer is gone, and that one with a shut window which does is not."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from ftpgate.net import tcp_info
from ftpgate.net.silence import BACKED_OFF, SILENCE, end_when_silent, extended, is_shut
from ftpgate.net.tcp_info import TRUTHFUL, TcpProbe
from tests.support.waiting import wait_until

linux = pytest.mark.skipif(not TRUTHFUL, reason="the system does not tell")


@pytest.mark.parametrize(
    ("backoff", "in_flight", "window", "shut"),
    [
        (BACKED_OFF, 0, 0, True),
        (BACKED_OFF, 0, 500, True),  # too small for what is to be sent
        (BACKED_OFF, 3, 0, True),  # what was sent before it was shut has to be sent again
        (BACKED_OFF, 3, 65_536, False),  # a dead link: what was sent is not acknowledged
        (BACKED_OFF - 1, 0, 0, False),
    ],
)
def test_a_shut_window_is_told_from_a_dead_link(backoff: int, in_flight: int, window: int, shut: bool) -> None:
    assert is_shut(backoff, in_flight, window) is shut


@pytest.mark.parametrize(("shut", "answered"), [(30, 30), (30, 4), (200, 176), (0.5, -10)])
def test_the_kernel_waits_from_the_last_answer_on(shut: float, answered: float) -> None:
    assert extended(shut, silence=shut - answered) == max(answered, 0) + SILENCE


@pytest.fixture
def connection() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A server's end, whose peer is watched, and its client's."""
    with socket.socket() as listening:
        end_when_silent(listening)
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
            client.settimeout(20)
            client.connect(listening.getsockname())
            server, _ = listening.accept()
            with server:
                server.setblocking(False)
                yield server, client


def waits(server: socket.socket) -> float:
    return server.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) / 1000


def filled(server: socket.socket) -> int:
    """Write as much as is taken; returns how many bytes."""
    written = 0
    while True:
        try:
            written += server.send(b"x" * 65_536)
        except BlockingIOError:
            return written


@linux
def test_the_kernel_is_told_to_wait_while_the_window_is_shut(
    connection: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp_info, "BACKED_OFF", 1)
    monkeypatch.setattr("ftpgate.net.silence.BACKED_OFF", 1)
    server, client = connection
    probe = TcpProbe(server)
    assert waits(server) == SILENCE
    written = filled(server)

    def longer() -> bool:
        probe.look()
        return waits(server) > SILENCE

    wait_until(longer, 20, "an answer to a probe of the window")
    while written:
        written -= len(client.recv(65_536))
    server.send(b"x")
    assert client.recv(1) == b"x"
    probe.look()
    assert waits(server) == SILENCE
