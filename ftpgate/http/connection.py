"""One HTTP/1.x connection: it reads requests and has them answered in order, over the socket of `carrier.py`.

A next request tells that the body before it has arrived, but only when it cannot have been sent ahead: its first byte
came after that body was acknowledged, and was not here before the body's last byte was written.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial

from ftpgate.access.open_grant import OpenGrant
from ftpgate.errors import GateError
from ftpgate.http.carrier import Body, BodyCarrier, State
from ftpgate.http.front import Front, Visit
from ftpgate.http.messages import Answer, Request, RequestTimeout, Sent, chunk, head
from ftpgate.http.pages import error_answer
from ftpgate.http.parser import HEAD_LIMIT, take_head
from ftpgate.net.places import Guest
from ftpgate.net.sockets import Sink
from ftpgate.proof.credit import Phase
from ftpgate.tree import Leaf

HEADER_TIMEOUT = 20.0
"""Seconds for a request head to arrive, from its first byte on, or the end of the last response when that came later; and for a
new connection to send anything. Empty lines count as its beginning."""
IDLE_TIMEOUT = 75.0
"""Seconds that a kept-alive connection may wait for its next request."""
UNPROVEN_TIMEOUT = 5.0
"""The same while the last body is not known to have been read. When we end the connection the client does too, which tells."""
DRAIN_TIMEOUT = 1.0
"""The same when the process is about to end; a request that comes within it is told so."""
SEND_TIMEOUT = 60.0
"""Seconds in which a page, or the header of an answer, has to move on. Transfers have the engine's own clock."""
LINGER_TIMEOUT = 10.0
LINGER_BYTES = 64 * 1024 * 1024
"""What a client may still send after its last answer, read and thrown away: closing with unread bytes would make the
kernel reset the connection, and the client would never see the answer."""
UNSETTLED = 256
"""Bodies of one customer, and of one connection, that are written and not known to be read, about. Of a client that sends
requests ahead the oldest one stays unconfirmed then, or it waits until that has been acknowledged."""
UNSETTLED_TIMEOUT = 5.0
"""Seconds that it waits; then the connection ends in order, and the client may ask for the rest on another one."""
CLOSES_FROM = 256 * 1024
"""Bytes of a body from which it ends the connection, so that the client's own end follows, which proves that it has read all. So
does a smaller one that may be the last of its item."""
RECEIVE_BUFFER = 32_768
"""Bytes that the kernel keeps of requests while none is read, doubled for its own needs. Left to itself it keeps megabytes."""
STREAM_BUFFER = 65_536
"""Bytes that the kernel keeps of a stream of events for a viewer who does not read on."""


class HttpConnection(BodyCarrier):
    """From `accept` to its end. Its states and their moves are the table in `carrier.py`."""

    __slots__ = (
        "_begun", "_body", "_buffer", "_chunked", "_discarded", "_guest", "_keep_alive", "_out", "_paused", "_pieces", "_piped",
        "_queued", "_request", "_since", "_used", "_visit",
    )  # fmt: skip

    def __init__(self, front: Front, sock: socket.socket, sink: Sink, peer: str, guest: Guest | None = None) -> None:
        """`guest`: its place; None where none are counted."""
        super().__init__(front, sock, sink, peer)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        self._guest = guest
        if guest is not None:
            guest.give_way = self.close
        self._since = time.monotonic()
        self._begun: float | None = None
        """When the request head began that is arriving; None before its first byte."""
        self._buffer = bytearray()
        self._out: memoryview | None = None
        """What of an answer the kernel has not taken yet."""
        self._body: Body | None = None
        """The transfer that follows when it has."""
        self._pieces: Iterator[bytes] | None = None
        """What else follows, made a piece at a time."""
        self._chunked = False
        self._request: Request | None = None
        self._visit: Visit | None = None
        self._keep_alive = True
        self._used = False
        """There has been a request."""
        self._paused = False
        """The client has sent ahead as much as is kept; more may wait in the kernel."""
        self._piped = False
        """The request that comes next was on its way before the client can have had the answer to the last one."""
        self._queued = False
        """Does a step that takes the next request wait for its turn?"""
        self._discarded = 0
        front.enter(self)
        front.gate.engine.newcomers.add(peer, self, self._since)
        front.gate.loop.register(self._fileno, self, front.gate.loop.READ)

    def handle_read_event(self) -> None:
        if self.state is State.LINGERING:
            return self._discard()
        begins = self.state is State.READING and not self._buffer
        if self._receive() and begins:
            self._head_begins()
        self._serve()
        self._watch()

    def handle_write_event(self) -> None:
        if self._out is not None:
            self._flush()
        elif self._sending is not None:
            self._sending.writable()
        else:
            self._writable = False
            if self.state is State.LINGERING:
                self._finish()
        self._watch()

    # -- what arrives

    def _receive(self) -> bool:
        """Read what has arrived, as far as there is room. False when nothing was read."""
        room = HEAD_LIMIT - len(self._buffer)
        if room <= 0 or self._fin:
            self._paused = room <= 0
            return False
        self._deferred = self.sink.owing
        if self._deferred:
            return False
        try:
            data = self.sink.recv(room)
        except BlockingIOError:
            if self.sink.parting and self.state is State.STREAMING:
                self._part()
            return False
        except OSError:
            self.close()
            return False
        if not data:
            self._ended()
            if self.state is State.STREAMING:
                self.close()
            return False
        self._buffer += data
        self._paused = len(data) == room
        return True

    def _head_begins(self) -> None:
        """The first bytes of a request, with nothing before them. They vouch for what was acknowledged before them only."""
        now = time.monotonic()
        if self._begun is None:
            self._begun = self._since = now
        if self._transfers:
            for transfer in tuple(self._transfers):
                transfer.look(now)
            self._piped = any(transfer.credit.phase is Phase.AWAITING_ACK for transfer in self._transfers)

    def _discard(self) -> None:
        try:
            data = self.sink.recv(65_536)
        except BlockingIOError:
            return
        except OSError:
            return self.close()
        if data:
            self._discarded += len(data)
            if self._discarded > LINGER_BYTES:
                self.close()
            return
        self._ended()
        if not self._transfers:
            self.close()
        else:
            # Both sides have ended: the poll would report that for ever. What is left is settled by the engine's clock.
            self._unregister()

    def _serve(self) -> None:
        """Have the requests that have arrived whole served, one after the other, each in its turn."""
        if not self._queued and self._may_serve():
            self._queued = True
            self._front.gate.work.add(self.peer, self._serve_one)

    def _serve_one(self) -> bool:
        """Take one request. True when another may be taken: not while this one waits for something."""
        held, self._held = self._held, True
        try:
            self._queued = self._take_request() and self._may_serve()
        except Exception:
            self._queued = False
            self.handle_error()
        self._held = held
        self._watch()
        return self._queued

    def _take_request(self) -> bool:
        """False when there was nothing to be done."""
        if self.state is not State.READING:
            return False
        crowded = self._crowded()
        if crowded and self._transfers[0].credit.phase is not Phase.AWAITING_READ:
            return False
        try:
            request = take_head(self._buffer)
        except GateError as error:
            self._keep_alive = False
            self.fail(error)
            return False
        if request is not None:
            if crowded and self._piped:
                self._transfers[0].cut("unproven")
            self._requested(request)
        elif self._paused and self._receive():
            self._piped = True  # it waited where the poll does not report it any more
        else:
            if (self._fin or self.sink.parting) and self.state is State.READING:
                self._linger()
            return False
        return True

    def _crowded(self) -> bool:
        """Are so many bodies not settled that one of this connection's has to give way to the next request's?"""
        if not self._transfers:
            return False
        customer = self._transfers[-1].grant.customer
        unsettled = len(customer.transfers) - customer.connections  # each connection may have one that is not written yet
        return len(self._transfers) >= UNSETTLED or unsettled >= UNSETTLED

    def _may_serve(self) -> bool:
        return self.state is State.READING and bool(self._buffer or self._paused or self._fin or self.sink.parting)

    def _requested(self, request: Request) -> None:
        if not self._piped:
            for transfer in tuple(self._transfers):
                transfer.next_request()
        if not self._used:
            self._front.gate.engine.newcomers.discard(self.peer, self)
        self._used = True
        self._begun = None
        self._piped = True  # whatever else is in the buffer by now
        self._keep_alive = request.keep_alive
        self._request = request
        self._enter(State.ADMITTING)
        try:
            visit = self._front.routes.visit(self, request)
        except GateError as error:
            return self.fail(error)
        if self.state is State.ADMITTING:
            self._visit = visit

    # -- what is answered

    def serves(self, visit: Visit) -> bool:
        """Is this still waiting for the answer of `visit`?"""
        return self.state is State.ADMITTING and (self._visit is None or self._visit is visit)

    def prove(self) -> None:
        """Its client has shown a valid token."""
        if self._guest is not None:
            self._guest.prove()

    def go_on(self, visit: Visit, step: Callable[[], None]) -> None:
        """Have `step` go on with `visit`: at once while its request is being taken, else in its turn.

        Many may wait for the same answer from a thread, and each of them can take a while to be served.
        """
        if self._visit is visit:
            self._front.gate.work.add(self.peer, partial(self._go_on, step))
        else:
            step()

    def _go_on(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception:
            self.handle_error()

    def respond(self, answer: Answer) -> None:
        """Send an answer whose body, if any, is bytes only."""
        self._visit = None
        self.sink.queue.narrow()
        self._chunked = answer.pieces is not None and self._request is not None and self._request.minor > 0
        data = self._head(answer)
        if self._request is None or not self._request.is_head:
            data = b"".join([data, *(part for part in answer.parts if isinstance(part, bytes))])
            self._pieces = answer.pieces
        self._send(data)

    def deliver(self, grant: OpenGrant, leaf: Leaf, answer: Answer) -> None:
        """Send an answer whose body is a transfer."""
        assert self._request is not None
        assert answer.length
        self._visit = None
        self._chunked = False
        if not self._request.is_head:
            if not self._buffer and (answer.length >= CLOSES_FROM or grant.may_finish(leaf.item, answer.length)):
                self._keep_alive = False  # unless the next request is here already
            client = self._request.header("user-agent") or ""
            self._body = Body(grant, leaf, answer.parts, answer.length, client)
        self._send(self._head(answer))

    def stream(self, answer: Answer, visit: Visit) -> None:
        """Send the header of an answer without an end; then `push`."""
        self._keep_alive = self._chunked = False
        self._visit = visit
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, STREAM_BUFFER)
        self._send(self._head(answer))

    def push(self, data: bytes) -> bool:
        """Send more of a stream; False, and nothing is sent, when the client has not taken what came before."""
        if self.state is not State.STREAMING or self._out is not None:
            return False
        self._out = memoryview(data)
        self._flush()
        return True

    def end_stream(self) -> None:
        """Nothing more is pushed."""
        if self._out is not None:
            self._reset()  # this viewer does not read
        elif self.state is State.STREAMING:
            self._visit = None
            self._linger()
            self._watch()

    def fail(self, error: GateError) -> None:
        """Answer with an error. The connection lives on where the next request can be told from this one."""
        self.respond(error_answer(error, self._request.header("accept") if self._request is not None else None))

    def turn_away(self, error: GateError) -> None:
        """Answer before anything was asked, and end."""
        self._keep_alive = False
        self.fail(error)
        self._watch()

    def _head(self, answer: Answer) -> bytes:
        request = self._request
        if (answer.length is None and not self._chunked) or self._front.gate.draining:
            self._keep_alive = False
        kept = "" if request is None or request.minor else "keep-alive"
        return head(answer, Sent(self._front.date(), kept if self._keep_alive else "close", self._chunked))

    def _send(self, data: bytes) -> None:
        self._enter(State.SENDING)
        self._since = time.monotonic()
        self._out = memoryview(data)
        self._flush()

    def _flush(self) -> None:
        """Hand over what waits in `_out`; then go on with what comes after it."""
        wire = self.sink.wire
        try:
            while self._out:
                count = self.sink.send(self._out, self._body is not None)
                wire.written += count
                self._out = self._out[count:]
                self._since = time.monotonic()
        except BlockingIOError:
            return self.watch_writable(True)
        except OSError:
            return self.close()
        self._out = None
        self.watch_writable(False)
        if self._pieces is not None:
            return self._front.gate.work.add(self.peer, self._send_piece)
        body, self._body = self._body, None
        if body is None:
            if self.state is State.SENDING:
                self._answered()
            return
        self._request = None  # a body takes long, and there may be thousands
        if not self._buffer:
            # What is here before the body's last byte is written cannot vouch for it. Later, while a long body streams,
            # the poll reports what has arrived before it reports that there is room to write.
            self._receive()
        if self.state is not State.CLOSED:
            self._begin(body)

    def _send_piece(self) -> None:
        if self._pieces is None:
            return  # the connection has ended meanwhile
        try:
            piece = next(self._pieces, b"")
            if not piece:
                self._pieces = None
            self._out = memoryview(chunk(piece) if self._chunked else piece)
            self._flush()
        except Exception:
            self.handle_error()

    def _answered(self) -> None:
        """The whole answer is with the kernel."""
        self._request = None
        if self._visit is not None:
            return self._enter(State.STREAMING)
        if not self._keep_alive or self._front.gate.draining:
            self._linger()
        else:
            self._enter(State.READING)
            self._since = time.monotonic()
            self._begun = self._since if self._buffer else None
            self._piped = bool(self._buffer)
            self._serve()
        self._vacate_when_idle()
        self._watch()

    def _linger(self) -> None:
        """Nothing more is sent: let the client take it and end."""
        self._enter(State.LINGERING)
        self._since = time.monotonic()
        self._buffer.clear()
        if self._fin:
            # Ending our side as well would have the poll report a hang-up for ever, and hide a cut behind it.
            if not self._under_way:
                self._part()
        elif self._under_way and self.sink.wire.encrypted:
            # A close_notify is data. A client that has counted its bytes and closes without reading it, as axel does with
            # a segment when all are there, resets the connection, and nobody could tell that from a cut. So the client goes
            # first, for a while.
            return
        else:
            self._finish()

    def _end_too(self) -> None:
        if self.state is not State.LINGERING or self._under_way:
            return
        if self._fin:
            self._part()  # it waits for our end, and its own is to come no more
        else:
            self._finish()
            self._watch()

    def _finish(self) -> None:
        """End our side, now or when there is room for its last words."""
        try:
            self.sink.finish()
        except BlockingIOError:
            self.watch_writable(True)
        except OSError:
            self.close()

    def _part(self) -> None:
        """End our side and the connection."""
        with contextlib.suppress(OSError):  # no room, or nobody there
            self.sink.finish()
        self.close()

    def _settled(self) -> None:
        if self.state is State.LINGERING and not self._transfers:
            self._part()
        else:
            if not self._buffer:
                self._since = time.monotonic()
            self._serve()  # it may have had to wait for this

    def _reads(self) -> bool:
        if self.state is State.LINGERING:
            return True
        if self._out is not None:
            return False  # who does not read what is answered is not asked for more
        # One that was full is filled again when it holds no whole request any more, and not after each of them.
        return len(self._buffer) < HEAD_LIMIT and not (self._queued and self._paused)

    # -- clock and end

    def tick(self, now: float) -> None:
        """Called every few seconds: end what has waited for too long."""
        waited = now - self._since
        if self._deferred:
            self._watch()  # what was owing may be written
        if self.state is State.READING:
            if self._crowded():
                if waited > UNSETTLED_TIMEOUT:
                    self._linger()
                    self._watch()
            elif self._begun is not None:
                if now - self._begun > HEADER_TIMEOUT:
                    self.turn_away(RequestTimeout())
            elif not self._under_way:
                limit = DRAIN_TIMEOUT if self._front.gate.draining else IDLE_TIMEOUT if self._used else HEADER_TIMEOUT
                if not self._transfers:
                    if waited > limit:
                        self._part()
                elif waited > min(limit, UNPROVEN_TIMEOUT):
                    self._linger()
                    self._watch()
        elif self.state is State.LINGERING:
            if not self._transfers:
                if waited > LINGER_TIMEOUT:
                    self.close()
            elif self._broken():
                self.close()
            elif not self._under_way and now - max(self._since, *(each.moved_at for each in self._transfers)) > LINGER_TIMEOUT:
                self._part()  # it has got everything that was sent, and still may read it
        elif self._out is not None and waited > SEND_TIMEOUT:
            self._reset()

    def close(self) -> None:
        """The one end, whatever has led to it."""
        if self.state is State.CLOSED:
            return
        self._out = self._body = self._pieces = self._request = None
        visit, self._visit = self._visit, None
        self._shut()
        self._front.leave(self)
        if self._guest is not None:
            self._guest.leave()
        self._front.gate.engine.newcomers.discard(self.peer, self)
        if visit is not None:
            visit.closed()
