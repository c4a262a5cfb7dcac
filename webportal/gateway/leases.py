"""Leases between gates in the shop's PostgreSQL: one call of a function for each exchange, over unlogged tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.db import ProgrammingError
from django.db import connection as database_connection

from ftpgate.errors import Unavailable
from ftpgate.leases import LeaseAnswer, LeaseExchange, LeaseLeave, LeaseReport
from webportal.gateway import connection

_MOST_MS = 2_000
"""That a call may take: gates go on without an answer, and ask again."""
_CALL = (
    "SELECT * FROM lease_exchange(%s, %s::text[], %s::bigint[], %s::integer[], %s::bigint[], %s::bigint[], %s::integer[], "
    "%s::integer[], %s::integer[], %s::integer[], %s::text[], %s::bigint[], %s::text[], %s)"
)
_NOTHING: tuple[list[object], ...] = tuple([] for _ in LeaseReport._fields)


class PostgresLeases:
    """`ftpgate.leases.LeaseStore` over Django's connection of the thread that calls; its time is the database's.

    Args:
        clock: another time than the database's, for tests.
    """

    name = "postgresql"

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self._clock = clock
        self._bounded: object = None
        """The connection whose statements are bounded already."""

    def exchange(
        self, gate: str, reports: Sequence[LeaseReport] = (), leaving: Sequence[LeaseLeave] = (), ended: Sequence[str] = ()
    ) -> LeaseExchange:
        columns = [list(column) for column in zip(*reports, strict=True)] if reports else _NOTHING
        left, sent = ([each.customer for each in leaving], [each.sent for each in leaving])
        now = None if self._clock is None else self._clock()
        try:
            rows = self._call([gate, *columns, left, sent, list(ended), now])
        except ProgrammingError as error:  # the tables are of an earlier version
            raise Unavailable from error
        answers = {row[1]: LeaseAnswer(*row[1:]) for row in rows if row[0] == "answer"}
        return LeaseExchange(
            [answers[report.customer] for report in reports if report.customer in answers],
            [row[1] for row in rows if row[0] == "called"],
            all(row[0] != "unknown" for row in rows),
        )

    def _call(self, parameters: list[Any]) -> Sequence[Sequence[Any]]:
        with connection.database(), database_connection.cursor() as cursor:
            if self._bounded is not database_connection.connection:
                cursor.execute(f"SET statement_timeout = {_MOST_MS}")
                self._bounded = database_connection.connection
            cursor.execute(_CALL, parameters)
            rows: Sequence[Sequence[Any]] = cursor.fetchall()
            return rows

    def close(self) -> None:
        connection.release()
