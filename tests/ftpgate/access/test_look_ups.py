"""The line in front of the shop's threads: who is looked up when."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ftpgate.access import look_ups
from ftpgate.access.look_ups import AT_ONCE, LookUp, LookUps
from ftpgate.errors import GateError, Unavailable


class Case:
    """A line, threads that do one job when told, and a loop whose alarms fire when told."""

    def __init__(self) -> None:
        self.jobs: list[Callable[[], None]] = []
        self.alarms: list[Callable[[], None]] = []
        self.asked: list[str] = []
        self.told: list[tuple[str, GateError | None]] = []
        self.full = False
        self.line = LookUps(self, self._call_later)  # type: ignore[arg-type]

    def submit(self, work: Callable[[], Any], done: Callable[[Any, GateError | None], None]) -> None:
        if self.full:
            raise Unavailable
        self.jobs.append(lambda: done(work(), None))

    def _call_later(self, _seconds: float, call: Callable[[], None]) -> None:
        self.alarms.append(call)

    def ask(self, address: str, count: int = 1, *, doubtful: bool = False, wanted: Callable[[], bool] = lambda: True) -> None:
        for _ in range(count):
            look_up = LookUp(
                lambda: self.asked.append(address), lambda _result, error: self.told.append((address, error)), wanted
            )  # fmt: skip
            self.line.add(address, look_up, doubtful=doubtful)

    def work(self) -> None:
        """Do what the threads have, and what they get meanwhile; alarms do not fire."""
        while self.jobs:
            self.jobs.pop(0)()

    def fire(self) -> None:
        alarms, self.alarms = self.alarms, []
        for alarm in alarms:
            alarm()


def test_few_are_with_the_threads_and_addresses_take_turns() -> None:
    case = Case()
    case.ask("many", 50)
    assert len(case.jobs) == AT_ONCE
    case.ask("one")
    case.ask("other", 2)
    case.work()
    assert case.asked[AT_ONCE : AT_ONCE + 6] == ["many", "one", "other", "many", "other", "many"]
    assert len(case.told) == case.line.asked == 53


def test_doubtful_ones_are_asked_for_one_at_a_time_with_pauses_and_delay_nobody() -> None:
    case = Case()
    case.ask("locked out", 50, doubtful=True)
    case.ask("also locked out", 1, doubtful=True)
    case.work()
    assert case.asked == ["locked out"]
    case.ask("customer", 10)
    case.work()
    assert case.asked == ["locked out", *["customer"] * 10]
    case.asked.clear()
    for _ in range(3):
        case.fire()
        case.work()
    assert case.asked == ["locked out", "also locked out", "locked out"]


def test_what_nobody_waits_for_any_more_is_not_asked() -> None:
    case = Case()
    case.ask("gone", 100, doubtful=True, wanted=lambda: False)
    case.ask("here", doubtful=True)
    case.work()
    assert case.asked == ["here"]
    assert len(case.told) == 101


def test_when_too_many_wait_the_address_with_the_most_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look_ups, "WAITING", 10)
    case = Case()
    case.ask("many", AT_ONCE + 10)
    with pytest.raises(Unavailable):
        case.ask("many")
    case.ask("one")
    ((address, error),) = case.told
    assert address == "many"
    assert isinstance(error, Unavailable)
    case.work()
    assert (case.asked.count("many"), case.asked.count("one")) == (AT_ONCE + 9, 1)


@pytest.mark.parametrize("doubtful", [False, True])
def test_threads_that_take_nothing_are_told_of_and_asked_again(doubtful: bool) -> None:
    case = Case()
    case.full = True
    case.ask("one", 1, doubtful=doubtful)
    ((_, error),) = case.told
    assert isinstance(error, Unavailable)
    case.full = False
    case.fire()
    case.ask("one", 1, doubtful=doubtful)
    case.work()
    assert case.asked == ["one"]
