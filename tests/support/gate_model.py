"""The gates of `delivery_model`: what each knows of the file, and what they tell each other through a shop's database.

A history with one gate needs no exchange. With two, the client's connections fall on either, and `EvidenceExchange` runs as it
does in a gate, over answers that take their time, fail, or come with a clock that is a little wrong.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

from ftpgate.access import exchange, open_grant
from ftpgate.access.exchange import EvidenceExchange
from ftpgate.access.open_grant import OpenGrant
from ftpgate.errors import Unavailable
from ftpgate.gates import Covered, GateNews, Heard, SegmentNews, Told
from ftpgate.grants import Bridge
from ftpgate.net import timer
from ftpgate.net.executor import Executor
from ftpgate.proof.coverage import SpanSet
from ftpgate.proof.segments import CLOCK_ERROR

FILE = 1


class Clock:
    """A history's time, and what is to happen at which."""

    def __init__(self, now: float) -> None:
        self.now = now
        self._calls: list[tuple[float, int, Callable[[], None]]] = []
        self._made = 0

    def call_later(self, seconds: float, call: Callable[[], None]) -> None:
        self._made += 1
        heapq.heappush(self._calls, (self.now + seconds, self._made, call))

    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        while self._calls and self._calls[0][0] <= end:
            due, _, call = heapq.heappop(self._calls)
            self.now = max(self.now, due)
            call()
        self.now = end

    @contextmanager
    def everywhere(self) -> Iterator[None]:
        """It is the clock of all that gates do meanwhile."""
        time = SimpleNamespace(monotonic=lambda: self.now)
        with (
            mock.patch.object(timer, "time", time),
            mock.patch.object(open_grant, "time", time),
            mock.patch.object(exchange, "time", time),
        ):
            yield


class Shop:
    """What `webportal.gateway.exchange` does, for one grant, by a clock that is off by less than half of CLOCK_ERROR."""

    def __init__(self, clock: Clock, rng: random.Random, coverage: SpanSet) -> None:
        self._clock = clock
        self._rng = rng
        self._coverage = coverage
        self._numbers: dict[str, tuple[int, float]] = {}
        self._holds: set[str] = set()
        self._rows: dict[tuple[str, str], tuple[int, SegmentNews, float]] = {}
        self.running: set[str] = set()

    def exchange(self, told: Told) -> Heard:
        others = self.running - {told.gate}
        now = self._clock.now + self._rng.uniform(-CLOCK_ERROR / 2, 0.0)
        taken_at = now - (self._clock.now - told.taken_at)
        last, _ = self._numbers.get(told.gate, (None, 0.0))
        self._numbers[told.gate] = told.number, taken_at
        if told.holds:
            self._holds.add(told.gate)
        if told.releases:
            self._holds.discard(told.gate)
        for news in told.segments:
            self._rows[told.gate, news.evidence.id] = told.number, news, taken_at
        for id in told.settled:
            self._rows.pop((told.gate, id), None)
        shared = frozenset(others & self._holds) if told.gate in self._holds else frozenset()
        gates = {gate: self._news(gate, told, now) for gate in shared}
        known = sum(told.delivered.get("g", {}).values())
        covered = [Covered("g", FILE, tuple(self._coverage))] if told.delivered and self._coverage.size > known else []
        return Heard(len(others), self._clock.now, last != told.number - 1, {"g": shared} if shared else {}, gates, covered)

    def _news(self, gate: str, told: Told, now: float) -> GateNews:
        number, taken_at = self._numbers[gate]
        after = 0 if "g" in told.anew else told.heard.get(gate, 0)
        found = [_later(row, now - at) for (of, _), (n, row, at) in self._rows.items() if of == gate and n > after]
        return GateNews(number, now - taken_at, found)

    def end(self, gate: str) -> None:
        """It is known to have ended."""
        self.running.discard(gate)
        self._holds.discard(gate)
        self._rows = {key: row for key, row in self._rows.items() if key[0] != gate}


def _later(news: SegmentNews, seconds: float) -> SegmentNews:
    began, moved = (None if ago is None else max(ago + seconds, 0.0) for ago in (news.began, news.moved))
    return replace(news, began=began, moved=moved)


class Thread:
    """An executor whose answers take their time, and fail at times."""

    def __init__(self, clock: Clock, rng: random.Random) -> None:
        self._clock = clock
        self._rng = rng
        self.ended = False
        self.failing = True

    def submit(self, work: Callable[[], Any], done: Callable[[Any, Any], None]) -> None:
        fails = self._rng.random() if self.failing else 1.0
        delay = self._rng.random() * (0.1 if self._rng.random() < 0.9 else 2.0)

        def run() -> None:
            if self.ended:
                return
            if fails < 0.02:
                return done(None, Unavailable())
            found = work()
            answer = (None, Unavailable()) if fails < 0.04 else (found, None)
            self._clock.call_later(self._rng.random() * 0.1, lambda: None if self.ended else done(*answer))

        self._clock.call_later(delay, run)


class Gate:
    """One gate that runs. `exchange` is None in a history with one gate."""

    def __init__(self, id: str, grant: OpenGrant, table: Any) -> None:
        self.id = id
        self.grant = grant
        self.table = table
        self._thread: Thread | None = None
        self.exchange: EvidenceExchange | None = None

    def join(self, shop: Shop, clock: Clock, rng: random.Random) -> None:
        """It finds that others run."""
        shop.running.add(self.id)
        self._thread = Thread(clock, rng)
        self.exchange = EvidenceExchange(
            cast(Bridge, shop), self.id, cast(Executor, self._thread), clock.call_later, cast(Any, self)
        )

    def grants(self) -> Sequence[OpenGrant]:
        return (self.grant,)

    def on_open(self, opened: Callable[[OpenGrant], None]) -> None:
        """Its grant is open."""

    def renew(self, name: str) -> None:
        """What a gate has left is recovered by the one that takes its place."""

    def succeed(self) -> None:
        """From now on the database answers."""
        if self._thread is not None:
            self._thread.failing = False

    def end(self) -> None:
        if self._thread is not None:
            self._thread.ended = True
