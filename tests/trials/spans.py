"""Sets of byte ranges `[start, end)`, written for the trials alone: what judges the product must not share its code."""

from __future__ import annotations

from collections.abc import Iterable

Span = tuple[int, int]


def merged(spans: Iterable[Iterable[int]]) -> list[Span]:
    """The union, sorted, without empty ranges."""
    found: list[Span] = []
    for start, end in sorted((start, end) for start, end in spans if start < end):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found


def less(spans: Iterable[Iterable[int]], others: Iterable[Iterable[int]]) -> list[Span]:
    """What is in `spans` and not in `others`."""
    found: list[Span] = []
    taken = merged(others)
    for start, end in merged(spans):
        for other_start, other_end in taken:
            if other_end <= start or other_start >= end:
                continue
            if start < other_start:
                found.append((start, other_start))
            start = other_end
            if start >= end:
                break
        if start < end:
            found.append((start, end))
    return found


def common(spans: Iterable[Iterable[int]], others: Iterable[Iterable[int]]) -> list[Span]:
    """What is in both."""
    mine = merged(spans)
    return less(mine, less(mine, others))


def length(spans: Iterable[Iterable[int]]) -> int:
    """Bytes in the union."""
    return sum(end - start for start, end in merged(spans))
