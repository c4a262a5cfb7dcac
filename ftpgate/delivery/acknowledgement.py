"""What the kernel knows of a connection: how much the client's TCP has acknowledged, and how much it may not have read.

A client that stops reading still acknowledges until its receive buffer is full. Its window tells most of that: what it
has shrunk by since its peak is unread. Linux hands out all of it in one `TCP_INFO` call (include/uapi/linux/tcp.h).
"""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
import sys
import termios
import time
from typing import NamedTuple

from ftpgate.delivery.silence import BACKED_OFF, SILENCE, extended, is_shut, set_silence

_FIELDS = struct.Struct("=56xI60xQ16xI80xI")  # last_ack_recv, bytes_acked, notsent_bytes, snd_wnd
_TIMER = struct.Struct("=4xB19xI16xI")  # backoff, unacked, last_data_sent
_BACKOFF = 4  # where that byte is
_OUTQ = b"\0" * 4
TRUTHFUL = sys.platform == "linux"
"""Without Linux's `TCP_INFO` only an orderly end or a next request credits anything: the degraded mode."""

OPEN = 16 * 1024
"""A client that has read everything shows its window as it was, to within this many bytes, or an eighth of a large one.
Measured: exactly, but 8 % less after hundreds of small answers on one connection; 36 to 66 kB less with 100 kB unread."""
OVERHEAD = 40 * 1024
"""Bytes by which a small window may have shrunk more than lies unread (measured: 35 kB), and a large one by a quarter: a
receiver counts its buffers, not the data in them."""
OVERHEAD_TLS = 256 * 1024
"""The same where every record travels by itself: so much, or half (measured in 320 aborts at full speed: 202 of 420 kB)."""
CONCEALED = 5 / 8
"""Of what a window has widened by, the part that may lie unread behind it. A receiver widens its window by up to two segments for
each that comes (Linux), whether it is read or not, so while it widens as much as half of that comes in unseen; what comes later
narrows it again. `python -m tests.bench.windows` measures it."""
REVEALED = 1 / 2
"""Of each byte acknowledged while the window stands still, the part by which less can lie behind it. Where something lay that is
read by now, the window would have widened, and where the client reads less than comes, it would have narrowed."""
STILL = 64 * 1024
"""Bytes that a window may have shrunk by and count as standing still: a chunk that has come is not read at once."""
NARROW = 128 * 1024
"""A window that has shrunk by more, and more than an eighth, may come back although much lies behind it, since a receiver that
is read in bursts makes its buffer larger. Then it conceals as much as if it had just widened from nothing."""
LEAST_CONCEALED = 128 * 1024
"""Bytes that a wide window conceals at the least. Measured: 300 kB behind one of 138 kB, which was shut again and again."""


def silence_of(sock: socket.socket) -> float:
    """Seconds since the client has acknowledged anything, a probe included; 0 where the system does not tell."""
    if not TRUTHFUL:
        return 0.0
    milliseconds: int = _FIELDS.unpack_from(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 232))[0]
    return milliseconds / 1000


class Look(NamedTuple):
    """One look at a connection, in bytes written to it since it began.

    Attributes:
        acknowledged: the client's TCP has confirmed these.
        unread: of those, what the client's window shows to be still in its buffer.
        hidden: what it may hide beyond that: a quarter as much, since a receiver counts its buffers, not the data in them
            (measured: a ninth); and a part of what it has widened by (CONCEALED), until it reveals that nothing lies there
            (REVEALED). And a buffer whose size the client has set (SO_RCVBUF) is offered by half at first, and later no
            further than the window's scale can say.
        untouched: of the unread ones, what it cannot have read meanwhile without a word: a receiver tells of room in its
            buffer as soon as that has doubled (Linux), or grown by half the buffer (RFC 9293 section 3.8.6.2.2). Less what
            the window may have shrunk by for other reasons.
        sent: went out to the network at least once; the rest lies in our own buffer.
        silence: seconds since the last acknowledgement of any kind.
        open: the window is as wide as it was at its widest, or nearly so: nothing much lies unread.
    """

    acknowledged: int
    unread: int
    hidden: int
    untouched: int
    sent: int
    silence: float
    open: bool


class Window:
    """What a client's window tells of the data that lie unread behind it. Pure: looks in, bytes out."""

    __slots__ = ("_concealed", "_first", "_peak", "_seen")

    def __init__(self, window: int, acknowledged: int) -> None:
        """The client shows a window of `window` bytes; nothing of the `acknowledged` ones before lies unread."""
        self._first = self._peak = window
        """The window at the beginning, and at its widest."""
        self._concealed = window * CONCEALED
        """Bytes that may lie unread behind it."""
        self._seen: int | None = acknowledged
        """So much was acknowledged then; None while no less can be concealed, as behind most windows of slow clients."""

    def judge(self, window: int, acknowledged: int) -> tuple[int, int]:
        """The window is `window` bytes wide now, and `acknowledged` are. Returns the bytes unread in sight, and hidden ones."""
        unread = self._peak - window
        if unread < 0:
            self._peak = window
            self._concealed -= unread * CONCEALED
            self._seen = acknowledged
            unread = 0
        elif unread > NARROW and unread > self._peak >> 3:
            self._concealed = self._peak * CONCEALED
            self._seen = acknowledged
        elif self._seen is not None:
            if unread <= STILL:
                self._concealed -= (acknowledged - self._seen) * REVEALED
            self._seen = acknowledged
            least = min(self._peak * CONCEALED, LEAST_CONCEALED)
            if self._concealed <= least:
                self._concealed, self._seen = least, None
        return unread, max(2 * self._first - self._peak, 0) + int(self._concealed) + (unread >> 2)


class Wire(Window):
    """Counts what is written to one connected socket and tells what became of it.

    It is a window, instead of having one, for the memory of thousands.

    Under TLS `written` counts plaintext and `queued` ciphertext, which is never smaller than the plaintext in it, so
    that `written - queued` stays a safe lower bound.

    Attributes:
        written: bytes that the kernel has taken.
        ahead: bytes after them that it may have taken a part of: TLS knows only when all of a batch are written.
        encrypted: is there TLS between?
    """

    __slots__ = ("_base", "_shut_at", "ahead", "encrypted", "socket", "written")

    def __init__(self, sock: socket.socket, *, encrypted: bool = False, written: int = 0) -> None:
        """`written`: bytes of plain data that went out before (an HTTP connection counts from its first)."""
        self.socket = sock
        self.written = written
        self.ahead = 0
        self.encrypted = encrypted
        self._base = window = 0
        self._shut_at: float | None = None
        """Since when its window keeps data back, while the kernel is told to wait for it."""
        if TRUTHFUL:
            _, acknowledged, _, window = _FIELDS.unpack_from(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 232))
            self._base = acknowledged - written
        super().__init__(window, written)

    def look(self) -> Look:
        """Ask the kernel. Works until the socket is closed, after a reset too."""
        if not TRUTHFUL:
            return Look(self.written, self.written, 0, 0, self.written, 0.0, False)
        info = self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 232)
        silence, acknowledged, unsent, window = _FIELDS.unpack_from(info)
        if info[_BACKOFF] >= BACKED_OFF or self._shut_at is not None:
            self._wait_for_window(info, window, silence / 1000)
        if self.encrypted:
            acknowledged = self.written - self.queued()
            unsent -= unsent >> 6  # ciphertext, less its overhead: `sent` is an upper bound
        else:
            acknowledged -= self._base
            if acknowledged > self.written:
                acknowledged = self.written  # our FIN counts as one byte
        acknowledged = max(acknowledged, 0)
        unread, hidden = self.judge(window, acknowledged)
        sent = max(self.written + self.ahead - unsent, acknowledged)
        untouched = self._peak - 2 * window
        overhead = max(OVERHEAD_TLS, untouched >> 1) if self.encrypted else max(OVERHEAD, untouched >> 2)
        untouched = max(untouched - overhead, 0)
        return Look(acknowledged, unread, hidden, untouched, sent, silence / 1000, unread <= max(OPEN, self._peak >> 3))

    def _wait_for_window(self, info: bytes, window: int, silence: float) -> None:
        """Have the kernel wait for a client that answers with a shut window; a transfer has its own limit for that."""
        backoff, in_flight, idle = _TIMER.unpack_from(info)
        if is_shut(backoff, in_flight, window):
            now = time.monotonic()
            if self._shut_at is None:
                self._shut_at = now - idle / 1000
            set_silence(self.socket, extended(now - self._shut_at, silence))
        elif self._shut_at is not None:
            self._shut_at = None
            set_silence(self.socket, SILENCE)

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
