"""A customer's turns on a loop whose clock the test winds, and what a grant in use remembers."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from ftpgate.delivery.doubt import QUIET

from ftpgate.delivery import accounts, alarm
from ftpgate.delivery.accounts import DOUBTS_EVERY, Customer, OpenGrant, Throttle
from ftpgate.delivery.pacing import SOONEST
from ftpgate.grants import Doubt, Grant, GrantState, GrantStatus, Item, Tier
from ftpgate.proof.coverage import Span
from ftpgate.sources import Resource
from ftpgate.tree import Leaf
from tests.unit.items import make_file, make_item


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
    monkeypatch.setattr(accounts, "time", clock)
    monkeypatch.setattr(alarm, "time", clock)
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
    customer = Customer("anna", tier(before), loop.call_later, Throttle(total, loop.call_later) if total else None)
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
    throttle = Throttle(10_000_000, loop.call_later)
    many, one, slow = (Customer(f"at {rate}", tier(rate), loop.call_later, throttle) for rate in (0, 0, 500_000))
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

    def credit(self, grant: str, file: int, start: int, end: int) -> None:
        self.credited.append((file, start, end))

    def hurry(self) -> None:
        self.hurried += 1


def open_grant(*items: Item, doubts: dict[str, list[Span]] | None = None) -> tuple[OpenGrant, Book]:
    status = GrantStatus("g", GrantState.OPEN, 1e12, None, "anna", tier(0), frozenset())
    customer, ledger = Customer("anna", status.tier, lambda _seconds, _call: None), Book()
    return OpenGrant(Grant(status, 0.0, items), customer, ledger, doubts or {}), ledger


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
    monkeypatch.setattr(accounts, "RANGES", 10)
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


def test_a_book_of_what_is_whole_is_closed_and_its_zones_are_taken_back() -> None:
    grant, _ = open_grant(ALBUM)
    track = resource(grant, "Album/1.ogg")
    run = grant.book(track).begin(0, 0.0)
    assert grant.book(track).cut(run, 1.0, (60_000, 100_000), 100_000) == []
    grant.credit(track, 0, 60_000)
    assert grant.doubts(10.0) == [Doubt("g", "f1", ((60_000, 100_000),))]
    again = grant.book(track).begin(70_000, 11.0)
    for start, end in grant.book(track).fin(again, 12.0):
        grant.credit(track, start, end)
    grant.quiet(12.0 + QUIET)
    assert grant.doubts(20.0) == [Doubt("g", "f1", ())], "it is not whole, so it stays open"
    grant.credit(track, 70_000, 100_000)
    running = grant.book(track).begin(0, 21.0)
    grant.quiet(22.0)
    assert not grant.book(track).idle(), "closed while somebody still fetches it"
    grant.book(track).fin(running, 31.0)
    grant.quiet(32.0)
    assert grant.doubts(40.0) == [Doubt("g", "f1", ())]
    assert grant.doubts(40.0 + DOUBTS_EVERY) == []


def test_what_is_fetched_once_more_leaves_no_book_behind() -> None:
    grant, _ = open_grant(ALBUM)
    archive = resource(grant, "Album.zip")
    grant.credit(archive, 0, archive.size)
    for path in ("Album.zip", "Album/1.ogg", "Album/3.ogg"):
        book = grant.book(resource(grant, path))
        book.fin(book.begin(0, 1.0), 2.0)
    assert len(grant.doubts(10.0)) == 3
    grant.quiet(11.0)
    assert [doubt.spans for doubt in grant.doubts(20.0)] == [(), (), ()]
    assert grant.doubts(30.0) == []
    assert grant.open_doubts() == {}


def test_zones_of_an_earlier_time_outlive_a_grant_that_is_not_touched() -> None:
    grant, _ = open_grant(ALBUM, doubts={"f1": [(10, 20)], "f3": [(5, 9)]})
    grant.book(resource(grant, "Album/1.ogg"))
    grant.quiet(100.0)
    assert grant.open_doubts() == {"f1": ((10, 20),), "f3": [(5, 9)]}
