"""A customer: one rate and a number of connections, whatever the grants and protocols."""

from __future__ import annotations

import time
import weakref
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

    __slots__ = ("__weakref__", "_alarm", "_limiter", "_pacer", "_queued", "connections", "name", "tier", "transfers")

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

    @property
    def idle(self) -> bool:
        return not self.connections and not self.transfers

    @property
    def paced(self) -> bool:
        """Do connections have to wait for their turn?"""
        return bool(self.tier.rate) or self._limiter is not None

    def connect(self) -> None:
        """Take one of the tier's connections.

        Raises:
            TooManyConnections: all are in use.
        """
        if self.connections >= self.tier.connections:
            raise TooManyConnections()
        self.connections += 1

    def disconnect(self) -> None:
        self.connections -= 1

    def change(self, tier: Tier) -> None:
        """Another tier, or another rate of the same: running transfers follow at once."""
        if tier == self.tier:
            return
        paced, self.tier = self.paced, tier
        self._pacer.change(tier.rate, time.monotonic())
        if paced != self.paced:
            for transfer in tuple(self.transfers):
                self._pacer.leave(transfer)
                transfer.pace_changed()
        if self._pacer and not self._queued:
            self._alarm.within(SOONEST)  # at the old rate it may be far off

    def queue(self, sender: Sender) -> None:
        """`sender` waits for its turn; only while `paced`."""
        self._pacer.join(sender)
        if not self._queued and not self._alarm.pending:
            self._alarm.within(SOONEST)

    def leave(self, sender: Sender) -> None:
        """`sender` is gone."""
        self._pacer.leave(sender)

    def send(self, budget: int) -> int:
        """A turn in the run queue of the gate: its connections get it."""
        sent = self._pacer.give(time.monotonic(), budget)
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
        if delay is not None:
            self._alarm.within(max(delay, SOONEST))


def _turn_of(reference: weakref.ref[Customer]) -> None:
    customer = reference()
    if customer is not None:
        customer._turn()
