"""When statuses are asked for: notices are not lost to answers that overtake them, and polls are rare while they come."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from ftpgate.access import refreshing
from ftpgate.access.refreshing import AT_ONCE, LEAST, Refresher
from ftpgate.clock import ClockGuard
from ftpgate.errors import GateError, Unavailable
from ftpgate.notices import Kind


class Case:
    """A refresher whose questions are answered when told; `asked` has the names of those under way, and of earlier ones."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.open: list[Callable[[GateError | None], None]] = []
        self.answers: list[Sequence[str]] = []
        self.held: OrderedDict[str, Any] = OrderedDict()
        self.works = True
        self.refresher = Refresher(self, self, self.held, lambda names, *_: self.answers.append(names))  # type: ignore[arg-type]

    def refresh(self, names: Sequence[str]) -> list[Any]:
        self.asked.append(tuple(names))
        return []

    def submit(self, work: Callable[[], Any], done: Callable[[Any, GateError | None], None]) -> None:
        found = work()
        self.open.append(lambda error: done(None if error else found, error))

    def answer(self, error: GateError | None = None) -> None:
        self.open.pop(0)(error)

    def hold(self, *names: str) -> None:
        for name in names:
            status = SimpleNamespace(tier=SimpleNamespace(name=f"tier of {name}"), user=f"user of {name}")
            self.held[name] = SimpleNamespace(status=status, grant=SimpleNamespace(items=[SimpleNamespace(id=f"item of {name}")]))

    def follow(self) -> dict[Kind, Callable[[set[str]], None]]:
        """Notices come; returns who is told of each kind."""
        told: dict[Kind, Callable[[set[str]], None]] = {}
        push = SimpleNamespace(look=lambda: self.works, on=told.__setitem__, on_everything=lambda _: None)
        self.refresher.follow(push, ClockGuard())  # type: ignore[arg-type]
        return told


@pytest.fixture
def case() -> Case:
    made = Case()
    made.hold("a", "b", "c")
    return made


def test_without_a_push_all_are_asked_for_with_each_tick_one_question_at_a_time(case: Case) -> None:
    case.refresher.tick()
    case.refresher.tick()
    assert case.asked == [("a", "b", "c")]
    case.answer()
    case.refresher.tick()
    assert case.asked == [("a", "b", "c")] * 2


def test_with_a_push_all_are_asked_for_once_and_again_as_soon_as_it_is_broken(case: Case) -> None:
    case.follow()
    for _ in range(2):
        case.refresher.tick()
        if case.open:
            case.answer()
    assert len(case.asked) == 1
    case.works = False
    case.refresher.tick()
    assert len(case.asked) == 2


def test_with_a_push_all_are_asked_for_again_after_a_while(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    case.follow()
    case.refresher.tick()
    case.answer()
    now = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: now() + refreshing.POLL_PUSHED)
    case.refresher.tick()
    assert len(case.asked) == 2


@pytest.mark.parametrize(
    ("kind", "name"), [(Kind.GRANT, "b"), (Kind.TIER, "tier of b"), (Kind.USER, "user of b"), (Kind.ITEM, "item of b")]
)
def test_what_a_notice_is_about_is_asked_for_at_once_and_nothing_else(case: Case, kind: Kind, name: str) -> None:
    case.follow()[kind]({name, "of nobody here"})
    assert case.asked == [("b",)]


def test_a_notice_that_comes_while_an_answer_is_under_way_is_asked_about_after_it(case: Case) -> None:
    case.refresher.tick()
    case.refresher.told(["b"])
    assert len(case.asked) == 1
    case.answer()
    assert case.asked[1:] == [("b",)]
    case.answer()
    assert len(case.asked) == 2


def test_a_grant_whose_look_up_had_begun_before_a_notice_is_asked_for_again(case: Case) -> None:
    began = time.monotonic()
    case.refresher.told(["of nobody here"])
    case.hold("late")
    case.refresher.answered("late", began)
    assert case.asked == [("late",)]


def test_a_grant_whose_look_up_began_after_all_notices_is_fresh(case: Case) -> None:
    case.refresher.told(["of nobody here"])
    case.hold("late")
    case.refresher.answered("late", time.monotonic() + 0.001)
    assert case.asked == []


def test_when_notices_may_have_been_missed_all_are_asked_for(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    case.follow()
    case.refresher.tick()
    case.answer()
    now = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: now() + LEAST)
    case.refresher.everything()
    assert case.asked == [("a", "b", "c")] * 2


def test_when_connections_break_again_and_again_all_are_asked_for_once_with_the_next_tick(case: Case) -> None:
    case.follow()
    case.refresher.tick()
    case.answer()
    for _ in range(3):
        case.refresher.everything()
    assert len(case.asked) == 1
    case.refresher.tick()
    case.answer()
    case.refresher.tick()
    assert len(case.asked) == 2


def test_after_an_error_everything_is_asked_for_with_the_next_tick(case: Case) -> None:
    case.follow()
    case.refresher.tick()
    case.answer()
    case.refresher.told(["b"])
    case.answer(Unavailable())
    case.refresher.tick()
    assert case.asked[-1] == ("a", "b", "c")


def test_many_are_asked_for_in_several_questions(case: Case) -> None:
    names = [str(number) for number in range(AT_ONCE + 3)]
    case.hold(*names)
    case.refresher.told(names)
    case.answer()
    case.answer()
    assert case.asked == [tuple(names[:AT_ONCE]), tuple(names[AT_ONCE:])]
    assert not case.open
