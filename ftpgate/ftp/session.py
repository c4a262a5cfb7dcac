"""One FTP session: its login, what may run before and after it, and its end."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Sequence
from functools import partial

from pyftpdlib.ioloop import AsyncChat

from ftpgate.access.open_grant import OpenGrant
from ftpgate.errors import BadRequest, GateError, ReadOnly, TooManyWrongTokens, Unavailable, UnknownToken
from ftpgate.ftp.commands import WRITES, Command
from ftpgate.ftp.control_connection import SessionState
from ftpgate.ftp.data_commands import DataCommands
from ftpgate.ftp.filesystem import GrantFS
from ftpgate.ftp.replies import REPLIES
from ftpgate.ftp.server_context import ServerContext
from ftpgate.net.places import Guest
from ftpgate.net.tls import TlsSink
from ftpgate.tokens import Token

_log = logging.getLogger(__name__)

IDLE = 300.0
"""Seconds without a command or a transfer after which a session is ended."""
LOGIN_WITHIN = 120.0
"""Seconds that a stranger may stay without having logged in, whatever he sends."""
GOODBYE = 5.0
"""Seconds that the last reply has to reach the client before the connection is closed."""
LOGIN_ATTEMPTS = 3
CROWDED = "421 Too many connections to this server, or from your address. Try again shortly."
_LOGGED = 64


class NoToken(GateError):
    """Many clients try `anonymous` before they ask for a name: that is no guess, and counts as no attempt."""

    http, ftp = 404, 530
    text = "This is no token. Log in with the token as user name or as password."


class Session(DataCommands):
    """The session of one client, from its first reply to its last."""

    binary = True
    _attempts = 0
    _user: str | None = None

    def __init__(self, sock: socket.socket, server: ServerContext, guest: Guest, sink: TlsSink | None = None) -> None:
        super().__init__(sock, server)
        self._guest = guest
        guest.give_way = self.close
        if sink is not None:
            self.take_for_secure(sink)
        self._stranger_since = self._heard
        server.gate.engine.newcomers.add(self.peer, self, self._heard)
        server.enter(self)

    def __repr__(self) -> str:
        return f"<FTP session of {self.addr and self.peer} under {self._grant and self._grant.id}>"

    __str__ = __repr__

    def welcome(self) -> None:
        """The first reply."""
        if not self.connected:
            return self.close()
        try:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            return self.close()
        if self._guest.refused or self.server.gate.draining:
            self.respond(CROWDED)
            return self.leave()
        self.respond("220 ftpgate ready.")

    def run(self, name: str, command: Command | None, argument: str) -> None:
        if command is None and name not in WRITES:
            return self.respond("500 There is no such command.")
        if self._grant is None and (command is None or command.login or (name == "STAT" and argument)):
            return self.respond("530 Log in with USER and PASS first.")
        if command is None:
            raise ReadOnly
        if name in ("USER", "PASS") and self.server.gate.tls_required and not self.secure:
            return self.respond("530 Log in over TLS only: send AUTH TLS first.")
        if command.argument is not None and command.argument != bool(argument):
            raise BadRequest(f"Syntax: {command.help}")
        if not argument.isprintable() and any(c in argument for c in "\0\r\n"):
            raise BadRequest("There is a control character in the argument.")
        answer = REPLIES.get(name)
        if answer is not None:
            self.respond(answer(self, argument))
        else:
            getattr(self, f"ftp_{name}")(argument)

    # -- logging in and out

    def ftp_USER(self, name: str) -> None:
        self.forget_login()
        self._user = name
        self.respond("331 Send the password.")

    def ftp_PASS(self, password: str) -> None:
        if self._grant is not None:
            return self.respond("503 Logged in already.")
        if self._user is None:
            return self.respond("503 Send USER first.")
        if Token.parse(self._user) is None and Token.parse(password) is None:
            self._user = None
            raise NoToken()
        self._state = SessionState.LOGGING_IN
        self.server.gate.gatekeeper.log_in(self._user, password, self.peer, self._answered, self._gone)

    def _gone(self) -> bool:
        return bool(self._closed)

    def _answered(self, presented: str, grant: OpenGrant | None, error: GateError | None) -> None:
        self.later(partial(self._log_in, presented, grant, error))

    def _log_in(self, presented: str, grant: OpenGrant | None, error: GateError | None) -> None:
        if self._closed or self._state is not SessionState.LOGGING_IN:
            return
        self._state = SessionState.READY
        self._heard = time.monotonic()
        self._user = None
        try:
            token = Token.parse(presented)
            if grant is None or token is None:
                raise error or Unavailable()
            if self.server.gate.draining:
                raise Unavailable()
            grant.customer.connect()
        except GateError as refusal:
            wrong = isinstance(refusal, UnknownToken | TooManyWrongTokens)  # which the gatekeeper logs, within bounds
            level = logging.DEBUG if wrong else logging.INFO
            _log.log(level, "login of %s from %s refused: %s", self.shown("PASS", presented), self.peer, refusal.text)
            self.refuse(refusal)
            self._attempts += 1
            if self._attempts >= LOGIN_ATTEMPTS:
                self.leave()
            return
        _log.debug("%s logged in from %s", grant.id, self.peer)
        self._attempts = 0
        self._grant = grant
        self._digest = token.digest()
        grant.sessions += 1
        self._guest.prove()
        self.fs = GrantFS(grant)
        self.respond("230 Welcome. Nothing can be written here.")

    def shown(self, name: str, argument: str) -> str:
        """For the log: of a token its grant, and never a password."""
        token = Token.parse(argument)
        if token is not None:
            return token.grant
        return "…" if name == "PASS" else repr(argument[:_LOGGED])

    def forget_login(self) -> None:
        grant, self._grant, self._user = self._grant, None, None
        self.close_data()
        self.restart = 0
        if grant is not None:
            del self.fs
            self._stranger_since = time.monotonic()
            self._guest.forget()
            grant.sessions -= 1
            grant.customer.disconnect()

    def ftp_REIN(self, _argument: str) -> None:
        self.forget_login()
        self._epsvall = False
        self.respond("220 Ready for a new user.")

    def ftp_QUIT(self, _argument: str) -> None:
        """While something is being sent its reply is still due (RFC 959 section 4.1.1)."""
        self.respond("221 Goodbye.")
        if self._state is SessionState.TRANSFERRING:
            self._state = SessionState.LEAVING
        else:
            self.leave()

    # -- the rest

    def status(self) -> Sequence[str]:
        lines = [f"Connected from {self.peer}"]
        lines.append("Not logged in" if self._grant is None else f"Logged in to {self._grant.id}")
        lines.append(f"{'TLS' if self.secure else 'No TLS'} here, {'TLS' if self._protected else 'none'} on data connections")
        lines.append(f"TYPE {'I' if self.binary else 'A'}; STRU F; MODE S; files are sent as they are stored")
        if self._data is not None and (progress := self._data.progress()):
            lines.append(progress)
        return lines

    def check_timeouts(self, now: float) -> None:
        """Called every few seconds: end what has waited for too long."""
        self.check_data_timeouts(now)
        silent = now - self._heard
        if silent > GOODBYE and (
            self._state is SessionState.CLOSING or (self._state is SessionState.STARTING_TLS and self._output)
        ):
            self.close()
        elif self._state is not SessionState.READY:
            return
        elif self.server.gate.draining:
            self.respond("421 The service is stopping. Try again shortly.")  # RFC 959 section 5.4: to no command at all
            self.leave()
        elif silent > IDLE or (self._grant is None and now - self._stranger_since > LOGIN_WITHIN):
            self.respond("421 Nothing was heard for too long.")
            self.leave()

    def leave(self) -> None:
        super().leave()
        self.forget_login()

    def close(self) -> None:
        """Close the control connection, and with it everything of this session but what is already on its way."""
        if self._closed:
            return
        self.drop_handshake()
        AsyncChat.close(self)
        self.server.leave(self)
        self.server.gate.engine.newcomers.discard(self.peer, self)
        self._guest.leave()
        self._pending = None
        channel, self._data = self._data, None
        if channel is not None:
            channel.detach()
        self.forget_login()
