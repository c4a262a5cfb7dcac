"""The time by which grants expire, and whether it can be trusted.

Expiry is for good, so a wrong clock must not bring it about. A process compares this machine's clock with a steady one, which
nobody can set, and with the database's, which all processes share. Where they disagree by more than a minute, nothing expires
until they agree again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from threading import Lock

LEEWAY = 60.0
"""Seconds by which clocks may disagree. Time services keep machines within milliseconds; a leap second is one."""
FORGIVEN = LEEWAY / 86_400
"""Seconds a second by which a clock may be corrected: a minute a day. A poor quartz loses 10 s a day, and without this its small
corrections would add up in a process that runs for years."""
HINT = "set the clocks by a time service (chrony); if the time is right now, restart this process"
_STEADY: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # elsewhere than on Linux suspensions count as jumps


def steady() -> float:
    """Seconds that have gone by, those in which the machine was suspended included. Setting the clock does not change it."""
    return time.clock_gettime(_STEADY)


class ClockGuard:
    """Tells the time by which grants expire: the database's where it is known, else this machine's. For any thread.

    Args:
        wall: this machine's Unix time, which can be set.
        steady: seconds that have gone by since some moment.
    """

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = steady) -> None:
        self.wall = wall
        self._steady = steady
        self._lock = Lock()
        self._looked_at = self._heard_at = steady()
        self._expected = wall() - self._looked_at
        """Wall clock less steady clock, as it should be."""
        self._database: tuple[float, float] | None = None
        """Database's clock less steady clock, at the least and at the most."""
        self._expected_database = 0.0
        """The same as it should be."""
        self._expiry_time = wall()
        self._wrong = self._told = ""

    def heard(self, database: float, age: float) -> None:
        """The database's clock said `database` (Unix time) some time within the last `age` seconds."""
        with self._lock:
            first, trusted = self._database is None, not self._look()
            self._heard_at = self._steady()
            least = database - self._heard_at
            self._database = least, least + max(age, 0.0)
            if first:  # one that was not known before a jump cannot tell that the new time is right
                self._expected_database = least if trusted else self._expected
            if self._look() and first and trusted:  # this machine's clock was taken for right without evidence
                self._expiry_time = min(self.wall(), database)

    def expiry_time(self) -> float:
        """What was to end by this moment (Unix time) is over. It stands still while the clock cannot be trusted."""
        with self._lock:
            self._look()
            return self._expiry_time

    def database_time(self) -> float | None:
        """The database's Unix time by now, reckoned from what it said last; None while it has said nothing."""
        with self._lock:
            return None if self._database is None else self._steady() + self._database[1]

    def silence(self) -> float | None:
        """Seconds since the database's clock was heard last; None when it never was."""
        with self._lock:
            return None if self._database is None else self._steady() - self._heard_at

    def wrong(self) -> str:
        """Why the clock cannot be trusted, in one line; '' when it can."""
        with self._lock:
            return self._look()

    def tell(self, log: logging.Logger) -> None:
        """Log, in one line, that the clock has begun or ceased to be wrong since this was last called."""
        wrong = self.wrong()
        if wrong and not self._told:
            log.error("the clock cannot be trusted and nothing expires: %s; %s", wrong, HINT)
        elif self._told and not wrong:
            log.warning("the clock can be trusted again: grants expire as they should")
        self._told = wrong

    def _look(self) -> str:
        """Compare the clocks; returns why they cannot be trusted.

        Two of three have to agree on what has passed: after a correction of this machine's clock, the database's tells that it
        is right now, if it was known before and has not been set itself.
        """
        now, wall = self._steady(), self.wall()
        forgiven = (now - self._looked_at) * FORGIVEN
        self._looked_at = now
        allowed = LEEWAY / 2 if self._wrong else LEEWAY  # a disagreement of just a minute would come and go
        moved, self._expected = _moved(wall - now, self._expected, forgiven)
        apart, jumped = 0.0, abs(moved) > allowed
        if self._database is not None:
            least, most = self._database
            apart = max(wall - now - most, 0.0) + min(wall - now - least, 0.0)
            set_by, self._expected_database = _moved(least, self._expected_database, forgiven)
            if jumped and abs(apart) <= allowed and abs(set_by) <= allowed:
                jumped, self._expected = False, wall - now
        found = []
        if jumped:
            found.append(f"has jumped {_by(moved, 'forward', 'back')} since this process started")
        if abs(apart) > allowed:
            found.append(f"is {_by(apart, 'ahead of', 'behind')} the database's")
        self._wrong = f"this machine's clock {' and '.join(found)}" if found else ""
        if not found:
            self._expiry_time = wall if self._database is None else now + self._database[1]
        return self._wrong


def _moved(offset: float, expected: float, forgiven: float) -> tuple[float, float]:
    """By how much a clock was set, and what is to be expected of it from now on."""
    moved = offset - expected
    return moved, expected + max(-forgiven, min(moved, forgiven))


def _by(seconds: float, ahead: str, behind: str) -> str:
    return f"{abs(seconds):,.0f} s {ahead if seconds > 0 else behind}"
