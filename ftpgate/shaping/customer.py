"""A customer: one rate and a number of connections, whatever the grants and protocols."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable
from functools import partial
from typing import Protocol

from ftpgate.errors import TooManyConnections
from ftpgate.grants import Tier
from ftpgate.net.timer import Alarm, CallLater
from ftpgate.shaping.token_bucket import SOONEST, Pacer, Sender


class Paced(Sender, Protocol):
    """A transfer, as its customer knows it."""

    def pace_changed(self) -> None:
        """The customer got a rate, or lost it."""
        ...


class Lease(Protocol):
    """What of a customer whom other gates may serve too is this gate's, as he knows it."""

    def when_room(self, go_on: Callable[[float], None], since: float | None) -> bool:
        """See `Customer.when_room`."""
        ...

    def turned(self, *, hungry: bool) -> None:
        """Its connections want more than they get, or no more."""
        ...

    def changed(self) -> None:
        """The tier is another one."""
        ...


class GlobalLimiter:
    """The limit of the whole gate, `FTPGATE_TOTAL_RATE`, shared evenly between the customers who want to send."""

    __slots__ = ("_alarm", "_pacer")

    def __init__(self, rate: int, call_later: CallLater) -> None:
        self._alarm = Alarm(call_later, self._turn)
        self._pacer = Pacer(rate, time.monotonic())

    def join(self, customer: Customer) -> None:
        self._pacer.join(customer)
        if not self._alarm.pending:
            self._alarm.within(SOONEST)

    def _turn(self) -> None:
        delay = self._pacer.run(time.monotonic())
        if delay is not None:
            self._alarm.within(max(delay, SOONEST))


class Customer:
    """One user, over all connections, grants and both protocols.

    Unlimited, a connection sends whenever its socket takes more. With a rate, or under the gate's total, it sends when
    its turn comes: the customer's timer serves its run queue, or enters the customer in the run queue of the gate.
    """

    __slots__ = (
        "__weakref__", "_alarm", "_limiter", "_pacer", "_part", "_queued", "bound", "connections", "lease", "name", "tier",
        "transfers",
    )  # fmt: skip

    def __init__(self, name: str, tier: Tier, call_later: CallLater, limiter: GlobalLimiter | None = None) -> None:
        self.name = name
        self.tier = tier
        self.connections = 0
        self.transfers: set[Paced] = set()
        self._alarm = Alarm(call_later, partial(_turn_of, weakref.ref(self)))  # who sends holds it: it is free with the last one
        self._limiter = limiter
        self._pacer = Pacer(tier.rate, time.monotonic())
        self._queued = False
        """Is it in the run queue of the gate?"""
        self.lease: Lease | None = None
        """What it has of other gates' customer; None where there is no other gate."""
        self._part = 1.0
        """What of the tier's rate is this gate's."""
        self.bound: int | None = None
        """Connections that may be used here; None for all of the tier's."""

    @property
    def idle(self) -> bool:
        return not self.connections and not self.transfers

    @property
    def paced(self) -> bool:
        """Do connections have to wait for their turn?"""
        return bool(self.tier.rate) or self._limiter is not None

    @property
    def places(self) -> int:
        """Connections that may be used here."""
        return self.tier.connections if self.bound is None else min(self.bound, self.tier.connections)

    def connect(self) -> None:
        """Take one of the tier's connections.

        Raises:
            TooManyConnections: all are in use.
        """
        if self.connections >= self.places:
            raise TooManyConnections()
        self.connections += 1

    def when_room(self, go_on: Callable[[float], None], since: float | None = None) -> bool:
        """After `TooManyConnections`: may another gate give a connection back? Then a client does well to wait.

        Args:
            go_on: called when it should try again, with the time from which it has waited.
            since: that time, when it has waited before.
        """
        return self.lease is not None and self.lease.when_room(go_on, since)

    def disconnect(self) -> None:
        self.connections -= 1

    def change(self, tier: Tier) -> None:
        """Another tier, or another rate of the same: running transfers follow at once."""
        if tier == self.tier:
            return
        paced, self.tier = self.paced, tier
        self._pacer.change(self._rate, time.monotonic())
        self._wake_soon()
        if paced != self.paced:
            for transfer in tuple(self.transfers):
                self._pacer.leave(transfer)
                transfer.pace_changed()
        if self.lease is not None:
            self.lease.changed()

    def share(self, part: float, bound: int | None) -> None:
        """What of the tier is this gate's from now on: a part of its rate, and connections (None for all)."""
        self.bound = bound
        if part != self._part:
            self._part = part
            self._pacer.adjust(self._rate, time.monotonic())
            self._wake_soon()

    def cap_share(self) -> None:
        """Make up for nothing while nobody knows what others send."""
        self.share(min(self._part, 1.0), self.bound)

    @property
    def _rate(self) -> int:
        return max(int(self.tier.rate * self._part), 1) if self.tier.rate else 0

    def _wake_soon(self) -> None:
        if self._pacer and not self._queued:
            self._alarm.within(SOONEST)  # at the old rate it may be far off

    @property
    def sent(self) -> int:
        """Bytes that it was sent in its turns: all, while it is paced."""
        return self._pacer.sent

    def take_demand(self, now: float) -> tuple[int, bool]:
        """See `Pacer.take_demand`."""
        return self._pacer.take_demand(now)

    def queue(self, sender: Sender) -> None:
        """`sender` waits for its turn; only while `paced`."""
        self._pacer.join(sender)
        if not self._queued and not self._alarm.pending:
            self._alarm.within(SOONEST)

    def leave(self, sender: Sender) -> None:
        """`sender` is gone."""
        self._pacer.leave(sender)
        self._tell_demand()

    def send(self, budget: int) -> int:
        """A turn in the run queue of the gate: its connections get it."""
        sent = self._pacer.give(time.monotonic(), budget)
        self._tell_demand()
        delay = self._pacer.delay()
        self._queued = delay == 0
        if delay:
            self._alarm.within(delay)
        return sent

    @property
    def ready(self) -> bool:
        """Does it stay in the run queue of the gate?"""
        return self._queued

    def _turn(self) -> None:
        if self._limiter is not None:
            if self._pacer and not self._queued:
                self._queued = True
                self._limiter.join(self)
            return
        delay = self._pacer.run(time.monotonic()) if self.paced else None
        self._tell_demand()
        if delay is not None:
            self._alarm.within(max(delay, SOONEST))

    def _tell_demand(self) -> None:
        if self.lease is not None:
            if self._pacer.hungry:
                self.lease.turned(hungry=True)
            elif not self._pacer:
                self.lease.turned(hungry=False)


def _turn_of(reference: weakref.ref[Customer]) -> None:
    customer = reference()
    if customer is not None:
        customer._turn()
