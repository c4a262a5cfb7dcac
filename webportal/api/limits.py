"""How often one key may ask."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from threading import Lock


class RateLimit:
    """A bucket for each key: `burst` requests at once, refilled by `rate` a second. Of this process alone.

    Buckets that are full again are forgotten, so that what is kept is bounded by the requests of the last minutes.
    """

    def __init__(self, rate: float, burst: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._full_at: dict[Hashable, float] = {}  # when the bucket will be full again: all that there is to know of it
        self._lock = Lock()
        self._swept = clock()

    def take(self, key: Hashable) -> float:
        """Take one request; returns 0, or the seconds until there is one to take."""
        now = self._clock()
        with self._lock:
            self._forget_full(now)
            full_at = max(self._full_at.get(key, now), now) + 1 / self._rate
            missing = full_at - now - self._burst / self._rate
            if missing > 1e-9:
                return missing
            self._full_at[key] = full_at
            return 0.0

    def _forget_full(self, now: float) -> None:
        if now - self._swept < 60:
            return
        self._swept = now
        self._full_at = {key: full_at for key, full_at in self._full_at.items() if full_at > now}
