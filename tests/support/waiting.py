"""Waiting for a condition with a deadline, instead of sleeping and hoping."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")


def wait_until(
    condition: Callable[[], Found | None],
    timeout: float = 10,
    what: str = "the condition",
    *,
    interval: float = 0.02,
    longest: float = 0,
) -> Found:
    """Call `condition` until it answers something true, and return that.

    Args:
        condition: what is waited for.
        timeout: seconds; a generous upper bound, not an expectation.
        what: how to name it when it does not come about.
        interval: seconds between calls; longer where a call is expensive.
        longest: to which the interval grows, by half each time; not at all when it is shorter.

    Raises:
        AssertionError: it was still false at the deadline; the text holds the last answer.
    """
    deadline = time.monotonic() + timeout
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() >= deadline:
            raise AssertionError(f"{what} did not come about within {timeout:g} s; last seen: {found!r}")
        time.sleep(interval)
        interval = max(interval, min(interval * 1.5, longest))
