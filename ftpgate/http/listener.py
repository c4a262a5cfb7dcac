"""A listening socket of the HTTP front, and the one clock that looks after all its connections."""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from functools import partial

from ftpgate.delivery.context import DeliveryContext
from ftpgate.errors import BadRequest, GateError
from ftpgate.http.connection import HttpConnection
from ftpgate.http.limits import RECEIVE_BUFFER
from ftpgate.http.messages import Sent, head
from ftpgate.http.pages import error_response
from ftpgate.http.server_context import Routes, ServerContext
from ftpgate.net.handshake import Handshakes
from ftpgate.net.listening import Acceptor, Endpoint, refuse
from ftpgate.net.places import Guest
from ftpgate.net.sockets import PlainSink, Sink
from ftpgate.net.tls import HandshakeError

_log = logging.getLogger(__name__)

TICK = 2.0
"""Seconds between two rounds of the clock; every limit that it keeps is several times as long."""


class Crowded(GateError):
    http, ftp = 503, 421
    text = "Too many connections to this server, or from your address, just now. Try again shortly."
    retry_after = 10


class PlainHttp(BadRequest):
    text = "Only TLS is spoken at this port: the address has to begin with https."


class HttpListener:
    """Accepts connections until `close`; those that are open then live on.

    Args:
        tls: the handshakes of its connections, when it speaks TLS.

    Raises:
        OSError: the address cannot be bound.
    """

    def __init__(self, gate: DeliveryContext, at: Endpoint, routes: Routes, tls: Handshakes | None = None) -> None:
        self._gate = gate
        self._context = ServerContext(gate, routes, "http" if tls is None else "https")
        self._tls = tls
        self._acceptor = Acceptor(gate.loop, at, self._accepted, receive_buffer=RECEIVE_BUFFER)
        self.address = self._acceptor.address
        gate.loop.call_later(TICK, self._tick)

    def close(self) -> None:
        """Stop accepting."""
        self._acceptor.close()

    def _accepted(self, sock: socket.socket, peer: str) -> None:
        peer = peer.removeprefix("::ffff:")
        guest = None
        if self._context.routes.counted:
            guest = self._gate.places.admit(peer, sock.close)
            if guest is None:
                return refuse(sock, b"" if self._tls is not None else self._refusal())
        if self._tls is None:
            return self._enter(sock, peer, guest, PlainSink(sock))
        done, failed = partial(self._enter, sock, peer, guest), partial(self._insecure, sock, peer, guest)
        handshake = self._tls.begin(sock, peer, done, failed)
        if guest is not None:
            guest.give_way = handshake.close

    def _enter(self, sock: socket.socket, peer: str, guest: Guest | None, sink: Sink) -> None:
        try:
            connection = HttpConnection(self._context, sock, sink, peer, guest)
        except BaseException:
            if guest is not None:
                guest.leave()
            raise
        if guest is not None and guest.refused:
            connection.exchange.reject(Crowded())

    def _insecure(self, sock: socket.socket, peer: str, guest: Guest | None, error: HandshakeError) -> None:
        """Whoever speaks HTTP in the clear where TLS is spoken is told so; others have had an alert, where that helps."""
        _log.debug("%s: %s", peer, error)
        if error.plain_http:
            with contextlib.suppress(OSError):  # it has gone
                return HttpConnection(self._context, sock, PlainSink(sock), peer, guest).exchange.reject(PlainHttp())
        sock.close()
        if guest is not None:
            guest.leave()

    def _refusal(self) -> bytes:
        """What is said where even a lingering close is too much."""
        response = error_response(Crowded())
        return head(response, Sent(self._context.date(), "close")) + b"".join(
            part for part in response.parts if isinstance(part, bytes)
        )

    def _tick(self) -> None:
        if self._acceptor.open or self._context.connections:
            self._gate.loop.call_later(TICK, self._tick)
        now = time.monotonic()
        if self._tls is not None:
            self._tls.sweep(now)
        for connection in tuple(self._context.connections):
            connection.tick(now)
