"""A listening socket of the HTTP front, and the one clock that looks after all its connections."""

from __future__ import annotations

import logging
import socket
import time
from functools import partial

from ftpgate.delivery.context import Gate
from ftpgate.errors import BadRequest, GateError
from ftpgate.http.connection import HttpConnection
from ftpgate.http.front import Front, Routes
from ftpgate.net.handshake import Handshakes
from ftpgate.net.listening import Acceptor
from ftpgate.net.sockets import PlainSink, Sink
from ftpgate.net.tls import HandshakeError
from ftpgate.settings import Address

_log = logging.getLogger(__name__)

TICK = 2.0
"""Seconds between two rounds of the clock; every limit that it keeps is several times as long."""
SPARE = 32
"""Connections beyond the limit that are told why they get nothing; further ones are closed without a word."""


class Crowded(GateError):
    http, ftp = 503, 421
    text = "Too many connections to this server just now. Try again shortly."
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

    def __init__(self, gate: Gate, address: Address, routes: Routes, tls: Handshakes | None = None) -> None:
        self._gate = gate
        self._front = Front(gate, routes, "http" if tls is None else "https")
        self._tls = tls
        self._acceptor = Acceptor(gate.loop, address, self._accepted)
        self.address = self._acceptor.address
        gate.loop.call_later(TICK, self._tick)

    def close(self) -> None:
        """Stop accepting."""
        self._acceptor.close()

    def _accepted(self, sock: socket.socket, peer: str) -> None:
        peer = peer.removeprefix("::ffff:")
        if self._crowd() >= SPARE:
            sock.close()
        elif self._tls is None:
            self._enter(sock, peer, PlainSink(sock))
        else:
            self._tls.begin(sock, partial(self._enter, sock, peer), partial(self._insecure, sock, peer))

    def _enter(self, sock: socket.socket, peer: str, sink: Sink) -> None:
        crowd = self._crowd()
        connection = HttpConnection(self._front, sock, sink, peer)
        if crowd >= 0:
            connection.turn_away(Crowded())

    def _insecure(self, sock: socket.socket, peer: str, error: HandshakeError) -> None:
        """Whoever speaks HTTP in the clear where TLS is spoken is told so; others have had an alert, where that helps."""
        _log.debug("%s: %s", peer, error)
        if not error.plain_http:
            return sock.close()
        try:
            HttpConnection(self._front, sock, PlainSink(sock), peer).turn_away(PlainHttp())
        except OSError:
            sock.close()  # it has gone

    def _crowd(self) -> int:
        """Connections beyond the limit."""
        if not self._front.routes.counted:
            return -1
        return self._gate.connections + (0 if self._tls is None else len(self._tls)) - self._gate.most_connections

    def _tick(self) -> None:
        if self._acceptor.open or self._front.connections:
            self._gate.loop.call_later(TICK, self._tick)
        now = time.monotonic()
        if self._tls is not None:
            self._tls.sweep(now)
        for connection in tuple(self._front.connections):
            connection.tick(now)
