"""The portal's server: a client that is slow, silent or one of very many holds up nobody."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest

from ftpgate.net import sockets
from tests.support.waiting import wait_until
from webportal import serving


def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    body = environ["wsgi.input"].read()
    said = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']} {len(body)} {environ.get('HTTP_TRANSFER_ENCODING', '')}"
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(said)))])
    return [said.encode()]


class Running:
    """A server on a thread of the test."""

    def __init__(self) -> None:
        bound = serving.listener("127.0.0.1", 0)
        self.server = serving._Server(application, bound)
        self.address: tuple[str, int] = bound.getsockname()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.is_set():
            self.server._turn()

    def close(self) -> None:
        self._over.set()
        self.server.pull_trigger()
        self._thread.join()
        self.server.task_dispatcher.shutdown()
        serving.wasyncore.close_all(self.server._map, ignore_all=True)  # type: ignore[attr-defined]

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=30)

    def ask(self, method: str = "GET", path: str = "/", body: Any = None, **headers: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection(*self.address, timeout=30)
        try:
            connection.request(method, path, body, headers, encode_chunked="Transfer-Encoding" in headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()


def read_until(sock: socket.socket, end: bytes) -> None:
    """Read until what came ends so; the socket's time-out tells that it does not."""
    found = b""
    while not found.endswith(end):
        data = sock.recv(9_000)
        assert data, found
        found += data


@pytest.fixture
def running() -> Iterator[Running]:
    started = Running()
    yield started
    started.close()


BEGINNINGS = (b"", b"G", b"GET / HTTP/1.1\r\nHost: x\r\nX: ", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\nabc")


@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_unfinished_requests_take_no_thread(running: Running, beginning: bytes) -> None:
    with ExitStack() as stack:
        slow = [stack.enter_context(running.connect()) for _ in range(100)]
        for _ in range(2):
            for sock in slow:
                sock.sendall(beginning[:-1] or beginning)
            assert running.ask() == (200, "GET / 0 ")
            beginning = b"b"


def test_a_request_in_single_bytes_is_answered(running: Running) -> None:
    with running.connect() as sock:
        for byte in b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc":
            sock.sendall(bytes([byte]))
        read_until(sock, b"POST /a 3 ")
        sock.sendall(b"GET /b HTTP/1.1\r\nHost: x\r\n\r\nGET /c HTTP/1.1\r\nHost: x\r\n\r\n")
        read_until(sock, b"GET /c 0 ")


def test_of_too_many_connections_the_one_gives_way_that_waited_longest(running: Running) -> None:
    running.server.most_connections = 10
    with ExitStack() as stack:
        idle = []
        for number in range(10):
            idle.append(stack.enter_context(running.connect()))
            wait_until(lambda count=number + 1: len(running.server.active_channels) == count, 30, "the connection")  # type: ignore[misc]
        assert running.ask() == (200, "GET / 0 ")
        assert idle[0].recv(1) == b""
        idle[-1].sendall(b"GET /last HTTP/1.1\r\nHost: x\r\n\r\n")
        read_until(idle[-1], b"GET /last 0 ")


@pytest.mark.parametrize(("beginning", "name"), [(BEGINNINGS[0], "IDLE"), (BEGINNINGS[2], "HEAD"), (BEGINNINGS[3], "BODY")])
def test_the_time_of_a_request_is_bounded(running: Running, beginning: bytes, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with running.connect() as sock:
        sock.sendall(beginning)
        monkeypatch.setattr(serving, f"{name}_SECONDS", 0.0)
        assert sock.recv(1) == b""


def test_the_largest_of_too_many_unfinished_requests_gives_way(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "MOST_UNFINISHED", 250_000)
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
    with running.connect() as small, running.connect() as large:
        small.sendall(head % 100_001 + bytes(100_000))
        large.sendall(head % 300_001 + bytes(300_000))
        with suppress(ConnectionResetError):
            assert large.recv(1) == b""
        small.sendall(b"x")
        read_until(small, b"POST / 100001 ")


def test_bodies_are_bounded_by_what_they_may_be_for(running: Running) -> None:
    assert running.ask("POST", "/", b"x" * serving.MOST_BODY)[0] == 200
    assert running.ask("POST", "/admin/x", b"x" * (serving.MOST_BODY + 1))[0] == 200
    for path, size in (("/", serving.MOST_BODY + 1), ("/admin/x", serving.MOST_UPLOAD + 1), ("/", 1 << 62)):
        with running.connect() as sock:
            sock.sendall(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (path.encode(), size))
            assert sock.recv(9_000).startswith(b"HTTP/1.1 413 ")
    assert running.ask("POST", "/", iter([b"abc", b"d"]), **{"Transfer-Encoding": "chunked"}) == (200, "POST / 4 chunked")


def test_headers_are_bounded_and_names_are_what_they_seem(running: Running) -> None:
    assert running.ask(**{"X-Long": "x" * 40_000})[0] == 431
    assert running.ask(**{"Transfer_Encoding": "chunked"}) == (200, "GET / 0 ")


def test_a_client_that_sends_no_request_and_goes_is_no_error(running: Running, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(300):
        with running.connect() as client:
            client.sendall(b"no request\r\n\r\n")
            time.sleep(number % 30 / 30_000)  # it goes before, while and after it is answered
            sockets.reset(client)
    assert running.ask() == (200, "GET / 0 ")
    assert not [record for record in caplog.records if record.exc_info]


def test_the_loop_does_not_send_what_a_thread_is_sending(running: Running) -> None:
    """As a thread does that sends `100 Continue` when it has answered the request before."""
    with running.connect():
        (channel,) = wait_until(lambda: list(running.server.active_channels.values()), 30)
        with channel.outbuf_lock:
            loop = threading.Thread(target=channel._flush_some)
            loop.start()
            loop.join(0.2)
            assert loop.is_alive()
        loop.join(30)
        assert not loop.is_alive()


def test_a_request_that_waits_to_continue_behind_another_is_told_to(running: Running) -> None:
    with running.connect() as client:
        client.sendall(
            b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\nPOST /2 HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
        )
        read_until(client, b"HTTP/1.1 100 Continue\r\n\r\n")
        client.sendall(b"abc")
        read_until(client, b"POST /2 3 ")
