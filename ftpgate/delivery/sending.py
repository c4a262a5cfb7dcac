"""How bytes leave: `sendfile` from the page cache to a plain socket, so that they never enter Python."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import sys

from ftpgate.net.tcp_info import TcpProbe

UNSENT = 196_608
"""Bytes in the kernel's queue of a socket that have not been sent yet, above which it takes no more (TCP_NOTSENT_LOWAT). What
is short stays in the processor's cache until it is sent: 8 GB/s with 200 connections, where 512 KiB a socket gave 4 to 6. Less
than 128 KiB starves a single one: 0.3 GB/s instead of 7."""
_MSG_MORE = getattr(socket, "MSG_MORE", 0)
_LINGER_NONE = struct.pack("ii", 1, 0)


class PlainSink:
    """A connected, non-blocking socket without TLS."""

    __slots__ = ("_fd", "_socket", "wire")

    def __init__(self, sock: socket.socket) -> None:
        self.wire = TcpProbe(sock)
        self._socket = sock
        self._fd = sock.fileno()
        keep_queue_short(sock)

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


def keep_queue_short(sock: socket.socket) -> None:
    """Have the poll call for more only when less than UNSENT bytes wait in the kernel.

    What many sockets hold by the megabyte falls out of the processor's cache before it is sent, and is neither delivered
    nor ours any more. A short queue costs a fast single connection nothing: it is refilled within the time it lasts.
    """
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)


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
