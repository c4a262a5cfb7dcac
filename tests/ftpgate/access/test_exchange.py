"""What gates tell each other, over a shop whose answers get lost. `delivery_model` plays whole histories with two gates."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from math import inf
from typing import Any, cast

import pytest

from ftpgate.access.exchange import ALONE, EVERY, HOLDS, KEPT, KNOWN_AFTER, OPENED, RETRY, SOON, EvidenceExchange
from ftpgate.access.ledger import Ledger
from ftpgate.access.open_grant import OpenGrant
from ftpgate.errors import Unavailable
from ftpgate.gates import Heard, Told
from ftpgate.grants import Grant, GrantState, GrantStatus, Tier
from ftpgate.proof.coverage import SpanSet
from ftpgate.proof.segments import CLOCK_ERROR, Segment
from ftpgate.shaping.customer import Customer
from ftpgate.sources import Resource
from ftpgate.tree import Leaf
from tests.ftpgate.items import make_file, make_item
from tests.support.gate_model import Clock, Shop

ALBUM = make_item("i", "Album", [make_file(1, "1.ogg", 10_000_000, data=b"")])


class Book:
    """A ledger of what one gate credits."""

    def __init__(self) -> None:
        self.credited: list[tuple[int, int]] = []

    def credit(self, grant: str, file: int, start: int, end: int) -> None:
        self.credited.append((start, end))

    def segment(self, evidence: object) -> None: ...

    def settled(self, segment: str) -> None: ...

    def flush_soon(self) -> None: ...


class Gate:
    """One that holds grants; what it asks the shop is answered at once, unless `lost` or `away`."""

    def __init__(self, id: str, shop: Shop, clock: Clock) -> None:
        self.id = id
        self.told: list[Told] = []
        self.lost = self.away = False
        self.late = 0.0
        """Seconds that an answer takes."""
        self.renewed: list[str] = []
        self.book = Book()
        self.open: dict[str, OpenGrant] = {}
        self._shop = shop
        self._clock = clock
        shop.running.add(id)
        self.exchange = EvidenceExchange(cast(Any, self), id, cast(Any, self), clock.call_later, self)

    def hold(self, name: str = "g") -> OpenGrant:
        status = GrantStatus(name, GrantState.OPEN, 1e12, None, "anna", Tier("t", 0, 64), frozenset())
        customer = Customer("anna", status.tier, lambda _seconds, _call: None)
        self.open[name] = OpenGrant(Grant(status, 0.0, (ALBUM,)), customer, cast(Ledger, self.book))
        self.opened(self.open[name])
        return self.open[name]

    def submit(self, work: Callable[[], Heard], done: Callable[[Heard | None, Unavailable | None], None]) -> None:
        heard = None if self.away else work()
        answer = (None, Unavailable()) if self.away or self.lost else (heard, None)
        if self.late:
            return self._clock.call_later(self.late, lambda: done(*answer))
        done(*answer)

    def bridge_exchange(self, told: Told) -> Heard:
        self.told.append(told)
        return self._shop.exchange(told)

    def grants(self) -> Sequence[OpenGrant]:
        return tuple(self.open.values())

    def on_open(self, opened: Callable[[OpenGrant], None]) -> None:
        self.opened = opened

    def renew(self, name: str) -> None:
        self.renewed.append(name)


class Case:
    def __init__(self) -> None:
        self.clock = Clock(1_000.0)
        self.coverage = SpanSet()
        self.shop = Shop(self.clock, random.Random(1), self.coverage)

    def gate(self, id: str) -> Gate:
        gate = Gate(id, self.shop, self.clock)
        gate.exchange._bridge = cast(Any, _Bridge(gate))
        return gate


class _Bridge:
    def __init__(self, gate: Gate) -> None:
        self.exchange = gate.bridge_exchange


@pytest.fixture
def case() -> Iterator[Case]:
    made = Case()
    with made.clock.everywhere():
        yield made


def track(grant: OpenGrant) -> Resource:
    leaf = grant.tree.find("Album/1.ogg")
    assert isinstance(leaf, Leaf)
    return leaf.resource


def begin(grant: OpenGrant, id: str, start: int, now: float) -> Segment:
    return grant.begin(track(grant), id, start, track(grant).size, now)


def test_a_gate_alone_tells_nothing_and_asks_seldom(case: Case) -> None:
    one = case.gate("one")
    one.hold()
    case.clock.pass_time(10 * ALONE)
    assert 9 <= len(one.told) <= 11
    assert all(not told.holds for told in one.told)
    assert one.exchange.others == 0


def test_two_gates_that_hold_a_grant_know_each_others_segments(case: Case) -> None:
    one, two = case.gate("one"), case.gate("two")
    first = begin(one.hold(), "one-1", 0, case.clock.now)
    case.clock.pass_time(ALONE)
    far = begin(two.hold(), "two-1", 5_000_000, case.clock.now)
    assert first.line == first.end
    case.clock.pass_time((KNOWN_AFTER + 2) * EVERY)
    assert first.line == far.start
    assert one.exchange.shared == two.exchange.shared == 1


def test_nothing_is_proven_before_the_other_gate_tells_of_the_grant(case: Case) -> None:
    one, two = case.gate("one"), case.gate("two")
    grant = one.hold()
    case.clock.pass_time(ALONE)
    assert grant.known_until == inf
    two.hold()
    seen, told = [], []
    for _ in range(40):
        case.clock.pass_time(EVERY / 4)
        seen.append(grant.known_until)
        told.append(len(two.told))
    waited = seen.index(-inf)
    assert seen[:waited] == [inf] * waited
    first = next(number for number, until in enumerate(seen) if until not in (inf, -inf))
    assert set(seen[waited:first]) == {-inf}
    assert told[first] - told[waited] >= KNOWN_AFTER
    assert 0.0 < case.clock.now - grant.known_until < 1.0


def test_a_segment_that_begins_is_told_at_once(case: Case) -> None:
    one, two = case.gate("one"), case.gate("two")
    ours = one.hold()
    two.hold()
    case.clock.pass_time(3 * ALONE)
    before = len(one.told)
    for number in range(20):
        begin(ours, f"one-{number}", number * 1_000, case.clock.now)
    case.clock.pass_time(2 * SOON)
    assert len(one.told) == before + 1, "all with one exchange"
    assert (one.told[-1].begun, len(one.told[-1].segments)) == (frozenset({"g"}), 20)
    one.exchange.soon()
    case.clock.pass_time(2 * SOON)
    assert (one.told[-1].begun, one.told[-1].segments) == (frozenset(), ())


def test_nothing_is_known_of_a_grant_until_others_were_asked(case: Case) -> None:
    one, _ = case.gate("one"), case.gate("two")
    case.clock.pass_time(2 * ALONE)
    before = len(one.told)
    opened = one.hold()
    assert opened.known_until == -inf
    case.clock.pass_time(2 * OPENED)
    assert (opened.known_until, one.told[-1].holds) == (inf, ("g",))
    assert len(one.told) <= before + 2
    begin(opened, "one-1", 0, case.clock.now)
    case.clock.pass_time(2 * SOON)
    assert len(one.told) <= before + 2, "nobody else serves it"


def test_what_is_asked_for_while_an_exchange_is_under_way_follows_it(case: Case) -> None:
    one, two = case.gate("one"), case.gate("two")
    ours = one.hold()
    two.hold()
    case.clock.pass_time(3 * ALONE)
    one.late = EVERY / 2
    begin(ours, "one-1", 9, case.clock.now)
    case.clock.pass_time(2 * SOON)
    begin(ours, "one-2", 0, case.clock.now)
    one.late = 0.0
    case.clock.pass_time(EVERY / 2 + SOON)
    assert [news.evidence.id for news in one.told[-1].segments] == ["one-2"]


def test_the_end_of_a_segment_is_told_though_it_is_settled_before_the_next_exchange(case: Case) -> None:
    one, two = case.gate("one"), case.gate("two")
    ours, theirs = one.hold(), two.hold()
    segment = begin(ours, "one-1", 0, case.clock.now)
    case.clock.pass_time(3 * ALONE)
    (seen,) = theirs.reconciler(track(theirs))._segments
    assert not seen.ended
    segment.credited = segment.sent = segment.acknowledged = segment.shown = segment.end
    segment.ended = segment.orderly = True
    ours.credit(track(ours), 0, segment.end)
    ours.observe(track(ours), segment)
    ours.settle()
    case.clock.pass_time(2 * EVERY)
    assert (seen.ended, seen.orderly, seen.credited) == (True, True, segment.end)


def test_what_an_answer_tells_counts_from_when_it_was_read(case: Case) -> None:
    """It may come late."""
    one, two = case.gate("one"), case.gate("two")
    ours, theirs = one.hold(), two.hold()
    case.clock.pass_time(3 * ALONE)
    begun = case.clock.now
    begin(theirs, "two-1", 5_000_000, begun)
    one.late = 10.0
    case.clock.pass_time(10.0 + 2 * EVERY)
    (seen,) = ours.reconciler(track(ours))._segments
    assert abs(seen.began - begun) < CLOCK_ERROR
    assert ours.known_until < begun + 2 * EVERY


def test_what_others_have_recorded_becomes_known(case: Case) -> None:
    one, two = case.gate("one"), case.gate("two")
    ours = one.hold()
    two.hold()
    case.clock.pass_time(2 * ALONE)
    case.coverage.add(0, 4_000_000)
    case.clock.pass_time(2.0)
    assert list(ours.coverage[1]) == [(0, 4_000_000)]
    assert one.book.credited == [], "who recorded it has credited it"


@pytest.mark.parametrize("how", ["lost", "away"])
def test_what_an_exchange_has_failed_to_tell_is_told_again(case: Case, how: str) -> None:
    one, two = case.gate("one"), case.gate("two")
    ours, theirs = one.hold(), two.hold()
    case.clock.pass_time(3 * ALONE)
    setattr(one, how, True)
    begin(ours, "one-1", 0, case.clock.now)
    case.clock.pass_time(5 * RETRY)
    assert one.exchange.failing
    known_until = ours.known_until
    setattr(one, how, False)
    case.clock.pass_time(ALONE + (KNOWN_AFTER + 3) * EVERY)
    assert not one.exchange.failing
    assert [segment.id for segment in theirs.reconciler(track(theirs))._segments] == ["one-1"]
    assert known_until < ours.known_until < inf


def test_a_gate_that_lets_go_takes_what_is_known_of_it_along(case: Case) -> None:
    one, two = case.gate("one"), case.gate("two")
    ours, theirs = one.hold(), two.hold()
    begin(theirs, "two-1", 5_000_000, case.clock.now)
    case.clock.pass_time(3 * ALONE)
    assert list(ours.reconciler(track(ours))._segments)
    del two.open["g"]
    case.clock.pass_time(3 * EVERY)
    assert not list(ours.reconciler(track(ours))._segments)
    assert (ours.known_until, one.renewed, one.exchange.shared) == (inf, ["g"], 0)
    assert [told.releases for told in two.told if told.releases] == [("g",)]


def test_who_has_not_been_heard_for_long_starts_anew(case: Case) -> None:
    one, two = case.gate("one"), case.gate("two")
    ours, theirs = one.hold(), two.hold()
    begin(theirs, "two-1", 5_000_000, case.clock.now)
    case.clock.pass_time(3 * ALONE)
    one.late = KEPT + 1
    case.clock.pass_time(KEPT)
    one.late = 0.0
    assert list(ours.reconciler(track(ours))._segments), "what was known stays meanwhile"
    told = len(one.told)
    case.clock.pass_time(1.0 + 2 * EVERY)
    assert one.told[told].anew == ("g",)
    begin(theirs, "two-2", 7_000_000, case.clock.now)
    case.clock.pass_time(3 * ALONE)
    assert [segment.id for segment in ours.reconciler(track(ours))._segments] == ["two-1", "two-2"]


def test_many_grants_are_told_of_in_pieces(case: Case) -> None:
    one = case.gate("one")
    case.gate("two")
    one.open = {f"g{number}": one.hold() for number in range(10)}
    for name, grant in one.open.items():
        grant.grant = Grant(GrantStatus(name, GrantState.OPEN, 1e12, None, "anna", Tier("t", 0, 64), frozenset()), 0.0, (ALBUM,))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ftpgate.access.exchange.HOLDS", 3)
        case.clock.pass_time(2 * ALONE)
    told = [name for told in one.told for name in told.holds]
    assert max(len(told.holds) for told in one.told) == 3 < HOLDS
    assert sorted(told) == sorted([*one.open, *one.open]), "each twice: another gate may have told of it at the same moment"
