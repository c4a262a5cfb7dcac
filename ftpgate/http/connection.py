"""One HTTP/1.x connection: it has requests read, answered in order, and their answers sent.

A next request tells that the body before it has arrived, but only when it cannot have been sent ahead: its first byte
came after that body was acknowledged, and was not here before the body's last byte was written.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from collections.abc import Iterator

from ftpgate.delivery.transfer import Transfer
from ftpgate.errors import GateError
from ftpgate.http import limits
from ftpgate.http.body_sender import BodySender, counts_bytes
from ftpgate.http.exchange import Exchange
from ftpgate.http.messages import Request, RequestTimeout
from ftpgate.http.request_reader import RequestReader
from ftpgate.http.response_writer import ResponseWriter
from ftpgate.http.server_context import ServerContext
from ftpgate.http.states import MOVES, State
from ftpgate.moves import check_move
from ftpgate.net import sockets
from ftpgate.net.places import Guest
from ftpgate.net.socket_watch import SocketWatch
from ftpgate.net.sockets import Sink
from ftpgate.net.tls import CLOSE_NOTIFY_DELAY, still_reads

_log = logging.getLogger(__name__)


class HttpConnection:
    """From `accept` to its end. Its states and their moves are the table in `states.py`."""

    __slots__ = (
        "_bodies", "_context", "_discarded", "_guest", "_queued", "_reader", "_since", "_socket", "_used", "_watch",
        "_writer", "exchange", "peer", "sink", "state",
    )  # fmt: skip

    def __init__(self, context: ServerContext, sock: socket.socket, sink: Sink, peer: str, guest: Guest | None = None) -> None:
        """`guest`: its place; None where none are counted."""
        self._context = context
        self._socket = sock
        self.sink = sink
        self.peer = peer
        self.state = State.READING
        self._guest = guest
        if guest is not None:
            guest.give_way = self.close
        self._since = time.monotonic()
        self._reader = RequestReader()
        self._writer = ResponseWriter(sink)
        self._used = False
        """There has been a request."""
        self._queued = False
        """Does a step that takes the next request wait for its turn?"""
        self._discarded = 0
        self._watch = SocketWatch(context.gate.loop, sock, self)
        self._bodies = BodySender(sock, sink, self._watch, self)
        self.exchange = Exchange(context, self, self._reader, self._writer, self._bodies, guest)
        context.enter(self)
        context.gate.engine.newcomers.add(peer, self, self._since)

    # -- what the loop asks and tells

    def reads(self) -> bool:
        """Is there room for what the client sends?"""
        reader = self._reader
        if reader.ended or (reader.deferred and self.sink.owing):
            return False
        if self.state is State.LINGERING:
            return True
        if self._writer.busy:
            return False  # who does not read what is answered is not asked for more
        # One that was full is filled again when it holds no whole request any more, and not after each of them.
        return reader.has_room and not (self._queued and reader.full)

    def on_readable(self) -> None:
        if self.state is State.LINGERING:
            return self._discard()
        begins = self.state is State.READING and not self._reader
        if self._receive() and begins:
            self._head_begins()
        self._serve()
        self._watch.update()

    def on_writable(self) -> None:
        if self._writer.busy:
            self.flush()
        elif not self._bodies.writable():
            self._watch.write(False)
            if self.state is State.LINGERING:
                self._finish()
        self._watch.update()

    def failed(self) -> None:
        _log.exception("an HTTP connection met an error")
        self.reset()

    # -- what arrives

    def _receive(self) -> bool:
        """Read what has arrived, as far as there is room. False when nothing was read."""
        try:
            if self._reader.receive(self.sink):
                return True
        except EOFError:
            self._bodies.fin()
            if self.state is State.STREAMING:
                self.close()
        except OSError:
            self.close()
        else:
            if self.sink.parting and self.state is State.STREAMING:
                self._part()
        return False

    def _head_begins(self) -> None:
        """The first bytes of a request, with nothing before them. They vouch for what was acknowledged before them only."""
        if self._reader.begun is None:
            self._reader.begun = self._since = time.monotonic()
        if self._bodies:
            self._bodies.look()
            self._reader.sent_ahead = self._bodies.unacknowledged

    def _discard(self) -> None:
        try:
            data = self.sink.recv(65_536)
        except BlockingIOError:
            return
        except OSError:
            return self.close()
        if data:
            self._discarded += len(data)
            if self._discarded > limits.LINGER_BYTES:
                self.close()
            return
        self._reader.ended = True
        self._bodies.fin()
        if not self._bodies:
            self.close()
        else:
            # Both sides have ended: the poll would report that for ever. What is left is settled by the engine's clock.
            self._watch.end()

    def _serve(self) -> None:
        """Have the requests that have arrived whole served, one after the other, each in its turn."""
        if not self._queued and self._may_serve():
            self._queued = True
            self._context.gate.work.add(self.peer, self._serve_one)

    def _may_serve(self) -> bool:
        reader = self._reader
        return self.state is State.READING and bool(reader or reader.full or reader.ended or self.sink.parting)

    def _serve_one(self) -> bool:
        """Take one request. True when another may be taken: not while this one waits for something."""
        if self.state is State.CLOSED:
            return False
        holding, self._watch.holding = self._watch.holding, True
        try:
            self._queued = self._take_request() and self._may_serve()
        except Exception:
            self._queued = False
            self.failed()
        self._watch.holding = holding
        self._watch.update()
        return self._queued

    def _take_request(self) -> bool:
        """False when there was nothing to be done."""
        if self.state is not State.READING:
            return False
        crowded, reader = self._bodies.crowded, self._reader
        if crowded and not self._bodies.oldest_is_acknowledged:
            return False
        try:
            request = reader.take()
        except GateError as error:
            self.exchange.keep_alive = False
            self.exchange.fail(error)
            return False
        if request is not None:
            if crowded and reader.sent_ahead:
                self._bodies.forgo_oldest()
            self._requested(request)
        elif reader.full and self._receive():
            reader.sent_ahead = True  # it waited where the poll does not report it any more
        else:
            if (reader.ended or self.sink.parting) and self.state is State.READING:
                self.linger()
            return False
        return True

    def _requested(self, request: Request) -> None:
        if not self._reader.sent_ahead:
            self._bodies.next_request()
        if not self._used:
            self._context.gate.engine.newcomers.discard(self.peer, self)
        self._used = True
        self._reader.sent_ahead = True  # whatever else is here by now
        self._enter(State.ADMITTING)
        self.exchange.begin(request)

    # -- what is sent

    def send(self, data: bytes, pieces: Iterator[bytes] | None = None) -> None:
        """Send a head, with what follows it in memory."""
        self._enter(State.SENDING)
        self._writer.put(data, pieces)
        self.flush()

    def flush(self) -> None:
        """Hand over what waits to be written; then go on with what comes after it."""
        try:
            self._writer.flush(more=self._bodies.pending is not None)
        except BlockingIOError:
            return self._watch.write(True)
        except OSError:
            return self.close()
        self._watch.write(False)
        if self._writer.has_pieces:
            self._context.gate.work.add(self.peer, self._send_piece)
        elif self._bodies.pending is not None:
            self._begin_body()
        elif self.state is State.SENDING:
            self.body_written()

    def _send_piece(self) -> None:
        if not self._writer.has_pieces:
            return  # the connection has ended meanwhile
        try:
            self._writer.put_next_piece()
            self.flush()
        except Exception:
            self.failed()

    def _begin_body(self) -> None:
        self.exchange.request = None  # a body takes long, and there may be thousands
        if not self._reader:
            # What is here before the body's last byte is written cannot vouch for it. Later, while a long body streams,
            # the poll reports what has arrived before it reports that there is room to write.
            self._receive()
        if self.state is not State.CLOSED:
            self._bodies.begin(self._context.protocol, self.peer)

    # -- what becomes of the bodies

    def body_written(self) -> None:
        """The whole answer is with the kernel."""
        self.exchange.request = None
        if self.exchange.handler is not None:
            return self._enter(State.STREAMING)
        if not self.exchange.keep_alive or self._context.gate.draining:
            self.linger()
        else:
            self._enter(State.READING)
            self._since = time.monotonic()
            self._reader.next_begins()
            self._serve()
        self._release_when_idle()
        self._watch.update()

    def body_acknowledged(self, transfer: Transfer) -> None:
        """The client's TCP has acknowledged the last byte of a body."""
        self._release_when_idle()
        if self.state is State.READING:
            self.body_settled()
        elif self.state is State.LINGERING and self._reader.ended:
            self._context.gate.loop.call_later(0, self._end_too)
        elif self.state is State.LINGERING and self.sink.wire.encrypted:
            wait = limits.COUNTING_CLOSE_NOTIFY_DELAY if counts_bytes(transfer) else CLOSE_NOTIFY_DELAY
            self._context.gate.loop.call_later(wait, self._end_too)

    def body_settled(self) -> None:
        """A transfer has ended well, or been acknowledged."""
        if self.state is State.LINGERING and not self._bodies:
            return self._part()
        if not self._reader:
            self._since = time.monotonic()
        self._serve()  # it may have had to wait for this

    def _release_when_idle(self) -> None:
        if self.state in (State.READING, State.LINGERING):
            self._bodies.release_when_idle()

    # -- its end

    def linger(self) -> None:
        """Nothing more is sent: let the client take it and end."""
        self._enter(State.LINGERING)
        self._since = time.monotonic()
        self._reader.clear()
        if self._reader.ended:
            # Ending our side as well would have the poll report a hang-up for ever, and hide a cut behind it.
            if not self._bodies.under_way:
                self._part()
        elif not (self._bodies.under_way and self.sink.wire.encrypted):
            # Over TLS the client goes first, for a while: our close_notify is data. A client that counts its bytes and closes
            # without reading it (axel) resets the connection, and nobody could tell that from a cut.
            self._finish()
        self._watch.update()

    def _end_too(self) -> None:
        """Everything is acknowledged: end our side, for a client that has ended its own half before, or speaks TLS."""
        if self.state is not State.LINGERING or self._bodies.under_way:
            return
        if self._reader.ended:
            self._part()  # it waits for our end, and its own is to come no more
        elif self.sink.wire.encrypted and still_reads(self.sink.wire.look()):
            self._context.gate.loop.call_later(CLOSE_NOTIFY_DELAY, self._end_too)
        else:
            self._finish()
            self._watch.update()

    def _finish(self) -> None:
        """End our side, now or when there is room for its last words."""
        try:
            self.sink.finish()
        except BlockingIOError:
            self._watch.write(True)
        except OSError:
            self.close()

    def _part(self) -> None:
        """End our side and the connection."""
        with contextlib.suppress(OSError):  # no room, or nobody there
            self.sink.finish()
        self.close()

    def reset(self) -> None:
        """End the connection; nothing that is still queued may reach the client."""
        sockets.reset(self._socket)
        self.close()

    def tick(self, now: float) -> None:
        """Called every few seconds: end what has waited for too long."""
        if self._reader.deferred:
            self._watch.update()  # what was owing may be written
        waited = now - self._since
        if self.state is State.READING:
            if self._reader.begun is not None and not self._bodies.crowded:
                if now - self._reader.begun > limits.HEADER_TIMEOUT:
                    self.exchange.reject(RequestTimeout())
            elif self._bodies.crowded or not self._bodies.under_way:
                self._end_idle(waited)
        elif self.state is State.LINGERING:
            # It has got everything that was sent, and still may read it.
            quiet = not self._bodies.under_way and now - max(self._since, self._bodies.moved_at) > limits.LINGER_TIMEOUT
            if quiet or self._watch.broken():
                self._part()
        elif self._writer.busy and now - self._writer.moved_at > limits.SEND_TIMEOUT:
            self.reset()

    def _end_idle(self, waited: float) -> None:
        """Nothing has come for `waited` seconds."""
        if self._bodies.crowded:
            limit = limits.UNSETTLED_TIMEOUT
        elif self._context.gate.refusing:
            limit = limits.DRAIN_TIMEOUT
        elif self._used and self._context.gate.draining:
            limit = limits.SUCCEEDED_TIMEOUT
        elif not self._used:
            limit = limits.HEADER_TIMEOUT
        else:
            limit = limits.UNPROVEN_TIMEOUT if self._bodies else limits.IDLE_TIMEOUT
        if waited <= limit:
            return
        if self._bodies:
            self.linger()
        else:
            self._part()

    def close(self) -> None:
        """The one end, whatever has led to it."""
        if self.state is State.CLOSED:
            return
        self._enter(State.CLOSED)
        self._writer.clear()
        handler, self.exchange.handler, self.exchange.request = self.exchange.handler, None, None
        self._bodies.end()  # the kernel can be asked only while the socket is open
        self._watch.end()
        self._socket.close()
        self._context.leave(self)
        if self._guest is not None:
            self._guest.leave()
        self._context.gate.engine.newcomers.discard(self.peer, self)
        if handler is not None:
            handler.closed()
        self._context.gate.loop.call_later(0, self._forget)

    def _forget(self) -> None:
        """Let go of the parts, which hold this: with what OpenSSL keeps, a collection of cycles is not to be waited for."""
        del self._bodies, self._watch, self.exchange

    def _enter(self, state: State) -> None:
        self.state = check_move(MOVES, self.state, state)
