"""What a listener's connections share, and what they expect of its routes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from ftpgate.delivery.gate import Gate
from ftpgate.http.dates import http_date
from ftpgate.http.messages import Request

if TYPE_CHECKING:
    from ftpgate.http.connection import HttpConnection


class Visit(Protocol):
    """A request while it is being answered."""

    def closed(self) -> None:
        """The connection has ended before the answer had."""
        ...


class Routes(Protocol):
    """What a listener serves."""

    counted: bool
    """Are its connections those of clients?"""

    def visit(self, connection: HttpConnection, request: Request) -> Visit | None:
        """Have `request` answered, now or later, by one of the connection's `respond`, `deliver`, `stream` and `fail`.

        Returns who is to hear of the connection's end until then; None when it is answered.

        Raises:
            GateError: what it is to be answered with.
        """
        ...


class Front:
    """What the connections of one listener share."""

    __slots__ = ("_date", "_date_of", "connections", "gate", "protocol", "routes")

    def __init__(self, gate: Gate, routes: Routes, protocol: str) -> None:
        self.gate = gate
        self.routes = routes
        self.protocol = protocol
        self.connections: set[HttpConnection] = set()
        self._date, self._date_of = "", -1

    def enter(self, connection: HttpConnection) -> None:
        """A connection has been accepted."""
        self.connections.add(connection)
        if self.routes.counted:
            self.gate.connections += 1

    def leave(self, connection: HttpConnection) -> None:
        """A connection has ended."""
        self.connections.discard(connection)
        if self.routes.counted:
            self.gate.connections -= 1

    def date(self) -> str:
        """The value of `Date`, made once a second."""
        now = int(time.time())
        if now != self._date_of:
            self._date, self._date_of = http_date(now), now
        return self._date
