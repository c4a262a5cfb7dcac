"""What a client's receive window tells of the data that it has not read.

A client that stops reading still acknowledges until its receive buffer is full. What its window has shrunk by since its
peak is unread; more can lie behind a window that has widened meanwhile.
"""

from __future__ import annotations

from typing import NamedTuple

KIB = 1024
"""Bytes."""

FULLY_OPEN = 16 * KIB
"""Bytes by which a window may be narrower than at its peak when nothing lies unread. Measured: none; 36 to 66 kB with 100 kB
unread. One TLS record is as large."""
PARTING_SHARE = 1 / 16
"""Of its width, the part by which the window of a TLS client that ends may be narrower than at its peak when nothing lies unread.
A receiver chooses by the segments that arrive how much of its buffer it offers (Linux, tcp_measure_rcv_mss), and those of TLS
have all lengths. Measured at the end of 360 programs that were stopped for moments: up to 4.3 %; without TLS, none."""
LITTLE = 132 * KIB
"""Bytes that a window may hide and still count as hiding little: LEAST_HIDDEN and a quarter of FULLY_OPEN."""

HIDDEN_SHARE = 5 / 8
"""Of what a window has widened by, the part that may lie unread behind it. A receiver widens its window by up to two segments for
each that arrives (Linux, tcp_grow_window), read or not, so while it widens as much as half of that arrives unseen; what arrives
later narrows it again. Measured by `python -m tests.bench.windows`."""
REVEALED = 1 / 2
"""Of each byte acknowledged while the window stands still, the part by which less can lie behind it. If hidden data had been read
since, the window would have widened; if the client read less than what arrives, it would have narrowed."""
STILL = 64 * KIB
"""Bytes that a window may have shrunk by and count as standing still: a chunk that has arrived is not read at once."""
NARROW = 128 * KIB
"""A window that has shrunk by more than this, and by more than an eighth, may come back although much lies behind it, since a
receiver that is read in bursts enlarges its buffer. Then it hides as much as if it had just widened from nothing."""
LEAST_HIDDEN = 128 * KIB
"""Bytes that a wide window may hide at the least. Measured: 300 kB behind one of 138 kB, which was shut again and again."""

OVERHEAD = 40 * KIB
"""Bytes by which a small window may have shrunk more than lies unread (measured: 35 kB), and a large one by a quarter: a
receiver counts its buffers, not the data in them."""
OVERHEAD_TLS = 256 * KIB
"""The same where every record is a segment of its own: so much, or half (measured in 320 aborts at full speed: 202 of 420 kB)."""


class TcpSnapshot(NamedTuple):
    """One look at a connection, in bytes written to it since it began.

    Attributes:
        acknowledged: the client's TCP has acknowledged these.
        unread: of those, what the client's window shows to be still in its buffer.
        hidden: what may be unread beyond that, see `Window.judge`.
        definitely_unread: of the unread ones, what the client cannot have read meanwhile without telling: a receiver announces
            unread in its buffer as soon as that has doubled (Linux), or grown by half the buffer (RFC 9293 section 3.8.6.2.2).
            Less what the window may have shrunk by for other reasons.
        sent: left this machine at least once; the rest lies in our own buffer.
        silence: seconds since the last acknowledgement of any kind.
        broken: the client has reset the connection, its machine is gone, or both ends are done.
        half_closed: the client has ended its sending half.
        width: of its window.
        parting: over TLS, the client has said that it sends nothing more (close_notify).
    """

    acknowledged: int
    unread: int
    hidden: int
    definitely_unread: int
    sent: int
    silence: float
    broken: bool
    half_closed: bool = False
    width: int = 1 << 30
    parting: bool = False

    @property
    def fully_open(self) -> bool:
        """Is the window about as wide as at its widest? One that is more than half shut is not, however small it is."""
        return self.unread <= min(FULLY_OPEN, self.width)

    @property
    def nothing_unread(self) -> bool:
        """Has a client that ends left nothing unread, as far as its window can tell?"""
        return self.fully_open or (self.parting and self.unread <= self.width * PARTING_SHARE)

    @property
    def hides_little(self) -> bool:
        """Is it fully open, and can next to nothing lie behind it?"""
        return self.fully_open and self.hidden <= LITTLE


class Window:
    """The widths of one client's window, and what they hide."""

    __slots__ = ("_first", "_hidden", "_peak", "_seen")

    def __init__(self, width: int, acknowledged: int) -> None:
        """The window is `width` bytes wide; nothing of the `acknowledged` bytes before lies unread."""
        self._first = self._peak = width
        """The width at the beginning, and at its widest."""
        self._hidden = width * HIDDEN_SHARE
        """Bytes that may lie unread behind it."""
        self._seen: int | None = acknowledged
        """So much was acknowledged then; None while no less can be hidden, as behind most windows of slow clients."""

    def judge(self, width: int, acknowledged: int) -> tuple[int, int]:
        """The window is `width` bytes wide now, and `acknowledged` bytes are acknowledged.

        Returns bytes that are visibly unread, and bytes that may be unread beyond: a quarter as much, since a receiver counts its
        buffers and not the data in them (measured: a ninth); a part of what the window has widened by (HIDDEN_SHARE), until it
        reveals that nothing lies there (REVEALED); and a buffer whose size the client has set (SO_RCVBUF), which is offered by
        half at first, and later no further than the window's scale can say.
        """
        unread = self._peak - width
        if unread < 0:
            self._peak = width
            self._hidden -= unread * HIDDEN_SHARE
            self._seen = acknowledged
            unread = 0
        elif unread > NARROW and unread > self._peak >> 3:
            self._hidden = self._peak * HIDDEN_SHARE
            self._seen = acknowledged
        elif self._seen is not None:
            if unread <= STILL:
                self._hidden -= (acknowledged - self._seen) * REVEALED
            self._seen = acknowledged
            least = min(self._peak * HIDDEN_SHARE, LEAST_HIDDEN)
            if self._hidden <= least:
                self._hidden, self._seen = least, None
        return unread, max(2 * self._first - self._peak, 0) + int(self._hidden) + (unread >> 2)

    def definitely_unread(self, width: int, *, encrypted: bool) -> int:
        """Bytes that the client cannot have read without its window telling; see `TcpSnapshot`."""
        unread = self._peak - 2 * width
        overhead = max(OVERHEAD_TLS, unread >> 1) if encrypted else max(OVERHEAD, unread >> 2)
        return max(unread - overhead, 0)
