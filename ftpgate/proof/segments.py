"""A segment: the bytes of one resource that one transfer sends, and what its connection shows of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from ftpgate.proof.coverage import Span

CLOCK_ERROR = 0.2
"""Seconds by which the times of another gate's segment may be off here: twice the longest answer of the database's clock that is
believed."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is kept of a segment: in the journal while it runs, in the database once it has ended without proof.

    Positions are bytes of the resource (`Resource.key`): `start <= credited <= sent` and `start <= acknowledged <= sent <= end`.

    Attributes:
        id: unique over all gates and restarts.
        start, end: the range asked for; of an FTP `RETR` the end is the resource's.
        sent: the client can have received nothing from here on.
        acknowledged: its TCP has acknowledged the bytes before, or the gate has ended and its kernel goes on until it does.
        shown: its window shows the bytes before as read.
        hidden_bytes: so many bytes before `shown` the window may hide.
        credited: the bytes before are delivered.
        paced: the customer had a rate at which windows tell precisely what is unread.
        exact: the gate ended and the client was left with all that had been written: who read everything resumes at
            `acknowledged`, or where the gate was just writing, up to `sent`.
        unconfirmed: the ranges between `credited` and `sent` by `File.id`, in bytes of the file; empty while the transfer runs.
    """

    id: str
    grant: str
    resource: str
    start: int
    end: int
    sent: int
    acknowledged: int
    shown: int
    hidden_bytes: int
    credited: int
    paced: bool
    exact: bool = False
    unconfirmed: Mapping[int, Sequence[Span]] = field(default_factory=dict)


class Segment:
    """A segment that runs, or has ended without proof of all that was sent. Positions as in `Evidence`.

    Its transfer writes the positions; `Reconciler.observe` draws the conclusions.
    """

    __slots__ = (
        "acknowledged", "began", "client_survived", "credited", "end", "ended", "ended_at", "exact", "hidden_bytes", "id",
        "line", "lines", "moved", "order", "orderly", "paced", "sent", "shown", "start", "told",
    )  # fmt: skip

    remote: ClassVar[bool] = False
    """Is it a segment of another gate?"""

    def __init__(self, id: str, start: int, end: int, order: int, began: float) -> None:
        self.id = id
        self.start = start
        self.end = end
        self.began = began
        """By a clock that does not jump. Of what an earlier time left, when it became known."""
        self.order = order
        """Counts the beginnings of segments of the resource; those that an earlier time left have 0."""
        self.sent = self.acknowledged = self.shown = self.credited = start
        self.hidden_bytes = 0
        self.moved = 0.0
        """When it was last acknowledged, or ended; by a clock that does not jump. Of what an earlier time left, 0."""
        self.paced = True
        self.exact = False
        self.ended = False
        self.ended_at = 0
        """The next `order` when it ended: segments of that order and above began later."""
        self.orderly = False
        """It was credited to its end, or to the line where its client ended."""
        self.line = end
        """Where it stops next to give the client the chance to end."""
        self.lines = 0
        """How often it has stopped."""
        self.told = False
        """It was read for long enough, and what that proves was looked for."""
        self.client_survived = False
        """Its client read on elsewhere after this one was cut."""

    @classmethod
    def left(cls, evidence: Evidence, now: float = 0.0) -> Segment:
        """One that ended without proof at an earlier time, which has become known `now`."""
        segment = cls(evidence.id, evidence.start, evidence.end, 0, now)
        segment._take(evidence)
        segment.ended, segment.ended_at = True, 1
        return segment

    def _take(self, told: Evidence | Segment) -> None:
        """All that is known of its connection."""
        self.sent, self.acknowledged, self.shown = told.sent, told.acknowledged, told.shown
        self.hidden_bytes, self.credited, self.paced, self.exact = told.hidden_bytes, told.credited, told.paced, told.exact

    @property
    def over(self) -> float:
        """When it was last acknowledged, or ended, or became known: what began later than this began after it."""
        return max(self.began, self.moved)

    @property
    def unconfirmed(self) -> Span | None:
        """What was sent without proof of its being read, once the transfer has ended."""
        return (self.credited, self.sent) if self.ended and self.sent > self.credited else None


class RemoteSegment(Segment):
    """A segment of another gate, as that has told of it. Only that gate's transfer moves it on.

    Its `began` and `moved` are within CLOCK_ERROR; how it follows the segments of this gate is judged by them, not by `order`.
    """

    __slots__ = ("gate",)
    remote = True

    def __init__(
        self, gate: str, evidence: Evidence, *, line: int, ended: bool, orderly: bool, began: float, moved: float
    ) -> None:
        """Args:
        gate: whose it is.
        began, moved: by this gate's clock that does not jump.
        """
        super().__init__(evidence.id, evidence.start, evidence.end, 0, began)
        self.gate = gate
        self.moved = moved
        self._take(evidence)
        self.line, self.ended, self.orderly = line, ended, orderly

    def follow(self, news: RemoteSegment) -> bool:
        """Its gate has told of it again. False when that says nothing new.

        What was proven here of one that has ended stays, though its gate may not have found it yet.
        """
        if self.ended and news.credited <= self.credited:
            return False
        self._take(news)
        self.end, self.line, self.moved = news.end, news.line, news.moved
        self.ended, self.orderly = news.ended, news.orderly
        return True
