"""What the next data connection comes from: a passive port, a connection to the client's own port, or the handshake on either.

pyftpdlib's `PassiveDTP` is not used: where no port of the range is free it takes one outside, and a connection from another host
makes it send the client a reply to no command.
"""

from __future__ import annotations

import errno
import logging
import socket
from functools import partial
from typing import TYPE_CHECKING, Protocol

from ftpgate.ftp.control_connection import ControlConnection
from ftpgate.ftp.server_context import ServerContext
from ftpgate.ftp.tls_commands import TlsCommands
from ftpgate.net.handshake import Handshake
from ftpgate.net.passive_ports import WAITING, OpenPort, SocketAddress
from ftpgate.net.silence import end_when_silent
from ftpgate.net.sockets import PlainSink, Sink
from ftpgate.net.tls import HandshakeError

if TYPE_CHECKING:
    from pyftpdlib.ioloop import IOLoop

_log = logging.getLogger(__name__)


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


class PassivePort:
    """Waits for the client's data connection. Connections from other hosts are closed."""

    __slots__ = ("_caller", "_fileno", "_foreign", "_loop", "_port")

    def __init__(self, port: OpenPort, caller: Caller, loop: IOLoop) -> None:
        self._port = port
        self._caller = caller
        self._loop = loop
        self._foreign = False
        """Has another host connected? The log tells it once."""
        self._fileno = port.socket.fileno()
        loop.register(self._fileno, self, loop.READ)

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def handle_read_event(self) -> None:
        for _ in range(WAITING):  # a stranger who keeps connecting does not keep the client waiting
            if self._fileno < 0 or not self._accept():
                return

    def _accept(self) -> bool:
        """Take one connection. False when there is none."""
        try:
            sock, peer = self._port.socket.accept()
        except BlockingIOError:
            return False
        except ConnectionError:
            return True  # it went away again
        except OSError:
            self.close()  # no descriptor is left: trying again at once would spin
            self._caller.unreachable()
            return False
        if peer[0] != self._caller.peer_host:
            if not self._foreign:
                self._foreign = True
                _log.warning("closed a data connection from %s that belongs to %s", peer[0], self._caller.peer_host)
            sock.close()
            return True
        sock.setblocking(False)
        self.close()
        self._caller.arrived(sock)
        return False

    def handle_close(self) -> None:
        self.close()

    def handle_error(self) -> None:
        _log.exception("a passive port met an error")
        self.close()

    def close(self) -> None:
        if self._fileno >= 0:
            self._loop.unregister(self._fileno)
            self._fileno = -1
            self._port.close()


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

    def listen(self, local: SocketAddress, customer: str) -> int | None:
        """Open a passive port at the address `local` for a customer. Returns its number, or None when there is none for him."""
        context, family = self._context, self._control.socket.family
        if not context.room_for_sockets:
            return None
        try:
            port = context.gate.passive_ports.open(local, family, customer=customer, peer=self.peer_host, give_way=self._give_way)
        except OSError:
            return None
        if port is None:
            return None
        self._source = PassivePort(port, self, context.loop)
        return port.number

    def _give_way(self) -> None:
        """Another customer needs the port."""
        if isinstance(self._source, PassivePort):
            self.close()
            self.unreachable()

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
