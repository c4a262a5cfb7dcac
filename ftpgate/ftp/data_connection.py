"""The data channel: one connection that carries one file or one listing, and is then heard to its end.

    idle -> listing -> closed
         -> sending -> acknowledged (226 is out) -> lingering -> closed

A socket whose transfer is acknowledged is of no more use to the session, which may open the next one at once; it stays
open a while, because the way in which the client ends it tells whether the last bytes were read.
"""

from __future__ import annotations

import errno
import logging
import select
import socket
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from ftpgate.access.open_grant import OpenGrant
from ftpgate.delivery.engine import STALLED, Engine
from ftpgate.delivery.sections import Part
from ftpgate.delivery.transfer import Transfer
from ftpgate.net import sockets
from ftpgate.net.sockets import Sink
from ftpgate.net.tls import PATIENCE
from ftpgate.proof.credit import Phase
from ftpgate.tree import Leaf

if TYPE_CHECKING:
    from pyftpdlib.ioloop import IOLoop

_log = logging.getLogger(__name__)

_NO_ANSWER = {errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH}
"""What the kernel says when it gives up: the latter two where a router, or the machine's own network, has told it why."""
LINGER = 10.0
"""Seconds without any sign of the client reading on, after which an acknowledged connection is closed."""
LINGERING = 4_096
"""Lingering connections of one listener, and of one session, at the most; the oldest of them gives way."""
LINGERING_OF_ONE = 32
APART = 0.25
"""Seconds after its beginning before which a transfer gets its last reply only when the client has ended the data connection.
aria2 waits for its time-out when it reads 150 and 226 together, and the kernel of a busy client acknowledges a small file long
before the client has read the 150. Measured: 20 ms were too short for 1 of 100 files."""
_LINES = 256
"""Lines of a listing that are made at a time."""
_EDGE = getattr(select, "EPOLLET", 0)


class Owner(Protocol):
    """The session, as its data channel sees it."""

    lingering: int
    """Its connections that are acknowledged and not closed yet."""

    def data_done(self, channel: DataConnection) -> None:
        """Everything has arrived."""
        ...

    def data_failed(self, channel: DataConnection, outcome: str) -> None:
        """The transfer or listing ended otherwise: `cut`, `stalled`, `revoked` or `error`."""
        ...

    def data_closed(self, channel: DataConnection) -> None:
        """The connection is gone, and nothing was on it."""
        ...

    def later(self, step: Callable[[], None]) -> None:
        """Run `step` in its turn."""
        ...


class DataConnection:
    """A connected data socket, registered with the loop from its first moment, so that a hang-up is seen at once."""

    __slots__ = (
        "_answered", "_arrived", "_began", "_corks", "_deferred", "_ended", "_events", "_fileno", "_finished", "_lines",
        "_lingering", "_loop", "_owner", "_rest", "_since", "_taken", "_transfer", "_waits", "lost", "sink", "socket",
    )  # fmt: skip

    def __init__(self, sock: socket.socket, sink: Sink, owner: Owner, loop: IOLoop, lingering: Lingering) -> None:
        self.socket = sock
        self.sink = sink
        self._owner = owner
        self._loop = loop
        self._lingering = lingering
        self._fileno = sock.fileno()
        self._transfer: Transfer | None = None
        self._lines: Iterator[bytes] | None = None
        self._rest = b""
        self.lost = False
        """Has the kernel given up waiting for an answer of the client's machine?"""
        self._answered = False
        """Has the session given its last reply for what was sent here?"""
        self._arrived = False
        """Is a whole file acknowledged?"""
        self._began = 0.0
        self._ended = False
        """Has the client ended its sending half?"""
        self._finished = False
        """Have we?"""
        self._waits = False
        """Does our end give the client's the first turn (`tls.PATIENCE`)?"""
        self._since = 0.0
        self._taken = 0
        self._corks = False
        """Are partial segments held back while more follows?"""
        self._deferred = False
        """Something has arrived that cannot be read while the sink is owing: until then the loop would report it for ever."""
        self._events = loop.READ
        loop.register(self._fileno, self, self._events)

    @property
    def busy(self) -> bool:
        """Is something being sent that has no last reply yet?"""
        return not self._answered and (self._transfer is not None or self._lines is not None)

    @property
    def transfer(self) -> Transfer | None:
        return self._transfer

    def send_file(
        self, engine: Engine, grant: OpenGrant, leaf: Leaf, offset: int, *, protocol: str, peer: str, client: str
    ) -> None:
        """Send a file or zip from byte `offset` to its end, as it is stored."""
        if grant.customer.paced or self.sink.wire.encrypted:  # the last segment of TLS has to go before its FIN does
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._corks = not grant.customer.paced
        self.hold_partial_segments(True)
        self._waits = self.sink.wire.encrypted
        self._began = time.monotonic()
        part = Part(leaf.resource, offset, leaf.resource.size)
        transfer = engine.start(
            self, grant, (part,), item=leaf.item.id, path=leaf.path, protocol=protocol, peer=peer, client=client
        )
        if transfer.outcome is None:
            self._transfer = transfer
            if self._ended:
                transfer.fin()

    def send_lines(self, lines: Iterator[bytes]) -> None:
        """Send a listing. It is not counted as a delivery."""
        self._lines = lines
        self._since = time.monotonic()
        self._watch(writable=True)

    def abort(self) -> None:
        """End what is being sent, by reset; the owner hears of it as of any other cut.

        Nothing more is written, but the client is heard to its end: lftp says ABOR as soon as it has read what it wants.
        """
        if self._transfer is not None:
            self._transfer.detach()
        if self._transfer is not None and self._transfer.credit.phase is not Phase.SENDING:
            self._transfer.look(time.monotonic())
            if self._arrived:
                self._answer()
            elif not self._answered:
                self._answered = True
                self._linger()
                self._owner.data_failed(self, "cut")
        elif self._transfer is not None:
            self._transfer.cut()
        elif self._lines is not None:
            self.fail("cut")
        else:
            self.close()

    def check_timeouts(self, now: float) -> None:
        """Called every few seconds: end a listing of which nothing is taken. Transfers have the engine's clock for that."""
        if self._lines is not None and now - self._since > STALLED:
            self.fail("stalled")

    def fail(self, outcome: str) -> None:
        """End what was promised here, by reset, and tell the owner. No transfer may be running."""
        self._answered = True
        sockets.reset(self.socket)
        self.close()
        self._owner.data_failed(self, outcome)

    def detach(self) -> None:
        """The session has ended, and with it what is being sent (RFC 959 section 3.2).

        Nothing more is written, but the client is heard to its end: aria2 and axel close the control connection first.
        """
        transfer, self._answered = self._transfer, True
        if transfer is None:
            return self.close()
        transfer.detach()
        if self._fileno < 0:
            return  # its client had ended in order before, and that was all
        if transfer.credit.phase is Phase.SENDING:
            sockets.reset(self.socket)
            transfer.cut()
        else:
            self._linger()

    def still_taken(self, now: float) -> None:
        """Close this lingering connection when its client does nothing with it any more."""
        look = self.sink.wire.look()
        taken = look.acknowledged - look.unread
        if taken > self._taken:
            self._taken, self._since = taken, now
        elif now - self._since >= LINGER:
            self.give_up()

    def give_up(self) -> None:
        """Close this lingering connection. Its client has got everything that was sent, and still may read it."""
        if self._transfer is not None:
            self._transfer.cut()
        self.close()

    def close(self) -> None:
        """Close the socket; a transfer has to have ended before."""
        if self._fileno < 0:
            return
        self._loop.unregister(self._fileno)
        self._fileno = -1
        self._lines = None
        self.socket.close()
        self._lingering.discard(self, self._owner)

    # -- what the transfer says

    def watch_writable(self, on: bool) -> None:
        self._watch(writable=on)

    def hold_partial_segments(self, on: bool) -> None:
        if not on:
            sockets.flush(self.socket)
        elif self._corks:
            sockets.cork(self.socket, True)

    def transfer_written(self, transfer: Transfer) -> None:
        self._transfer = transfer
        if self._waits:
            sockets.cork(self.socket, False)
        elif not self._ended:
            self._finish()
        # Else the client has closed its half before its data, and waits for our end: that follows the acknowledgement. Closed
        # before, the poll would report a hang-up for ever.

    def transfer_acknowledged(self, transfer: Transfer) -> None:
        if self._waits:
            self._waits = False
            self._loop.call_later(PATIENCE, self._end_too)
        self._arrived = True
        if wait := self._apart():
            self._loop.call_later(wait, self._answer)
        else:
            self._answer()
        if self._ended and transfer.credit.phase is not Phase.CREDITED:
            self._loop.call_later(0, self.give_up)

    def transfer_ended(self, transfer: Transfer, outcome: str) -> None:
        self._transfer = None
        if outcome == "stopped" and not self._answered:
            self._answered = True
            self.close()
            return self._owner.data_failed(self, "cut")
        owing = self._arrived and not self._answered
        if not self._answered and not owing:
            return self.fail(outcome)
        self._answered = True
        if transfer.credit.acknowledged < transfer.length and outcome != "stopped":
            sockets.reset(self.socket)  # what was given up must not look like the end of the file
        elif not self._finished:
            self._finish()  # it was kept open for a client that had closed its half before
        self.close()
        if owing and outcome == "done" and (wait := self._apart()):  # nothing was to be read: it was empty
            self._loop.call_later(wait, partial(self._owner.data_done, self))
        elif owing:
            self._owner.data_done(self)

    # -- what the loop says

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def handle_read_event(self) -> None:
        self._deferred = self.sink.owing
        if self._deferred:
            return self._watch(writable=bool(self._events & self._loop.WRITE))
        try:
            received = self.sink.recv(65_536)
        except BlockingIOError:
            return
        except OSError as error:
            return self._broken(error.errno)
        if received:
            return  # nobody has asked for it
        self._ended = True
        self._watch(writable=bool(self._events & self._loop.WRITE))
        if self._transfer is not None:
            self._transfer.fin()

    def handle_write_event(self) -> None:
        if self._lines is not None:
            self._watch(writable=False)
            self._owner.later(self._send_lines)
        elif self._transfer is not None and self._transfer.credit.phase in (Phase.SENDING, Phase.AT_LINE):
            self._transfer.writable()
        else:
            self._finish()
        if self._deferred and self._fileno >= 0:
            self._watch(writable=bool(self._events & self._loop.WRITE))

    def handle_close(self) -> None:
        """The poll has seen an error, or both halves ended. It catches nothing that is raised here."""
        try:
            if error := self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self._broken(error)
            elif not self._ended:
                self.handle_read_event()
        except Exception:
            self.handle_error()

    def handle_error(self) -> None:
        _log.exception("a data connection met an error")
        try:
            if self._transfer is not None:
                self._transfer.cut("error")
            elif self._lines is not None:
                self.fail("error")
            else:
                self._broken()
        except Exception:
            _log.exception("and another one while it was being ended")
            self.close()

    # -- the rest

    def _watch(self, *, writable: bool) -> None:
        events = self._loop.WRITE if writable else 0
        if not self._ended:
            if not (self._deferred and self.sink.owing):
                events |= self._loop.READ
        elif self._finished:
            events = _EDGE  # a hang-up of both halves is a level that would be reported for ever; a reset is another edge
        if events != self._events and self._fileno >= 0:
            self._events = events
            self._loop.modify(self._fileno, events)

    def _send_lines(self) -> None:
        """Make and send some lines, in a turn of the session's; listings of many clients are made together otherwise."""
        if self._lines is None:
            return  # it has ended meanwhile
        if not self._rest:
            self._rest = b"".join(islice(self._lines, _LINES))
        if self._rest:
            try:
                self._rest = self._rest[self.sink.send(self._rest) :]
                self._since = time.monotonic()
            except BlockingIOError:
                pass
            except OSError:
                return self.fail("cut")
            return self._watch(writable=True)
        if self._finish():
            self._answered = True
            self.close()
            self._owner.data_done(self)

    def _end_too(self) -> None:
        if self._fileno < 0:
            return
        if self._ended:
            self.give_up()  # it waits for our end, and its own is to come no more
        else:
            self._finish()

    def _finish(self) -> bool:
        """Tell the client that this was all. Reading goes on: its own end is what tells that it has read.

        False when there is no room for that yet; the loop comes back here then.
        """
        try:
            self.sink.finish()
        except BlockingIOError:
            self._watch(writable=True)
            return False
        except OSError:
            pass  # it is gone, and the loop will say so
        self._finished = True
        self._watch(writable=False)
        return True

    def _apart(self) -> float:
        """Seconds before the last reply may be given."""
        return 0.0 if self._ended else max(self._began + APART - time.monotonic(), 0.0)

    def _answer(self) -> None:
        """Everything has arrived: have the session say so, and wait for the client's end."""
        if self._answered or self._fileno < 0:
            return
        self._answered = True
        self._linger()
        self._owner.data_done(self)

    def _linger(self) -> None:
        self._since = time.monotonic()
        self._lingering.add(self, self._owner)

    def _broken(self, error: int | None = None) -> None:
        self.lost = error in _NO_ANSWER
        if self._transfer is not None:
            self._transfer.cut()
        elif self._lines is not None:
            self.fail("cut")
        else:
            self.close()
            self._owner.data_closed(self)


class Lingering:
    """The acknowledged connections of one listener that wait for their clients' last word."""

    __slots__ = ("_channels",)

    def __init__(self) -> None:
        self._channels: OrderedDict[DataConnection, Owner] = OrderedDict()

    def __len__(self) -> int:
        return len(self._channels)

    def add(self, channel: DataConnection, owner: Owner) -> None:
        if owner.lingering >= LINGERING_OF_ONE:
            next(other for other, its in self._channels.items() if its is owner).give_up()
        elif len(self._channels) >= LINGERING:
            next(iter(self._channels)).give_up()
        self._channels[channel] = owner
        owner.lingering += 1

    def discard(self, channel: DataConnection, owner: Owner) -> None:
        if self._channels.pop(channel, None) is not None:
            owner.lingering -= 1

    def sweep(self, now: float) -> None:
        """Close those whose clients do nothing with them any more."""
        for channel in tuple(self._channels):
            channel.still_taken(now)
