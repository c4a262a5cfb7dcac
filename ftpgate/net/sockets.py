"""How bytes leave: `sendfile` from the page cache to a plain socket, so that they never enter Python."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import sys
from typing import Protocol

from ftpgate.net.tcp_info import TcpProbe

UNSENT = 196_608
"""Bytes in the kernel's queue of a socket that have not been sent yet, above which it takes no more (TCP_NOTSENT_LOWAT). What
is short stays in the processor's cache until it is sent: 8 GB/s with 200 connections, where 512 KiB a socket gave 4 to 6. Less
than 128 KiB starves a single one: 0.3 GB/s instead of 7."""
AHEAD = 0.03
"""Seconds of a connection's own rate that are kept unsent where that is less than UNSENT: a stop line that was passed in the
kernel's queue no longer stops anything. Measured over a link of 20 MB/s and 20 ms: 200 kB past what was acknowledged, where
aria2 divided four ranges."""
NARROW = 16_384
"""The same of a socket that carries no transfer: a client that does not read answers, listings or events keeps no more than that
in the kernel, and a piece of what was sent last."""
LEAST_UNSENT = 2 * 1_460
"""Two full segments: less would leave the link idle between two wake-ups."""
_MSG_MORE = getattr(socket, "MSG_MORE", 0)
_LINGER_NONE = struct.pack("ii", 1, 0)


class Sink(Protocol):
    """Where bytes go and come from: plain (`PlainSink`) or through TLS (`net.tls.TlsSink`).

    Raises `BlockingIOError` when it has to wait, and `OSError` when the connection is broken. What is written has to be
    offered again after a `BlockingIOError`, from the same byte on.
    """

    queue: SendQueue
    wire: TcpProbe

    @property
    def parting(self) -> bool:
        """The client has said that it sends nothing more, and waits to hear the same; the end of its stream is still to come."""
        ...

    @property
    def owing(self) -> bool:
        """What is to be written next is half encrypted: nothing can be read before it is written."""
        ...

    def recv(self, count: int) -> bytes:
        """What the client sent; b"" at its orderly end. Less than `count` when nothing is left that no poll would report."""
        ...

    def finish(self) -> None:
        """Say that nothing follows: the orderly end of our side."""
        ...

    def send(self, data: bytes | memoryview, more: bool = False) -> int:
        """Returns how many bytes were taken."""
        ...

    def sendfile(self, fd: int, offset: int, count: int) -> int:
        """Returns how many bytes were taken; 0 only when the file is shorter than `offset`."""
        ...


class PlainSink:
    """A connected, non-blocking socket without TLS."""

    __slots__ = ("_fd", "_socket", "queue", "wire")

    def __init__(self, sock: socket.socket) -> None:
        self.wire = TcpProbe(sock)
        self._socket = sock
        self._fd = sock.fileno()
        self.queue = SendQueue(sock)

    parting = False
    owing = False

    def recv(self, count: int) -> bytes:
        """What the client sent; b"" at its orderly end."""
        return self._socket.recv(count)

    def finish(self) -> None:
        """Say that nothing follows."""
        self._socket.shutdown(socket.SHUT_WR)

    def send(self, data: bytes | memoryview, more: bool = False) -> int:
        """Hand over bytes; `more` says that others follow at once, so that they may share a segment."""
        return self._socket.send(data, _MSG_MORE if more else 0)

    if sys.platform == "darwin":

        def sendfile(self, fd: int, offset: int, count: int) -> int:
            """macOS's own sendfile may fail half-way without a count; reading is plain and right."""
            data = os.pread(fd, min(count, 65_536), offset)
            return self._socket.send(data) if data else 0

    else:

        def sendfile(self, fd: int, offset: int, count: int) -> int:
            """Hand over bytes of a file; 0 when it has none at `offset`."""
            return os.sendfile(self._fd, fd, offset, count)


class SendQueue:
    """What a socket's kernel queue may hold of bytes that are not sent yet.

    What many sockets hold by the megabyte falls out of the processor's cache before it is sent, and is neither delivered
    nor ours any more. A short queue costs a fast single connection nothing: it is refilled within the time it lasts.
    """

    __slots__ = ("_count", "_socket")

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._count = NARROW
        self._set()

    def narrow(self) -> None:
        """Answers, listings and events are sent, which nobody waits for by the megabyte."""
        if self._count != NARROW:
            self._count = NARROW
            self._set()

    def widen(self, length: int) -> None:
        """A transfer of so many bytes begins, at an unknown rate."""
        if self._count == NARROW and length > NARROW:
            self._count = UNSENT
            self._set()

    def bound(self, count: int) -> None:
        """Keep no more than about `count` bytes that the client has not acknowledged."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, count)

    def expect_rate(self, rate: float) -> None:
        """The connection takes about `rate` bytes a second: hold no more than that needs."""
        count = int(min(max(rate * AHEAD, LEAST_UNSENT), UNSENT))
        if not self._count / 1.5 <= count <= self._count * 1.5:
            self._count = count
            self._set()

    def _set(self) -> None:
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, self._count)


def cork(sock: socket.socket, on: bool) -> None:
    """Hold back partial segments until there is more, or send what is held (Linux; elsewhere nothing)."""
    if hasattr(socket, "TCP_CORK"):
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, on)


def flush(sock: socket.socket) -> None:
    """Send what is held back now, full segment or not."""
    cork(sock, False)
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def reset(sock: socket.socket) -> None:
    """Make the coming `close` a reset: nothing that is still queued may reach the client any more."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
