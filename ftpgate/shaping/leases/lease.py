"""One customer at one gate: what it may use just now, what it reports, and the clients that wait for a connection."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import auto

from ftpgate.leases import LeaseAnswer, LeaseReport
from ftpgate.moves import StateEnum, check_move
from ftpgate.shaping.customer import Customer

PATIENCE = 0.75
"""Seconds that a client waits for a connection which another gate may give back: it is called within 0.25 s, or 0.5 s."""
JOINING = 0.5
"""Seconds that the answer to the first report is waited for."""
RESTS = 5.0
"""Seconds without a connection after which a customer whom other gates serve is left to them."""
FOLLOWS = 0.12
"""Seconds after which who has become hungry reports again: where his connections were before, that is known by then."""
TURN_AGAIN = 0.1
"""Seconds between two reports of a change at the least: a client of many small files changes all the time."""
MOST_GATES = 4
"""Gates that a customer is sent to: without the store, each gives a newcomer its part of the rate."""

GoOn = Callable[[float], None]
"""Told, with the time from which it has waited, that there may be a connection now, or that it has waited long enough."""


class LeaseState(StateEnum):
    """What a gate knows of a customer's other gates."""

    JOINING = auto()
    """Nothing yet: the first report has not been answered. Clients wait, unless this gate is the only one."""
    ALONE = auto()
    """There is none: everything is this gate's until it is called."""
    SHARED = auto()
    """There are some: a part is this gate's, and it reports every 250 ms."""
    RESTING = auto()
    """He has not used this gate for a while, and is left to the others: it joins anew with the next client."""


MOVES: dict[LeaseState, frozenset[LeaseState]] = {
    LeaseState.JOINING: frozenset({LeaseState.ALONE, LeaseState.SHARED}),
    LeaseState.ALONE: frozenset({LeaseState.SHARED}),
    LeaseState.SHARED: frozenset({LeaseState.ALONE, LeaseState.RESTING}),
    LeaseState.RESTING: frozenset({LeaseState.JOINING}),
}
"""What may follow. A customer whom the gate forgets ends it in any state."""


class Lease:
    """What of one customer is this gate's.

    Args:
        customer: who sends and connects by it.
        ask: has him reported within so many seconds.
    """

    __slots__ = (
        "_ask", "_follows", "_idle_since", "_told_at", "_told_hungry", "_told_sent", "_waiting", "called", "customer",
        "joined_at", "state",
    )  # fmt: skip

    def __init__(self, customer: Customer, ask: Callable[[str, float], None]) -> None:
        self.customer = customer
        self.called = False
        """Has it been alone until now?"""
        self.state = LeaseState.JOINING
        self.joined_at = self._told_at = time.monotonic()
        self._ask = ask
        self._told_sent = customer.sent
        self._told_hungry = self._follows = False
        self._idle_since = self.joined_at
        self._waiting: list[tuple[float, GoOn]] = []

    def move(self, state: LeaseState) -> None:
        if state is not self.state:
            self.state = check_move(MOVES, self.state, state)

    # -- what the customer says

    def when_room(self, go_on: GoOn, since: float | None) -> bool:
        """Is it worth waiting for a connection? Then `go_on` is called, at the latest after PATIENCE from `since` on."""
        now = time.monotonic()
        since = now if since is None else since
        customer = self.customer
        if customer.bound is None or customer.connections >= customer.tier.connections or now - since >= PATIENCE:
            return False
        if self.state is LeaseState.RESTING:
            self.move(LeaseState.JOINING)
            self.joined_at = now
        self._idle_since = now
        self._waiting.append((since, go_on))
        self._ask(customer.name, 0.0)
        return True

    def turned(self, *, hungry: bool) -> None:
        """Its connections want more than they get, or no more: others should know it before the next round."""
        if hungry != self._told_hungry and self.state is LeaseState.SHARED:
            self._told_hungry = self._follows = hungry
            self._ask(self.customer.name, max(0.02, self._told_at + TURN_AGAIN - time.monotonic()))

    def changed(self) -> None:
        """The tier is another one."""
        if self.state is LeaseState.SHARED:
            self._ask(self.customer.name, 0.02)

    # -- what the keeper says

    @property
    def waits(self) -> bool:
        return bool(self._waiting)

    def rests(self, now: float) -> bool:
        """Has he not used this gate for a while, and does he use others?"""
        if not self.customer.idle or self._waiting:
            self._idle_since = now
        return self.state is LeaseState.SHARED and now - self._idle_since >= RESTS

    def rest(self) -> None:
        self.move(LeaseState.RESTING)
        self.customer.share(1.0, 0)

    def call(self) -> None:
        """Another gate serves him too: half of what is free is given back at once."""
        if self.state is LeaseState.ALONE:
            self.move(LeaseState.SHARED)
            self.called = True
            used, most = self.customer.connections, self.customer.tier.connections
            self.customer.share(1.0, used + max(most - used, 0) // 2)

    def unknown(self) -> None:
        """The store has forgotten this gate: everything goes on until it has heard of him."""
        if self.state is LeaseState.ALONE:
            self.move(LeaseState.SHARED)
            self.called = True

    def unanswered(self, gates: int) -> None:
        """The store is away, or late: without its word, a customer gets what all gates together may give him once."""
        if self.state is LeaseState.JOINING:
            self.move(LeaseState.SHARED)
            gates = min(max(gates, 1), MOST_GATES)
            self.customer.share(1 / gates, -(-self.customer.tier.connections // gates))
            self.wake()

    def report(self, now: float) -> LeaseReport:
        customer, tier, span = self.customer, self.customer.tier, max(now - self._told_at, 0.001)
        sent, joining = customer.sent, self.state is LeaseState.JOINING
        hungry, sends = customer.take_demand(now)
        use = (sent - self._told_sent) / span if sends else 0.0
        if self.called:
            # What it has reported is long ago; as it may be sending at its full rate just now, it is taken to do so.
            use, self.called = float(tier.rate) if hungry else use, False
        self._told_sent, self._told_at, self._told_hungry = sent, now, bool(hungry)
        used, wanted = customer.connections, len(self._waiting)
        if joining:  # a client is about to come
            hungry, wanted = max(hungry, 1), max(wanted, 1)
        bound = 0 if joining and customer.bound is not None else max(used, customer.places)
        return LeaseReport(customer.name, tier.rate, tier.connections, sent, int(use), hungry, used, wanted, bound)

    def answered(self, report: LeaseReport, answer: LeaseAnswer) -> None:
        if answer.alone:
            self.move(LeaseState.ALONE)
            self.customer.share(1.0, None)
        else:
            self.move(LeaseState.SHARED)
            self.customer.share(answer.rate / report.rate if report.rate else 1.0, answer.connections)
        if self.customer.connections < self.customer.places:
            self.wake()
        if answer.connections < report.bound:
            self._ask(self.customer.name, 0.02)  # others get what this gate gives back once the store knows that it does
        elif answer.awaited or self._waiting:
            self._ask(self.customer.name, 0.06)
        elif self._follows:
            self._follows = False
            self._ask(self.customer.name, FOLLOWS)

    def wake(self, now: float | None = None) -> None:
        """Have clients try again: all, or those that have waited long enough at `now`."""
        waiting, self._waiting = self._waiting, []
        for since, go_on in waiting:
            if now is None or now - since >= PATIENCE:
                go_on(since)
            else:
                self._waiting.append((since, go_on))
