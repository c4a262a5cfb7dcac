"""One FTP session: its login, what may run before and after it, and its end."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Sequence
from functools import partial

from ftpgate.access.open_grant import OpenGrant
from ftpgate.errors import BadRequest, GateError, ReadOnly, TooManyConnections, TooManyWrongTokens, Unavailable, UnknownToken
from ftpgate.ftp.commands import FACTS, WRITES, Command
from ftpgate.ftp.control_connection import ControlConnection
from ftpgate.ftp.data_commands import DATA_COMMANDS, DataCommands
from ftpgate.ftp.filesystem import GrantFS
from ftpgate.ftp.login import Login
from ftpgate.ftp.replies import REPLIES, WHOLE, Range
from ftpgate.ftp.server_context import ServerContext
from ftpgate.ftp.session_state import SessionState
from ftpgate.ftp.tls_commands import TLS_COMMANDS, TlsCommands
from ftpgate.net.places import Guest
from ftpgate.net.tls import TlsSink
from ftpgate.tokens import Token

_log = logging.getLogger(__name__)

IDLE = 300.0
"""Seconds without a command or a transfer after which a session is ended."""
SUCCEEDED = 5.0
"""The same while another process takes new clients: this one's end elsewhere, or come again there."""
LOGIN_WITHIN = 60.0
"""Seconds that a stranger may stay without having logged in, whatever he sends."""
GOODBYE = 5.0
"""Seconds that the last reply has to reach the client before the connection is closed."""
LOGIN_ATTEMPTS = 3
"""Wrong tokens in one session; then it ends (RFC 2577 advises a small number)."""
CROWDED = "421 Too many connections to this server, or from your address. Try again shortly."
_LOGGED = 64
"""Characters of an argument in the log: a client must not fill a disk with one line."""


class NoToken(GateError):
    """Many clients try `anonymous` before they ask for a name: that is no guess, and counts as no attempt."""

    http, ftp = 404, 530
    text = "This is no token. Log in with the token as user name or as password."


class NotLoggedIn(GateError):
    http, ftp = 401, 530
    text = "Log in with USER and PASS first."


class NoSuchCommand(GateError):
    http, ftp = 400, 500
    text = "There is no such command."


class Session:
    """The session of one client, from its first reply to its last.

    Attributes:
        control, data, tls: its parts: the control connection, and the commands that use a data connection or TLS.
        login: who has logged in, or None.
        facts: those that MLST and MLSD show (OPTS MLST).
        client: what the client calls itself (CLNT).
        range: which bytes of the next file are sent (REST, RANG).
        binary: is TYPE I set? It changes nothing but what STAT says.
    """

    __slots__ = (
        "_attempts", "_context", "_data", "_guest", "_stranger_since", "_user",
        "binary", "client", "control", "facts", "login", "range", "tls",
    )  # fmt: skip

    def __init__(self, sock: socket.socket, context: ServerContext, guest: Guest, sink: TlsSink | None = None) -> None:
        self._context = context
        self._guest = guest
        self._user: str | None = None
        self._attempts = 0
        self.login: Login | None = None
        self.facts: tuple[str, ...] = FACTS
        self.client = ""
        self.range: Range = WHOLE
        self.binary = True
        self.control = control = ControlConnection(sock, context, self, sink)
        self.tls = TlsCommands(control, context.gate, self)
        self._data: DataCommands | None = None
        self._stranger_since = control.heard
        guest.give_way = control.close
        context.gate.engine.newcomers.add(control.peer, self, control.heard)
        context.enter(self)

    def __repr__(self) -> str:
        return f"<FTP session of {self.control.peer} under {self.login and self.login.grant.id}>"

    @property
    def data(self) -> DataCommands:
        """Made when it is first needed: those who never log in are many, and have none."""
        if self._data is None:
            self._data = DataCommands(self.control, self.tls, self._context, self)
        return self._data

    @property
    def fs(self) -> GrantFS:
        """The working folder, once logged in."""
        assert self.login is not None
        return self.login.fs

    @property
    def tls_offered(self) -> bool:
        return self.tls.offered

    def welcome(self) -> None:
        """The first reply."""
        control = self.control
        if not control.connected:
            return control.close()
        try:
            control.socket.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
            control.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            return control.close()
        if self._guest.refused or self._context.gate.refusing:
            control.respond(CROWDED)
            return self.leave()
        control.respond("220 ftpgate ready.")

    def run(self, name: str, command: Command | None, argument: str) -> None:
        self._check(name, command, argument)
        if (reply := REPLIES.get(name)) is not None:
            self.control.respond(reply(self, argument))
        elif (data := DATA_COMMANDS.get(name)) is not None:
            data(self.data, argument)
        elif (tls := TLS_COMMANDS.get(name)) is not None:
            tls(self.tls, argument)
        else:
            SESSION_COMMANDS[name](self, argument)

    def _check(self, name: str, command: Command | None, argument: str) -> None:
        """Raises GateError when the command may not run."""
        if command is None and name not in WRITES:
            raise NoSuchCommand
        if self.login is None and (command is None or command.login or (name == "STAT" and argument)):
            raise NotLoggedIn
        if command is None:
            raise ReadOnly
        if name in ("USER", "PASS") and not self.tls.token_may_be_sent:
            raise NotLoggedIn("Log in over TLS only: send AUTH TLS first.")
        if command.argument is not None and command.argument != bool(argument):
            raise BadRequest(f"Syntax: {command.help}")
        if not argument.isprintable() and any(c in argument for c in "\0\r\n"):
            raise BadRequest("There is a control character in the argument.")

    def abort(self) -> None:
        self.data.abor()

    def shown(self, name: str, argument: str) -> str:
        """For the log: of a token its grant, and never a password."""
        token = Token.parse(argument)
        if token is not None:
            return token.grant
        return "…" if name == "PASS" else repr(argument[:_LOGGED])

    # -- logging in and out

    def user(self, name: str) -> None:
        self.log_out()
        self._user = name
        self.control.respond("331 Send the password.")

    def password(self, password: str) -> None:
        if self.login is not None:
            return self.control.respond("503 Logged in already.")
        if self._user is None:
            return self.control.respond("503 Send USER first.")
        if Token.parse(self._user) is None and Token.parse(password) is None:
            self._user = None
            raise NoToken()
        self.control.move(SessionState.LOGGING_IN)
        grant_cache = self._context.gate.grant_cache
        grant_cache.log_in(self._user, password, self.control.peer, self._looked_up, self._gone)

    def _gone(self) -> bool:
        return not self.control.connected

    def _looked_up(self, presented: str, grant: OpenGrant | None, error: GateError | None) -> None:
        self.control.later(partial(self._log_in, presented, grant, error))

    def _log_in(self, presented: str, grant: OpenGrant | None, error: GateError | None, since: float | None = None) -> None:
        """Go on with a token that was looked up; `since` then the client has waited for a connection, or None."""
        if not self.control.connected or self.control.state is not SessionState.LOGGING_IN:
            return
        try:
            login = self._admit(Token.parse(presented), grant, error)
        except GateError as refusal:
            if isinstance(refusal, TooManyConnections) and grant is not None:
                again = partial(self._wait_is_over, presented, grant)
                if grant.customer.when_room(again, since):
                    return
            self.control.ready()
            self._user = None
            return self._refuse_login(presented, refusal)
        self.control.ready()
        self._user, self.login = None, login
        _log.debug("%s logged in from %s", self.login.grant.id, self.control.peer)
        self._attempts = 0
        self._guest.prove()
        self.control.respond("230 Welcome. Nothing can be written here.")

    def _wait_is_over(self, presented: str, grant: OpenGrant, since: float) -> None:
        """Another gate may have given a connection back."""
        self.control.later(partial(self._log_in, presented, grant, None, since))

    def _admit(self, token: Token | None, grant: OpenGrant | None, error: GateError | None) -> Login:
        """Take a place of the customer's. Raises GateError when there is none, or the look-up has found nothing."""
        if grant is None or token is None:
            raise error or Unavailable()
        if self._context.gate.refusing:
            raise Unavailable()
        grant.customer.connect()
        grant.sessions += 1
        return Login(grant, token.digest(), GrantFS(grant))

    def _refuse_login(self, presented: str, refusal: GateError) -> None:
        wrong = isinstance(refusal, UnknownToken | TooManyWrongTokens)  # which `GrantCache` logs, within bounds
        shown, peer = self.shown("PASS", presented), self.control.peer
        _log.log(logging.DEBUG if wrong else logging.INFO, "login of %s from %s refused: %s", shown, peer, refusal.text)
        self.control.refuse(refusal)
        self._attempts += 1
        if self._attempts >= LOGIN_ATTEMPTS:
            self.leave()

    def log_out(self) -> None:
        login, self.login, self._user = self.login, None, None
        self.close_data()
        self.range = WHOLE
        if login is not None:
            self._stranger_since = time.monotonic()
            self._guest.forget()
            login.grant.sessions -= 1
            login.grant.customer.disconnect()

    def close_data(self) -> None:
        if self._data is not None:
            self._data.close()

    def rein(self, _argument: str) -> None:
        self.log_out()
        if self._data is not None:
            self._data.only_epsv = False
        self.control.respond("220 Ready for a new user.")

    # -- its end

    def quit(self, _argument: str) -> None:
        """While something is being sent its reply is still due (RFC 959 section 4.1.1)."""
        self.control.respond("221 Goodbye.")
        if self.control.state is SessionState.TRANSFERRING:
            self.control.move(SessionState.LEAVING)
        else:
            self.leave()

    def leave(self) -> None:
        """End the session once the last reply has been sent."""
        self.control.close_when_done()
        self.log_out()

    def connection_closed(self) -> None:
        """Give back everything but what is already on its way."""
        self._context.leave(self)
        self._context.gate.engine.newcomers.discard(self.control.peer, self)
        self._guest.leave()
        if self._data is not None:
            self._data.session_closed()
        self.log_out()

    def forget(self) -> None:
        """Let go of the parts, which hold this."""
        if self._data is not None:
            self._data.forget()
            self._data = None
        del self.tls

    def check_timeouts(self, now: float) -> None:
        """Called every few seconds: end what has waited for too long."""
        if self._data is not None:
            self._data.check_timeouts(now)
        control = self.control
        silent = now - control.heard
        if silent > GOODBYE and control.last_reply_waits:
            control.close()
        elif control.state is not SessionState.READY:
            return
        elif self._context.gate.draining and (self._context.gate.refusing or silent > SUCCEEDED):
            control.respond("421 The service is stopping. Try again shortly.")  # RFC 959 section 5.4: to no command at all
            self.leave()
        elif silent > IDLE or (self.login is None and now - self._stranger_since > LOGIN_WITHIN):
            control.respond("421 Nothing was heard for too long.")
            self.leave()

    # -- for STAT

    def status(self) -> Sequence[str]:
        lines = [f"Connected from {self.control.peer}"]
        lines.append("Not logged in" if self.login is None else f"Logged in to {self.login.grant.id}")
        lines.append(
            f"{'TLS' if self.tls.secure else 'No TLS'} here, {'TLS' if self.tls.protected else 'none'} on data connections"
        )
        lines.append(f"TYPE {'I' if self.binary else 'A'}; STRU F; MODE S; files are sent as they are stored")
        if self._data is not None and (progress := self._data.progress()):
            lines.append(progress)
        return lines


SESSION_COMMANDS: dict[str, Callable[[Session, str], None]] = {
    "PASS": Session.password, "QUIT": Session.quit, "REIN": Session.rein, "USER": Session.user,
}  # fmt: skip
