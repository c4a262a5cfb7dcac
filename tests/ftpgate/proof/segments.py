"""Segments of one resource for the tests of the rules: their positions are told instead of looked up."""

from __future__ import annotations

from collections.abc import Iterable

from ftpgate.proof.coverage import Span, SpanSet
from ftpgate.proof.reconciler import Reconciler
from ftpgate.proof.segments import Evidence, Segment

KB = 1_000


def left(
    id: str, start: int, *, credited: int | None = None, shown: int, sent: int, end: int = 1 << 40, exact: bool = False
) -> Evidence:
    """What a killed gate leaves of a segment: all that was sent is acknowledged."""
    return Evidence(id, "g", "f1", start, end, sent, sent, shown, 0, start if credited is None else credited, True, exact)


class Story:
    """A client's segments of one resource of `size` bytes, as the reconciler hears of them.

    Attributes:
        delivered: what was credited to segments or proven of them.
        proven: what `observe` has returned, in order.
    """

    def __init__(self, size: int, inherited: Iterable[Evidence] = ()) -> None:
        self.size = size
        self.delivered = SpanSet()
        self.proven: list[Span] = []
        self.reconciler = Reconciler(self.delivered, inherited)
        self._begun = 0

    def begin(self, start: int, now: float, end: int | None = None) -> Segment:
        self._begun += 1
        return self.reconciler.begin(f"g-{self._begun}", start, self.size if end is None else end, now)

    def read(
        self,
        segment: Segment,
        shown: int,
        now: float,
        *,
        sent: int | None = None,
        credited: int | None = None,
        hidden_bytes: int = 0,
    ) -> list[Span]:
        """Its client has read up to `shown`, by its window. Everything `sent` is acknowledged."""
        segment.shown = shown
        segment.sent = segment.acknowledged = shown if sent is None else sent
        segment.credited = segment.credited if credited is None else credited
        self.delivered.add(segment.start, segment.credited)
        segment.moved = now
        return self._observe(segment)

    def cut(self, segment: Segment, now: float) -> list[Span]:
        segment.ended = True
        segment.moved = now
        return self._observe(segment)

    def finish(self, segment: Segment, now: float) -> list[Span]:
        """It is credited to its end."""
        segment.sent = segment.acknowledged = segment.shown = segment.credited = segment.end
        self.delivered.add(segment.start, segment.end)
        segment.ended = segment.orderly = True
        segment.moved = now
        return self._observe(segment)

    @property
    def unconfirmed(self) -> list[Span]:
        return sorted(span for segment in self.reconciler.unconfirmed() if (span := segment.unconfirmed) is not None)

    @property
    def complete(self) -> bool:
        return self.delivered.size == self.size

    def _observe(self, segment: Segment) -> list[Span]:
        found = self.reconciler.observe(segment)
        self.delivered.update(found)
        self.proven += found
        return found
