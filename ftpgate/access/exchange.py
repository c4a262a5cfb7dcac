"""What this gate and the others tell each other of the grants that several of them serve.

A transfer stops where one of another gate has begun, and a cut segment is proven by one that began elsewhere, as at one gate.
What is learned too late is unconfirmed, never wrong: while a grant is shared, nothing is proven by another segment before every
gate that serves it has told what it had begun by then. While the database is away, that waits.

A gate alone asks every ALONE seconds whether it still is, and tells nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from math import inf
from typing import Protocol

from ftpgate.access.open_grant import OpenGrant, describe
from ftpgate.errors import GateError
from ftpgate.gates import Heard, SegmentNews, Told
from ftpgate.grants import Bridge
from ftpgate.net.executor import Executor
from ftpgate.net.timer import Alarm, CallLater
from ftpgate.proof.segments import CLOCK_ERROR, Segment
from ftpgate.sources import Resource

EVERY = 0.25
"""Seconds between two exchanges while other gates run: a start at one is known to all within twice that."""
SOON = 0.02
"""Seconds until the next one when a segment of a shared grant has begun."""
OPENED = 0.1
"""The same when a grant was opened, which others may serve: thousands may be, a second."""
ALONE = 3.0
"""Seconds between two exchanges of a gate that runs alone."""
COVERAGE_EVERY = 1.0
"""Seconds after which the recorded coverage of shared grants is asked for again."""
RETRY = 1.0
"""Seconds until the next exchange when one has failed."""
HOLDS = 1_000
"""Grants told of in one exchange at the most; the rest goes with the next one."""
NEWS = 4_000
"""Segments, the same."""
KEPT = 30.0
"""Seconds for which others are still told of a segment that says nothing any more: one that hears later than that starts anew."""
KNOWN_AFTER = 3
"""Exchanges of another gate after which it tells of a grant that both serve: one that may have been under way when this became
known, one that hears of it, and one that tells."""


class Grants(Protocol):
    """Who holds the open grants: `GrantCache`."""

    def grants(self) -> Sequence[OpenGrant]: ...

    def on_open(self, opened: Callable[[OpenGrant], None]) -> None:
        """Tell of grants as they are opened."""
        ...

    def renew(self, name: str) -> None:
        """Another gate serves it no longer: look up what it has left."""
        ...


class EvidenceExchange:
    """Of one gate.

    Args:
        bridge: the shop; only `exchange` is called, off the loop.
        gate: this gate's id.
        executor: a thread.
        call_later: the loop's.
        grants: those of which is told.
    """

    def __init__(self, bridge: Bridge, gate: str, executor: Executor, call_later: CallLater, grants: Grants) -> None:
        self._bridge = bridge
        self._gate = gate
        self._executor = executor
        self._grants = grants
        self._alarm = Alarm(call_later, self._turn)
        self._asking = self._again = False
        self._number = 0
        self._held: dict[str, bool] = {}
        """The grants that the others know this gate to hold; True once a second exchange has told it."""
        self._shared: dict[str, dict[str, int]] = {}
        """By grant, the gates that serve it too, with the number of the exchange from which on each one tells of it."""
        self._anew: set[str] = set()
        self._told: dict[str, _TellOf] = {}
        self._heard: dict[str, int] = {}
        self._covered_at = self._heard_at = 0.0
        self.others = 0
        """How many other gates run, as far as is known."""
        self.failing = False
        """Has the last exchange failed?"""
        grants.on_open(self._opened)
        self._alarm.within(EVERY)

    @property
    def shared(self) -> int:
        """Grants that other gates serve as well."""
        return len(self._shared)

    def soon(self) -> None:
        """Something has happened here that others should know, or there that this gate should know."""
        if self._asking:
            self._again = True
        elif self.others:
            self._alarm.within(SOON)

    def _opened(self, grant: OpenGrant) -> None:
        """It is not known yet whether others serve it."""
        if self.others:
            grant.hear((), 0.0, -inf)
            self._alarm.within(OPENED)

    def _turn(self) -> None:
        if self._asking:
            self._again = True
            return
        self._asking, self._again = True, False
        now = time.monotonic()
        told = self._put_together(now)
        try:
            self._executor.submit(lambda: self._bridge.exchange(told), lambda heard, error: self._answered(told, heard, error))
        except GateError as error:
            self._answered(told, None, error)

    def _put_together(self, now: float) -> Told:
        self._number += 1
        told = Told(self._gate, self._number, now)
        if not self.others:
            return told
        open_grants = self._open_grants()
        segments, settled, begun = self._news(open_grants, now)
        asks = now - self._covered_at >= COVERAGE_EVERY
        return replace(
            told,
            holds=tuple(islice((name for name in open_grants if not self._held.get(name)), HOLDS)),
            releases=tuple(islice((name for name in self._held if name not in open_grants), HOLDS)),
            segments=segments,
            begun=begun,
            settled=settled,
            heard=dict(self._heard),
            anew=tuple(self._anew),
            delivered={
                name: {file: spans.size for file, spans in open_grants[name].coverage.items()}
                for name in (self._shared if asks else ())
                if name in open_grants
            },
        )

    def _open_grants(self) -> Mapping[str, OpenGrant]:
        return {grant.id: grant for grant in self._grants.grants()}

    def _news(
        self, open_grants: Mapping[str, OpenGrant], now: float
    ) -> tuple[Sequence[SegmentNews], Sequence[str], frozenset[str]]:
        for name in self._shared.keys() & open_grants.keys():
            for resource, segment in open_grants[name].own_segments():
                known = self._told.get(segment.id)
                if known is None:
                    known = self._told[segment.id] = _TellOf(name, resource)
                known.segment, known.seen_at = segment, now
        first = {known.grant for known in self._told.values() if not known.said}
        more = tuple(islice((known.news(now) for known in self._told.values() if known.says_more()), NEWS))
        gone = (id for id, known in self._told.items() if now - known.seen_at > KEPT)
        return more, tuple(islice(gone, NEWS)), frozenset(first)

    def _answered(self, told: Told, heard: Heard | None, error: GateError | None) -> None:
        self._asking = False
        if error is not None:
            self.failing = True  # what the shop has not got shows in its next answer, by the numbers
            return self._alarm.within(RETRY)
        if heard is None:
            return
        self.failing = False
        now = time.monotonic()
        open_grants = self._open_grants()
        if heard.forgotten or not heard.others or now - self._heard_at > KEPT:
            self._start_anew(open_grants)
        else:
            self._settled(told)
        self.others = heard.others
        self._heard_at = now
        self._hear(open_grants, told, heard)
        behind = len(told.holds) == HOLDS or len(told.segments) == NEWS
        news = bool(self._anew) or self._again
        self._alarm.within(ALONE if not heard.others else 0.0 if behind else SOON if news else EVERY)

    def _start_anew(self, open_grants: Mapping[str, OpenGrant]) -> None:
        """Others may have missed what this gate has told, or this gate what they have."""
        self._share(open_grants, {})
        self._held.clear()
        self._told.clear()
        self._heard.clear()
        self._anew.clear()

    def _settled(self, told: Told) -> None:
        """The shop has it."""
        for name in told.holds:
            self._held[name] = name in self._held
        for name in told.releases:
            self._held.pop(name, None)
        for id in told.settled:
            self._told.pop(id, None)
        self._anew.difference_update(told.anew)
        if told.delivered:
            self._covered_at = told.taken_at

    def _hear(self, open_grants: Mapping[str, OpenGrant], told: Told, heard: Heard) -> None:
        news_of: dict[str, list[tuple[str, SegmentNews]]] = {}
        for gate, told_by in heard.gates.items():
            self._heard[gate] = told_by.number
            for news in told_by.segments:
                news_of.setdefault(news.evidence.grant, []).append((gate, news))
        self._share(open_grants, heard.shared)
        until = {gate: heard.at - news.age - CLOCK_ERROR for gate, news in heard.gates.items()}
        for name, gates in self._shared.items():
            known = name not in self._anew and all(self._heard.get(gate, 0) >= number for gate, number in gates.items())
            if (grant := open_grants.get(name)) is not None:
                grant.hear(news_of.get(name, ()), heard.at, min(map(until.__getitem__, gates)) if known else -inf)
        for name in told.holds:
            if name not in self._shared and (grant := open_grants.get(name)) is not None:
                grant.hear((), 0.0, inf)
        for covered in heard.covered:
            if (grant := open_grants.get(covered.grant)) is not None:
                grant.merge(covered.file, tuple(covered.spans))

    def _share(self, open_grants: Mapping[str, OpenGrant], shared: Mapping[str, frozenset[str]]) -> None:
        """These grants are shared now, and with these gates."""
        before, self._shared = self._shared, {}
        for name, gates in shared.items():
            known = before.get(name, {})
            self._shared[name] = {gate: known.get(gate) or self._heard.get(gate, 0) + KNOWN_AFTER for gate in gates}
            if gates - known.keys():
                self._anew.add(name)
                if (grant := open_grants.get(name)) is not None:
                    grant.begun = self.soon
        for name, gone in before.items():
            left = gone.keys() - self._shared.get(name, {}).keys()
            if left and (grant := open_grants.get(name)) is not None:
                for gate in left:
                    grant.drop(gate)
                if name not in self._shared:
                    grant.begun = None
                    grant.hear((), 0.0, inf)
                self._grants.renew(name)


class _TellOf:
    """What others have been told of one segment; kept for its last news when nobody else does any more."""

    __slots__ = ("_resource", "grant", "said", "seen_at", "segment")
    segment: Segment

    def __init__(self, grant: str, resource: Resource) -> None:
        self.grant = grant
        self._resource = resource
        self.said: tuple[object, ...] = ()
        self.seen_at = 0.0
        """When it was last among those of its grant."""

    def says_more(self) -> bool:
        segment = self.segment
        says = segment.end, segment.line, segment.sent, segment.acknowledged, segment.shown, segment.credited, segment.ended
        if says == self.said:
            return False
        self.said = says
        return True

    def news(self, now: float) -> SegmentNews:
        segment = self.segment
        evidence = replace(describe(self.grant, self._resource, segment), unconfirmed={})
        began, moved = (None, None) if segment.order == 0 else (now - segment.began, now - segment.over)
        return SegmentNews(evidence, segment.line, segment.ended, segment.orderly, began, moved)
