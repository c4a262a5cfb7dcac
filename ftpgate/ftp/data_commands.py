"""The way for data, and what goes it: passive and active connections, RETR, the listings, ABOR."""

from __future__ import annotations

import ipaddress
import logging
import socket
import time
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

from ftpgate.access.open_grant import OpenGrant
from ftpgate.errors import BadRequest, GateError, RangeNotSatisfiable, Unavailable
from ftpgate.ftp.commands import FACTS
from ftpgate.ftp.control_connection import SessionState
from ftpgate.ftp.data_connection import DataConnection
from ftpgate.ftp.data_connector import ActiveConnection, PassivePort, listen_within
from ftpgate.ftp.file_sender import FileSender
from ftpgate.ftp.filesystem import GrantFS, fact_lines, list_lines, name_lines
from ftpgate.ftp.listing_sender import ListingSender
from ftpgate.ftp.tls_commands import TlsCommands
from ftpgate.grants import GrantState
from ftpgate.net.handshake import Handshake
from ftpgate.net.silence import PROBE_AFTER, PROBE_EVERY
from ftpgate.net.sockets import PlainSink, Sink
from ftpgate.net.tcp_info import silence_of
from ftpgate.net.tls import HandshakeError, TlsSink
from ftpgate.tree import Folder, Leaf

_log = logging.getLogger(__name__)

CONNECT_WITHIN = 30.0
"""Seconds in which a data connection has to come about once something is to be sent, and that a passive port waits."""

UNANSWERED = PROBE_AFTER + PROBE_EVERY / 2
"""Seconds of silence on a control connection that mean that the kernel's question (keep-alive) was not answered."""

_FAILURES = {
    "cut": "426 Connection closed; transfer aborted.",
    "stalled": "426 Nothing was taken for a long time; transfer aborted.",
    "revoked": "426 This download was revoked; transfer aborted.",
    "error": "426 The file could not be read on; transfer aborted.",
}


class PendingTransfer(NamedTuple):
    """What is to be sent: a file from byte `offset` on, or a listing."""

    what: Leaf | Iterator[bytes]
    offset: int = 0


class DataCommands(TlsCommands):
    """A session that sends files and listings of its grant, one at a time."""

    fs: GrantFS
    """Only once logged in."""
    facts: tuple[str, ...] = FACTS
    client = ""
    restart = 0
    lingering = 0
    _grant: OpenGrant | None = None
    _digest = b""
    """`Token.digest()` of the token that opened `_grant`."""
    _data: DataConnection | None = None
    _connector: PassivePort | ActiveConnection | Handshake | None = None
    """What the data connection will come from."""
    _active_port = 0
    _pending: PendingTransfer | None = None
    _since = 0.0
    _epsvall = False

    @property
    def peer_host(self) -> str:
        return str(self.addr[0])

    @property
    def peer(self) -> str:
        """The client's address for people and records: IPv4 as such on a dual-stack socket too."""
        return self.peer_host.removeprefix("::ffff:") if "." in self.peer_host else self.peer_host

    # -- the way to the client

    def ftp_EPSV(self, argument: str) -> None:
        """RFC 2428 sections 3 and 4. pyftpdlib's goes by the socket, which is an IPv6 one to IPv4 clients of `::` too."""
        spoken = "2" if ":" in self.peer else "1"
        if argument in ("", spoken):
            self._make_epasv(extmode=True)
        elif argument.upper() == "ALL":
            self._epsvall = True
            self.respond("200 Only EPSV from now on.")
        elif argument.isdigit():
            self.respond(f"522 Network protocol not supported, use ({spoken})")
        else:
            raise BadRequest("EPSV takes 1, 2 or ALL.")

    def _make_epasv(self, extmode: bool = False) -> None:
        """PASV as parsed by pyftpdlib, and EPSV."""
        self.check_protection()
        self.close_data()
        local = self.socket.getsockname()
        own = local[0].removeprefix("::ffff:")
        if not extmode and ":" in own:
            return self.respond("425 PASV knows no IPv6; use EPSV.")
        try:
            ports = self.server.gate.settings.passive_ports
            listening = listen_within(ports, local, self.socket.family) if self.server.room_for_sockets else None
        except OSError:
            listening = None
        if listening is None:
            return self.respond("425 No passive port is free at present; try again.")
        self._connector = PassivePort(listening, self, self.ioloop)
        self._since = time.monotonic()
        port = self._connector.port
        if extmode:
            self.respond(f"229 Entering extended passive mode (|||{port}|).")
        else:
            address = (self.server.public_address or own).replace(".", ",")
            self.respond(f"227 Entering passive mode ({address},{port >> 8},{port & 255}).")

    def _make_eport(self, ip: str, port: int) -> None:
        """PORT and EPRT, as parsed by pyftpdlib. The connection is made when there is something to send."""
        self.check_protection()
        try:
            own = ipaddress.ip_address(ip) == ipaddress.ip_address(self.peer.partition("%")[0])
        except ValueError:
            raise BadRequest("That is no address.") from None
        if not own:
            raise BadRequest("Data connections go only to your own address.")  # RFC 2577 section 3: bounce attacks
        if port < 1024:
            raise BadRequest("Data connections go to no port below 1024.")
        self.close_data()
        self._active_port = port
        self.respond("200 The data connection will be made to that port.")

    def close_data(self) -> None:
        if self._connector is not None:
            self._connector.close()
            self._connector = None
        if self._data is not None:
            self._data.detach()
            self._data = None
        self._active_port = 0

    def data_connected(self, sock: socket.socket) -> None:
        self._connector = None
        try:
            if self._protected:
                assert self.server.gate.tls is not None
                # The control connection's session may be resumed, and its certificate is the one that the client expects.
                like = self._sink if isinstance(self._sink, TlsSink) else None
                done, failed = partial(self._data_ready, sock), partial(self._data_insecure, sock)
                self._connector = self.server.gate.tls.begin(sock, self.peer, done, failed, like=like)
            else:
                self._data_ready(sock, PlainSink(sock))
        except OSError:
            sock.close()
            self.data_unreachable()

    def _data_insecure(self, sock: socket.socket, error: HandshakeError) -> None:
        _log.debug("%s: %s", self, error)
        sock.close()
        self._data_failed("522 TLS could not be agreed on for the data connection.")

    def _data_ready(self, sock: socket.socket, sink: Sink) -> None:
        self._connector = None
        self._data = DataConnection(sock, sink, self, self.ioloop)
        if self._pending is not None and self._state is not SessionState.PREPARING:  # what is being prepared is not promised yet
            order, self._pending = self._pending, None
            self.resume(partial(self._send, self._data, order))

    def data_unreachable(self) -> None:
        self._data_failed("425 The data connection could not be made.")

    def _data_failed(self, reply: str) -> None:
        self.close_data()
        if self._state in (SessionState.TRANSFERRING, SessionState.LEAVING):
            self._pending = None
            self._moved(reply)

    # -- what goes that way

    def ftp_RETR(self, path: str) -> None:
        offset, self.restart = self.restart, 0
        gate = self.server.gate
        leaf = self.fs.file(path)
        self._check_open()
        if gate.draining:
            raise Unavailable()
        if offset > leaf.resource.size:
            raise RangeNotSatisfiable(leaf.resource.size)
        if self._has_way():
            self._state = SessionState.PREPARING
            self._pending = order = PendingTransfer(leaf, offset)
            try:
                gate.engine.files.prepare(leaf.resource.files, partial(self._prepared, order))
            except GateError:
                self._state, self._pending = SessionState.READY, None
                raise

    def _check_open(self) -> None:
        """Raises DeadToken when the grant, or the token of this session, opens nothing any more."""
        assert self._grant is not None
        self.server.gate.gatekeeper.check_open(self._grant, self._digest)

    def _prepared(self, order: PendingTransfer, error: GateError | None) -> None:
        self.later(partial(self._promise_file, order, error))

    def _promise_file(self, order: PendingTransfer, error: GateError | None) -> None:
        if self._pending is not order or self._state is not SessionState.PREPARING:
            return  # it was aborted meanwhile
        self._state, self._pending = SessionState.READY, None
        if error is not None:
            raise error
        self._check_open()  # it may have been revoked meanwhile
        self._promise(order)

    def ftp_LIST(self, arguments: str) -> None:
        self._list(list_lines(self.fs.listed(arguments).entries))

    def ftp_NLST(self, arguments: str) -> None:
        self._list(name_lines(self.fs.listed(arguments)))

    def ftp_MLSD(self, path: str) -> None:
        found = self.fs.find(path or ".")
        if not isinstance(found, Folder):
            raise BadRequest("This is not a folder.")  # RFC 3659 section 7.2.1 wants 501
        self._list(fact_lines(found.entries, self.facts))

    def _list(self, lines: Iterator[bytes]) -> None:
        self._promise(PendingTransfer(lines))

    def _has_way(self) -> bool:
        """Is there a way for data? If not, that is the reply."""
        self.check_protection()
        if self._data is None and self._connector is None and not self._active_port:
            self.respond("425 Use PASV, EPSV, PORT or EPRT first.")
            return False
        return True

    def _promise(self, order: PendingTransfer) -> None:
        if not self._has_way():
            return
        self._state = SessionState.TRANSFERRING
        self._since = time.monotonic()
        name = order.what.name if isinstance(order.what, Leaf) else "the listing"
        self.respond(f"150 Opening data connection for {name}")
        if self._closed:
            return
        if self._data is not None:
            return self._send(self._data, order)
        self._pending = order
        if self._connector is None:
            local, port = self.socket.getsockname(), self._active_port
            self._active_port = 0
            try:
                to = (self.addr[0], port, *self.addr[2:])
                self._connector = ActiveConnection(to, local, self.socket.family, self, self.ioloop)
            except OSError:
                self.data_unreachable()

    def _send(self, channel: DataConnection, order: PendingTransfer) -> None:
        if not isinstance(order.what, Leaf):
            return ListingSender(channel, self, order.what, self.later).start()
        assert self._grant is not None
        if self._grant.status.state is GrantState.REVOKED:  # since it was promised, when no transfer was there to be ended
            return channel.fail("revoked")
        self.server.gate.engine.newcomers.discard(self.peer, self)
        FileSender(channel, self, self.server.lingering).start(
            self.server.gate.engine, self._grant, order.what, order.offset,
            protocol="ftps" if channel.sink.wire.encrypted else "ftp", peer=self.peer, client=self.client,
        )  # fmt: skip

    def ftp_ABOR(self, _argument: str) -> None:
        """RFC 959 section 4.1.3: 426 for what was under way, then 226."""
        channel = self._data
        if self._state is SessionState.TRANSFERRING and channel is not None and channel.busy:
            channel.abort()
        elif self._state in (SessionState.PREPARING, SessionState.TRANSFERRING):
            self._pending = None
            self._moved(_FAILURES["cut"])
        self.close_data()
        self.respond("226 Nothing is being sent.")

    def data_done(self, channel: DataConnection) -> None:
        if self._data is not channel:
            return  # it was aborted meanwhile
        self._data = None
        self._moved("226 Transfer complete.")

    def data_failed(self, channel: DataConnection, outcome: str) -> None:
        self._data = None
        if channel.lost and silence_of(self.socket) > UNANSWERED:
            self.close()  # a reply would only be waited for as long again
            return
        self._moved(_FAILURES[outcome])

    def data_closed(self, channel: DataConnection) -> None:
        if self._data is channel:
            self._data = None

    def _moved(self, reply: str) -> None:
        """The last reply to what was being sent."""
        leaving = self._state is SessionState.LEAVING
        self._state = SessionState.READY
        self._heard = time.monotonic()

        def tell() -> None:
            self.respond(reply)
            if leaving:
                self.leave()

        self.resume(tell)

    def check_data_timeouts(self, now: float) -> None:
        """End a wait for the data connection, or for a listing to be read, that has lasted for too long."""
        if self._data is not None:
            self._data.check_timeouts(now)
        if now - self._since <= CONNECT_WITHIN:
            return
        if self._pending is not None and self._state in (SessionState.TRANSFERRING, SessionState.LEAVING):
            self.data_unreachable()
        elif self._connector is not None and self._state is SessionState.READY:
            self.close_data()
