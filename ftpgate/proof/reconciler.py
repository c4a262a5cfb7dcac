"""All segments of one resource under one grant: where each has to stop, what is proven of those that were cut, what is not."""

from __future__ import annotations

from bisect import bisect_right, insort_right
from collections.abc import Callable, Iterable, Iterator
from math import inf
from operator import attrgetter

from ftpgate.proof import rules
from ftpgate.proof.coverage import Span, SpanSet
from ftpgate.proof.segments import Evidence, RemoteSegment, Segment

SEGMENTS = 256
"""Segments remembered of one resource; beyond it the oldest ended ones are forgotten, which only costs a repeat."""
LINES = 2
"""Lines at which one segment stops, at the most: a player, or a second device, that reads on is not held up more often."""

_start = attrgetter("start")


class Reconciler:
    """Follows the segments of a resource. Positions are its bytes.

    A segment is told of by `begin`, then by `observe` whenever its transfer has written new positions into it. Segments of other
    gates come by `hear`; while there are any, a proof waits until it is known what had begun there by then.
    """

    __slots__ = ("_awaiting", "_covered", "_delivered", "_known_until", "_order", "_remote", "_segments", "forgotten")

    def __init__(
        self, covered: SpanSet, left: Iterable[Evidence] = (), delivered: Callable[[int, int], bool] | None = None,
        now: float = 0.0,
    ) -> None:  # fmt: skip
        """Args:
        covered: what is delivered of the resource; the caller keeps it up to date, with what `observe` returns as well.
        left: what an earlier time left without proof.
        delivered: tells whether all of bytes `[start, end)` are delivered, where that is more than is in `covered`: the files of
            a zip may have been delivered one by one.
        """
        self._covered = covered
        self._delivered = delivered or covered.covers
        self._order = 0
        self._segments = sorted((Segment.left(evidence, now) for evidence in left), key=_start)
        self._remote: dict[str, RemoteSegment] = {}
        self._known_until = inf
        """All that other gates had begun by this time is known; of one gate alone, always."""
        self._awaiting: dict[Segment, float] = {}
        """Cut segments of which news may prove something, and when it came; judged once that time is known of all gates."""
        self.forgotten: list[Segment] = []
        """Unconfirmed ones that had to give way; whoever keeps evidence of them takes them from here."""

    def inherit(self, segment: Segment) -> list[Span]:
        """A segment that an earlier time, or another gate, left without proof has become known. Returns what is proven already.

        What has begun here by now may have run beside it.
        """
        segment.moved, segment.ended_at = segment.began, self._order + 1
        insort_right(self._segments, segment, key=_start)
        self._make_room()
        return self._judge([segment], segment.over)

    def begin(self, id: str, start: int, end: int, now: float) -> Segment:
        """A transfer is about to send bytes `[start, end)`. Others that would run into it stop there."""
        self._order += 1
        segment = Segment(id, start, end, self._order, now)
        segment.line = self._line_after(segment, start)
        self._add(segment)
        return segment

    def hear(self, told: Iterable[RemoteSegment], known_until: float) -> list[Span]:
        """Another gate has told of its segments. Returns what is proven by now.

        Args:
            known_until: all that began before this time, at any gate, has been told.
        """
        self._known_until = known_until
        for news in told:
            segment = self._remote.get(news.id)
            if segment is None:
                segment = self._remote[news.id] = news
                self._add(segment)
            elif not segment.follow(news):
                continue
            self._awaiting.update(dict.fromkeys(self._concerned(segment), segment.over))
        return self._judge((), 0.0)

    def drop(self, gate: str) -> None:
        """That gate serves this no longer: what it left without proof comes by `inherit`, if at all."""
        gone = {segment for segment in self._remote.values() if segment.gate == gate}
        self._segments = [segment for segment in self._segments if segment not in gone]
        for segment in gone:
            self._let_go(segment)

    def passed(self, segment: Segment, position: int) -> None:
        """The client of `segment` wants more than what lies before its line; it goes on at byte `position`."""
        segment.lines += 1
        segment.line = self._line_after(segment, position) if segment.lines < LINES else segment.end

    def observe(self, segment: Segment) -> list[Span]:
        """There is news of `segment`: returns what this proves to be delivered of segments that were cut."""
        if segment.ended and not segment.ended_at:
            segment.ended_at = self._order + 1
        return self._judge(self._concerned(segment), segment.over)

    def own(self) -> Iterator[Segment]:
        """The segments of this gate, and those that were left to it."""
        return (segment for segment in self._segments if not segment.remote)

    def unconfirmed(self) -> Iterator[Segment]:
        """The ended segments of which something is neither proven nor delivered by another one."""
        for segment in self._segments:
            if self._lacks(segment):
                yield segment

    def settle(self) -> list[Segment]:
        """Drop the ended segments that say nothing any more. Returns those of which something was unconfirmed once."""
        if any(not segment.ended for segment in self._segments):
            return []
        settled = [segment for segment in self._segments if not self._lacks(segment)]
        self._segments = [segment for segment in self._segments if self._lacks(segment)]
        for segment in settled:
            self._let_go(segment)
        return [segment for segment in settled if not segment.remote]

    @property
    def idle(self) -> bool:
        """Is nothing under way, and nothing unconfirmed?"""
        return not self._segments

    def _add(self, segment: Segment) -> None:
        """It begins, or has been told of. Others that would run into it stop there; those of another gate stop by themselves."""
        if not segment.ended:
            for other in self._segments:
                running = not other.ended and not other.remote
                if running and other.lines < LINES and other.shown < segment.start < other.line:
                    other.line = segment.start  # if it was passed in the kernel's queue, the transfer stops at once
        insort_right(self._segments, segment, key=_start)
        self._make_room()

    def _judge(self, cuts: Iterable[Segment], now: float) -> list[Span]:
        """Prove what can be proven of `cuts`, of which there was news `now`, and of those that have waited for this."""
        self._awaiting.update(dict.fromkeys(cuts, now))
        if not self._awaiting:
            return []
        due = [cut for cut, since in self._awaiting.items() if since <= self._known_until]
        for cut in due:
            del self._awaiting[cut]
        return self._prove(due)

    def _let_go(self, segment: Segment) -> None:
        self._remote.pop(segment.id, None)
        self._awaiting.pop(segment, None)

    def _prove(self, cuts: Iterable[Segment]) -> list[Span]:
        found = []
        pending = list(cuts)
        while pending:
            cut = pending.pop()
            x = rules.proven(cut, self._segments) if cut.unconfirmed else None
            if x is not None:
                found.append((cut.credited, x))
                cut.credited = cut.sent = x  # what lies behind, its client has not read
                pending += (other for other in self._segments if other.unconfirmed and rules.begins_within(cut, other))
        return found

    def _lacks(self, segment: Segment) -> bool:
        span = segment.unconfirmed
        return span is not None and not self._delivered(*span)

    def _concerned(self, segment: Segment) -> Iterator[Segment]:
        """The cut segments of which news of `segment` may prove something."""
        deliberate = rules.is_deliberate(segment)
        news = segment.ended or (deliberate and not segment.told)
        segment.told = deliberate
        for cut in self._segments:
            if not cut.unconfirmed:
                continue
            if not cut.client_survived and rules.survived(cut, segment):
                cut.client_survived = True
                yield cut
            elif news and (cut is segment or rules.begins_within(segment, cut)):
                yield cut

    def _line_after(self, segment: Segment, position: int) -> int:
        """The first byte behind `position` where another segment begins, or delivered coverage; else the segment's end."""
        found = [segment.end]
        for other in self._segments[bisect_right(self._segments, position, key=_start) :]:
            if not other.ended or other.unconfirmed:
                found.append(other.start)
                break
        covered = self._covered.next_start(position)
        if covered is not None:
            found.append(covered)
        return min(found)

    def _make_room(self) -> None:
        while len(self._segments) > SEGMENTS:
            ended = [segment for segment in self._segments if segment.ended]
            gone = min(ended or self._segments, key=attrgetter("order"))
            self._segments.remove(gone)
            self._let_go(gone)
            if gone.unconfirmed:
                self.forgotten.append(gone)
