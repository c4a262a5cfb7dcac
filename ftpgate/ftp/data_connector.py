"""What the next data connection of a session comes from, and the handshakes on it."""

from __future__ import annotations

import socket
from typing import Protocol

from ftpgate.ftp.control_connection import ControlConnection
from ftpgate.ftp.data_handshakes import DataHandshakes
from ftpgate.ftp.data_sources import ActiveConnection, PassivePort
from ftpgate.ftp.server_context import ServerContext
from ftpgate.ftp.tls_commands import TlsCommands
from ftpgate.net.passive_ports import SocketAddress
from ftpgate.net.sockets import PlainSink, Sink
from ftpgate.net.tls import TlsSink


class Connected(Protocol):
    """Who wants the data connection."""

    def data_connected(self, sock: socket.socket, sink: Sink) -> None:
        """It is there, its handshake done."""
        ...

    def data_unreachable(self, reply: str) -> None:
        """It could not be made, as `reply` tells the client."""
        ...


class DataConnector:
    """What the next data connection of a session comes from. One at a time; a later PASV, EPSV, PORT or EPRT replaces it."""

    __slots__ = ("_active_port", "_context", "_control", "_handshakes", "_resumes", "_source", "_tls", "_user", "_wanted")

    def __init__(self, control: ControlConnection, tls: TlsCommands, context: ServerContext, user: Connected) -> None:
        self._control = control
        self._tls = tls
        self._context = context
        self._user = user
        self._source: PassivePort | ActiveConnection | None = None
        self._handshakes: DataHandshakes | None = None
        """Of those who have come, when there are any and TLS is to be spoken with them."""
        self._active_port = 0
        """Where the client waits for a connection that is not begun yet; 0 when it waits nowhere."""
        self._wanted = False
        """Is something to be sent?"""
        self._resumes = False
        """Has the client resumed the control connection's TLS session before?"""

    @property
    def pending(self) -> bool:
        """Is a data connection on its way, or the client's port known?"""
        return self.begun or self._active_port != 0

    @property
    def begun(self) -> bool:
        """Is a passive port open, or a connection or its handshake under way?"""
        return self._source is not None or self._handshakes is not None

    @property
    def peer_host(self) -> str:
        return self._control.peer_host

    def listen(self, local: SocketAddress, customer: str) -> int | None:
        """Open a passive port at the address `local` for a customer. Returns its number, or None when there is none for him."""
        context, family = self._context, self._control.socket.family
        if not context.room_for_sockets:
            return None
        ports = context.gate.passive_ports
        try:
            port = ports.open(local, family, customer=customer, peer=self.peer_host, give_way=self._give_way)
        except OSError:
            return None
        if port is None:
            return None
        self._source = PassivePort(port, self, context.loop)
        return port.number

    def _give_way(self) -> None:
        """Another customer needs the port."""
        self._close_source()
        if self._handshakes is None:
            self.unreachable()

    def aim(self, port: int) -> None:
        """The client listens at this port. The connection is made when there is something to send: `send_soon`."""
        self._active_port = port

    def send_soon(self) -> None:
        """Something is to be sent: connect to the client, unless its connection is awaited or there already."""
        self._wanted = True
        if not self.begun:
            return self._connect()
        if self._tls.protected and isinstance(self._source, PassivePort):
            self._source.handle_read_event()  # the client has connected before it asked; the loop may report it later
        if self._handshakes is not None:
            self._handshakes.wanted()

    def _connect(self) -> None:
        control, port = self._control, self._active_port
        self._active_port = 0
        try:
            to = (control.addr[0], port, *control.addr[2:])
            self._source = ActiveConnection(to, control.socket.getsockname(), control.socket.family, self, self._context.loop)
        except OSError:
            self.unreachable()

    def close(self) -> None:
        """Wait no more."""
        self._close_source()
        if self._handshakes is not None:
            self._handshakes.close()
            self._handshakes = None
        self._active_port = 0
        self._wanted = False

    def _close_source(self) -> None:
        if self._source is not None:
            self._source.close()
            self._source = None

    # -- what comes of it

    def arrived(self, sock: socket.socket) -> None:
        if not self._tls.protected:
            self._close_source()
            return self._user.data_connected(sock, PlainSink(sock))
        if self._handshakes is None:
            self._handshakes = self._begin_handshakes()
        elif not self._context.room_for_sockets:
            return sock.close()
        try:
            self._handshakes.add(sock)
        except OSError:
            sock.close()
            if self._source is None:
                self.unreachable()

    def _begin_handshakes(self) -> DataHandshakes:
        reuse, passive = self._context.gate.settings.ftps_reuse, isinstance(self._source, PassivePort)
        if reuse == "off" or not passive:
            self._close_source()
        handshakes = DataHandshakes(
            self._tls, self._context.loop.call_later, reuse=reuse, resumes=self._resumes, more_may_come=self._source is not None,
            chosen=self._secured, refused=self._not_secured,
        )  # fmt: skip
        if self._wanted:
            handshakes.wanted()
        return handshakes

    def _secured(self, sock: socket.socket, sink: TlsSink) -> None:
        self._handshakes = None
        self.close()
        self._resumes = self._resumes or sink.resumed
        self._user.data_connected(sock, sink)

    def _not_secured(self, reply: str) -> None:
        self._handshakes = None
        self._user.data_unreachable(reply)

    def unreachable(self) -> None:
        self._user.data_unreachable("425 The data connection could not be made.")
