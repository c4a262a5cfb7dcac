"""What the sessions of one listening address share."""

from __future__ import annotations

import ipaddress
import logging
import socket
import threading
import time
from typing import TYPE_CHECKING, Protocol

from ftpgate.delivery.context import DeliveryContext
from ftpgate.endpoints import parse_address
from ftpgate.ftp.lingering import Lingering
from ftpgate.net.tls import SHARED, own_sessions

if TYPE_CHECKING:
    from pyftpdlib.ioloop import IOLoop

_log = logging.getLogger(__name__)


class Timed(Protocol):
    """A session, as those who look after all of them know it."""

    def check_timeouts(self, now: float) -> None:
        """End what has taken too long. `now` is the monotonic clock's."""
        ...


class ServerContext:
    """The sessions of one listening address, and what they need to know of the gate.

    Attributes:
        public_address: the IPv4 address that PASV names, or None for the one that the client has connected to.
    """

    def __init__(self, gate: DeliveryContext) -> None:
        self.gate = gate
        self.loop: IOLoop = gate.loop
        self.sessions: set[Timed] = set()
        self.lingering = Lingering(gate.most_connections)
        self.public_address: str | None = None
        self._find_public_address()

    def enter(self, session: Timed) -> None:
        """A session begins."""
        self.sessions.add(session)
        self.gate.connections += 1
        self.gate.sessions += 1

    def leave(self, session: Timed) -> None:
        """A session has ended."""
        self.sessions.discard(session)
        self.gate.connections -= 1
        self.gate.sessions -= 1

    @property
    def room_for_sockets(self) -> bool:
        return len(self.loop.socket_map) < self.gate.most_connections

    def tls_sessions(self) -> bytes:
        """The name of the TLS sessions of one control connection, which its data connections may resume."""
        return SHARED if self.gate.settings.ftps_reuse == "off" else own_sessions()

    def check_timeouts(self) -> None:
        """End what has taken too long in any session."""
        now = time.monotonic()
        for session in tuple(self.sessions):
            session.check_timeouts(now)

    def _find_public_address(self) -> None:
        """What PASV has to say, which knows IPv4 only (RFC 959 section 4.1.2). A name is resolved once, in a thread."""
        advertised = self.gate.settings.advertise.get("ftp")
        host = self.gate.settings.public_host if advertised is None else parse_address(advertised).host
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
            _log.warning("the public host %s has no IPv4 address (%s): PASV names the one connected to", host, error)
