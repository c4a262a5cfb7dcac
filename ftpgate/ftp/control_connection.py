"""A control connection: bytes to commands, in order, and replies back; both bounded. Nothing of their meaning.

It is pyftpdlib's `AsyncChat`, a socket on the loop, and not its `FTPHandler`: that runs each command as soon as it is read, where
some have to wait for a thread here, and queues replies without a bound. What a command means is the session's.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Protocol

from pyftpdlib.exceptions import _RetryError
from pyftpdlib.ioloop import AsyncChat

from ftpgate.errors import GateError
from ftpgate.ftp.command_buffer import CommandBuffer
from ftpgate.ftp.commands import COMMANDS, Command
from ftpgate.ftp.server_context import ServerContext
from ftpgate.ftp.session_state import ABORTABLE, DEAF, MOVES, SessionState, has_to_wait
from ftpgate.moves import check_move
from ftpgate.net.handshake import Handshake
from ftpgate.net.sockets import Sink
from ftpgate.net.tls import HandshakeError

_log = logging.getLogger(__name__)

HELD = 16_384
"""Bytes of commands held back until earlier ones have their reply; beyond it the client's TCP has to wait."""
OWED = 8_192
"""Bytes of replies that the client does not take, beyond which no further command is read or answered."""
_RECEIVED = 16_384
"""Bytes read at a time: a whole TLS record, since no poll would report what was left of one."""


class CommandHandler(Protocol):
    """The session, as its control connection sees it."""

    def run(self, name: str, command: Command | None, argument: str) -> None:
        """Run one command; `command` is None when it is not in the table. A refusal is raised as a GateError."""
        ...

    def abort(self) -> None:
        """ABOR has overtaken what waits."""
        ...

    def shown(self, name: str, argument: str) -> str:
        """An argument for the log."""
        ...

    def leave(self) -> None:
        """End the session once the last reply has been sent: the client sends nothing more, or was refused for good."""
        ...

    def connection_closed(self) -> None:
        """The connection is gone."""
        ...

    def forget(self) -> None:
        """It has been gone for a turn of the loop: let go of what it was used by."""
        ...


class _Ended:
    """A session that has ended."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<FTP session that has ended>"

    def run(self, name: str, command: Command | None, argument: str) -> None: ...
    def abort(self) -> None: ...
    def leave(self) -> None: ...
    def connection_closed(self) -> None: ...
    def forget(self) -> None: ...

    def shown(self, name: str, argument: str) -> str:
        return ""


ENDED = _Ended()


class ControlConnection(AsyncChat):  # type: ignore[misc]  # pyftpdlib has no types
    """The control connection of one session. Lives on the loop's thread.

    Commands behind one that has to wait are held back in order; the session's state tells which have to.

    Attributes:
        state: what the session is doing; `move` changes it.
        sink: what the bytes go through when that is TLS, else None.
        heard: when the last command came, or the last thing ended that others waited for; of the monotonic clock.
    """

    # Defaults of what most connections never change, so that they cost no memory in each.
    _wanted_io_events: int
    state = SessionState.READY
    sink: Sink | None = None
    _handshake: Handshake | None = None
    _output = b""
    _working = False
    """Is a command being run?"""
    _queued = False
    """Does a step that runs the next command wait for its turn?"""
    _unsaid = False
    """There was no room yet for the end of our half."""

    def __init__(self, sock: socket.socket, context: ServerContext, session: CommandHandler, sink: Sink | None = None) -> None:
        """`sink`: what the bytes go through when TLS was begun before the first reply."""
        super().__init__(sock, ioloop=context.loop)
        del self.incoming, self.producer_fifo  # asynchat's buffers: 0.7 KiB a connection, and they know no bounds
        self._context = context
        self._session = session
        self._commands = CommandBuffer()
        if sink is not None:
            self.sink = sink
        self.heard = time.monotonic()

    def __repr__(self) -> str:
        return repr(self._session)

    __str__ = __repr__

    @property
    def peer_host(self) -> str:
        """The client's address as the socket has it; '' when it was reset before it was accepted."""
        return str(self.addr[0]) if self.addr else ""

    @property
    def peer(self) -> str:
        """The client's address for people and records: IPv4 as such on a dual-stack socket too."""
        return self.peer_host.removeprefix("::ffff:") if "." in self.peer_host else self.peer_host

    @property
    def last_reply_waits(self) -> bool:
        """Is the client to take the last reply, or that to AUTH, and nothing else can happen before?"""
        return self.state is SessionState.CLOSING or (self.state is SessionState.STARTING_TLS and bool(self._output))

    def move(self, state: SessionState) -> None:
        """Go to another state. Raises IllegalMoveError."""
        self.state = check_move(MOVES, self.state, state)

    def ready(self) -> None:
        """What commands had to wait for has ended."""
        self.move(SessionState.READY)
        self.heard = time.monotonic()

    # -- the end

    def close_when_done(self) -> None:
        """Close the connection once its last reply has been sent."""
        if self._closed or self.state is SessionState.CLOSING:
            return
        self.move(SessionState.CLOSING)
        self._commands.clear()
        self.heard = time.monotonic()
        if not self._output:
            self._end_our_half()

    def _end_our_half(self) -> None:
        """A plain close would reset what the client has not read yet, if it has sent any more."""
        self._unsaid = False
        try:
            if self.sink is None:
                self.socket.shutdown(socket.SHUT_WR)
            else:
                self.sink.finish()
        except BlockingIOError:
            self._unsaid = True
        except OSError:
            self.close()

    def close(self) -> None:
        if self._closed:
            return
        if self._handshake is not None:
            self._handshake.close()
            self._handshake = None
        super().close()
        self._session.connection_closed()
        self.ioloop.call_later(0, self._forget)

    def _forget(self) -> None:
        """Let go of the session, whose parts hold this: a collection of cycles is not to be waited for."""
        session, self._session = self._session, ENDED
        session.forget()

    handle_close = close

    def handle_error(self) -> None:
        _log.exception("%s met an error", self)
        self.close()

    # -- TLS

    def start_tls(self) -> None:
        """Begin TLS once the replies are out.

        What came with AUTH in the clear anybody may have put there (CVE-2011-0411): it is no command any more.
        """
        self._commands.clear()
        self.move(SessionState.STARTING_TLS)

    def _begin_handshake(self) -> None:
        assert self._context.gate.tls is not None
        self.ioloop.unregister(self._fileno)
        sessions = self._context.tls_sessions()
        self._handshake = self._context.gate.tls.begin(
            self.socket, self.peer_host, self._secured, self._not_secured, sessions=sessions
        )

    def _secured(self, sink: Sink) -> None:
        self._handshake = None
        self.sink = sink
        self.ready()
        self._wanted_io_events = self.ioloop.READ
        self.ioloop.register(self._fileno, self, self.ioloop.READ)

    def _not_secured(self, error: HandshakeError) -> None:
        _log.debug("%s: %s", self, error)
        self._handshake = None
        self.close()

    # -- input and output

    def send(self, data: bytes) -> int:
        """As pyftpdlib's: 0 when there is no room, or nobody there any more."""
        if self.sink is None:
            return int(super().send(data))
        try:
            return self.sink.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            self.handle_close()
            return 0

    def recv(self, buffer_size: int) -> bytes:
        """As pyftpdlib's: b"" when the client has ended the connection, which is noted."""
        if self.sink is None:
            return bytes(super().recv(buffer_size))
        try:
            received = self.sink.recv(buffer_size)
        except BlockingIOError:
            if self.sink.parting:
                self._session.leave()
            raise _RetryError from None
        except OSError:
            received = b""
        if not received:
            self.handle_close()
        return received

    def handle_read(self) -> None:
        try:
            received = self.recv(_RECEIVED)
        except _RetryError:
            return
        if received and self.state not in DEAF:
            self._commands.feed(received)
            self._work()

    def respond(self, reply: str) -> None:
        """Send a reply, of one line or several, without its last line end."""
        _log.debug("%s -> %.200s", self, reply)
        self._output += f"{reply}\r\n".encode("utf-8", "replace")
        self.initiate_send()

    def refuse(self, error: GateError) -> None:
        """The one place where a refusal becomes a reply. 421 ends the session (RFC 959 section 4.2)."""
        self.respond(f"{error.ftp} {error.text}")
        if error.ftp == 421:
            self._session.leave()

    def initiate_send(self) -> None:
        while self._output and self.connected:
            sent = self.send(self._output)
            if not sent:
                break
            self._output = self._output[sent:]
        if not self._output and not self._closed:
            if self.state is SessionState.CLOSING:
                self._end_our_half()
            elif self.state is SessionState.STARTING_TLS:
                return self._begin_handshake()
        self._listen()

    def handle_write(self) -> None:
        self.initiate_send()
        self._work()

    def writable(self) -> bool:
        return bool(self._output) or self._unsaid

    def _listen(self) -> None:
        if self._closed or (self.state is SessionState.STARTING_TLS and not self._output):
            return
        reads = len(self._commands.held) < HELD and len(self._output) < OWED and self.state is not SessionState.STARTING_TLS
        events = self.ioloop.READ if reads else 0
        if self.writable():
            events |= self.ioloop.WRITE
        if events != self._wanted_io_events:
            self._wanted_io_events = events
            self.ioloop.modify(self._fileno, events)

    # -- commands, in order

    def _work(self) -> None:
        """Have the commands that have arrived and may run now run, one after the other, each in its turn."""
        if not self._queued:
            self._queued = True
            self._context.gate.work.add(self.peer_host, self._work_on)
        self._listen()

    def _work_on(self) -> bool:
        """Run one command. True when another may be there."""
        self._working = True
        try:
            self._queued = not self._closed and self.state not in DEAF and len(self._output) < OWED and self._next()
        except Exception:
            self._queued = False
            self.handle_error()
        self._working = False
        self._listen()
        return self._queued

    def _next(self) -> bool:
        """Run one command. False when there is none that may run."""
        try:
            found = self._commands.peek()
            if found is None:
                return False
            name, argument = found
            command = COMMANDS.get(name)
            if has_to_wait(self.state, command):
                return self._abort_first()
            self._commands.take()
            self.heard = time.monotonic()
            if _log.isEnabledFor(logging.DEBUG):
                _log.debug("%s <- %.16s %.200s", self, name, self._session.shown(name, argument))
            self._session.run(name, command, argument)
        except GateError as error:
            self.refuse(error)
        return True

    def later(self, step: Callable[[], None]) -> None:
        """Go on with `step` as `resume` does: at once within a command, else in its turn.

        Many may wait for the same answer from a thread, and each of them can take a while to be served.
        """
        if self._working:
            self.resume(step)
        else:
            self._context.gate.work.add(self.peer_host, partial(self.resume, step))

    def resume(self, step: Callable[[], None]) -> None:
        """Go on with `step` and with what was held back. Whoever brings an answer from elsewhere gets no error of ours."""
        try:
            step()
        except GateError as error:
            self.refuse(error)
        except Exception:
            return self.handle_error()
        self._work()

    def _abort_first(self) -> bool:
        """ABOR overtakes what waits."""
        if self.state not in ABORTABLE or not self._commands.take_abort():
            return False
        self._session.abort()
        return True
