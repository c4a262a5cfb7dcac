"""The listening socket of every front."""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress

import pytest
from pyftpdlib.ioloop import IOLoop

from ftpgate.net import listening
from ftpgate.net.listening import Acceptor
from ftpgate.settings import Address


@pytest.fixture
def loop() -> Iterator[IOLoop]:
    with closing(IOLoop.factory()) as loop:
        yield loop


def turn(loop: IOLoop, over: Callable[[], object]) -> None:
    """Let the loop run until then."""
    end = time.monotonic() + 10
    while not over():
        assert time.monotonic() < end
        loop.poll(0.01)
        loop.sched.poll()


def test_a_connection_that_cannot_be_kept_costs_no_other(loop: IOLoop) -> None:
    kept: list[tuple[socket.socket, str]] = []

    def accepted(sock: socket.socket, peer: str) -> None:
        assert not sock.getblocking()
        if not refused:
            refused.append(sock)
            raise ConnectionResetError
        kept.append((sock, peer))

    refused: list[socket.socket] = []
    acceptor = Acceptor(loop, Address("127.0.0.1", 0), accepted)
    with (
        closing(acceptor),
        socket.create_connection(acceptor.address, 10) as first,
        socket.create_connection(acceptor.address, 10),
    ):
        turn(loop, lambda: kept)
        assert first.recv(1) == b""
        ((sock, peer),) = kept
        sock.close()
        assert peer == "127.0.0.1"


def test_without_descriptors_it_waits_instead_of_spinning(loop: IOLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "PAUSE", 0.3)
    kept: list[socket.socket] = []
    acceptor = Acceptor(loop, Address("127.0.0.1", 0), lambda sock, _: kept.append(sock))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with closing(acceptor), socket.create_connection(acceptor.address, 10):
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
        try:
            loop.poll(1)
            watched = bool(loop.socket_map)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert not watched
        turn(loop, lambda: kept)
        kept[0].close()


@pytest.mark.parametrize("paused", [False, True])
def test_it_accepts_no_more_when_it_is_closed(loop: IOLoop, monkeypatch: pytest.MonkeyPatch, paused: bool) -> None:
    monkeypatch.setattr(listening, "PAUSE", 0.01)
    acceptor = Acceptor(loop, Address("127.0.0.1", 0), lambda *_: None)
    if paused:
        acceptor._pause(OSError(0, "none left"))
    acceptor.close()
    acceptor.close()
    assert not acceptor.open
    with suppress(ConnectionRefusedError), socket.create_connection(acceptor.address, 10):
        pytest.fail("somebody listens there")
    time.sleep(0.02)
    loop.sched.poll()
    assert not loop.socket_map
