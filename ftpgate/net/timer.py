"""One alarm on the loop that can be set for an earlier time than it was, as often as one likes.

The loop's own handles can be cancelled, but one that is due in the same round must not be (pyftpdlib asserts it). So an
earlier time sets another one, and what it has replaced finds nothing to do.
"""

from __future__ import annotations

import time
from collections.abc import Callable

CallLater = Callable[[float, Callable[[], None]], object]
"""The loop's: call after so many seconds."""


def _nobody() -> None:
    pass


class Alarm:
    """Calls `call` once, at the earliest time that it was set for since it last called."""

    __slots__ = ("_call", "_call_later", "_due")

    def __init__(self, call_later: CallLater, call: Callable[[], None]) -> None:
        self._call_later = call_later
        self._call = call
        self._due: float | None = None

    @property
    def pending(self) -> bool:
        return self._due is not None

    def within(self, seconds: float) -> None:
        """Call in so many seconds, unless it calls earlier anyway."""
        due = time.monotonic() + seconds
        if self._due is None or due < self._due:
            self._due = due
            self._call_later(seconds, self._ring)

    def stop(self) -> None:
        """Call no more, and let go of who was to be called: it holds this."""
        self._due = None
        self._call = _nobody

    def _ring(self) -> None:
        if self._due is not None and time.monotonic() >= self._due:
            self._due = None
            self._call()
