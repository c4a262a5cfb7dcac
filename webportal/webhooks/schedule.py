"""When to try again: pure."""

from __future__ import annotations

from datetime import timedelta

_FIRST = 5.0
_LONGEST = 6 * 3600.0
_SPREAD = 0.5
_PATIENCE = 3
_LONGEST_BACKOFF = 300.0


def retry_after(attempts: int, random: float) -> timedelta:
    """How long a delivery waits after so many failed attempts: about 5 s, then twice as long each time, to 6 hours.

    Args:
        random: 0 to 1; spreads what failed together over half of the time.
    """
    seconds = min(_FIRST * 2.0 ** min(attempts - 1, 32), _LONGEST)
    return timedelta(seconds=seconds * (1 - _SPREAD * random))


def backoff(failures: int) -> timedelta:
    """How long an endpoint is left alone after so many failures in a row, whatever waits for it: up to five minutes."""
    if failures < _PATIENCE:
        return timedelta(0)
    return timedelta(seconds=min(_FIRST * 2.0 ** min(failures - _PATIENCE, 32), _LONGEST_BACKOFF))
