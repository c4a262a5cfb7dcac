"""The commands that use a data connection: PASV, EPSV, PORT and EPRT, RETR, the listings, ABOR."""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple, Protocol

from ftpgate.delivery.fetch import Fetch
from ftpgate.errors import BadRequest, DeadToken, GateError, RangeNotSatisfiable
from ftpgate.ftp.control_connection import ControlConnection
from ftpgate.ftp.data_address import IPV4, IPV6, parse_eprt, parse_port
from ftpgate.ftp.data_connection import DataConnection
from ftpgate.ftp.data_connector import DataConnector
from ftpgate.ftp.file_sender import FileSender
from ftpgate.ftp.filesystem import GrantFS, fact_lines, list_lines, name_lines
from ftpgate.ftp.listing_sender import ListingSender
from ftpgate.ftp.login import Login
from ftpgate.ftp.replies import WHOLE, Range
from ftpgate.ftp.server_context import ServerContext
from ftpgate.ftp.session_state import SessionState
from ftpgate.ftp.tls_commands import TlsCommands
from ftpgate.net.silence import PROBE_AFTER, PROBE_EVERY
from ftpgate.net.sockets import Sink
from ftpgate.net.tcp_info import silence_of
from ftpgate.tree import Folder

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
_PROMISED = (SessionState.TRANSFERRING, SessionState.LEAVING)


class PendingTransfer(NamedTuple):
    """What is to be sent: bytes `[start, end)` of a file, or a listing."""

    what: Fetch | Iterator[bytes]
    start: int = 0
    end: int = 0


class ClientSession(Protocol):
    """The session, as its data commands see it. They run only once it is logged in."""

    facts: tuple[str, ...]
    client: str
    range: Range
    login: Login | None

    @property
    def fs(self) -> GrantFS:
        """That of `login`."""
        ...

    def leave(self) -> None:
        """End the session once the last reply has been sent."""
        ...


class DataCommands:
    """Sends files and listings to one session, one at a time.

    Attributes:
        lingering: connections of the session that are acknowledged and not closed yet.
        only_epsv: has the client sent EPSV ALL?
    """

    __slots__ = (
        "_connection", "_connector", "_context", "_control", "_pending", "_session", "_since", "_tls", "lingering",
        "only_epsv",
    )  # fmt: skip

    def __init__(self, control: ControlConnection, tls: TlsCommands, context: ServerContext, session: ClientSession) -> None:
        self._control = control
        self._tls = tls
        self._context = context
        self._session = session
        self._connector = DataConnector(control, tls, context, self)
        self._connection: DataConnection | None = None
        self._pending: PendingTransfer | None = None
        """What is being prepared, or waits for its data connection."""
        self._since = 0.0
        """When a passive port was opened, or something promised."""
        self.only_epsv = False
        self.lingering = 0

    def progress(self) -> str:
        """For people: how much of what has arrived; '' when no file is on its way."""
        return "" if self._connection is None else self._connection.progress()

    def close(self) -> None:
        """Close the data connection, or what it would come from."""
        self._connector.close()
        if self._connection is not None:
            self._connection.detach()
            self._connection = None

    def session_closed(self) -> None:
        """Close everything but what is already on its way."""
        self._pending = None
        self.close()

    def forget(self) -> None:
        """The session has been closed for a turn of the loop: let go of what holds this."""
        del self._connector

    def check_timeouts(self, now: float) -> None:
        """End a wait for the data connection, or for a listing to be read, that has lasted for too long."""
        if self._connection is not None:
            self._connection.check_timeouts(now)
        if now - self._since <= CONNECT_WITHIN:
            return
        if self._pending is not None and self._control.state in _PROMISED:
            self._connector.unreachable()
        elif self._connector.begun and self._control.state is SessionState.READY:
            self.close()

    # -- PASV, EPSV, PORT and EPRT: what the data connection will come from

    def pasv(self, _argument: str) -> None:
        self._check_epsv_only("PASV")
        self._tls.check_protection()
        self.close()
        local = self._control.socket.getsockname()
        own = local[0].removeprefix("::ffff:")
        if ":" in own:
            return self._control.respond("425 PASV knows no IPv6; use EPSV.")
        port = self._listen(local)
        if port is not None:
            address = (self._context.public_address or own).replace(".", ",")
            self._control.respond(f"227 Entering passive mode ({address},{port >> 8},{port & 255}).")

    def epsv(self, argument: str) -> None:
        """RFC 2428 sections 3 and 4. What is spoken is the client's address, not its socket, which on `::` is an IPv6 one."""
        spoken = IPV6 if ":" in self._control.peer else IPV4
        if argument.upper() == "ALL":
            self.only_epsv = True
            return self._control.respond("200 Only EPSV from now on.")
        if argument not in ("", spoken):
            if argument.isdigit():
                return self._control.respond(f"522 Network protocol not supported, use ({spoken})")
            raise BadRequest("EPSV takes 1, 2 or ALL.")
        self._tls.check_protection()
        self.close()
        port = self._listen(self._control.socket.getsockname())
        if port is not None:
            self._control.respond(f"229 Entering extended passive mode (|||{port}|).")

    def port(self, argument: str) -> None:
        self._check_epsv_only("PORT")
        self._aim(*parse_port(argument))

    def eprt(self, argument: str) -> None:
        self._check_epsv_only("EPRT")
        if self._control.socket.family == socket.AF_INET:
            spoken: tuple[str, ...] = (IPV4,)
        else:
            spoken = (IPV6, IPV4) if socket.has_dualstack_ipv6() else (IPV6,)
        self._aim(*parse_eprt(argument, spoken))

    def _check_epsv_only(self, name: str) -> None:
        if self.only_epsv:
            raise BadRequest(f"{name} not allowed after EPSV ALL.")

    def _listen(self, local: tuple[object, ...]) -> int | None:
        """Open a passive port. If none is free, that is the reply."""
        assert self._session.login is not None
        port = self._connector.listen(local, self._session.login.grant.customer.name)
        if port is None:
            self._control.respond("425 No passive port is free at present, or you have too many open; try again.")
        else:
            self._since = time.monotonic()
        return port

    def _aim(self, host: str, port: int) -> None:
        """The connection is made when there is something to send."""
        self._tls.check_protection()
        try:
            own = ipaddress.ip_address(host) == ipaddress.ip_address(self._control.peer.partition("%")[0])
        except ValueError:
            raise BadRequest("That is no address.") from None
        if not own:
            raise BadRequest("Data connections go only to your own address.")  # RFC 2577 section 3: bounce attacks
        if port < 1024:
            raise BadRequest("Data connections go to no port below 1024.")
        self.close()
        self._connector.aim(port)
        self._control.respond("200 The data connection will be made to that port.")

    def data_connected(self, sock: socket.socket, sink: Sink) -> None:
        self._connection = DataConnection(sock, sink, self, self._context.loop)
        if self._pending is not None and self._control.state is not SessionState.PREPARING:  # that is not promised yet
            pending, self._pending = self._pending, None
            self._control.resume(partial(self._send, self._connection, pending))

    def data_unreachable(self, reply: str) -> None:
        self.close()
        if self._control.state in _PROMISED:
            self._pending = None
            self._finished(reply)

    # -- RETR: check, prepare, check again, start

    def retr(self, path: str) -> None:
        (start, end), self._session.range = self._session.range, WHOLE
        leaf, login = self._session.fs.file(path), self._session.login
        assert login is not None
        fetch = Fetch(self._context.gate, login.grant, login.digest, leaf)
        fetch.check()
        size = leaf.resource.size
        if end is not None:
            start = min(start, size)  # nothing is sent of what is behind the end (draft-bryan-ftp-range section 4.3)
        elif start > size:
            raise RangeNotSatisfiable(size)
        if self._can_connect():
            self._prepare(PendingTransfer(fetch, start, size if end is None else min(end, size)), fetch)

    def _prepare(self, pending: PendingTransfer, fetch: Fetch) -> None:
        self._control.move(SessionState.PREPARING)
        self._pending = pending
        try:
            fetch.prepare(partial(self._prepared, pending, fetch))
        except GateError:
            self._pending = None
            self._control.move(SessionState.READY)
            raise

    def _prepared(self, pending: PendingTransfer, fetch: Fetch, error: GateError | None) -> None:
        self._control.later(partial(self._check_again, pending, fetch, error))

    def _check_again(self, pending: PendingTransfer, fetch: Fetch, error: GateError | None) -> None:
        if self._pending is not pending or self._control.state is not SessionState.PREPARING:
            return  # it was aborted meanwhile
        self._pending = None
        self._control.move(SessionState.READY)
        if error is not None:
            raise error
        fetch.check()
        self._promise(pending)

    # -- the listings

    def list_(self, arguments: str) -> None:
        self._promise(PendingTransfer(list_lines(self._session.fs.listed(arguments).entries)))

    def nlst(self, arguments: str) -> None:
        self._promise(PendingTransfer(name_lines(self._session.fs.listed(arguments))))

    def mlsd(self, path: str) -> None:
        found = self._session.fs.find(path or ".")
        if not isinstance(found, Folder):
            raise BadRequest("This is not a folder.")  # RFC 3659 section 7.2.1 wants 501
        self._promise(PendingTransfer(fact_lines(found.entries, self._session.facts)))

    # -- what was asked for, from its first reply to its last

    def _can_connect(self) -> bool:
        """Is there a data connection, or anything that it could come from? If not, that is the reply."""
        self._tls.check_protection()
        if self._connection is None and not self._connector.pending:
            self._control.respond("425 Use PASV, EPSV, PORT or EPRT first.")
            return False
        return True

    def _promise(self, pending: PendingTransfer) -> None:
        if not self._can_connect():
            return
        self._control.move(SessionState.TRANSFERRING)
        self._since = time.monotonic()
        name = pending.what.leaf.name if isinstance(pending.what, Fetch) else "the listing"
        self._control.respond(f"150 Opening data connection for {name}")
        if not self._control.connected:
            return
        if self._connection is not None:
            return self._send(self._connection, pending)
        self._pending = pending
        self._connector.send_soon()

    def _send(self, connection: DataConnection, pending: PendingTransfer) -> None:
        if not isinstance(pending.what, Fetch):
            return ListingSender(connection, self, pending.what, self._control.later).start()
        peer, protocol = self._control.peer, "ftps" if connection.sink.wire.encrypted else "ftp"
        self._context.gate.engine.newcomers.discard(peer, self._session)
        sender = FileSender(connection, self, self._context.lingering)
        try:
            sender.start(pending.what, pending.start, pending.end, protocol=protocol, peer=peer, client=self._session.client)
        except DeadToken:
            connection.fail("revoked")

    def abor(self, _argument: str = "") -> None:
        """RFC 959 section 4.1.3: 426 for what was under way, then 226."""
        state, connection = self._control.state, self._connection
        if state is SessionState.TRANSFERRING and connection is not None and connection.busy:
            connection.abort()
        elif state in (SessionState.PREPARING, SessionState.TRANSFERRING):
            self._pending = None
            self._finished(_FAILURES["cut"])
        self.close()
        self._control.respond("226 Nothing is being sent.")

    def data_done(self, connection: DataConnection) -> None:
        if self._connection is not connection:
            return  # it was aborted meanwhile
        self._connection = None
        self._finished("226 Transfer complete.")

    def data_failed(self, connection: DataConnection, outcome: str) -> None:
        self._connection = None
        if connection.lost and silence_of(self._control.socket) > UNANSWERED:
            self._control.close()  # a reply would only be waited for as long again
            return
        self._finished(_FAILURES[outcome])

    def data_closed(self, connection: DataConnection) -> None:
        if self._connection is connection:
            self._connection = None

    def _finished(self, reply: str) -> None:
        """The last reply to what was asked for."""
        leaving = self._control.state is SessionState.LEAVING
        if not leaving:
            self._control.ready()

        def tell() -> None:
            self._control.respond(reply)
            if leaving:
                self._session.leave()

        self._control.resume(tell)


DATA_COMMANDS: dict[str, Callable[[DataCommands, str], None]] = {
    "ABOR": DataCommands.abor, "EPRT": DataCommands.eprt, "EPSV": DataCommands.epsv, "LIST": DataCommands.list_,
    "MLSD": DataCommands.mlsd, "NLST": DataCommands.nlst, "PASV": DataCommands.pasv, "PORT": DataCommands.port,
    "RETR": DataCommands.retr,
}  # fmt: skip
