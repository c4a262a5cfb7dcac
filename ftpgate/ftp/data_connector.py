"""What the next data connection comes from: a passive port, a connection to the client's own port, or the handshake on either.

pyftpdlib's `PassiveDTP` is not used: where no port of the range is free it takes one outside, and a connection from another host
makes it send the client a reply to no command.
"""

from __future__ import annotations

import errno
import logging
import random
import socket
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from ftpgate.ftp.control_connection import ControlConnection
from ftpgate.ftp.server_context import ServerContext
from ftpgate.ftp.tls_commands import TlsCommands
from ftpgate.net.handshake import Handshake
from ftpgate.net.silence import end_when_silent
from ftpgate.net.sockets import PlainSink, Sink
from ftpgate.net.tls import HandshakeError

if TYPE_CHECKING:
    from pyftpdlib.ioloop import IOLoop

_log = logging.getLogger(__name__)

_TRIES = 2_000
"""Ports tried for one command, which costs two milliseconds when all of them are in use."""
_WAITING = 8
"""Connections that may wait on a passive port; only the client's own is of use."""

SocketAddress = tuple[Any, ...]


class Connected(Protocol):
    """Who wants the data connection."""

    def data_connected(self, sock: socket.socket, sink: Sink) -> None:
        """It is there, its handshake done."""
        ...

    def data_unreachable(self, reply: str) -> None:
        """It could not be made, as `reply` tells the client."""
        ...


class Caller(Protocol):
    """Who waits at a passive port, or for an active connection: the connector."""

    @property
    def peer_host(self) -> str:
        """The client's address, as its control socket has it."""
        ...

    def arrived(self, sock: socket.socket) -> None:
        """The connection is there."""
        ...

    def unreachable(self) -> None:
        """There will be none."""
        ...


def listen_within(ports: range, local: SocketAddress, family: int) -> socket.socket | None:
    """A socket that listens at the address `local` on a free port of `ports`, begun at random; None when none is free.

    Raises:
        OSError: there are no more sockets.
    """
    first = random.randrange(len(ports))  # noqa: S311 - it spreads; who may connect is decided by address
    for step in range(min(len(ports), _TRIES)):
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((local[0], ports[(first + step) % len(ports)], *local[2:]))
            end_when_silent(sock)  # and what it accepts
            sock.listen(_WAITING)
            return sock
        except OSError as error:
            sock.close()
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
    return None


class PassivePort:
    """Listens for the client's data connection. Connections from other hosts are closed."""

    __slots__ = ("_caller", "_fileno", "_loop", "_socket")

    def __init__(self, sock: socket.socket, caller: Caller, loop: IOLoop) -> None:
        self._socket = sock
        self._caller = caller
        self._loop = loop
        self._fileno = sock.fileno()
        loop.register(self._fileno, self, loop.READ)

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def handle_read_event(self) -> None:
        try:
            sock, peer = self._socket.accept()
        except (BlockingIOError, ConnectionError):
            return  # it went away again
        except OSError:
            self.close()  # no descriptor is left: trying again at once would spin
            return self._caller.unreachable()
        if peer[0] != self._caller.peer_host:
            _log.warning("closed a data connection from %s that belongs to %s", peer[0], self._caller.peer_host)
            sock.close()
            return
        sock.setblocking(False)
        self.close()
        self._caller.arrived(sock)

    def handle_close(self) -> None:
        self.close()

    def handle_error(self) -> None:
        _log.exception("a passive port met an error")
        self.close()

    def close(self) -> None:
        if self._fileno >= 0:
            self._loop.unregister(self._fileno)
            self._fileno = -1
            self._socket.close()


class ActiveConnection:
    """Connects to the client, from the address that it has connected to."""

    __slots__ = ("_caller", "_fileno", "_loop", "_socket")

    def __init__(self, to: SocketAddress, local: SocketAddress, family: int, caller: Caller, loop: IOLoop) -> None:
        """Raises OSError when that cannot even be begun."""
        self._caller = caller
        self._loop = loop
        self._socket = sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            end_when_silent(sock)
            sock.bind((local[0], 0, *local[2:]))
            failed = sock.connect_ex(to)
            if failed not in (0, errno.EINPROGRESS):
                raise OSError(failed, "connect")
        except OSError:
            sock.close()
            raise
        self._fileno = sock.fileno()
        loop.register(self._fileno, self, loop.WRITE)

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def handle_read_event(self) -> None: ...

    def handle_write_event(self) -> None:
        if self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            return self.handle_close()
        self._loop.unregister(self._fileno)
        self._fileno = -1
        self._caller.arrived(self._socket)

    def handle_close(self) -> None:
        if self._fileno >= 0:
            self.close()
            self._caller.unreachable()

    def handle_error(self) -> None:
        _log.exception("an active data connection met an error")
        self.handle_close()

    def close(self) -> None:
        if self._fileno >= 0:
            self._loop.unregister(self._fileno)
            self._fileno = -1
            self._socket.close()


class DataConnector:
    """What the next data connection of a session comes from. One at a time; a later PASV, EPSV, PORT or EPRT replaces it."""

    __slots__ = ("_active_port", "_context", "_control", "_source", "_tls", "_user")

    def __init__(self, control: ControlConnection, tls: TlsCommands, context: ServerContext, user: Connected) -> None:
        self._control = control
        self._tls = tls
        self._context = context
        self._user = user
        self._source: PassivePort | ActiveConnection | Handshake | None = None
        self._active_port = 0
        """Where the client waits for a connection that is not begun yet; 0 when it waits nowhere."""

    @property
    def pending(self) -> bool:
        """Is a data connection on its way, or the client's port known?"""
        return self.begun or self._active_port != 0

    @property
    def begun(self) -> bool:
        """Is a passive port open, or a connection or its handshake under way?"""
        return self._source is not None

    @property
    def peer_host(self) -> str:
        return self._control.peer_host

    def listen(self, local: SocketAddress) -> int | None:
        """Open a passive port at the address `local`. Returns its number, or None when none is free."""
        family, context = self._control.socket.family, self._context
        try:
            ports = context.gate.settings.passive_ports
            listening = listen_within(ports, local, family) if context.room_for_sockets else None
        except OSError:
            listening = None
        if listening is None:
            return None
        self._source = port = PassivePort(listening, self, context.loop)
        return port.port

    def aim(self, port: int) -> None:
        """The client listens at this port. The connection is made when there is something to send: `connect`."""
        self._active_port = port

    def connect(self) -> None:
        """Connect to the client, unless its connection is awaited already."""
        if self.begun:
            return
        control, port = self._control, self._active_port
        self._active_port = 0
        try:
            to = (control.addr[0], port, *control.addr[2:])
            self._source = ActiveConnection(to, control.socket.getsockname(), control.socket.family, self, self._context.loop)
        except OSError:
            self.unreachable()

    def close(self) -> None:
        """Wait no more."""
        if self._source is not None:
            self._source.close()
            self._source = None
        self._active_port = 0

    # -- what comes of it

    def arrived(self, sock: socket.socket) -> None:
        self._source = None
        try:
            if self._tls.protected:
                done, failed = partial(self._secured, sock), partial(self._not_secured, sock)
                self._source = self._tls.begin_on_data(sock, done, failed)
            else:
                self._secured(sock, PlainSink(sock))
        except OSError:
            sock.close()
            self.unreachable()

    def _secured(self, sock: socket.socket, sink: Sink) -> None:
        self._source = None
        self._user.data_connected(sock, sink)

    def _not_secured(self, sock: socket.socket, error: HandshakeError) -> None:
        _log.debug("%s: %s", self._control, error)
        sock.close()
        self._user.data_unreachable("522 TLS could not be agreed on for the data connection.")

    def unreachable(self) -> None:
        self._user.data_unreachable("425 The data connection could not be made.")
