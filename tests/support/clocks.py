"""Clocks that a test can set, for what takes a `ClockGuard`."""

from __future__ import annotations

import time

from ftpgate.clock import ClockGuard

WEEK = 7 * 86_400.0


class Clocks:
    """This machine's clock and the database's, each ahead of the real time by some seconds.

    Attributes:
        guard: compares them; the steady clock is the real one.
    """

    def __init__(self, *, wall_ahead: float = 0.0) -> None:
        self.wall_ahead = wall_ahead
        self.database_ahead = 0.0
        self.guard = ClockGuard(self.wall)

    def wall(self) -> float:
        return time.time() + self.wall_ahead

    def database(self) -> float:
        return time.time() + self.database_ahead
