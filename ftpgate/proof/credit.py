"""When is a byte of one transfer delivered? Snapshots of its connection in, credited bytes out.

Positions are bytes of the transfer's own stream, 0 at its first. What is credited is never taken back, so while a client
reads on, only what it has surely read is credited:

    surely read = acknowledged - unread by the window - hidden behind it - MARGIN

The end of a body, and what lies before a stop line, is credited when the client shows that it has read it: by its orderly
end, or by its next request. A connection that it only keeps open shows nothing: a new one's window stays as wide as it was
with 60 kB unread (measured on Linux 6.18).

When the client cuts instead, what was sent beyond the credited bytes is unconfirmed, and `rules.py` may prove some of it later.
"""

from __future__ import annotations

from enum import auto

from ftpgate.moves import StateEnum, check_move
from ftpgate.proof.window import KIB, TcpSnapshot

PACED_RATE = 20_000_000
"""Bytes a second up to which windows hide little. Measured: never more than 64 kB with one connection, 247 kB with many."""
PACED_CHUNK = 64 * KIB
"""Bytes of one turn up to which a transfer counts as paced (see `PACED_RATE`)."""
MARGIN = 256 * KIB
"""Bytes; a small window of a slow client hides so much, with segments of 1.4 kB that its kernel joins (GRO)."""
FAST_DOUBT = 8 * 1024 * KIB
"""Bytes that are doubtful at the least on a connection that is not paced, or faster: margin and hidden ones together. Measured:
up to 2.5 MB in 300 aborts at full speed."""
AGED = 1.5
AGED_HIDDEN = 640 * KIB
AGED_MARGIN = 64 * KIB
"""While more is sent, what was acknowledged AGED seconds ago is read, if the window was fully open all that time and hid no more
than AGED_HIDDEN: a client that pauses for so long shows it, or had to widen its window further. Less a margin, for those that get
very little. So slow downloads are credited without much delay."""


class Phase(StateEnum):
    """Where a transfer's bytes are."""

    SENDING = auto()
    """Some are not written to the socket yet."""
    AT_LINE = auto()
    """All before a stop line are written; the client may end here, or gets the rest after a while."""
    AWAITING_ACK = auto()
    """All are written, not all acknowledged."""
    AWAITING_READ = auto()
    """All are acknowledged; whether the last were read is not known yet."""
    CREDITED = auto()
    """All are credited, or all before the line where the client ended."""
    ABORTED = auto()
    """The connection broke before that."""


MOVES: dict[Phase, frozenset[Phase]] = {
    Phase.SENDING: frozenset({Phase.AT_LINE, Phase.AWAITING_ACK, Phase.ABORTED}),
    Phase.AT_LINE: frozenset({Phase.SENDING, Phase.CREDITED, Phase.ABORTED}),
    Phase.AWAITING_ACK: frozenset({Phase.AWAITING_READ, Phase.CREDITED, Phase.ABORTED}),
    Phase.AWAITING_READ: frozenset({Phase.CREDITED, Phase.ABORTED}),
    Phase.CREDITED: frozenset(),
    Phase.ABORTED: frozenset(),
}


class Credit:
    """The credit of one transfer of `length` bytes, whose stream begins at byte `base` of its connection."""

    __slots__ = (
        "_aging", "_aging_since", "_early_fin", "_fin_at", "_least_doubt", "_stood_since", "_truthful", "acknowledged", "base",
        "credited", "hidden", "length", "line", "phase", "sent", "shown",
    )  # fmt: skip

    def __init__(self, base: int, length: int, *, truthful: bool = True) -> None:
        """`truthful`: the kernel tells what is acknowledged and how wide the window is; else an orderly end alone has to do."""
        self.base = base
        self._truthful = truthful
        self.length = length
        self.line: int | None = None
        """Where the transfer stands, or ended; None when at no line."""
        self.acknowledged = 0
        self.shown = 0
        """The client's window shows bytes `[0, shown)` as read, but for `hidden` ones."""
        self.hidden = 0
        self.sent = 0
        """The client can have read nothing from here on: the rest lies in our own buffer, or definitely unread in its buffer."""
        self.credited = 0
        """Bytes `[0, credited)` of the stream are delivered."""
        self.phase = Phase.SENDING
        self._least_doubt = 0
        self._stood_since: float | None = None
        """When everything before the line was acknowledged."""
        self._aging = 0
        """So much was acknowledged at `_aging_since`, and nothing has lain unread in sight since then."""
        self._aging_since = 0.0
        self._early_fin = False
        """The client has ended its sending half before it had everything."""
        self._fin_at: int | None = None
        """So much was acknowledged then, with a fully open window."""

    @property
    def ended(self) -> bool:
        return self.phase in (Phase.CREDITED, Phase.ABORTED)

    @property
    def paced(self) -> bool:
        """Was it slow from its beginning to now, so that its window hides little?"""
        return not self._least_doubt

    def judge_pace(self, rate: int, chunk: int) -> bool:
        """`chunk` bytes went out at once, to a customer of `rate` bytes a second (0: no limit). False when that is fast.

        Once fast, the connection is judged so to its end: what once arrived may lie there still.
        """
        slow = 0 < rate <= PACED_RATE and chunk <= PACED_CHUNK
        if not slow:
            self._least_doubt = FAST_DOUBT
        return slow

    def written(self) -> None:
        """The last byte was handed to the kernel."""
        self._move(Phase.AWAITING_ACK)

    def stop_at(self, line: int) -> None:
        """All before byte `line` was handed to the kernel, and nothing else is for now."""
        self._move(Phase.AT_LINE)
        self.line = line
        self._stood_since = None
        if self._fin_at == line:
            self._all()  # its client has ended in order already

    def go_on(self) -> None:
        """The client wants more than what lies before the line."""
        self._move(Phase.SENDING)
        self.line = None

    def read_before_line(self, look: TcpSnapshot, line: int) -> None:
        """The client was sent a little more than what lies before `line`, and its answer shows that it lets next to nothing
        lie."""
        if self.paced and look.hides_little and self.acknowledged >= line:
            self.credited = max(self.credited, line)

    def stood(self, now: float) -> float:
        """Seconds since everything before the line was acknowledged; 0.0 when it is not."""
        return 0.0 if self._stood_since is None else now - self._stood_since

    def progress(self, now: float, look: TcpSnapshot) -> bool:
        """Take a snapshot of the connection into account. True when more is credited than before."""
        if self.ended:
            return False
        before = self.credited
        self._take(look)
        if look.half_closed and self.acknowledged < self._goal:
            self._end_early(look)
        if self.phase is Phase.SENDING:
            self._age(now, look)
        elif self.phase is Phase.AT_LINE:
            if self._stood_since is None and self.acknowledged >= self._goal:
                self._stood_since = now
        elif self.credited == self.length:
            self._move(Phase.CREDITED)
        elif self.phase is Phase.AWAITING_ACK and self.acknowledged >= self.length:
            self._move(Phase.AWAITING_READ)
        return self.credited > before

    def fin(self, now: float, look: TcpSnapshot) -> bool:
        """The client has ended its side in order. True when more is credited than before.

        A client that closes with bytes unread sends a reset on Linux and Windows, so its end vouches for all that was
        acknowledged by then. BSD and macOS send a FIN all the same, and any client may close its sending half before it has
        read (RFC 9293 section 3.6). So it counts when everything was acknowledged before, and its window shows nothing unread;
        otherwise it says nothing.
        """
        before = self.credited
        self.progress(now, look)
        arrived = self.acknowledged >= self._goal and self.phase in (Phase.AT_LINE, Phase.AWAITING_READ)
        if not arrived:
            self._end_early(look)
        elif not self._early_fin and (look.nothing_unread or not self._truthful):
            self._all()
        return self.credited > before

    def next_request(self, now: float, look: TcpSnapshot) -> bool:
        """The client has asked for more on this connection, after everything was acknowledged. True when more is credited."""
        before = self.credited
        self.progress(now, look)
        if self.phase is Phase.AWAITING_READ:
            self._all()
        return self.credited > before

    def cut(self, look: TcpSnapshot | None) -> None:
        """The connection broke; None when the kernel cannot be asked any more.

        From `credited` to `sent` is unconfirmed then: a client may read, and reset before its delayed acknowledgement. But it
        cannot have read what its window shows to be unread.
        """
        if self.ended:
            return
        if look is not None:
            self._take(look)
            if self._closed_in_order(look):
                self.credited = self.sent = self.acknowledged
            self.sent = max(self.sent - look.definitely_unread, self.credited)
        self._move(Phase.ABORTED)

    def retract(self, credited: int) -> None:
        """What was sent was not what it should have been: the end, with nothing delivered but the first `credited` bytes."""
        self.credited = self.sent = credited
        self.phase = Phase.ABORTED

    def _end_early(self, look: TcpSnapshot) -> None:
        """The client has ended its sending half before it had everything. The kernel may know that before we are told."""
        if not self._early_fin:
            self._early_fin = True
            # Already broken: it may have acknowledged more since, and left that unread.
            self._fin_at = self.acknowledged if look.nothing_unread and not look.broken else None

    def _closed_in_order(self, look: TcpSnapshot) -> bool:
        """Has the client closed with nothing unread, in the midst of what was being sent?

        Its FIN came, and a reset answered what was on its way or was sent after it, without any more being acknowledged. A client
        that closes with bytes unread sends a reset and no FIN; one that has closed its sending half only goes on to acknowledge.
        """
        return look.broken and self.acknowledged == self._fin_at and self.sent > self.acknowledged

    @property
    def _goal(self) -> int:
        """What has to be acknowledged before the client's end can vouch for it."""
        return self.length if self.line is None else self.line

    def _move(self, phase: Phase) -> None:
        self.phase = check_move(MOVES, self.phase, phase)

    def _take(self, look: TcpSnapshot) -> None:
        acknowledged = min(max(look.acknowledged - self.base, 0), self.length)
        if acknowledged > self.acknowledged:
            self.acknowledged = acknowledged
        self.sent = min(max(look.sent - self.base, self.acknowledged), self.length)
        self.shown = min(max(look.acknowledged - look.unread - self.base, 0), self.length)
        self.hidden = look.hidden
        # The margin counts from the connection's last acknowledged byte: one that has gone on to a later response
        # has the same buffer to hide in. So it can reach the end only through acknowledgements of a later response.
        doubtful = look.unread + max(look.hidden + MARGIN, self._least_doubt)
        surely = min(look.acknowledged - doubtful - self.base, self.length)
        if surely > self.credited:
            self.credited = surely

    def _age(self, now: float, look: TcpSnapshot) -> None:
        """Credit what has been acknowledged for long enough, with nothing unread in sight; but for the last byte."""
        if not look.fully_open or look.hidden > AGED_HIDDEN:
            self._aging = self.acknowledged
            self._aging_since = now
        elif now - look.silence >= self._aging_since + AGED:  # it has acknowledged something since, and is alive
            self.credited = max(self.credited, min(self._aging - AGED_MARGIN, self.length - 1))
            self._aging = self.acknowledged
            self._aging_since = now

    def _all(self) -> None:
        """Everything that was sent is delivered: the whole, or all before the line where the client ended."""
        self.credited = self.length = self._goal
        self._move(Phase.CREDITED)
