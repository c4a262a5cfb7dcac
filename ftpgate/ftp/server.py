"""Where FTP clients arrive: a listening socket, its sessions, and the one clock that looks after all of them."""

from __future__ import annotations

import logging
import socket
import time
from functools import partial

from ftpgate.delivery.context import DeliveryContext
from ftpgate.ftp.server_context import ServerContext
from ftpgate.ftp.session import CROWDED, Session
from ftpgate.net.handshake import Handshakes
from ftpgate.net.listening import Acceptor, Endpoint, refuse
from ftpgate.net.places import Guest
from ftpgate.net.tls import HandshakeError, TlsSink

_log = logging.getLogger(__name__)

# The gate has its own log; without a handler pyftpdlib would set one up that writes every command.
logging.getLogger("pyftpdlib").addHandler(logging.NullHandler())
logging.getLogger("pyftpdlib").setLevel(logging.WARNING)

SOCKETS = 2
"""What a session takes of the gate's places: it may need a second socket for its data."""
BUFFER = 16_384
"""Bytes that the kernel keeps of commands and replies, each way and doubled for its own needs. Left to itself it keeps megabytes
of replies for a client that reads none."""
SWEEP_EVERY = 2.0
"""Seconds between two looks at what is idle or lingers."""


class Listener:
    """One listening address with its sessions.

    Attributes:
        address: where it listens, with the real port.
        context: what its sessions share.
    """

    def __init__(self, gate: DeliveryContext, at: Endpoint, tls: Handshakes | None = None) -> None:
        """`tls`: the handshakes of its connections, when TLS begins before the first reply."""
        self._gate = gate
        self.context = ServerContext(gate)
        self._tls = tls
        self._acceptor = Acceptor(gate.loop, at, self._accepted, receive_buffer=BUFFER, send_buffer=BUFFER)
        self.address = self._acceptor.address
        gate.loop.call_later(SWEEP_EVERY, self._sweep)

    def close(self) -> None:
        """Accept no more; sessions go on, but when the gate is draining those with nothing under way end."""
        if self._acceptor.open:
            self._acceptor.close()
            self.context.check_timeouts()

    def _accepted(self, sock: socket.socket, peer: str) -> None:
        guest = self._gate.places.admit(peer, sock.close, weight=SOCKETS)
        if guest is None:
            refuse(sock, f"{CROWDED}\r\n".encode() if self._tls is None else b"")
        elif self._tls is None:
            self._enter(sock, guest)
        else:
            done, failed = partial(self._enter, sock, guest), partial(self._insecure, sock, guest)
            guest.give_way = self._tls.begin(sock, peer, done, failed, sessions=self.context.tls_sessions()).close

    def _enter(self, sock: socket.socket, guest: Guest, sink: TlsSink | None = None) -> None:
        try:
            Session(sock, self.context, guest, sink).welcome()
        except BaseException:
            guest.leave()
            raise

    def _insecure(self, sock: socket.socket, guest: Guest, error: HandshakeError) -> None:
        _log.debug("a connection to %s: %s", self.address, error)
        sock.close()
        guest.leave()

    def _sweep(self) -> None:
        if self._acceptor.open or self.context.sessions or self.context.lingering:
            self._gate.loop.call_later(SWEEP_EVERY, self._sweep)
        now = time.monotonic()
        if self._gate.tls is not None:
            self._gate.tls.sweep(now)
        self.context.check_timeouts()
        self.context.lingering.sweep(now)


def listen(gate: DeliveryContext, at: Endpoint) -> Listener:
    """Begin to accept FTP connections at `at`; `::` takes IPv4 as well.

    Raises:
        OSError: nothing can listen there.
    """
    return Listener(gate, at)


def listen_tls(gate: DeliveryContext, at: Endpoint) -> Listener:
    """The same over TLS from the first byte (implicit TLS), with the gate's certificate.

    Raises:
        OSError: nothing can listen there.
    """
    assert gate.tls is not None
    return Listener(gate, at, gate.tls)
