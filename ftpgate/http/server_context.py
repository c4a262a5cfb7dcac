"""What a listener's connections share, and what they expect of its routes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from ftpgate.delivery.context import DeliveryContext
from ftpgate.delivery.fetch import Fetch
from ftpgate.errors import GateError
from ftpgate.http.dates import http_date
from ftpgate.http.messages import Request, Response
from ftpgate.shaping.customer import Customer


class RequestHandler(Protocol):
    """A request while it is being answered."""

    def closed(self) -> None:
        """The connection has ended before the answer had."""
        ...


class Responder(Protocol):
    """A connection, as whoever answers a request on it knows it."""

    @property
    def peer(self) -> str:
        """The client's address."""
        ...

    @property
    def protocol(self) -> str:
        """`http` or `https`."""
        ...

    def serves(self, handler: RequestHandler) -> bool:
        """Is this still waiting for the answer of `handler`?"""
        ...

    def go_on(self, handler: RequestHandler, step: Callable[[], None]) -> None:
        """Have `step` go on with `handler`: at once while its request is being taken, else in its turn."""
        ...

    def prove(self) -> None:
        """The client has shown a valid token: it is no stranger any more."""
        ...

    def acquire(self, customer: Customer) -> None:
        """Take one of the customer's connections until the answer has been acknowledged.

        Raises:
            TooManyConnections: the tier allows no more.
        """
        ...

    def respond(self, response: Response) -> None:
        """Send an answer whose body, if any, is bytes only."""
        ...

    def deliver(self, fetch: Fetch, response: Response) -> None:
        """Send an answer whose body is a transfer."""
        ...

    def stream(self, response: Response, handler: RequestHandler) -> None:
        """Send the header of an answer without an end; then `push`."""
        ...

    def push(self, data: bytes) -> bool:
        """Send more of a stream; False, and nothing is sent, when the client has not taken what came before."""
        ...

    def end_stream(self) -> None:
        """Nothing more is pushed."""
        ...

    def fail(self, error: GateError) -> None:
        """Answer with an error."""
        ...


class Connection(Protocol):
    """A connection, as those who look after all of them know it."""

    def tick(self, now: float) -> None:
        """End what has taken too long. `now` is the monotonic clock's."""
        ...


class Routes(Protocol):
    """What a listener serves."""

    counted: bool
    """Are its connections those of clients?"""

    def handle(self, connection: Responder, request: Request) -> RequestHandler | None:
        """Have `request` answered, now or later, by one of the connection's `respond`, `deliver`, `stream` and `fail`.

        Returns who is to hear of the connection's end until then; None when it is answered.

        Raises:
            GateError: what it is to be answered with.
        """
        ...


class ServerContext:
    """What the connections of one listener share."""

    __slots__ = ("_date", "_date_of", "connections", "gate", "protocol", "routes")

    def __init__(self, gate: DeliveryContext, routes: Routes, protocol: str) -> None:
        self.gate = gate
        self.routes = routes
        self.protocol = protocol
        self.connections: set[Connection] = set()
        self._date, self._date_of = "", -1

    def enter(self, connection: Connection) -> None:
        """A connection has been accepted."""
        self.connections.add(connection)
        if self.routes.counted:
            self.gate.connections += 1

    def leave(self, connection: Connection) -> None:
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
