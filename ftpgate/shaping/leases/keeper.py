"""Keeps the leases of a gate's customers: one exchange with the store at a time, off the loop."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from ftpgate.errors import GateError
from ftpgate.leases import LeaseExchange, LeaseLeave, LeaseReport, LeaseStore
from ftpgate.net.executor import Executor
from ftpgate.net.timer import Alarm, CallLater
from ftpgate.shaping.customer import Customer
from ftpgate.shaping.leases.lease import JOINING, PATIENCE, Lease, LeaseState
from ftpgate.shaping.leases.rules import TTL

_log = logging.getLogger(__name__)

INTERVAL = 0.25
"""Seconds between two rounds of reports, a tenth more or less: customers whom only this gate serves are not in them."""
LONELY = 0.5
"""Seconds between two signs of life while no other gate runs."""
BATCH = 250
"""Customers in one exchange: reports and answers of more would hold up the loop for milliseconds."""
RETRY = 0.1
"""Seconds until what was not answered is reported again."""
MISSED = 0.3
"""Seconds in which no call has an answer, after which the store is away."""
LATE = 1.0
"""Seconds after which a store that has not answered is away."""


@dataclass(slots=True)
class Calls:
    """How often the store was called, how often without an answer, and how many seconds that took in all."""

    count: int = 0
    failures: int = 0
    seconds: float = 0.0
    failing_since: float | None = None
    """When the first of those failed that have failed in a row; of the monotonic clock."""


class LeaseKeeper:
    """All leases of one gate. Lives on the loop's thread.

    Args:
        store: called off the loop only.
        executor: a thread of the store's own.
        call_later: the loop's.
        gate: the id of this gate.
        gates: how many gates run, this one included.

    Attributes:
        up: does the store answer?
        calls: of the store; for the metrics.
    """

    def __init__(
        self, store: LeaseStore, executor: Executor, call_later: CallLater, *, gate: str, gates: Callable[[], int]
    ) -> None:
        self.store = store
        self.up = True
        self.calls = Calls()
        self._executor = executor
        self._gate = gate
        self._gates = gates
        self._random = random.Random(gate)  # noqa: S311
        self._leases: dict[str, Lease] = {}
        self._shared: dict[str, None] = {}
        """Names of those who are reported in each round; in order, as all of these."""
        self._urgent: dict[str, float] = {}
        """Who is reported sooner, and when."""
        self._round: dict[str, None] = {}
        """Of this round, who has not been reported yet."""
        self._joining: dict[str, None] = {}
        self._waited_for: dict[str, None] = {}
        self._leaving: dict[str, LeaseLeave] = {}
        self._ended: dict[str, None] = {}
        self._next_round = 0.0
        self._beat = False
        """Is a sign of life due?"""
        self._asked_at: float | None = None
        """When the exchange that is under way began."""
        self._alarm = Alarm(call_later, self._run)

    @property
    def shared(self) -> int:
        """Customers whom other gates serve as well."""
        return len(self._shared)

    @property
    def alone(self) -> int:
        """Customers whom only this gate serves."""
        return sum(lease.state is LeaseState.ALONE for lease in self._leases.values())

    def join(self, customer: Customer) -> None:
        """The gate begins to serve a customer. Until the store has answered, or for 0.5 s, clients wait for a connection."""
        lease = self._leases[customer.name] = customer.lease = Lease(customer, self._ask)
        if self._gates() > 1:
            customer.share(1.0, 0)
        self._ask(customer.name, 0.0)
        if not self.up:
            lease.unanswered(self._gates())
        self._sort(lease)

    def leave(self, customer: Customer) -> None:
        """It serves him no more."""
        lease = self._leases.pop(customer.name, None)
        if lease is None:
            return
        customer.lease = None  # they hold each other, and would stay until a collection of cycles
        for names in (self._shared, self._urgent, self._round, self._joining, self._waited_for):
            names.pop(customer.name, None)
        if lease.state is not LeaseState.RESTING:
            self._leaving[customer.name] = LeaseLeave(customer.name, customer.sent)
            self._alarm.within(INTERVAL)

    def soon(self, name: str) -> None:
        """Report a customer within 20 ms: another gate has called for it. One who is not this gate's is no matter."""
        lease = self._leases.get(name)
        if lease is not None and lease.state in (LeaseState.ALONE, LeaseState.SHARED):
            lease.call()
            self._sort(lease)
            self._ask(name, 0.02)

    def ended(self, gates: Sequence[str]) -> None:
        """These gates have ended, without a word to the store perhaps."""
        self._ended.update(dict.fromkeys(gates))
        self._alarm.within(0.0)

    def stop(self) -> None:
        """The gate is about to end: the last exchange, which nobody waits for."""
        with suppress(GateError):  # it is noticed by its silence
            self._executor.submit(lambda: self.store.exchange(self._gate, ended=(self._gate,)), lambda _result, _error: None)

    # -- when what is reported

    def _ask(self, name: str, within: float) -> None:
        lease = self._leases.get(name)
        if lease is None:
            return
        due = time.monotonic() + within
        self._urgent[name] = min(due, self._urgent.get(name, due))
        self._sort(lease)
        self._alarm.within(within)

    def _sort(self, lease: Lease) -> None:
        """Enter a lease where its state belongs."""
        name = lease.customer.name
        for names, belongs in (
            (self._shared, lease.state is LeaseState.SHARED),
            (self._joining, lease.state is LeaseState.JOINING),
            (self._waited_for, lease.waits),
        ):
            if belongs:
                names[name] = None
            else:
                names.pop(name, None)

    def _run(self) -> None:
        now = time.monotonic()
        self._check_waiting(now)
        if now >= self._next_round and (self._leases or self._leaving):
            self._begin_round(now)
        self._exchange(now)
        if self._leases or self._leaving or self._ended:
            self._alarm.within(max(self._next_round - now, 0.01))
        self._go_on()

    def _go_on(self) -> None:
        """Come back for what is not reported yet, unless the answer that is awaited does it."""
        if self._asked_at is not None:
            return
        if self._round or self._ended:
            self._alarm.within(0.0)
        elif self._urgent:
            self._alarm.within(max(min(self._urgent.values()) - time.monotonic(), 0.0))

    def _begin_round(self, now: float) -> None:
        lonely = self._gates() <= 1 and not self._shared
        self._next_round = now + (LONELY if lonely else INTERVAL) * self._random.uniform(0.9, 1.1)
        self._beat = True
        self._round.update(self._shared)
        for name in [name for name in self._shared if self._leases[name].rests(now)]:
            lease = self._leases[name]
            lease.rest()
            self._sort(lease)
            self._urgent.pop(name, None)
            del self._round[name]
            self._leaving[name] = LeaseLeave(name, lease.customer.sent)

    def _check_waiting(self, now: float) -> None:
        """Nobody waits for longer than he has to."""
        if self._asked_at is not None and now - self._asked_at > LATE:
            self._away("it has not answered in time")
        for name in tuple(self._joining):
            lease = self._leases[name]
            if not self.up or now - lease.joined_at >= JOINING:
                lease.unanswered(self._gates())
                self._sort(lease)
        for name in tuple(self._waited_for):
            lease = self._leases[name]
            lease.wake(now)
            self._sort(lease)
        if self._joining or self._waited_for:
            self._alarm.within(min(JOINING, PATIENCE) / 10)

    # -- the exchange

    def _exchange(self, now: float) -> None:
        """One call with what is due, unless one is under way: its answer is followed by the next."""
        if self._asked_at is not None:
            return
        due = self._take_due(now)
        if not (due or self._leaving or self._ended or self._beat):
            return
        self._beat = False
        reports = [self._leases[name].report(now) for name in due]
        leaving, ended = tuple(self._leaving.values()), tuple(self._ended)
        self._asked_at = now
        try:
            self._executor.submit(
                partial(self._call, reports, leaving, ended),
                lambda found, error: self._done(reports, leaving, ended, found, error),
            )
        except GateError as error:
            self._done(reports, leaving, ended, None, error)

    def _take_due(self, now: float) -> dict[str, None]:
        """Names of those who are to be reported now."""
        due: dict[str, None] = {}
        for name in [name for name, at in self._urgent.items() if at <= now + 0.001][:BATCH]:
            del self._urgent[name]
            due[name] = None
        while self._round and len(due) < BATCH:
            name = next(iter(self._round))
            del self._round[name]
            due[name] = None
        return {name: None for name in due if self._leases[name].state is not LeaseState.RESTING}

    def _call(self, reports: Sequence[LeaseReport], leaving: Sequence[LeaseLeave], ended: Sequence[str]) -> LeaseExchange:
        """In the store's thread."""
        began = time.perf_counter()
        try:
            return self.store.exchange(self._gate, reports, leaving, ended)
        finally:
            self.calls.seconds += time.perf_counter() - began

    def _done(
        self,
        reports: Sequence[LeaseReport],
        leaving: Sequence[LeaseLeave],
        ended: Sequence[str],
        found: LeaseExchange | None,
        error: GateError | None,
    ) -> None:
        now = time.monotonic()
        late = self._asked_at is not None and now - self._asked_at > TTL / 2  # others may have been told that this gate has ended
        self._asked_at = None
        self.calls.count += 1
        if found is None or late:
            return self._failed(now, reports, error)
        self._back()
        for each in leaving:
            if self._leaving.get(each.customer) == each:
                del self._leaving[each.customer]
        for gate in ended:
            self._ended.pop(gate, None)
        self._answered(reports, found)
        self._go_on()

    def _failed(self, now: float, reports: Sequence[LeaseReport], error: GateError | None) -> None:
        """A call has brought nothing. One of a hundred is no matter; after some in a row the store is away."""
        self.calls.failures += 1
        since = self.calls.failing_since = self.calls.failing_since or now
        if error is not None and now - since >= MISSED:
            self._away(str(error.__cause__ or error).partition("\n")[0])
        again = (report.customer for report in reports) if self.up else (*self._joining, *self._waited_for)
        self._urgent.update((name, now + RETRY) for name in again if name in self._leases)
        self._alarm.within(RETRY)

    def _answered(self, reports: Sequence[LeaseReport], found: LeaseExchange) -> None:
        asked = {report.customer: report for report in reports}
        for answer in found.answers:
            lease = self._leases.get(answer.customer)
            if lease is not None and lease.state is not LeaseState.RESTING:
                before = lease.state, lease.waits
                lease.answered(asked[answer.customer], answer)
                if before != (lease.state, lease.waits):
                    self._sort(lease)
        for name in found.called:
            self.soon(name)
        if not found.known:
            for name, lease in self._leases.items():
                if name not in asked and lease.state in (LeaseState.ALONE, LeaseState.SHARED):
                    lease.unknown()
                    self._sort(lease)
                    self._round[name] = None

    def _away(self, reason: str) -> None:
        if self.up:
            self.up = False
            _log.error("gates cannot share rates and connections: the store of leases (%s) is away: %s", self.store.name, reason)
            for lease in self._leases.values():
                lease.customer.cap_share()

    def _back(self) -> None:
        self.calls.failing_since = None
        if not self.up:
            self.up = True
            _log.info("the store of leases (%s) answers again", self.store.name)
