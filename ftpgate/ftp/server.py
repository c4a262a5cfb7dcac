"""Where FTP clients arrive: a listening socket, its sessions, and the one clock that looks after all of them."""

from __future__ import annotations

import logging
import socket
import time
from functools import partial

from ftpgate.delivery.context import Gate
from ftpgate.ftp.control import GateFTPHandler
from ftpgate.ftp.front import Front
from ftpgate.net.handshake import Handshakes
from ftpgate.net.listening import Acceptor
from ftpgate.net.tls import HandshakeError, TlsSink
from ftpgate.settings import Address

_log = logging.getLogger(__name__)

# The gate has its own log; without a handler pyftpdlib would set one up that writes every command.
logging.getLogger("pyftpdlib").addHandler(logging.NullHandler())
logging.getLogger("pyftpdlib").setLevel(logging.WARNING)

SWEEP_EVERY = 2.0
"""Seconds between two looks at what is idle or lingers."""


class Listener:
    """One listening address with its sessions.

    Attributes:
        address: where it listens, with the real port.
        front: what its sessions share.
    """

    def __init__(self, gate: Gate, address: Address, tls: Handshakes | None = None) -> None:
        """`tls`: the handshakes of its connections, when TLS begins before the first reply."""
        self._gate = gate
        self.front = Front(gate)
        self._tls = tls
        self._acceptor = Acceptor(gate.loop, address, self._accepted)
        self.address = self._acceptor.address
        gate.loop.call_later(SWEEP_EVERY, self._sweep)

    def close(self) -> None:
        """Accept no more; sessions go on, but when the gate is draining those with nothing under way end."""
        if self._acceptor.open:
            self._acceptor.close()
            self.front.tend()

    def _accepted(self, sock: socket.socket, _peer: str) -> None:
        if self._tls is None:
            GateFTPHandler(sock, self.front).welcome()
        elif self.front.room_for_sockets:
            self._tls.begin(sock, partial(self._secured, sock), partial(self._insecure, sock))
        else:
            sock.close()

    def _secured(self, sock: socket.socket, sink: TlsSink) -> None:
        GateFTPHandler(sock, self.front, sink).welcome()

    def _insecure(self, sock: socket.socket, error: HandshakeError) -> None:
        _log.debug("a connection to %s: %s", self.address, error)
        sock.close()

    def _sweep(self) -> None:
        if self._acceptor.open or self.front.sessions or self.front.lingering:
            self._gate.loop.call_later(SWEEP_EVERY, self._sweep)
        now = time.monotonic()
        if self._gate.tls is not None:
            self._gate.tls.sweep(now)
        self.front.tend()
        self.front.lingering.sweep(now)


def listen(gate: Gate, address: Address) -> Listener:
    """Begin to accept FTP connections at `address`; `::` takes IPv4 as well.

    Raises:
        OSError: nothing can listen there.
    """
    return Listener(gate, address)


def listen_tls(gate: Gate, address: Address) -> Listener:
    """The same over TLS from the first byte (implicit TLS), with the gate's certificate.

    Raises:
        OSError: nothing can listen there.
    """
    assert gate.tls is not None
    return Listener(gate, address, gate.tls)
