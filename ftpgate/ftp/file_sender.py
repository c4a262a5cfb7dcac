"""A file or zip over a data connection: the engine's `Carrier`.

    SENDING -> DUE (the last reply, which is kept apart from the first) -> ANSWERED (226 is out; it lingers) -> closed

A connection whose file is acknowledged is of no more use to the session, which may open the next one at once; it stays
open a while, because the way in which the client ends it tells whether the last bytes were read.
"""

from __future__ import annotations

import socket
import time
from enum import auto
from functools import partial
from typing import Protocol

from ftpgate.delivery.fetch import Fetch
from ftpgate.delivery.sections import Part
from ftpgate.delivery.transfer import Transfer
from ftpgate.ftp.data_connection import DataConnection, Owner
from ftpgate.ftp.lingering import HasLingering, Lingering
from ftpgate.moves import StateEnum, check_move
from ftpgate.net import sockets
from ftpgate.net.tls import CLOSE_NOTIFY_DELAY, still_reads
from ftpgate.proof.credit import Phase

LINGER = 10.0
"""Seconds without any sign of the client reading on, after which an acknowledged connection is closed."""
APART = 0.25
"""Seconds after its beginning before which a transfer gets its last reply only when the client has ended the data connection.
aria2 waits for its time-out when it reads 150 and 226 together, and the kernel of a busy client acknowledges a small file long
before the client has read the 150. Measured: 20 ms were too short for 1 of 100 files."""


class FileOwner(Owner, HasLingering, Protocol):
    """The session's data commands, as a file on a data connection sees them."""


class LastReply(StateEnum):
    """Whether the session has given its last reply for a file."""

    SENDING = auto()
    """It is not due: not everything is acknowledged."""
    DUE = auto()
    """Everything is acknowledged: it is to be given."""
    ANSWERED = auto()
    """It is given, or will never be."""


MOVES: dict[LastReply, frozenset[LastReply]] = {
    LastReply.SENDING: frozenset({LastReply.DUE, LastReply.ANSWERED}),
    LastReply.DUE: frozenset({LastReply.ANSWERED}),
    LastReply.ANSWERED: frozenset(),
}


class FileSender:
    """Sends one file; a `delivery.transfer.Carrier` and the `Sender` of its connection."""

    __slots__ = (
        "_began", "_connection", "_corks", "_lingering", "_moved_at", "_owner", "_reply", "_taken", "_transfer", "_yields",
        "sink",
    )  # fmt: skip

    def __init__(self, connection: DataConnection, owner: FileOwner, lingering: Lingering) -> None:
        self.sink = connection.sink
        self._connection = connection
        self._owner = owner
        self._lingering = lingering
        self._transfer: Transfer | None = None
        self._reply = LastReply.SENDING
        self._began = time.monotonic()
        self._yields = connection.sink.wire.encrypted
        """Does our end give the client's the first turn (`tls.CLOSE_NOTIFY_DELAY`)?"""
        self._corks = False
        """Are partial segments held back while more follows?"""
        self._taken = 0
        """Bytes that a client which lingers has read, and when it was seen to go on."""
        self._moved_at = 0.0

    def start(self, fetch: Fetch, start: int, end: int, *, protocol: str, peer: str, client: str) -> None:
        """Send bytes `[start, end)` of a file or zip, as they are stored.

        Raises:
            DeadToken: its grant was revoked since it was promised.
        """
        paced = fetch.grant.customer.paced
        self._connection.carry(self)
        if paced or self.sink.wire.encrypted:  # the last segment of TLS has to go before its FIN does
            self._connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._corks = not paced
        self.hold_partial_segments(True)
        part = Part(fetch.leaf.resource, start, end)
        transfer = fetch.start(self, (part,), protocol=protocol, peer=peer, client=client)
        if transfer.outcome is None:
            self._transfer = transfer
            if self._connection.client_ended:
                transfer.fin()

    # -- what the connection says

    @property
    def busy(self) -> bool:
        return self._reply is not LastReply.ANSWERED and self._transfer is not None

    def progress(self) -> str:
        transfer = self._transfer
        if transfer is None:
            return ""
        return f"{transfer.credit.acknowledged} of {transfer.length} bytes of {transfer.info.path} have arrived"

    def writable(self) -> None:
        if self._transfer is not None and self._transfer.credit.phase in (Phase.SENDING, Phase.AT_LINE):
            self._transfer.writable()
        else:
            self._connection.finish()

    def client_ended(self) -> None:
        if self._transfer is not None:
            self._transfer.fin()

    def cut(self, outcome: str) -> None:
        if self._transfer is not None:
            self._transfer.cut(outcome)
        else:
            self._connection.close()
            self._owner.data_closed(self._connection)

    def abort(self) -> None:
        """Nothing more is written, but the client is heard to its end: lftp says ABOR as soon as it has read what it wants."""
        if self._transfer is not None:
            self._transfer.detach()
        if self._transfer is None:  # that was its end
            return self._connection.close()
        if self._transfer.credit.phase is Phase.SENDING:
            return self._transfer.cut()
        self._transfer.look(time.monotonic())
        if self._reply is LastReply.DUE:
            self._answer()
        elif self._reply is LastReply.SENDING:
            self._linger()
            self._owner.data_failed(self._connection, "cut")

    def detach(self) -> None:
        """What is being sent ends with its session (RFC 959 section 3.2).

        Nothing more is written, but the client is heard to its end: aria2 and axel close the control connection first.
        """
        self._answered()
        transfer = self._transfer
        if transfer is None:
            return self._connection.close()
        transfer.detach()
        if not self._connection.open:
            return  # its client had ended in order before, and that was all
        if transfer.credit.phase is Phase.SENDING:
            sockets.reset(self._connection.socket)
            transfer.cut()
        else:
            self._linger()

    def check_timeouts(self, now: float) -> None:
        """The engine's clock ends transfers."""

    def closed(self) -> None:
        self._lingering.discard(self)

    # -- what the transfer says

    def watch_writable(self, on: bool) -> None:
        self._connection.watch(writable=on)

    def hold_partial_segments(self, on: bool) -> None:
        if not on:
            sockets.flush(self._connection.socket)
        elif self._corks:
            sockets.cork(self._connection.socket, True)

    def transfer_written(self, transfer: Transfer) -> None:
        self._transfer = transfer
        if self._yields:
            sockets.cork(self._connection.socket, False)
        elif not self._connection.client_ended:
            self._connection.finish()
        # Else the client has closed its half before its data, and waits for our end: that follows the acknowledgement. Closed
        # before, the poll would report a hang-up for ever.

    def transfer_acknowledged(self, transfer: Transfer) -> None:
        if self._yields:
            self._yields = False
            self._connection.loop.call_later(CLOSE_NOTIFY_DELAY, self._end_too)
        if self._reply is LastReply.SENDING:
            self._move(LastReply.DUE)
        if wait := self._apart():
            self._connection.loop.call_later(wait, self._answer)
        else:
            self._answer()
        if self._connection.client_ended and transfer.credit.phase is not Phase.CREDITED:
            self._connection.loop.call_later(0, self.give_up)

    def transfer_ended(self, transfer: Transfer, outcome: str) -> None:
        self._transfer = None
        reply = self._reply
        self._answered()
        if outcome == "stopped" and reply is not LastReply.ANSWERED:
            self._connection.close()
            return self._owner.data_failed(self._connection, "cut")
        if reply is LastReply.SENDING:
            return self._connection.fail(outcome)
        if transfer.credit.acknowledged < transfer.length and outcome != "stopped":
            sockets.reset(self._connection.socket)  # what was given up must not look like the end of the file
        elif not self._connection.finished:
            self._connection.finish()  # it was kept open for a client that had closed its half before
        self._connection.close()
        if reply is LastReply.DUE:
            self._tell_done(apart=outcome == "done")  # nothing was to be read: it was empty

    # -- the last reply, and what follows it

    def _move(self, reply: LastReply) -> None:
        self._reply = check_move(MOVES, self._reply, reply)

    def _answered(self) -> None:
        """No reply is due any more."""
        if self._reply is not LastReply.ANSWERED:
            self._move(LastReply.ANSWERED)

    def _apart(self) -> float:
        """Seconds before the last reply may be given."""
        return 0.0 if self._connection.client_ended else max(self._began + APART - time.monotonic(), 0.0)

    def _answer(self) -> None:
        """Everything has arrived: have the session say so, and wait for the client's end."""
        if self._reply is LastReply.DUE and self._connection.open:
            self._linger()
            self._owner.data_done(self._connection)

    def _tell_done(self, *, apart: bool) -> None:
        done = partial(self._owner.data_done, self._connection)
        if apart and (wait := self._apart()):
            self._connection.loop.call_later(wait, done)
        else:
            done()

    def _end_too(self) -> None:
        if not self._connection.open:
            return
        if self._connection.client_ended:
            self.give_up()  # it waits for our end, and its own is to come no more
        elif still_reads(self.sink.wire.look()):
            self._connection.loop.call_later(CLOSE_NOTIFY_DELAY, self._end_too)
        else:
            self._connection.finish()

    def _linger(self) -> None:
        self._answered()
        self._moved_at = time.monotonic()
        self._lingering.add(self, self._owner)

    def still_taken(self, now: float) -> None:
        """Close the connection when its client has done nothing with it for a while."""
        look = self.sink.wire.look()
        taken = look.acknowledged - look.unread
        if taken > self._taken:
            self._taken, self._moved_at = taken, now
        elif now - self._moved_at >= LINGER:
            self.give_up()

    def give_up(self) -> None:
        """Close the connection. Its client has got everything that was sent, and still may read it."""
        if self._transfer is not None:
            self._transfer.cut()
        self._connection.close()
