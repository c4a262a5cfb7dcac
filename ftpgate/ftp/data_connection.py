"""A data connection: a socket on the loop that carries one file or one listing, and is heard to its end.

    idle -> a sender: `FileSender` or `ListingSender` -> closed

It is no pyftpdlib `DTPHandler`: that brings asynchat's buffers (0.7 KiB) and a timer for each connection, and closes at the last
byte written, where here the client's acknowledgement and end are waited for. `ThrottledDTPHandler` limits one connection, not a
customer; while it sleeps it is out of the poll and sees no hang-up, it does without `sendfile`, and lets its first second pass.
"""

from __future__ import annotations

import errno
import logging
import select
import socket
from typing import TYPE_CHECKING, Protocol

from ftpgate.net import sockets
from ftpgate.net.sockets import Sink

if TYPE_CHECKING:
    from pyftpdlib.ioloop import IOLoop

_log = logging.getLogger(__name__)

_NO_ANSWER = {errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH}
"""What the kernel says when it gives up: the latter two where a router, or the machine's own network, has told it why."""
_EDGE = getattr(select, "EPOLLET", 0)


class Owner(Protocol):
    """The session's data commands, as a data connection sees them."""

    def data_done(self, connection: DataConnection) -> None:
        """Everything has arrived."""
        ...

    def data_failed(self, connection: DataConnection, outcome: str) -> None:
        """The transfer or listing ended otherwise: `cut`, `stalled`, `revoked` or `error`."""
        ...

    def data_closed(self, connection: DataConnection) -> None:
        """The connection is gone, and nothing was on it."""
        ...


class Sender(Protocol):
    """What is sent over a data connection, as the connection sees it."""

    @property
    def busy(self) -> bool:
        """Is something being sent that has no last reply yet?"""
        ...

    def progress(self) -> str:
        """For people: how much of what has arrived; '' where nobody counts."""
        ...

    def writable(self) -> None:
        """The socket takes more."""
        ...

    def client_ended(self) -> None:
        """The client has ended its sending half."""
        ...

    def cut(self, outcome: str) -> None:
        """The connection is broken (`cut`), or has met an error of ours (`error`): end, and tell the owner."""
        ...

    def abort(self) -> None:
        """The client has asked for the end; the owner hears of it as of any other cut."""
        ...

    def detach(self) -> None:
        """The session has ended, and is told nothing any more."""
        ...

    def check_timeouts(self, now: float) -> None:
        """End what has taken too long."""
        ...

    def closed(self) -> None:
        """The socket is closed."""
        ...


class DataConnection:
    """A connected data socket, registered with the loop from its first moment, so that a hang-up is seen at once.

    Attributes:
        lost: has the kernel given up waiting for an answer of the client's machine?
        client_ended: has the client ended its sending half?
        finished: have we ended ours?
    """

    __slots__ = (
        "_deferred", "_events", "_fileno", "_owner", "_sender", "client_ended", "finished", "loop", "lost", "sink", "socket",
    )  # fmt: skip

    def __init__(self, sock: socket.socket, sink: Sink, owner: Owner, loop: IOLoop) -> None:
        self.socket = sock
        self.sink = sink
        self.loop = loop
        self.lost = False
        self.client_ended = False
        self.finished = False
        self._owner = owner
        self._sender: Sender | None = None
        self._fileno = sock.fileno()
        self._deferred = False
        """Something has arrived that cannot be read while the sink is owing: until then the loop would report it for ever."""
        self._events = loop.READ
        loop.register(self._fileno, self, self._events)

    @property
    def open(self) -> bool:
        return self._fileno >= 0

    @property
    def busy(self) -> bool:
        """Is something being sent that has no last reply yet?"""
        return self._sender is not None and self._sender.busy

    def progress(self) -> str:
        """For people: how much of what has arrived; '' where nobody counts."""
        return "" if self._sender is None else self._sender.progress()

    def carry(self, sender: Sender) -> None:
        """From now on what happens here is told to `sender`."""
        self._sender = sender

    def check_timeouts(self, now: float) -> None:
        """Called every few seconds."""
        if self._sender is not None:
            self._sender.check_timeouts(now)

    # -- its end

    def abort(self) -> None:
        """End what is being sent; the owner hears of it as of any other cut."""
        if self._sender is None:
            self.close()
        else:
            self._sender.abort()

    def detach(self) -> None:
        """The session has ended, or wants another data connection: what is on its way is left to arrive."""
        if self._sender is None:
            self.close()
        else:
            self._sender.detach()

    def fail(self, outcome: str) -> None:
        """End what was promised here, by reset, and tell the owner. No transfer may be running."""
        sockets.reset(self.socket)
        self.close()
        self._owner.data_failed(self, outcome)

    def finish(self) -> bool:
        """Tell the client that this was all. Reading goes on: its own end is what tells that it has read.

        False when there is no room for that yet; the loop reports then that the socket takes more.
        """
        try:
            self.sink.finish()
        except BlockingIOError:
            self.watch(writable=True)
            return False
        except OSError:
            pass  # it is gone, and the loop will say so
        self.finished = True
        self.watch(writable=False)
        return True

    def close(self) -> None:
        """Close the socket; a transfer has to have ended before."""
        if not self.open:
            return
        self.loop.unregister(self._fileno)
        self._fileno = -1
        self.socket.close()
        sender, self._sender = self._sender, None  # they hold each other: neither waits for the garbage collector
        if sender is not None:
            sender.closed()

    # -- what the loop says

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def handle_read_event(self) -> None:
        self._deferred = self.sink.owing
        if self._deferred:
            return self._watch_again()
        try:
            received = self.sink.recv(65_536)
        except BlockingIOError:
            return
        except OSError as error:
            return self._broken(error.errno)
        if received:
            return  # nobody has asked for it
        self.client_ended = True
        self._watch_again()
        if self._sender is not None:
            self._sender.client_ended()

    def handle_write_event(self) -> None:
        if self._sender is None:
            self.finish()
        else:
            self._sender.writable()
        if self._deferred:
            self._watch_again()

    def handle_close(self) -> None:
        """The poll has seen an error, or both halves ended. It catches nothing that is raised here."""
        try:
            if error := self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self._broken(error)
            elif not self.client_ended:
                self.handle_read_event()
        except Exception:
            self.handle_error()

    def handle_error(self) -> None:
        _log.exception("a data connection met an error")
        try:
            self._end("error")
        except Exception:
            _log.exception("and another one while it was being ended")
            self.close()

    def watch(self, *, writable: bool) -> None:
        """Have the loop report when the socket takes more, or not; what comes from the client it reports to the end."""
        events = self.loop.WRITE if writable else 0
        if not self.client_ended:
            if not (self._deferred and self.sink.owing):
                events |= self.loop.READ
        elif self.finished:
            events = _EDGE  # a hang-up of both halves is a level that would be reported for ever; a reset is another edge
        if events != self._events and self.open:
            self._events = events
            self.loop.modify(self._fileno, events)

    def _watch_again(self) -> None:
        self.watch(writable=bool(self._events & self.loop.WRITE))

    def _broken(self, error: int | None = None) -> None:
        self.lost = error in _NO_ANSWER
        self._end("cut")

    def _end(self, outcome: str) -> None:
        if self._sender is not None:
            self._sender.cut(outcome)
        else:
            self.close()
            self._owner.data_closed(self)
