"""Listening for what `webportal.core.push` sends: notices to all gates, and to this one."""

from __future__ import annotations

import select
from typing import Any

from django.db import connection

from ftpgate.notices import Changes, decode
from webportal.core.push import CHANNEL, channel_of


class Listener:
    """Listens on the connection of the thread that calls `wait`, which is always the same one."""

    def __init__(self) -> None:
        self._listening: Any = None
        """The connection of psycopg2 that listens."""

    def wait(self, gate: str, timeout: float) -> Changes | None:
        """As `Bridge.wait_for_changes`. Raises `DatabaseError` when the connection broke."""
        if connection.vendor != "postgresql":
            return None
        connection.ensure_connection()
        if connection.connection is not self._listening:
            self._listen(gate)
            return Changes(everything=True)  # whatever was told before, nobody has heard
        found = self._received()
        if not found:
            select.select([self._listening], [], [], timeout)
            found = self._received()
        return decode(found)

    def _listen(self, gate: str) -> None:
        with connection.cursor() as cursor:
            for channel in (CHANNEL, channel_of(gate)):
                cursor.execute(f'LISTEN "{channel}"')
        self._listening = connection.connection

    def _received(self) -> list[str]:
        with connection.wrap_database_errors:
            self._listening.poll()
        found = [notification.payload for notification in self._listening.notifies]
        self._listening.notifies.clear()
        return found
