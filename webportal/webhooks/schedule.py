"""When to try again: pure."""

from __future__ import annotations

from datetime import timedelta

_FIRST = 5.0
"""Seconds before the second attempt."""
_LONGEST = 6 * 3600.0
"""Seconds between two attempts at the most."""
_SPREAD = 0.5
"""Part of each wait that is drawn."""
_RETRIED_AT_ONCE = 3
"""Failures in a row after which an endpoint is left alone."""
_LONGEST_BACKOFF = 300.0
"""Seconds that an endpoint is left alone at the most: one that is back hears of it within five minutes."""


def retry_after(attempts: int, random: float) -> timedelta:
    """How long a delivery waits after so many failed attempts: about 5 s, then twice as long each time, to 6 hours.

    Args:
        random: 0 to 1; spreads what failed together over half of the time.
    """
    seconds = min(_FIRST * 2.0 ** min(attempts - 1, 32), _LONGEST)
    return timedelta(seconds=seconds * (1 - _SPREAD * random))


def backoff(failures: int) -> timedelta:
    """How long an endpoint is left alone after so many failures in a row, whatever waits for it: up to five minutes."""
    if failures < _RETRIED_AT_ONCE:
        return timedelta(0)
    return timedelta(seconds=min(_FIRST * 2.0 ** min(failures - _RETRIED_AT_ONCE, 32), _LONGEST_BACKOFF))
