"""When is a byte delivered? The rules of credit for one transfer: events in, credited bytes out. Pure.

Positions are bytes of the transfer's own stream, 0 at its first. What has been credited is never taken back, so only
what the client has surely read may be credited while it reads on:

    surely read = acknowledged - unread by the window - hidden behind it - margin

What hides behind a window is judged by how that widens and narrows (`acknowledgement.Window`). The margin is for what a receiver
counts in another way than we do; where nothing is paced, 8 MiB are in doubt at the least. What is older (AGED) is read, too.

What is left at the end of the range is credited when the client shows that it holds it: by its orderly end, by its
next request, or by keeping the connection open for a second, answering a probe with an open window. When the client
cuts instead, the rest is a zone of doubt (`doubt.py`).
"""

from __future__ import annotations

from enum import Enum, auto

from ftpgate.delivery.acknowledgement import OPEN, TRUTHFUL, Look

PACED_RATE = 20_000_000
PACED_CHUNK = 65_536
MARGIN = 256 * 1024
"""Bytes; a small window of a client that is slow hides so much, with segments of 1.4 kB that its kernel joins (GRO)."""
FAST_DOUBT = 8 * 1024 * 1024
"""Bytes that are in doubt at the least on a connection that is not paced, or faster: margin and hidden ones together."""
AGED = 1.5
AGED_HIDDEN = 640 * 1024
AGED_MARGIN = 64 * 1024
"""While more is sent, what was acknowledged AGED seconds ago is read, when the window was open all that time and hid no more
than this: a client that pauses for so long shows it, or had to widen its window further. Less a margin, for those that get
very little. So slow downloads are credited without much delay."""
HOLD = 1.0
"""Seconds that a connection has to stay open, all acknowledged, before its tail is credited."""


class Phase(Enum):
    """Where a transfer's bytes are."""

    SENDING = auto()
    """Some are not written to the socket yet."""
    SETTLING = auto()
    """All are written, not all acknowledged."""
    HOLDING = auto()
    """All are acknowledged; whether the last were read is not known yet."""
    CREDITED = auto()
    """All are credited."""
    CUT = auto()
    """The connection broke before that."""


class Credit:
    """The credit of one transfer of `length` bytes, whose stream begins at byte `base` of its connection."""

    __slots__ = (
        "_aging", "_aging_since", "_early_fin", "_held_since", "_least_doubt", "acknowledged", "base", "credited", "length",
        "phase",
    )  # fmt: skip

    def __init__(self, base: int, length: int) -> None:
        self.base = base
        self.length = length
        self.acknowledged = 0
        self.credited = 0
        """Bytes `[0, credited)` of the stream are delivered."""
        self.phase = Phase.SENDING
        self._least_doubt = 0
        self._held_since = 0.0
        self._aging = 0
        """So much was acknowledged at `_aging_since`, and nothing has lain unread in sight since then."""
        self._aging_since = 0.0
        self._early_fin = False

    def paced(self, rate: int, chunk: int) -> bool:
        """`chunk` bytes went out at once, to a customer of `rate` bytes a second (0: no limit). False when that is fast.

        Once fast, the connection is judged so to its end: what once came may lie there still.
        """
        slow = 0 < rate <= PACED_RATE and chunk <= PACED_CHUNK
        if not slow:
            self._least_doubt = FAST_DOUBT
        return slow

    def written(self) -> None:
        """The last byte was handed to the kernel."""
        if self.phase is Phase.SENDING:
            self.phase = Phase.SETTLING

    def progress(self, now: float, look: Look) -> bool:
        """Take a look at the connection into account. True when more is credited than before."""
        if self.phase in (Phase.CREDITED, Phase.CUT):
            return False
        before = self.credited
        self._take(look)
        if self.phase is Phase.SENDING:
            self._age(now, look)
        if self.credited == self.length and self.phase is not Phase.SENDING:
            self.phase = Phase.CREDITED
        elif self.phase is Phase.SETTLING and self.acknowledged >= self.length:
            self.phase = Phase.HOLDING
            self._held_since = now
        elif self.phase is Phase.HOLDING and now >= self._held_since + HOLD:
            # The last acknowledgement has to be an answer to the probe, not the one of the data themselves: a machine
            # that went away just after it acknowledged proves nothing by its silence.
            answered = now - look.silence > self._held_since + HOLD / 2
            if answered and look.open:
                self._all()
        return self.credited > before

    def fin(self, now: float, look: Look) -> bool:
        """The client has ended its side in order. True when more is credited than before.

        A client that closes with bytes unread sends a reset instead, so the end vouches for all that was acknowledged
        by then; but a client may also close only its sending half, before it has read (RFC 9293 section 3.6). So it
        counts when everything was acknowledged before and the window is as open as it was; otherwise it says nothing.
        """
        before = self.credited
        self.progress(now, look)
        if self.phase is not Phase.HOLDING:
            self._early_fin = True
        elif not self._early_fin and (look.open or not TRUTHFUL):
            self._all()
        return self.credited > before

    def next_request(self, now: float, look: Look) -> bool:
        """The client has asked for more on this connection, after everything was acknowledged. True when more is credited."""
        before = self.credited
        self.progress(now, look)
        if self.phase is Phase.HOLDING:
            self._all()
        return self.credited > before

    def cut(self, look: Look | None) -> tuple[int, int] | None:
        """The connection broke. Returns the zone of doubt `(surely read, perhaps read)`, both positions inclusive, or None.

        Perhaps read is what was sent, and not only acknowledged: a client may read, and reset before its delayed
        acknowledgement. But it cannot have read what its window shows to lie untouched.
        """
        if self.phase in (Phase.CREDITED, Phase.CUT):
            return None
        self.phase = Phase.CUT
        if look is None:
            return None
        self._take(look)
        last = min(max(look.sent - look.untouched - self.base, 0), self.length)
        return (self.credited, last) if last > self.credited else None

    def _take(self, look: Look) -> None:
        acknowledged = min(max(look.acknowledged - self.base, 0), self.length)
        if acknowledged > self.acknowledged:
            self.acknowledged = acknowledged
        # The margin counts from the connection's last acknowledged byte: one that has gone on to a later response
        # has the same buffer to hide in. So it can reach the end only through acknowledgements of a later response.
        doubtful = look.unread + max(look.hidden + MARGIN, self._least_doubt)
        surely = min(look.acknowledged - doubtful - self.base, self.length)
        if surely > self.credited:
            self.credited = surely

    def _age(self, now: float, look: Look) -> None:
        """Credit what has been acknowledged for long enough, with nothing unread in sight; but for the last byte."""
        if look.unread > OPEN or look.hidden > AGED_HIDDEN:
            self._aging = self.acknowledged
            self._aging_since = now
        elif now - look.silence >= self._aging_since + AGED:  # it has acknowledged something since, and is alive
            self.credited = max(self.credited, min(self._aging - AGED_MARGIN, self.length - 1))
            self._aging = self.acknowledged
            self._aging_since = now

    def _all(self) -> None:
        self.credited = self.length
        self.phase = Phase.CREDITED
