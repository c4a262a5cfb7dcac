"""Where FTP clients arrive: a listening socket, its sessions, and the one clock that looks after all of them."""

from __future__ import annotations

import ipaddress
import logging
import socket
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

from ftpgate.delivery.accepting import Acceptor, refuse
from ftpgate.delivery.gate import Gate
from ftpgate.delivery.handshake import Handshakes
from ftpgate.delivery.places import Guest
from ftpgate.delivery.tls import HandshakeError, TlsSink
from ftpgate.ftp.control import CROWDED, GateFTPHandler
from ftpgate.ftp.data import Lingering
from ftpgate.settings import Address

if TYPE_CHECKING:
    from pyftpdlib.ioloop import IOLoop

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
        public_address: the IPv4 address that PASV names, or None for the one that the client has connected to.
    """

    def __init__(self, gate: Gate, address: Address, tls: Handshakes | None = None) -> None:
        """`tls`: the handshakes of its connections, when TLS begins before the first reply."""
        self.gate = gate
        self._tls = tls
        self.loop: IOLoop = gate.loop
        self.sessions: set[GateFTPHandler] = set()
        self.lingering = Lingering(gate.most_connections)
        self.public_address: str | None = None
        self._acceptor = Acceptor(gate.loop, address, self._accepted, buffer=BUFFER)
        self.address = self._acceptor.address
        self._find_public_address()
        self.loop.call_later(SWEEP_EVERY, self._sweep)

    def close(self) -> None:
        """Accept no more; sessions go on, but when the gate is draining those with nothing under way end."""
        if self._acceptor.open:
            self._acceptor.close()
            self._tend()

    @property
    def room_for_sockets(self) -> bool:
        return len(self.loop.socket_map) < self.gate.most_connections

    def _accepted(self, sock: socket.socket, peer: str) -> None:
        guest = self.gate.places.admit(peer, sock.close, weight=SOCKETS)
        if guest is None:
            refuse(sock, f"{CROWDED}\r\n".encode() if self._tls is None else b"")
        elif self._tls is None:
            self._enter(sock, peer, guest)
        else:
            done, failed = partial(self._enter, sock, peer, guest), partial(self._insecure, sock, guest)
            guest.give_way = self._tls.begin(sock, peer, done, failed).close

    def _enter(self, sock: socket.socket, peer: str, guest: Guest, sink: TlsSink | None = None) -> None:
        try:
            GateFTPHandler(sock, self, peer, guest, sink).welcome()
        except BaseException:
            guest.leave()
            raise

    def _insecure(self, sock: socket.socket, guest: Guest, error: HandshakeError) -> None:
        _log.debug("a connection to %s: %s", self.address, error)
        sock.close()
        guest.leave()

    def _sweep(self) -> None:
        if self._acceptor.open or self.sessions or self.lingering:
            self.loop.call_later(SWEEP_EVERY, self._sweep)
        now = time.monotonic()
        if self.gate.tls is not None:
            self.gate.tls.sweep(now)
        self._tend()
        self.lingering.sweep(now)

    def _tend(self) -> None:
        now = time.monotonic()
        for session in tuple(self.sessions):
            session.tend(now)

    def _find_public_address(self) -> None:
        """What PASV has to say, which knows IPv4 only (RFC 959 section 4.1.2). A name is resolved once, in a thread."""
        host = self.gate.settings.public_host
        if host is None:
            return
        try:
            if ipaddress.ip_address(host).version == 4:
                self.public_address = host
        except ValueError:
            threading.Thread(target=self._resolve, args=(host,), name="public host", daemon=True).start()

    def _resolve(self, host: str) -> None:
        try:
            found = socket.getaddrinfo(host, None, socket.AF_INET, socket.SOCK_STREAM)
            self.public_address = str(found[0][4][0])
        except OSError as error:
            _log.warning("FTPGATE_PUBLIC_HOST=%s has no IPv4 address (%s): PASV names the one connected to", host, error)


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
