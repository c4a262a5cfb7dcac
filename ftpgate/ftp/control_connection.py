"""The dialogue on a control connection: bytes to commands, in order, and replies back; both bounded. Nothing of their meaning."""

from __future__ import annotations

import logging
import re
import socket
import time
from collections.abc import Callable
from enum import Enum, auto
from functools import partial

from pyftpdlib.exceptions import _RetryError
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.ioloop import AsyncChat

from ftpgate.errors import GateError
from ftpgate.ftp.commands import ALIASES, COMMANDS, Command
from ftpgate.ftp.server_context import ServerContext
from ftpgate.net.sockets import Sink

_log = logging.getLogger(__name__)

LINE = 8_192
"""Bytes of one command."""
HELD = 16_384
"""Bytes of commands held back until earlier ones have their reply; beyond it the client's TCP has to wait."""
OWED = 8_192
"""Bytes of replies that the client does not take, beyond which no further command is read or answered."""
_RECEIVED = 16_384
"""Bytes read at a time: a whole TLS record, since no poll would report what was left of one."""

# IAC and its command, with the option of WILL, WONT, DO and DONT (RFC 854): many clients send IAC IP IAC DM before ABOR.
_TELNET = re.compile(rb"\xff(?:[\xfb-\xfe].?|.?)", re.DOTALL)
_ABOR = re.compile(rb"(?:\A|(?<=\n))[\x80-\xff]*ABOR *\r?\n", re.IGNORECASE)
_RESIDUE = bytes(range(0x80, 0x100))


class SessionState(Enum):
    """Whose turn it is, which decides what may run."""

    READY = auto()
    """The client's: any command."""
    STARTING_TLS = auto()
    """TLS's, which begins once the reply to AUTH is out: nothing runs."""
    LOGGING_IN = auto()
    """The shop's, which is asked for a token: everything waits."""
    PREPARING = auto()
    """The disk's, before a file is promised: everything waits but ABOR."""
    TRANSFERRING = auto()
    """The data channel's, or what it waits for: commands that need it wait."""
    LEAVING = auto()
    """As TRANSFERRING, after QUIT: nothing runs any more."""
    CLOSING = auto()
    """The last reply is on its way."""


_DEAF = (SessionState.LEAVING, SessionState.CLOSING)


class ControlConnection(FTPHandler):  # type: ignore[misc]  # pyftpdlib has no types
    """A control connection. Lives on the loop's thread.

    Of pyftpdlib's handler it keeps the connection to the loop, and for its heirs the parsing of PORT, EPRT and
    PASV. Input and output are its own: commands behind one that has to wait are held back in order.
    """

    # Defaults of what most connections never change, so that they cost no memory in each.
    _wanted_io_events: int
    _state = SessionState.READY
    _input = b""
    _output = b""
    _skipping = False
    _working = False
    """Is a command being run?"""
    _queued = False
    """Does a step that runs the next command wait for its turn?"""
    _sink: Sink | None = None
    """What the control connection goes through, when that is TLS."""
    _unsaid = False
    """There was no room yet for the end of our half."""

    def __init__(self, sock: socket.socket, server: ServerContext) -> None:
        self.server = server
        AsyncChat.__init__(self, sock, ioloop=server.loop)
        del self.incoming, self.producer_fifo  # asynchat's buffers, 0.7 KiB that nothing here uses
        self._heard = time.monotonic()

    def begin_tls(self) -> None:
        """The reply to AUTH is with the kernel."""
        raise NotImplementedError

    def run(self, name: str, command: Command | None, argument: str) -> None:
        """Run one command; `command` is None when it is not in the table."""
        raise NotImplementedError

    def refuse(self, error: GateError) -> None:
        """The one place where a refusal becomes a reply. 421 ends the session (RFC 959 section 4.2)."""
        self.respond(f"{error.ftp} {error.text}")
        if error.ftp == 421:
            self.leave()

    def shown(self, name: str, argument: str) -> str:
        """An argument for the log."""
        raise NotImplementedError

    def leave(self) -> None:
        """Close the connection once its last reply has been sent."""
        if self._closed or self._state is SessionState.CLOSING:
            return
        self._state = SessionState.CLOSING
        self._input = b""
        self._heard = time.monotonic()
        if not self._output:
            self._say_goodbye()

    # -- input and output

    def send(self, data: bytes) -> int:
        """As pyftpdlib's: 0 when there is no room, or nobody there any more."""
        if self._sink is None:
            return int(super().send(data))
        try:
            return self._sink.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            self.handle_close()
            return 0

    def recv(self, buffer_size: int) -> bytes:
        """As pyftpdlib's: b"" when the client has ended the connection, which is noted."""
        if self._sink is None:
            return bytes(super().recv(buffer_size))
        try:
            received = self._sink.recv(buffer_size)
        except BlockingIOError:
            if self._sink.parting:
                self.leave()
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
        if received and self._state not in _DEAF:
            self._input += received
            self._work()

    def push(self, text: str) -> None:
        self._output += text.encode("utf-8", "replace")
        self.initiate_send()

    def respond(self, resp: str) -> None:
        _log.debug("%s -> %.200s", self, resp)
        self.push(resp + "\r\n")

    def initiate_send(self) -> None:
        while self._output and self.connected:
            sent = self.send(self._output)
            if not sent:
                break
            self._output = self._output[sent:]
        if not self._output and not self._closed:
            if self._state is SessionState.CLOSING:
                self._say_goodbye()
            elif self._state is SessionState.STARTING_TLS:
                return self.begin_tls()
        self._listen()

    def handle_write(self) -> None:
        self.initiate_send()
        self._work()

    def writable(self) -> bool:
        return bool(self._output) or self._unsaid

    def _say_goodbye(self) -> None:
        """End our half; a plain close would reset what the client has not read yet, if it has sent any more."""
        self._unsaid = False
        try:
            if self._sink is None:
                self.socket.shutdown(socket.SHUT_WR)
            else:
                self._sink.finish()
        except BlockingIOError:
            self._unsaid = True
        except OSError:
            self.close()

    def _listen(self) -> None:
        if self._closed or (self._state is SessionState.STARTING_TLS and not self._output):
            return
        reads = len(self._input) < HELD and len(self._output) < OWED and self._state is not SessionState.STARTING_TLS
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
            self.server.gate.work.add(str(self.addr[0]), self._work_on)
        self._listen()

    def _work_on(self) -> bool:
        """Run one command. True when another may be there."""
        self._working = True
        try:
            self._queued = not self._closed and self._state not in _DEAF and len(self._output) < OWED and self._next()
        except Exception:
            self._queued = False
            self.handle_error()
        self._working = False
        self._listen()
        return self._queued

    def _next(self) -> bool:
        """Run one command. False when there is none that may run."""
        line, found, rest = self._input.partition(b"\n")  # some clients send no CR before it
        line = line.removesuffix(b"\r")
        if len(line) > LINE and not self._skipping:
            self._skipping = True
            self.respond("500 The command is too long.")
        if not found:
            if self._skipping:
                self._input = b""
            return False
        if self._skipping:
            self._skipping = False
            self._input = rest
            return True
        name, _, argument = _TELNET.sub(b"", line).lstrip(_RESIDUE).decode("utf-8", "replace").partition(" ")
        name = name.upper()
        name = ALIASES.get(name, name)
        command = COMMANDS.get(name)
        if self._has_to_wait(command):
            return self._abort_first()
        self._input = rest
        self._heard = time.monotonic()
        if _log.isEnabledFor(logging.DEBUG):
            _log.debug("%s <- %.16s %.200s", self, name, self.shown(name, argument))
        try:
            self.run(name, command, argument)
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
            self.server.gate.work.add(str(self.addr[0]), partial(self.resume, step))

    def resume(self, step: Callable[[], None]) -> None:
        """Go on with `step` and with what was held back. Whoever brings an answer from elsewhere gets no error of ours."""
        try:
            step()
        except GateError as error:
            self.refuse(error)
        except Exception:
            return self.handle_error()
        self._work()

    def _has_to_wait(self, command: Command | None) -> bool:
        if self._state is SessionState.TRANSFERRING:
            return command is not None and command.waits
        return self._state is not SessionState.READY

    def _abort_first(self) -> bool:
        """ABOR overtakes what waits."""
        found = _ABOR.search(self._input) if self._state in (SessionState.PREPARING, SessionState.TRANSFERRING) else None
        if found is None:
            return False
        self._input = self._input[: found.start()] + self._input[found.end() :]
        self.ftp_ABOR("")
        return True

    def ftp_ABOR(self, _argument: str) -> None:
        raise NotImplementedError

    def handle_close(self) -> None:
        self.close()

    def handle_error(self) -> None:
        _log.exception("%s met an error", self)
        self.close()
