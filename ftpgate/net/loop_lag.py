"""How late the loop wakes up: scheduled against actual. Pure: time is passed in.

A wake-up is due every `EVERY` seconds, and each of them counts, also those that were due while the loop was held up: one
stall of a second is twenty late wake-ups, not one among many good ones, so that percentiles tell what a client would see.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from itertools import accumulate

EVERY = 0.05
"""Seconds between two wake-ups: the thousand that a 99.9th percentile needs are there after 50 s. Measured on an idle
gate, on a busy machine: 0.45 % of a core with all else; 0.65 to 0.8 % with 0.02, 0.1 % with 0.1."""
WINDOW = 10.0
"""Seconds that `worst` looks back."""
EDGES = (
    0.001, 0.002, 0.003, 0.004, 0.005, 0.006, 0.007, 0.008, 0.009, 0.01, 0.012, 0.015, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0,
)  # fmt: skip
"""Upper edges of the histogram's buckets in seconds, finest around the 10 ms that a gate should keep. The poll itself
waits for whole milliseconds, so that less than one tells nothing."""


class LoopLag:
    """Seconds by which the loop woke up late: of late, and all of them in a histogram."""

    __slots__ = ("_counts", "_due", "_recent", "total")

    def __init__(self) -> None:
        self._due: float | None = None
        self._counts = [0] * (len(EDGES) + 1)
        self._recent: deque[float] = deque(maxlen=round(WINDOW / EVERY))
        self.total = 0.0
        """The sum of all."""

    def woke(self, now: float) -> float:
        """The loop has woken up for this. Returns in how many seconds it should next.

        Args:
            now: seconds of a monotonic clock.
        """
        if self._due is None:
            self._due = now + EVERY
            return EVERY
        due = self._due
        while due <= now:
            self._late(now - due)
            # After a stop of hours (SIGSTOP) counting each of them would hold the loop up again, and `worst` forget the first.
            due = max(due + EVERY, now - WINDOW / 2)
        self._due = due
        return due - now

    @property
    def worst(self) -> float:
        """The largest of the last ten seconds."""
        return max(self._recent, default=0.0)

    def cumulative(self) -> Sequence[int]:
        """How many were at most as late as each of `EDGES`; and, last, how many there were."""
        return tuple(accumulate(self._counts))

    def _late(self, seconds: float) -> None:
        self._counts[bisect_left(EDGES, seconds)] += 1
        self._recent.append(seconds)
        self.total += seconds
