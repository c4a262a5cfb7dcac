"""The socket of an HTTP connection and the transfers that it carries: their beginning, what they are told, its end.

What the client's TCP tells is passed on to the transfers, because it decides what was delivered. The socket is watched
for reading while a body streams, paced or not, so that a hang-up is seen at once. Several transfers may be pending: a
body that is written is settled while the next one is on its way.
"""

from __future__ import annotations

import logging
import socket
from enum import Enum, auto
from typing import NamedTuple

from ftpgate.access.open_grant import OpenGrant
from ftpgate.delivery.sections import BodyPart
from ftpgate.delivery.transfer import Transfer
from ftpgate.http.front import Front
from ftpgate.net import sockets
from ftpgate.net.sockets import Sink
from ftpgate.net.tls import PATIENCE
from ftpgate.proof.credit import Phase
from ftpgate.shaping.customer import Customer
from ftpgate.tree import Leaf

_log = logging.getLogger(__name__)

CORK_FROM = 65_536
"""Bytes of a body from which it is worth two system calls to send none but full segments."""

COUNTING_PATIENCE = 1.5
"""Seconds before our close_notify, where the client knows where to end (`BodyCarrier._counts_bytes`) and is to go first."""


class State(Enum):
    READING = auto()
    """Waits for a request, or for the rest of its head."""
    ADMITTING = auto()
    """A request is being looked into: its token, its file."""
    SENDING = auto()
    """An answer is on its way to the kernel."""
    STREAMING = auto()
    """An answer without an end: events are pushed."""
    LINGERING = auto()
    """The last answer is with the kernel; the client has to take it and say good-bye."""
    CLOSED = auto()


_MOVES = {
    State.READING: {State.ADMITTING, State.SENDING, State.LINGERING, State.CLOSED},
    State.ADMITTING: {State.SENDING, State.CLOSED},
    State.SENDING: {State.READING, State.STREAMING, State.LINGERING, State.CLOSED},
    State.STREAMING: {State.LINGERING, State.CLOSED},
    State.LINGERING: {State.CLOSED},
    State.CLOSED: set(),
}


_UNDER_WAY = (Phase.SENDING, Phase.AT_LINE, Phase.AWAITING_ACK)


class Body(NamedTuple):
    """A body that waits for its header to be sent."""

    grant: OpenGrant
    leaf: Leaf
    parts: tuple[BodyPart, ...]
    length: int
    client: str
    """What the client calls itself."""


class BodyCarrier:
    """Registered with the loop from its creation until its end; a `delivery.transfer.Carrier`."""

    __slots__ = (
        "_corked", "_deferred", "_fileno", "_fin", "_front", "_held", "_sending", "_slot", "_socket", "_transfers", "_watched",
        "_writable", "peer", "sink", "state",
    )  # fmt: skip

    def __init__(self, front: Front, sock: socket.socket, sink: Sink, peer: str) -> None:
        self._front = front
        self._socket = sock
        self._fileno = sock.fileno()
        self.sink = sink
        self.peer = peer
        self.state = State.READING
        self._fin = False
        """The client has ended its side."""
        self._transfers: list[Transfer] = []
        """Those that are not settled, in the order of their bodies."""
        self._sending: Transfer | None = None
        """The one that is not written yet."""
        self._slot: Customer | None = None
        """The customer one of whose connections this is just now."""
        self._corked = False
        self._held = False
        """What the loop has to watch is about to change again: one system call at the end will do."""
        self._writable = False
        self._deferred = False
        """Something has arrived that cannot be read while the sink is owing: until then the loop would report it for ever."""
        self._watched: int | None = front.gate.loop.READ

    @property
    def protocol(self) -> str:
        return self._front.protocol

    # -- for the connection that builds on this

    def _reads(self) -> bool:
        """Is there room for what the client sends?"""
        raise NotImplementedError

    def _answered(self) -> None:
        """The whole answer is with the kernel."""
        raise NotImplementedError

    def _settled(self) -> None:
        """A transfer has ended well, or been acknowledged."""
        raise NotImplementedError

    def _end_too(self) -> None:
        """Everything is acknowledged: end our side, for a client that has ended its own half before, or speaks TLS."""
        raise NotImplementedError

    def close(self) -> None:
        """End the connection."""
        raise NotImplementedError

    # -- what the loop asks

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def handle_close(self) -> None:
        """The connection is broken."""
        self.close()

    def handle_error(self) -> None:
        """One of the handlers raised what it should not have."""
        _log.exception("an HTTP connection met an error")
        self._reset()

    # -- transfers

    def occupy(self, customer: Customer) -> None:
        """Take one of the customer's connections until the answer has been acknowledged.

        Raises:
            TooManyConnections: the tier allows no more.
        """
        if self._slot is customer:
            return
        self._vacate()
        customer.connect()
        self._slot = customer

    def _begin(self, body: Body) -> None:
        """The header is with the kernel: the transfer begins."""
        if body.length >= CORK_FROM:
            self._corked = True
            sockets.cork(self._socket, True)
        held, self._held = self._held, True
        transfer = self._sending = self._front.gate.engine.start(
            self, body.grant, body.parts, item=body.leaf.item.id, path=body.leaf.path,
            protocol=self.protocol, peer=self.peer, client=body.client,
        )  # fmt: skip
        self._transfers.append(transfer)
        if not body.grant.customer.paced:
            transfer.writable()  # most of a small body fits at once: the poll need not be asked first
        self._held = held
        self._watch()

    def _ended(self) -> None:
        """The client has ended its side in order: perhaps only that side, while it still reads."""
        self._fin = True
        for transfer in tuple(self._transfers):
            transfer.fin()

    def watch_writable(self, on: bool) -> None:
        self._writable = on
        self._watch()

    def hold_partial_segments(self, on: bool) -> None:
        if not on:
            sockets.flush(self._socket)
        elif self._corked:
            sockets.cork(self._socket, True)

    def transfer_written(self, transfer: Transfer) -> None:
        self._sending = None
        if self._corked:
            self._corked = False
            sockets.cork(self._socket, False)
        try:
            self._answered()
        except Exception:  # it must not reach the customer's other transfers
            self.handle_error()

    def transfer_acknowledged(self, transfer: Transfer) -> None:
        self._vacate_when_idle()
        if self.state is State.READING:
            self._settled()
        elif self.state is State.LINGERING and self._fin:
            self._front.gate.loop.call_later(0, self._end_too)
        elif self.state is State.LINGERING and self.sink.wire.encrypted:
            wait = COUNTING_PATIENCE if self._counts_bytes(transfer) else PATIENCE
            self._front.gate.loop.call_later(wait, self._end_too)

    def _counts_bytes(self, transfer: Transfer) -> bool:
        """Does its client know where to end? Who fetches parts, or has other transfers, may keep the connection until all is
        there."""
        return not transfer.stream.whole or len(transfer.grant.transfers) > 1

    def transfer_ended(self, transfer: Transfer, outcome: str) -> None:
        if self.state is State.CLOSED:
            return
        self._transfers.remove(transfer)
        if outcome not in ("done", "unproven"):
            return self._reset()
        self._settled()

    def _vacate(self) -> None:
        customer, self._slot = self._slot, None
        if customer is not None:
            customer.disconnect()

    def _vacate_when_idle(self) -> None:
        """Give the customer's connection back when no answer is under way: neither to the kernel nor to the client."""
        if self._slot is None or self.state not in (State.READING, State.LINGERING):
            return
        if not self._under_way:
            self._vacate()

    @property
    def _under_way(self) -> bool:
        """Is some body neither with the client nor ended?"""
        return any(transfer.credit.phase in _UNDER_WAY for transfer in reversed(self._transfers))

    # -- the socket

    def _enter(self, state: State) -> None:
        assert state in _MOVES[self.state], f"{self.state} to {state}"
        self.state = state

    def _watch(self) -> None:
        """Have the loop report what is of interest now; a system call only when that has changed."""
        if self._held or self._watched is None:
            return
        loop = self._front.gate.loop
        reads = not self._fin and self._reads() and not (self._deferred and self.sink.owing)
        events = (loop.READ if reads else 0) | (loop.WRITE if self._writable else 0)
        if events != self._watched:
            self._watched = events
            loop.modify(self._fileno, events)

    def _unregister(self) -> None:
        if self._watched is not None:
            self._watched = None
            self._front.gate.loop.unregister(self._fileno)

    def _broken(self) -> bool:
        """Has a socket that the loop does not watch met an error?"""
        return self._watched is None and self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0

    def _reset(self) -> None:
        sockets.reset(self._socket)
        self.close()

    def _shut(self) -> None:
        """The end of all transfers and of the socket, in this order: the kernel can be asked only while it is open."""
        self._enter(State.CLOSED)
        for transfer in tuple(self._transfers):
            transfer.cut()
        self._transfers.clear()
        self._sending = None
        self._vacate()
        self._unregister()
        self._socket.close()
