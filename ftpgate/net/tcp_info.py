"""What the kernel knows of a connection: how much the client's TCP has acknowledged, and how wide its window is.

Linux hands out all of it in one `TCP_INFO` call (include/uapi/linux/tcp.h). The client's window is in it since Linux 5.4.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import sys
import termios
import time

from ftpgate.net.silence import BACKED_OFF, SILENCE, extended, is_shut, set_silence
from ftpgate.net.tls_records import TlsRecords
from ftpgate.proof.window import TcpSnapshot, Window

_FIELDS = struct.Struct("=B55xI60xQ16xI80xI")
"""tcpi_state, tcpi_last_ack_recv, tcpi_bytes_acked, tcpi_notsent_bytes, tcpi_snd_wnd"""
_CLOSED, _CLOSE_WAIT, _LAST_ACK, _CLOSING = 7, 8, 9, 11
"""States (include/net/tcp_states.h). _CLOSED is that of a socket that was reset, whose peer is gone, or whose both ends are done,
until we close it."""
_HALF_CLOSED = frozenset({_CLOSE_WAIT, _LAST_ACK, _CLOSING})
"""Those that a client's FIN leads to."""
_TIMER = struct.Struct("=4xB19xI16xI")
"""tcpi_backoff, tcpi_unacked, tcpi_last_data_sent"""
_BACKOFF = 4
"""Where tcpi_backoff is."""
_OUTQ = b"\0" * 4


def _told() -> bool:
    """Does this kernel tell all that is asked for?"""
    if sys.platform != "linux":
        return False
    with socket.socket() as sock:
        return len(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _FIELDS.size)) == _FIELDS.size


TRUTHFUL = _told()
"""Elsewhere than on Linux 5.4 and newer only an orderly end or a next request credits anything: the degraded mode."""


def silence_of(sock: socket.socket) -> float:
    """Seconds since the client has acknowledged anything, a probe included; 0 where the system does not tell."""
    if not TRUTHFUL:
        return 0.0
    milliseconds: int = _FIELDS.unpack_from(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _FIELDS.size))[1]
    return milliseconds / 1000


class TcpProbe(Window):
    """Counts what is written to one connected socket and tells what became of it.

    It is a window, instead of having one, for the memory of thousands.

    Under TLS `written` counts plaintext and the kernel ciphertext. `TlsRecords` tells what plaintext that is; where it cannot,
    `written - queued` is a safe lower bound, since ciphertext is never smaller than the plaintext in it.

    Attributes:
        written: bytes that the kernel has taken.
        ahead: bytes after them that it may have taken a part of: TLS knows only when all of a batch are written.
        encrypted: is there TLS between?
        parting: over TLS, the client has said that it sends nothing more.
    """

    __slots__ = ("_base", "_records", "_shut_at", "ahead", "encrypted", "parting", "socket", "written")

    def __init__(self, sock: socket.socket, *, encrypted: bool = False, written: int = 0) -> None:
        """`written`: bytes of plain data that went out before (an HTTP connection counts from its first)."""
        self.socket = sock
        self.written = written
        self.ahead = 0
        self.encrypted = encrypted
        self.parting = False
        self._records: TlsRecords | None = None
        self._base = width = 0
        self._shut_at: float | None = None
        """Since when its window keeps data back, while the kernel is told to wait for it."""
        if TRUTHFUL:
            _, _, acknowledged, _, width = _FIELDS.unpack_from(self._ask())
            self._base = acknowledged - written
        super().__init__(width, written)

    def look(self) -> TcpSnapshot:
        """Ask the kernel. Works until the socket is closed, after a reset too."""
        if not TRUTHFUL:
            return TcpSnapshot(self.written, self.written, 0, 0, self.written, 0.0, False)
        info = self._ask()
        state, silence, acknowledged, unsent, width = _FIELDS.unpack_from(info)
        if info[_BACKOFF] >= BACKED_OFF or self._shut_at is not None:
            self._wait_for_window(info, width, silence / 1000)
        if self.encrypted:
            acknowledged, sent = self._decrypted(acknowledged, unsent)
        else:
            acknowledged -= self._base
            if acknowledged > self.written:
                acknowledged = self.written  # our FIN counts as one byte
            sent = self.written - unsent
        acknowledged = max(acknowledged, 0)
        sent = max(sent, acknowledged)
        unread, hidden = self.judge(width, acknowledged)
        definitely = self.definitely_unread(width, encrypted=self.encrypted)
        broken, half_closed = state == _CLOSED, state in _HALF_CLOSED
        return TcpSnapshot(
            acknowledged, unread, hidden, definitely, sent, silence / 1000, broken, half_closed, width, self.parting
        )

    def sealing(self, count: int) -> None:
        """TLS is about to hand over a batch of `count` bytes, or goes on with it."""
        self.ahead = count
        if TRUTHFUL and self._records is None:
            self._records = TlsRecords(self._taken())

    def sealed(self) -> None:
        """All of the batch was handed over."""
        count, self.ahead = self.ahead, 0
        if self._records is not None:
            self._records.sealed(count)
            if not self._records.learned:
                self._records.measured(self._taken(), 0)

    def _taken(self) -> int:
        """Bytes that the kernel has taken, as it counts them."""
        acknowledged: int = _FIELDS.unpack_from(self._ask())[2]
        return acknowledged + self.queued()

    def _decrypted(self, acknowledged: int, unsent: int) -> tuple[int, int]:
        """The plaintext in `acknowledged` bytes of ciphertext, as the kernel counts them, and in what it has sent."""
        queued, opened, sent = self.queued(), None, None
        if self._records is not None:
            self._records.measured(acknowledged + queued, self.ahead)
            self._records.arrived(acknowledged)
            opened = self._records.opened(acknowledged, self.ahead)
            sent = self._records.opened(acknowledged + queued - unsent, self.ahead)
        if opened is None:
            opened = self.written - queued
        if sent is None:
            sent = self.written + self.ahead - (unsent - (unsent >> 6))  # less what records add
        return opened, sent

    def queued(self) -> int:
        """Bytes that the kernel holds and the client has not acknowledged (SIOCOUTQ)."""
        count: int = struct.unpack("i", fcntl.ioctl(self.socket, termios.TIOCOUTQ, _OUTQ))[0]
        return count

    def _ask(self) -> bytes:
        return self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _FIELDS.size)

    def _wait_for_window(self, info: bytes, width: int, silence: float) -> None:
        """Have the kernel wait for a client that answers with a shut window; a transfer has its own limit for that."""
        backoff, in_flight, idle = _TIMER.unpack_from(info)
        if is_shut(backoff, in_flight, width):
            now = time.monotonic()
            if self._shut_at is None:
                self._shut_at = now - idle / 1000
            set_silence(self.socket, extended(now - self._shut_at, silence))
        elif self._shut_at is not None:
            self._shut_at = None
            set_silence(self.socket, SILENCE)
