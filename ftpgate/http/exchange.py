"""One request and its response, as the routes see it. A connection has one, for one request after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Protocol

from ftpgate.delivery.fetch import Fetch
from ftpgate.errors import GateError
from ftpgate.http.body_sender import Body, BodySender
from ftpgate.http.messages import Request, Response, Sent, head
from ftpgate.http.pages import error_response
from ftpgate.http.request_reader import RequestReader
from ftpgate.http.response_writer import ResponseWriter
from ftpgate.http.server_context import RequestHandler, ServerContext
from ftpgate.http.states import State
from ftpgate.net.places import Guest
from ftpgate.net.sockets import Sink
from ftpgate.shaping.customer import Customer

CLOSES_FROM = 256 * 1024
"""Bytes of a body from which it ends the connection, so that the client's own end follows, which proves that it has read all. So
does a smaller one that may be the last of its item."""
STREAM_BUFFER = 65_536
"""Bytes that the kernel keeps of a stream of events for a viewer who does not read on."""


class ExchangeOwner(Protocol):
    """The connection, as its exchange knows it."""

    peer: str
    sink: Sink
    state: State

    def send(self, data: bytes, pieces: Iterator[bytes] | None = None) -> None:
        """Send a head, with what follows it in memory."""
        ...

    def flush(self) -> None:
        """Hand over what waits to be written; then go on with what comes after it."""
        ...

    def linger(self) -> None:
        """Nothing more is sent: let the client take it and end."""
        ...

    def reset(self) -> None:
        """End the connection; nothing that is still queued may reach the client."""
        ...

    def failed(self) -> None:
        """Something raised what it should not have."""
        ...


class Exchange:
    """A `context.Responder`.

    Attributes:
        request: the one that is answered; None before it, and while its body is sent.
        visit: who is to hear of the connection's end.
        keep_alive: does the connection go on after it?
    """

    __slots__ = ("_bodies", "_connection", "_context", "_guest", "_reader", "_writer", "handler", "keep_alive", "request")

    def __init__(
        self, context: ServerContext, connection: ExchangeOwner, reader: RequestReader, writer: ResponseWriter,
        bodies: BodySender, guest: Guest | None,
    ) -> None:  # fmt: skip
        self._context = context
        self._connection = connection
        self._reader = reader
        self._writer = writer
        self._bodies = bodies
        self._guest = guest
        self.request: Request | None = None
        self.handler: RequestHandler | None = None
        self.keep_alive = True

    @property
    def peer(self) -> str:
        return self._connection.peer

    @property
    def protocol(self) -> str:
        return self._context.protocol

    def begin(self, request: Request) -> None:
        """Have `request` answered."""
        self.keep_alive = request.keep_alive
        self.request = request
        try:
            handler = self._context.routes.handle(self, request)
        except GateError as error:
            return self.fail(error)
        if self._connection.state is State.ADMITTING:
            self.handler = handler

    def serves(self, handler: RequestHandler) -> bool:
        """Is this still waiting for the answer of `handler`?"""
        return self._connection.state is State.ADMITTING and (self.handler is None or self.handler is handler)

    def prove(self) -> None:
        """Its client has shown a valid token."""
        if self._guest is not None:
            self._guest.prove()

    def acquire(self, customer: Customer) -> None:
        """See `BodySender.acquire`."""
        self._bodies.acquire(customer)

    def go_on(self, handler: RequestHandler, step: Callable[[], None]) -> None:
        """Have `step` go on with `handler`: at once while its request is being taken, else in its turn.

        Many may wait for the same answer from a thread, and each of them can take a while to be served.
        """
        if self.handler is handler:
            self._context.gate.work.add(self.peer, partial(self._guarded, step))
        else:
            step()

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception:
            self._connection.failed()

    def respond(self, response: Response) -> None:
        """Send an answer whose body, if any, is bytes only."""
        self.handler = None
        self._connection.sink.queue.narrow()
        self._writer.chunked = response.pieces is not None and self.request is not None and self.request.minor > 0
        data = self._head(response)
        if self.request is not None and self.request.is_head:
            return self._connection.send(data)
        data = b"".join([data, *(part for part in response.parts if isinstance(part, bytes))])
        self._connection.send(data, response.pieces)

    def deliver(self, fetch: Fetch, response: Response) -> None:
        """Send an answer whose body is a transfer."""
        assert self.request is not None
        assert response.length
        self.handler = None
        self._writer.chunked = False
        if not self.request.is_head:
            if not self._reader and (response.length >= CLOSES_FROM or fetch.grant.may_finish(fetch.leaf.item, response.length)):
                self.keep_alive = False  # unless the next request is here already
            client = self.request.header("user-agent") or ""
            self._bodies.pending = Body(fetch, response.parts, response.length, client)
        self._connection.send(self._head(response))

    def stream(self, response: Response, handler: RequestHandler) -> None:
        """Send the header of an answer without an end; then `push`."""
        self.keep_alive = self._writer.chunked = False
        self.handler = handler
        self._connection.sink.queue.bound(STREAM_BUFFER)
        self._connection.send(self._head(response))

    def push(self, data: bytes) -> bool:
        """Send more of a stream; False, and nothing is sent, when the client has not taken what came before."""
        if self._connection.state is not State.STREAMING or self._writer.busy:
            return False
        self._writer.put(data)
        self._connection.flush()
        return True

    def end_stream(self) -> None:
        """Nothing more is pushed."""
        if self._writer.busy:
            self._connection.reset()  # this viewer does not read
        elif self._connection.state is State.STREAMING:
            self.handler = None
            self._connection.linger()

    def fail(self, error: GateError) -> None:
        """Answer with an error. The connection lives on where the next request can be told from this one."""
        self.respond(error_response(error, self.request))

    def reject(self, error: GateError) -> None:
        """Answer before anything was asked, and end."""
        self.keep_alive = False
        self.fail(error)

    def _head(self, response: Response) -> bytes:
        request = self.request
        if (response.length is None and not self._writer.chunked) or self._context.gate.draining:
            self.keep_alive = False
        kept = "" if request is None or request.minor else "keep-alive"
        return head(response, Sent(self._context.date(), kept if self.keep_alive else "close", self._writer.chunked))
