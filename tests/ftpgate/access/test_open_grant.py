"""A customer's turns on a loop whose clock the test winds, and what a grant in use remembers."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace

import pytest

from ftpgate.access.open_grant import OpenGrant, describe
from ftpgate.grants import Grant, GrantState, GrantStatus, Item, Tier
from ftpgate.net import timer
from ftpgate.proof.coverage import SpanSet
from ftpgate.proof.rules import LATER
from ftpgate.proof.segments import Evidence, Segment
from ftpgate.shaping import customer
from ftpgate.shaping.customer import Customer, GlobalLimiter
from ftpgate.shaping.token_bucket import SOONEST
from ftpgate.sources import Resource
from ftpgate.tree import Leaf
from tests.ftpgate.items import make_file, make_item


class Loop:
    """Calls in the order of their times; `now` stands still while one runs."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self._calls: list[tuple[float, int, Callable[[], None]]] = []
        self._made = 0

    def call_later(self, seconds: float, call: Callable[[], None]) -> None:
        self._made += 1
        heapq.heappush(self._calls, (self.now + seconds, self._made, call))

    def run(self, seconds: float) -> int:
        """Returns how many calls were made."""
        end, count = self.now + seconds, 0
        while self._calls and self._calls[0][0] <= end:
            self.now, _, call = heapq.heappop(self._calls)
            call()
            count += 1
        self.now = end
        return count


class Connection:
    """Takes all that it is given."""

    ready = True

    def __init__(self, customer: Customer) -> None:
        self.customer = customer
        self.got = 0

    def send(self, budget: int) -> int:
        self.got += budget
        return budget

    def pace_changed(self) -> None:
        if self.customer.paced:
            self.customer.queue(self)


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Loop:
    made = Loop()
    clock = SimpleNamespace(monotonic=lambda: made.now)
    monkeypatch.setattr(customer, "time", clock)
    monkeypatch.setattr(timer, "time", clock)
    return made


def downloading(customer: Customer, count: int = 1) -> list[Connection]:
    connections = [Connection(customer) for _ in range(count)]
    for connection in connections:
        customer.transfers.add(connection)  # type: ignore[arg-type]
        connection.pace_changed()
    return connections


def tier(rate: int) -> Tier:
    return Tier("t", rate, 64)


@pytest.mark.parametrize("total", [0, 5_000_000])
@pytest.mark.parametrize("before", [0, 1, 100, 1_000_000])
@pytest.mark.parametrize("after", [10_000, 2_000_000])
def test_another_tier_is_felt_within_a_second(loop: Loop, total: int, before: int, after: int) -> None:
    customer = Customer("anna", tier(before), loop.call_later, GlobalLimiter(total, loop.call_later) if total else None)
    (connection,) = downloading(customer)
    loop.run(100.0)
    customer.change(tier(after))
    had = connection.got
    loop.run(1.0)
    assert 0.7 * after <= connection.got - had <= 1.3 * after
    calls = loop.run(10.0)
    assert abs(connection.got - had - 11 * after) <= 0.05 * 11 * after + 1_460
    assert calls <= 2 * 10 / SOONEST + 10, "the alarms of the old rate go on ringing"


def test_a_tier_without_a_rate_lets_the_connections_go(loop: Loop) -> None:
    customer = Customer("anna", tier(1_000), loop.call_later)
    (connection,) = downloading(customer)
    customer.change(tier(0))
    loop.run(10.0)
    assert connection.got == 0  # nobody gives turns any more: the poll does
    assert loop.run(10.0) == 0


def test_the_limit_of_the_gate_is_shared_between_customers_first(loop: Loop) -> None:
    limiter = GlobalLimiter(10_000_000, loop.call_later)
    many, one, slow = (Customer(f"at {rate}", tier(rate), loop.call_later, limiter) for rate in (0, 0, 500_000))
    got = [downloading(many, 40), downloading(one, 1), downloading(slow, 7)]
    loop.run(10.0)
    of_many, of_one, of_slow = (sum(connection.got for connection in connections) for connections in got)
    assert abs(of_many - of_one) <= 0.03 * of_one
    assert abs(of_slow - 5_000_000) <= 0.02 * 5_000_000
    assert abs(of_many + of_one + of_slow - 100_000_000) <= 1_000_000
    assert max(c.got for c in got[0]) - min(c.got for c in got[0]) <= 131_072


# ---- a grant in use

ALBUM = make_item("a", "Album", [make_file(1, "1.ogg", 100_000), make_file(2, "empty", 0), make_file(3, "3.ogg", 50_000)])


class Book:
    """A ledger that only remembers what it was told."""

    def __init__(self) -> None:
        self.credited: list[tuple[int, int, int]] = []
        self.hurried = 0
        self.left: dict[str, Evidence] = {}
        """Segments without proof, by id."""
        self.settled_ones: list[str] = []

    def credit(self, grant: str, file: int, start: int, end: int) -> None:
        self.credited.append((file, start, end))

    def flush_soon(self) -> None:
        self.hurried += 1

    def segment(self, evidence: Evidence) -> None:
        self.left[evidence.id] = evidence

    def settled(self, segment: str) -> None:
        self.left.pop(segment, None)
        self.settled_ones.append(segment)


def open_grant(*items: Item, left: Sequence[Evidence] = ()) -> tuple[OpenGrant, Book]:
    status = GrantStatus("g", GrantState.OPEN, 1e12, None, "anna", tier(0), frozenset())
    customer, ledger = Customer("anna", status.tier, lambda _seconds, _call: None), Book()
    return OpenGrant(Grant(status, 0.0, items, {}, left), customer, ledger), ledger  # type: ignore[arg-type]


def resource(grant: OpenGrant, path: str) -> Resource:
    leaf = grant.tree.find(path)
    assert isinstance(leaf, Leaf)
    return leaf.resource


def test_an_item_is_whole_by_its_zip_and_its_tracks_together() -> None:
    grant, ledger = open_grant(ALBUM)
    archive, last = resource(grant, "Album.zip"), resource(grant, "Album/3.ogg")
    grant.credit(last, 10, 50_000)
    grant.credit(archive, 0, 100_060)  # the whole first track, nothing of the last
    assert not grant.is_whole(ALBUM)
    assert ledger.hurried == 0
    grant.credit(last, 0, 10)
    assert grant.is_whole(ALBUM)
    assert ledger.hurried == 1
    assert grant.delivered(ALBUM) == 150_000
    told = len(ledger.credited)
    grant.credit(archive, 0, archive.size)
    assert (len(ledger.credited), ledger.hurried) == (told, 1)


def test_ranges_without_end_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not kept is not told to the shop either: it may be fetched again, and is credited as soon as it touches."""
    monkeypatch.setattr("ftpgate.access.open_grant.RANGES", 10)
    grant, ledger = open_grant(ALBUM)
    track = resource(grant, "Album/1.ogg")
    for start in range(0, 40_000, 2_000):
        grant.credit(track, start, start + 1_000)
    assert list(grant.coverage[1]) == [(start, start + 1_000) for start in range(0, 20_000, 2_000)]
    assert [(start, end) for _, start, end in ledger.credited] == list(grant.coverage[1])
    grant.merge(1, tuple((start, start + 1) for start in range(50_000, 50_040, 2)))
    assert len(grant.coverage[1]) == 30
    grant.credit(track, 20_000, 21_000)
    assert not grant.coverage[1].covers(20_000, 20_001)
    grant.credit(track, 19_000, 20_001)
    assert list(grant.coverage[1])[9] == (18_000, 20_001)
    grant.credit(track, 0, 100_000)
    grant.credit(resource(grant, "Album/3.ogg"), 0, 50_000)
    assert grant.is_whole(ALBUM)


def cut(grant: OpenGrant, path: str, id: str, start: int, credited: int, shown: int, sent: int, now: float) -> Segment:
    """A segment of a paced customer that has ended without proof."""
    track = resource(grant, path)
    segment = grant.reconciler(track).begin(id, start, track.size, now)
    grant.credit(track, start, credited)
    segment.credited, segment.acknowledged, segment.shown, segment.sent = credited, sent, shown, sent
    segment.ended, segment.moved = True, now + 1
    grant.observe(track, segment)
    grant.unproven(track, segment)
    return segment


def read(grant: OpenGrant, path: str, id: str, start: int, now: float) -> Segment:
    """A segment that is read to the end of its file."""
    track = resource(grant, path)
    segment = grant.reconciler(track).begin(id, start, track.size, now)
    grant.credit(track, start, track.size)
    segment.credited = segment.acknowledged = segment.shown = segment.sent = track.size
    segment.ended = segment.orderly = True
    segment.moved = now + 1
    grant.observe(track, segment)
    return segment


def evidence(id: str, key: str, *, start: int = 0, credited: int, sent: int) -> Evidence:
    return Evidence(id, "g", key, start, 100_000, sent, sent, sent, 0, credited, True)


def test_what_was_sent_without_proof_is_unconfirmed_until_another_segment_proves_it() -> None:
    grant, ledger = open_grant(ALBUM)
    cut(grant, "Album/1.ogg", "g-1", 0, 20_000, 60_000, 90_000, 0.0)
    assert grant.unconfirmed() == {1: SpanSet([(20_000, 90_000)])}
    assert ledger.left["g-1"].unconfirmed == {1: [(20_000, 90_000)]}
    read(grant, "Album/1.ogg", "g-2", 70_000, 2.0)
    assert ledger.credited == [(1, 0, 20_000), (1, 70_000, 100_000), (1, 20_000, 70_000)]
    assert grant.unconfirmed() == {}
    assert list(ledger.left) == ["g-1"], "the ledger hears of it at the next round"
    grant.settle()
    assert (ledger.left, ledger.settled_ones) == ({}, ["g-1"])


def test_a_segment_that_is_settled_is_told_once_and_only_if_it_was_known() -> None:
    grant, ledger = open_grant(ALBUM)
    cut(grant, "Album/1.ogg", "g-1", 0, 0, 50_000, 60_000, 0.0)
    read(grant, "Album/1.ogg", "g-2", 0, 2.0)
    grant.settle()
    grant.settle()
    assert ledger.settled_ones == ["g-1"]


def test_nothing_is_settled_while_a_segment_of_the_file_runs() -> None:
    """It may begin within what is unconfirmed, or prove by going on."""
    grant, ledger = open_grant(ALBUM)
    track = resource(grant, "Album/1.ogg")
    running = grant.reconciler(track).begin("g-1", 0, track.size, 0.0)
    read(grant, "Album/1.ogg", "g-2", 0, 2.0)
    grant.settle()
    assert grant.reconciler(track).idle is False
    running.ended = True
    grant.observe(track, running)
    grant.settle()
    assert grant.reconciler(track).idle
    assert ledger.settled_ones == []


def test_what_is_fetched_once_more_leaves_nothing_behind() -> None:
    grant, ledger = open_grant(ALBUM)
    archive = resource(grant, "Album.zip")
    grant.credit(archive, 0, archive.size)
    for number, path in enumerate(("Album.zip", "Album/1.ogg", "Album/3.ogg")):
        read(grant, path, f"g-{number}", 0, 1.0)
    grant.settle()
    assert grant.unconfirmed() == {}
    assert (ledger.left, ledger.settled_ones) == ({}, [])
    assert not grant._followed


def test_the_tracks_settle_what_is_unconfirmed_of_the_zip() -> None:
    grant, ledger = open_grant(ALBUM)
    archive = resource(grant, "Album.zip")
    cut(grant, "Album.zip", "g-1", 0, 30_000, 60_000, archive.size, 0.0)
    assert set(grant.unconfirmed()) == {1, 3}
    read(grant, "Album/1.ogg", "g-2", 0, 2.0)
    assert set(grant.unconfirmed()) == {3}
    read(grant, "Album/3.ogg", "g-3", 0, 4.0)
    assert grant.unconfirmed() == {}
    grant.settle()
    assert ledger.settled_ones == ["g-1"]


def test_what_an_earlier_time_left_of_other_files_outlives_a_grant_that_is_not_touched() -> None:
    known = (evidence("old-1", "f1", credited=10, sent=20), evidence("old-2", "f3", credited=5, sent=9))
    described = []
    for one, file in zip(known, (1, 3), strict=True):
        described.append(replace(one, unconfirmed={file: [(one.credited, one.sent)]}))
    grant, ledger = open_grant(ALBUM, left=described)
    assert (resource(grant, "Album/1.ogg").key, resource(grant, "Album/3.ogg").key) == ("f1", "f3")
    grant.reconciler(resource(grant, "Album/1.ogg"))
    grant.settle()
    assert grant.unconfirmed() == {1: SpanSet([(10, 20)]), 3: SpanSet([(5, 9)])}
    assert ledger.settled_ones == []


def test_what_an_ended_gate_left_is_taken_on_once() -> None:
    grant, ledger = open_grant(ALBUM)
    left = [evidence("old-1", "f1", start=100, credited=30_000, sent=60_000), evidence("old-2", "f1", credited=100, sent=100)]
    for _ in range(2):
        grant.inherit({3: [(0, 500)]}, [*left, evidence("old-3", "no such file", credited=0, sent=9)])
    assert list(grant.coverage[3]) == [(0, 500)]
    assert list(grant.coverage[1]) == [(0, 30_000)], "what had been credited of them"
    assert grant.unconfirmed() == {1: SpanSet([(30_000, 60_000)])}
    assert list(ledger.left) == ["old-1"]
    assert set(ledger.settled_ones) == {"old-2", "old-3"}
    read(grant, "Album/1.ogg", "g-1", 60_000, 2.0)
    assert grant.is_whole(ALBUM) is False
    assert grant.coverage[1].covers(0, 100_000)


def test_what_an_ended_gate_left_joins_the_segments_that_run() -> None:
    """It becomes known only after its client has come back."""
    grant, _ = open_grant(ALBUM)
    track = resource(grant, "Album/1.ogg")
    running = grant.reconciler(track).begin("g-1", 30_000, track.size, 0.0)
    grant.inherit({}, [evidence("old-1", "f1", credited=10_000, sent=30_000)])
    assert grant.unconfirmed() == {1: SpanSet([(10_000, 30_000)])}
    running.acknowledged = running.shown = running.sent = track.size
    running.moved = time.monotonic()
    grant.observe(track, running)
    assert not grant.coverage[1].covers(0, 30_000), "it may have begun before the gate ended, and its client have ended with it"
    running.moved += LATER + 0.001
    grant.observe(track, running)
    assert grant.coverage[1].covers(0, 30_000)


def test_evidence_tells_all_that_a_segment_knows() -> None:
    grant, _ = open_grant(ALBUM)
    segment = cut(grant, "Album/1.ogg", "g-1", 10, 20_000, 60_000, 90_000, 0.0)
    segment.exact, segment.paced, segment.hidden_bytes = True, False, 7
    again = Segment.left(describe("g", resource(grant, "Album/1.ogg"), segment))
    kept = ("id", "start", "end", "sent", "acknowledged", "shown", "hidden_bytes", "credited", "paced", "exact", "unconfirmed")
    for name in kept:
        assert getattr(again, name) == getattr(segment, name), name
