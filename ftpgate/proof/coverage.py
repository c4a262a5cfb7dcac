"""Sets of half-open byte ranges. Pure: no file, no clock, no thread.

A `SpanSet` is two sorted lists of bounds; adding a range costs two bisections and one splice, so that ten thousand
segments in any order cost milliseconds (libraries of general intervals are quadratic here).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

Span = tuple[int, int]
"""Bytes `[start, end)`, `0 <= start < end`."""


class SpanSet:
    """A set of bytes as sorted, disjoint, non-touching half-open ranges."""

    __slots__ = ("_ends", "_starts", "size")

    def __init__(self, spans: Iterable[Span] = ()) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self.size = 0
        """Bytes in the set."""
        for start, end in spans:
            self.add(start, end)

    def add(self, start: int, end: int) -> int:
        """Put `[start, end)` in; return how many bytes were not there before. An empty range adds nothing."""
        if start >= end:
            return 0
        starts, ends = self._starts, self._ends
        first = bisect_left(ends, start)  # the first range that touches or follows
        last = bisect_right(starts, end)  # one past the last range that touches
        if first == last:
            starts.insert(first, start)
            ends.insert(first, end)
            self.size += end - start
            return end - start
        low, high = min(start, starts[first]), max(end, ends[last - 1])
        held = sum(ends[first:last]) - sum(starts[first:last])
        starts[first:last] = [low]
        ends[first:last] = [high]
        new = high - low - held
        self.size += new
        return new

    def update(self, spans: Iterable[Span]) -> int:
        """Add every range; return how many bytes were new."""
        return sum(self.add(start, end) for start, end in spans)

    def remove(self, start: int, end: int) -> None:
        """Take `[start, end)` out."""
        if start >= end:
            return
        starts, ends = self._starts, self._ends
        first = bisect_right(ends, start)
        last = bisect_left(starts, end)
        if first >= last:
            return
        keep: list[Span] = []
        if starts[first] < start:
            keep.append((starts[first], start))
        if ends[last - 1] > end:
            keep.append((end, ends[last - 1]))
        self.size -= sum(ends[first:last]) - sum(starts[first:last]) - sum(high - low for low, high in keep)
        starts[first:last] = [span[0] for span in keep]
        ends[first:last] = [span[1] for span in keep]

    def covers(self, start: int, end: int) -> bool:
        """Is every byte of `[start, end)` in? True for an empty range."""
        if start >= end:
            return True
        at = bisect_right(self._starts, start) - 1
        return at >= 0 and self._ends[at] >= end

    def next_start(self, position: int) -> int | None:
        """Where the first range behind `position` begins; None when there is none."""
        at = bisect_right(self._starts, position)
        return self._starts[at] if at < len(self._starts) else None

    def previous_end(self, position: int) -> int:
        """Where the last range that ends at or before `position` ends; 0 when there is none."""
        at = bisect_right(self._ends, position)
        return self._ends[at - 1] if at else 0

    def missing(self, start: int, end: int) -> Iterator[Span]:
        """The ranges of `[start, end)` that are not in, in order."""
        at = bisect_right(self._ends, start)
        while start < end:
            if at == len(self._starts) or self._starts[at] >= end:
                yield start, end
                return
            if self._starts[at] > start:
                yield start, self._starts[at]
            start = self._ends[at]
            at += 1

    def __iter__(self) -> Iterator[Span]:
        return zip(self._starts, self._ends, strict=True)

    def __len__(self) -> int:
        """How many ranges."""
        return len(self._starts)

    def __bool__(self) -> bool:
        return bool(self._starts)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SpanSet):
            return NotImplemented
        return self._starts == other._starts and self._ends == other._ends

    def without(self, other: SpanSet) -> SpanSet:
        """The bytes of this set that are not in `other`."""
        return SpanSet(span for start, end in self for span in other.missing(start, end))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"SpanSet({list(self)})"
