"""The bodies of a connection's answers: the transfers that it carries, from their beginning to the last word on them.

What the client's TCP tells is passed on to the transfers, because it decides what was delivered. Several may be pending: a
body that is written is settled while the next one is on its way.
"""

from __future__ import annotations

import socket
import time
from typing import NamedTuple, Protocol

from ftpgate.delivery.fetch import Fetch
from ftpgate.delivery.sections import BodyPart
from ftpgate.delivery.transfer import Transfer
from ftpgate.errors import DeadToken
from ftpgate.net import sockets
from ftpgate.net.socket_watch import SocketWatch
from ftpgate.net.sockets import Sink
from ftpgate.proof.credit import Phase
from ftpgate.shaping.customer import Customer

CORK_FROM = 65_536
"""Bytes of a body from which it is worth two system calls to send none but full segments."""
UNSETTLED = 256
"""Bodies of one customer, and of one connection, that are written and not known to be read, about. Of a client that sends
requests ahead the oldest one stays unconfirmed then, or it waits until that has been acknowledged."""

_UNDER_WAY = (Phase.SENDING, Phase.AT_LINE, Phase.AWAITING_ACK)


class Body(NamedTuple):
    """A body that waits for its header to be sent."""

    fetch: Fetch
    parts: tuple[BodyPart, ...]
    length: int
    client: str
    """What the client calls itself."""


class BodyOwner(Protocol):
    """The connection, as the sender of its bodies knows it."""

    def body_written(self) -> None:
        """The whole answer is with the kernel."""
        ...

    def body_acknowledged(self, transfer: Transfer) -> None:
        """The client's TCP has acknowledged the last byte of a body."""
        ...

    def body_settled(self) -> None:
        """A transfer has ended well."""
        ...

    def reset(self) -> None:
        """A transfer has ended badly: nothing that is still queued may reach the client."""
        ...

    def failed(self) -> None:
        """Something raised what it should not have."""
        ...


class BodySender:
    """A `delivery.transfer.Carrier` for the bodies of one connection.

    Attributes:
        pending: the body whose header is not with the kernel yet.
    """

    __slots__ = ("_corked", "_owner", "_sending", "_slot", "_socket", "_transfers", "_watch", "pending", "sink")

    def __init__(self, sock: socket.socket, sink: Sink, watch: SocketWatch, owner: BodyOwner) -> None:
        self._socket = sock
        self.sink = sink
        self._watch = watch
        self._owner = owner
        self.pending: Body | None = None
        self._transfers: list[Transfer] = []
        """Those that are not settled, in the order of their bodies."""
        self._sending: Transfer | None = None
        """The one that is not written yet."""
        self._slot: Customer | None = None
        """The customer one of whose connections this is just now."""
        self._corked = False

    def __len__(self) -> int:
        """Bodies that are not settled."""
        return len(self._transfers)

    # -- the customer's connections

    def acquire(self, customer: Customer) -> None:
        """Take one of the customer's connections until the answer has been acknowledged.

        Raises:
            TooManyConnections: the tier allows no more.
        """
        if self._slot is customer:
            return
        self._release()
        customer.connect()
        self._slot = customer

    def release_when_idle(self) -> None:
        """Give the customer's connection back when no body is under way to the client."""
        if self._slot is not None and not self.under_way:
            self._release()

    def _release(self) -> None:
        customer, self._slot = self._slot, None
        if customer is not None:
            customer.disconnect()

    # -- what is known of the bodies

    @property
    def under_way(self) -> bool:
        """Is some body neither with the client nor ended?"""
        return any(transfer.credit.phase in _UNDER_WAY for transfer in reversed(self._transfers))

    @property
    def unacknowledged(self) -> bool:
        """Is some body written and not acknowledged?"""
        return any(transfer.credit.phase is Phase.AWAITING_ACK for transfer in self._transfers)

    @property
    def crowded(self) -> bool:
        """Are so many bodies not settled that one of this connection's has to give way to the next request's?"""
        if not self._transfers:
            return False
        customer = self._transfers[-1].grant.customer
        unsettled = len(customer.transfers) - customer.connections  # each connection may have one that is not written yet
        return len(self._transfers) >= UNSETTLED or unsettled >= UNSETTLED

    @property
    def oldest_is_acknowledged(self) -> bool:
        return self._transfers[0].credit.phase is Phase.AWAITING_READ

    @property
    def moved_at(self) -> float:
        """When something was last acknowledged of one of them, by the monotonic clock."""
        return max((transfer.moved_at for transfer in self._transfers), default=0.0)

    # -- what happens

    def begin(self, protocol: str, peer: str) -> None:
        """The header of the pending body is with the kernel: its transfer begins."""
        body, self.pending = self.pending, None
        assert body is not None
        if body.length >= CORK_FROM:
            self._corked = True
            sockets.cork(self._socket, True)
        holding, self._watch.holding = self._watch.holding, True
        try:
            transfer = self._sending = body.fetch.start(self, body.parts, protocol=protocol, peer=peer, client=body.client)
        except DeadToken:
            return self._owner.reset()
        self._transfers.append(transfer)
        if not body.fetch.grant.customer.paced:
            transfer.writable()  # most of a small body fits at once: the poll need not be asked first
        self._watch.holding = holding
        self._watch.update()

    def writable(self) -> bool:
        """The socket takes more. False when no body has anything to send."""
        if self._sending is None:
            return False
        self._sending.writable()
        return True

    def look(self) -> None:
        """Ask the kernel how far the client is."""
        now = time.monotonic()
        for transfer in tuple(self._transfers):
            transfer.look(now)

    def next_request(self) -> None:
        """The client has asked for more, when everything before had been acknowledged."""
        for transfer in tuple(self._transfers):
            transfer.next_request()

    def fin(self) -> None:
        """The client has ended its side in order: perhaps only that side, while it still reads."""
        for transfer in tuple(self._transfers):
            transfer.fin()

    def forgo_oldest(self) -> None:
        """Wait no longer for proof that the oldest one was read."""
        self._transfers[0].cut("unproven")

    def end(self) -> None:
        """The end of all transfers, while the kernel can be asked of the socket."""
        transfers, self._transfers = self._transfers, []
        for transfer in transfers:
            transfer.cut()
        self._sending = self.pending = None
        self._release()

    # -- what the transfers tell

    def watch_writable(self, on: bool) -> None:
        self._watch.write(on)

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
            self._owner.body_written()
        except Exception:  # it must not reach the customer's other transfers
            self._owner.failed()

    def transfer_acknowledged(self, transfer: Transfer) -> None:
        self._owner.body_acknowledged(transfer)

    def transfer_ended(self, transfer: Transfer, outcome: str) -> None:
        if transfer not in self._transfers:
            return  # the connection ends
        self._transfers.remove(transfer)
        if outcome in ("done", "unproven"):
            self._owner.body_settled()
        else:
            self._owner.reset()


def counts_bytes(transfer: Transfer) -> bool:
    """Does its client know where to end? Who fetches parts, or has other transfers, may keep the connection until all is
    there."""
    return not transfer.stream.whole or len(transfer.grant.transfers) > 1
