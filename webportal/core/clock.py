"""The time by the database's clock, which portal, gates and commands share, and what has expired by it.

PostgreSQL may run on another machine than we do, so it is asked. SQLite has no clock but this machine's.
"""

from __future__ import annotations

from datetime import UTC, datetime

from django.db import connection

from ftpgate.clock import ClockGuard, steady

FRESH = 10.0
"""Seconds for which the database's time is reckoned from its last answer, for pages that ask for the state of many grants."""

guard = ClockGuard()


def now() -> datetime:
    """The database's time; asks it. For what is written down."""
    if connection.vendor != "postgresql":
        return _time(guard.wall())
    asked_at = steady()
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        answer: datetime = cursor.fetchone()[0]
    guard.heard(answer.timestamp(), steady() - asked_at)
    return answer


def expiry_time() -> datetime:
    """What was to end by this moment is over. While the clock cannot be trusted (`ClockGuard`) nothing more expires."""
    if connection.vendor == "postgresql" and ((silence := guard.silence()) is None or silence > FRESH):
        now()
    return _time(guard.expiry_time())


def database_time() -> float | None:
    """The database's Unix time, reckoned from its last answer; None on SQLite, whose clock is this machine's."""
    return guard.database_time()


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
