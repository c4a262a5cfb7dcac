"""When the statuses of grants in use are asked for anew: regularly, and at once those that the shop has told of.

A notice that comes while an answer is under way may tell of what the answer does not have yet. So what was told of is asked for
once more after it, and so is a grant whose look-up had begun before the last notice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import islice

from ftpgate.access.open_grant import OpenGrant
from ftpgate.access.push import Push
from ftpgate.clock import ClockGuard
from ftpgate.errors import GateError
from ftpgate.grants import Bridge, GrantStatus
from ftpgate.net.executor import Executor
from ftpgate.notices import Kind

POLL_PUSHED = 30.0
"""Seconds between two rounds while the shop pushes: they find what was lost on the way."""
LEAST = 1.0
"""Seconds between two rounds, at the least: a connection that breaks again and again must not keep the database busy."""
AT_ONCE = 500
"""Grants of one question that notices have brought about."""
LATE = 5.0
"""Seconds that an answer of the ledger may have been on its way when a notice overtakes it."""

RefreshedCallback = Callable[[Sequence[str], Sequence[GrantStatus], float], None]
"""Names that were asked about, what was found, and when it was asked (monotonic)."""


class Refresher:
    """Asks for statuses, one question at a time. Lives on the loop's thread.

    Args:
        bridge: the shop; only `refresh` is called, off the loop.
        executor: where its calls run.
        held: the grants in use, by their ids.
        refreshed: gets the answers, on the loop.
    """

    def __init__(self, bridge: Bridge, executor: Executor, held: Mapping[str, OpenGrant], refreshed: RefreshedCallback) -> None:
        self._bridge = bridge
        self._executor = executor
        self._held = held
        self._refreshed = refreshed
        self._asking = False
        self._told: dict[str, None] = {}
        """Names that are to be asked for at once, oldest first; at most those that are held."""
        self._told_at = self._polled_at = self._began_at = float("-inf")
        self._pushed: Callable[[], bool] = lambda: False
        """Does the shop tell of changes by itself just now?"""
        self.polls = self.hurried = 0
        """Regular rounds, and questions that notices have brought about; for the metrics."""

    def follow(self, push: Push, clock: ClockGuard) -> None:
        """Ask for what `push` tells of, and for all only rarely as long as it works.

        Args:
            clock: while it is wrong all are asked for every second: the answers tell the database's time.
        """
        self._pushed = lambda: push.look() and not clock.wrong()
        push.on_everything(self.everything)
        push.on(Kind.GRANT, lambda names: self.told(names & self._held.keys()))
        push.on(Kind.TIER, lambda names: self._told_of(lambda grant: grant.status.tier.name in names))
        push.on(Kind.USER, lambda names: self._told_of(lambda grant: grant.status.user in names))
        push.on(Kind.ITEM, lambda names: self._told_of(lambda grant: any(item.id in names for item in grant.grant.items)))

    def _told_of(self, concerned: Callable[[OpenGrant], bool]) -> None:
        self.told([name for name, grant in self._held.items() if concerned(grant)])

    def tick(self) -> None:
        """Called every second: ask for all that are held, when it is time."""
        if self._asking or (self._pushed() and time.monotonic() < self._polled_at + POLL_PUSHED):
            return
        names = tuple(self._held)
        if names and self._ask(names):
            self._polled_at = self._began_at = time.monotonic()
            self.polls += 1

    def everything(self) -> None:
        """Notices may have been lost: ask for all."""
        self._told_at, self._polled_at = time.monotonic(), float("-inf")
        if self._told_at >= self._began_at + LEAST:
            self.tick()

    def told(self, names: Collection[str]) -> None:
        """The shop has told of changes of grants that are held under these names; of others a look-up may be under way."""
        self._told_at = time.monotonic()
        self._told.update(dict.fromkeys(names))
        self._hurry()

    def answered(self, name: str, asked_at: float) -> None:
        """Another answer about a grant has come, to a question of that time: it may be older than a notice."""
        if asked_at <= self._told_at:
            self._told[name] = None
            self._hurry()

    def _hurry(self) -> None:
        if self._asking or not self._told:
            return
        names = [name for name in islice(self._told, AT_ONCE) if name in self._held]
        if not names:
            self._told = dict(islice(self._told.items(), AT_ONCE, None))
            return self._hurry()
        if self._ask(names):
            self._told = dict(islice(self._told.items(), AT_ONCE, None))
            self.hurried += 1

    def _ask(self, names: Sequence[str]) -> bool:
        now = time.monotonic()

        def done(found: Sequence[GrantStatus] | None, error: GateError | None) -> None:
            self._asking = False
            try:
                if found is not None and error is None:
                    self._refreshed(names, found, now)
                else:
                    self._polled_at = float("-inf")  # in a second everything is asked for again
            finally:
                self._hurry()

        try:
            self._executor.submit(lambda: self._bridge.refresh(names), done)
        except GateError:
            return False  # the queue is full; in a second it is tried again
        self._asking = True
        return True
