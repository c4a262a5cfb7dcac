"""What the kernel knows of a connection: how much the client's TCP has acknowledged, and how wide its window is.

Linux hands out all of it in one `TCP_INFO` call (include/uapi/linux/tcp.h). The client's window is in it since Linux 5.4.
"""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
import sys
import termios

from ftpgate.proof.window import TcpSnapshot, Window

_FIELDS = struct.Struct("=56xI60xQ16xI80xI")  # tcpi_last_ack_recv, tcpi_bytes_acked, tcpi_notsent_bytes, tcpi_snd_wnd
_OUTQ = b"\0" * 4


def _told() -> bool:
    """Does this kernel tell all that is asked for?"""
    if sys.platform != "linux":
        return False
    with socket.socket() as sock:
        return len(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _FIELDS.size)) == _FIELDS.size


TRUTHFUL = _told()
"""Elsewhere than on Linux 5.4 and newer only an orderly end or a next request credits anything: the degraded mode."""


class TcpProbe(Window):
    """Counts what is written to one connected socket and tells what became of it.

    It is a window, instead of having one, for the memory of thousands.

    Under TLS `written` counts plaintext and `queued` ciphertext, which is never smaller than the plaintext in it, so
    that `written - queued` stays a safe lower bound.

    Attributes:
        written: bytes that the kernel has taken.
        ahead: bytes after them that it may have taken a part of: TLS knows only when all of a batch are written.
        encrypted: is there TLS between?
    """

    __slots__ = ("_base", "ahead", "encrypted", "socket", "written")

    def __init__(self, sock: socket.socket, *, encrypted: bool = False, written: int = 0) -> None:
        """`written`: bytes of plain data that went out before (an HTTP connection counts from its first)."""
        self.socket = sock
        self.written = written
        self.ahead = 0
        self.encrypted = encrypted
        self._base = width = 0
        if TRUTHFUL:
            _, acknowledged, _, width = self._ask()
            self._base = acknowledged - written
        super().__init__(width, written)

    def look(self) -> TcpSnapshot:
        """Ask the kernel. Works until the socket is closed, after a reset too."""
        if not TRUTHFUL:
            return TcpSnapshot(self.written, self.written, 0, 0, self.written, 0.0)
        silence, acknowledged, unsent, width = self._ask()
        if self.encrypted:
            acknowledged = self.written - self.queued()
            unsent -= unsent >> 6  # ciphertext, less its overhead: `sent` is an upper bound
        else:
            acknowledged -= self._base
            if acknowledged > self.written:
                acknowledged = self.written  # our FIN counts as one byte
        acknowledged = max(acknowledged, 0)
        unread, hidden = self.judge(width, acknowledged)
        sent = max(self.written + self.ahead - unsent, acknowledged)
        definitely = self.definitely_unread(width, encrypted=self.encrypted)
        return TcpSnapshot(acknowledged, unread, hidden, definitely, sent, silence / 1000)

    def queued(self) -> int:
        """Bytes that the kernel holds and the client has not acknowledged (SIOCOUTQ)."""
        count: int = struct.unpack("i", fcntl.ioctl(self.socket, termios.TIOCOUTQ, _OUTQ))[0]
        return count

    def probe(self) -> None:
        """Have the kernel ask the client for a fresh window after one second of silence (a keep-alive probe, RFC 9293 3.8.4).

        The answer shows whether the client's machine is still there and whether its window has opened again, which is
        what tells a client that has read everything from one that only lets it lie.
        """
        with contextlib.suppress(OSError):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 30)

    def _ask(self) -> tuple[int, int, int, int]:
        answer: tuple[int, int, int, int] = _FIELDS.unpack_from(
            self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _FIELDS.size)
        )
        return answer
