"""What gates tell each other through the database, on both kinds of it."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest
from django.db.models import F

from ftpgate.errors import Unavailable
from ftpgate.gates import Covered, Heard, SegmentNews, Told
from ftpgate.grants import Batch, Bridge, Delivered, GateAddress
from ftpgate.notices import Kind, Notice
from ftpgate.proof.segments import CLOCK_ERROR, Evidence
from tests.webportal.shop import make_grant, make_item, make_user
from webportal.bridge import make_bridge
from webportal.config import environment
from webportal.core import clock, push
from webportal.gateway import exchange
from webportal.grants.models import GateExchange, Grant, GrantHold, LiveSegment

pytestmark = pytest.mark.django_db


_PIDS = {11: os.getpid(), 12: os.getppid(), 13: 1}
"""Processes that run."""


class Teller:
    """A gate, as far as it tells and hears."""

    def __init__(self, id: str, port: int) -> None:
        self.id = id
        self.bridge: Bridge = make_bridge(environment.current())
        address = f"127.0.0.1:{port}"
        self.bridge.gate_started(GateAddress(id, _PIDS[port], time.time(), address, address, address))
        self.number = 0
        self.heard: dict[str, int] = {}

    def tell(self, *, ago: float = 0.0, **told: Any) -> Heard:
        self.number += 1
        heard = self.bridge.exchange(Told(self.id, self.number, time.monotonic() - ago, heard=dict(self.heard), **told))
        assert heard is not None
        self.heard.update({gate: news.number for gate, news in heard.gates.items()})
        return heard


def news(grant: Grant, id: str, start: int, acknowledged: int, *, ended: bool = False, **more: Any) -> SegmentNews:
    evidence = Evidence(
        id, grant.public_id, "f1", start, 1 << 50, acknowledged + 9, acknowledged, acknowledged - 1, 7, start, True
    )
    return SegmentNews(evidence, 5_000_000_000, ended, False, **{"began": 2.0, "moved": 0.5, **more})


@pytest.fixture
def grant() -> Grant:
    return make_grant(make_user(), make_item(1_000, 2_000))[0]


@pytest.fixture
def gates() -> tuple[Teller, Teller]:
    return Teller("one", 11), Teller("two", 12)


def share(grant: Grant, gates: Sequence[Teller]) -> None:
    for teller in gates:
        teller.tell(holds=[grant.public_id])


def test_a_gate_alone_writes_nothing(grant: Grant) -> None:
    alone = Teller("one", 11)
    assert alone.tell(holds=[grant.public_id]) == Heard(0)
    assert not GateExchange.objects.exists()
    assert not GrantHold.objects.exists()


def test_a_grant_that_two_gates_hold_is_shared_for_both(grant: Grant, gates: tuple[Teller, Teller]) -> None:
    one, two = gates
    other = make_grant(make_user(), make_item(10))[0]
    assert one.tell(holds=[grant.public_id, other.public_id]).shared == {}
    assert two.tell(holds=[grant.public_id]).shared == {grant.public_id: frozenset({"one"})}
    heard = one.tell()
    assert heard.shared == {grant.public_id: frozenset({"two"})}
    assert heard.others == 1


def test_what_a_gate_tells_of_a_segment_arrives_as_it_was(grant: Grant, gates: tuple[Teller, Teller]) -> None:
    one, two = gates
    share(grant, gates)
    told = news(grant, "one-1", 100, 4_000_000_000)
    one.tell(segments=[told], ago=3.0)
    (heard,) = two.tell().gates["one"].segments
    assert (heard.evidence, heard.line, heard.ended, heard.orderly) == (told.evidence, told.line, told.ended, told.orderly)
    assert heard.began is not None
    assert heard.moved is not None
    assert heard.began - heard.moved == pytest.approx(1.5)
    assert heard.began >= 2.0 + 3.0 - CLOCK_ERROR, "seconds before this exchange"


def test_of_one_that_was_left_nobody_knows_when_it_began(grant: Grant, gates: tuple[Teller, Teller]) -> None:
    one, two = gates
    share(grant, gates)
    one.tell(segments=[news(grant, "one-1", 0, 9, ended=True, began=None, moved=None)])
    (heard,) = two.tell().gates["one"].segments
    assert (heard.began, heard.moved, heard.ended) == (None, None, True)


def test_only_later_news_are_heard_again_unless_all_is_asked_for(grant: Grant, gates: tuple[Teller, Teller]) -> None:
    one, two = gates
    share(grant, gates)

    def heard(**asked: Any) -> list[str]:
        return [told.evidence.id for told in two.tell(**asked).gates["one"].segments]

    one.tell(segments=[news(grant, "one-1", 0, 9)])
    assert heard() == ["one-1"]
    assert heard() == []
    one.tell(segments=[news(grant, "one-2", 50, 90)])
    assert heard() == ["one-2"]
    assert sorted(heard(anew=[grant.public_id])) == ["one-1", "one-2"]
    one.tell(segments=[news(grant, "one-2", 50, 95)])
    assert heard() == ["one-2"]
    one.tell(settled=["one-1", "one-2"])
    assert heard(anew=[grant.public_id]) == []


def test_how_long_ago_the_other_one_told_is_known(grant: Grant, gates: tuple[Teller, Teller]) -> None:
    one, two = gates
    share(grant, gates)
    one.tell(ago=60.0)
    told = two.tell().gates["one"]
    assert told.number == one.number
    assert told.age >= 60.0 - CLOCK_ERROR


def test_a_grant_that_is_let_go_of_is_shared_no_longer(grant: Grant, gates: tuple[Teller, Teller]) -> None:
    one, two = gates
    share(grant, gates)
    one.tell(segments=[news(grant, "one-1", 0, 9)])
    one.tell(releases=[grant.public_id])
    heard = two.tell()
    assert (heard.shared, heard.gates) == ({}, {})
    assert not LiveSegment.objects.exists()


def test_more_coverage_than_is_known_is_told(grant: Grant, gates: tuple[Teller, Teller]) -> None:
    one, two = gates
    share(grant, gates)
    first, second = (file.pk for item in grant.items.all() for file in item.files.order_by("position"))
    delivered = (Delivered(grant.public_id, first, ((0, 400),)), Delivered(grant.public_id, second, ((5, 9), (20, 30))))
    one.bridge.record("one", Batch(delivered=delivered))
    assert two.tell().covered == []
    covered = two.tell(delivered={grant.public_id: {first: 400, second: 13}}).covered
    assert covered == [Covered(grant.public_id, second, ((5, 9), (20, 30)))]


def test_a_gate_that_was_forgotten_is_told_so(grant: Grant, gates: tuple[Teller, Teller]) -> None:
    one, _ = gates
    assert one.tell().forgotten, "nothing was known of it"
    assert not one.tell().forgotten
    GateExchange.objects.all().delete()
    assert one.tell().forgotten
    GateExchange.objects.update(number=F("number") + 1)
    assert one.tell().forgotten, "its answer was lost, and it counts that exchange again"


def test_what_an_ended_gate_has_told_is_swept_up(grant: Grant, gates: tuple[Teller, Teller]) -> None:
    one, two = gates
    share(grant, gates)
    one.tell(segments=[news(grant, "one-1", 0, 9)])
    one.bridge.gate_stopped("one")
    third = Teller("three", 13)
    two.number = exchange.SWEEP - 1
    heard = two.tell()
    assert (heard.others, heard.shared) == (1, {})
    assert not LiveSegment.objects.exists()
    assert set(GrantHold.objects.values_list("gate", flat=True)) == {"two"}
    third.bridge.gate_stopped("three")
    assert two.tell() == Heard(0, forgotten=True)
    assert not GrantHold.objects.exists()


def test_segments_are_left_to_others_once_their_gate_lets_go(grant: Grant, gates: tuple[Teller, Teller]) -> None:
    """It runs on. Until it has told what it holds, it may hold anything."""
    one, two = gates
    left = Evidence("one-1", grant.public_id, "f1", 0, 1_000, 900, 800, 700, 0, 100, True)
    one.bridge.record("one", Batch(segments=(left,)))

    def inherited(by: Teller) -> list[str]:
        found = by.bridge.look_up_grant(grant.public_id)
        assert found is not None
        return [evidence.id for evidence in found.segments]

    assert (inherited(one), inherited(two)) == (["one-1"], [])
    one.tell(holds=[grant.public_id])
    assert inherited(two) == []
    one.tell(releases=[grant.public_id])
    assert (inherited(one), inherited(two)) == (["one-1"], ["one-1"])


def test_other_gates_are_called_to_ask_when_something_has_begun(
    grant: Grant, gates: tuple[Teller, Teller], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = gates
    called: list[Notice] = []
    monkeypatch.setattr(push, "tell_all", called.extend)

    def calls(teller: Teller, **told: Any) -> list[Notice]:
        called.clear()
        teller.tell(**told)
        return list(called)

    for_one, for_two = (Notice(Kind.EVIDENCE, grant.public_id, gate) for gate in ("one", "two"))
    assert calls(one, holds=[grant.public_id]) == []
    assert calls(two, holds=[grant.public_id]) == [for_one]
    assert calls(one, segments=[news(grant, "one-1", 0, 9)], begun=frozenset({grant.public_id})) == [for_two]
    assert calls(one, segments=[news(grant, "one-1", 0, 99)]) == [], "it moves on: there is time"
    assert calls(two, anew=[grant.public_id]) == [for_one]


def test_a_clock_that_answers_late_is_not_believed(gates: tuple[Teller, Teller], monkeypatch: pytest.MonkeyPatch) -> None:
    answered, asked = clock.now, []

    def counted() -> datetime:
        asked.append(1)
        return answered()

    monkeypatch.setattr(clock, "now", counted)
    monkeypatch.setattr(exchange, "CLOCK_ERROR", -1.0)
    with pytest.raises(Unavailable):
        gates[0].tell()
    assert len(asked) == exchange.TRIES
