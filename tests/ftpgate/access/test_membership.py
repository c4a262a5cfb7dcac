"""A gate's heartbeats: from its start to its end, over a database that is away."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from ftpgate.access.membership import Membership
from ftpgate.errors import GateError, Unavailable
from ftpgate.grants import GONE_AFTER, GateAddress, GateLoad, GateState, Heartbeat, OtherGate

ME = GateAddress("me", 1, 0.0, "h:1", "h:2", "h:3")
OTHER = OtherGate(GateAddress("other", 2, 0.0, "o:1", "o:2", "o:3"), "elsewhere", GateState.DRAINING, GateLoad())


class Case:
    """A membership whose calls are noted in `said` and answered by `answer`; alarms ring when told."""

    def __init__(self) -> None:
        self.said: list[Any] = []
        self.error: GateError | None = None
        self.heartbeat_answer = Heartbeat((OTHER,))
        self.alarms: list[Callable[[], None]] = []
        self.pauses: list[float] = []
        self.jobs: list[Callable[[], None]] = []
        self.membership = Membership(self, self, self._call_later, lambda others: GateLoad(len(others)))  # type: ignore[arg-type]

    def _call_later(self, seconds: float, call: Callable[[], None]) -> None:
        self.alarms.append(call)
        self.pauses.append(seconds)

    def submit(self, work: Callable[[], Any], done: Callable[[Any, GateError | None], None]) -> None:
        if self.error is not None:
            error = self.error
            self.jobs.append(lambda: done(None, error))
        else:
            self.jobs.append(lambda: done(work(), None))

    def gate_started(self, gate: GateAddress) -> None:
        self.said.append("started")

    def heartbeat(self, gate: GateAddress, state: GateState, load: GateLoad) -> Heartbeat:
        self.said.append((state, load.connections))
        return self.heartbeat_answer

    def gate_stopped(self, gate: str) -> None:
        self.said.append("stopped")

    def go_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What is under way is answered, then time passes until the next call."""
        for job in (jobs := self.jobs[:]):
            self.jobs.remove(job)
            job()
        assert jobs
        now = time.monotonic
        monkeypatch.setattr(time, "monotonic", lambda: now() + 5)
        for ring in (alarms := self.alarms[:]):
            self.alarms.remove(ring)
            ring()
        assert alarms or not self.jobs


@pytest.fixture
def case() -> Case:
    return Case()


def test_a_gate_is_entered_first_and_then_tells_what_it_does(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    case.membership.start(ME)
    for _ in range(3):
        case.go_on(monkeypatch)
    assert case.said == ["started", (GateState.RUNNING, 0), (GateState.RUNNING, 1)]
    assert case.membership.gates == 2


def test_a_database_that_is_away_is_tried_again_until_the_gate_is_entered(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    case.error = Unavailable()
    case.membership.start(ME)
    case.go_on(monkeypatch)
    case.go_on(monkeypatch)
    assert case.said == []
    case.error = None
    case.go_on(monkeypatch)  # the call that was under way fails still
    case.go_on(monkeypatch)
    assert case.said == ["started"]


def test_a_heartbeat_that_fails_is_tried_again_and_the_others_stay_known(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    case.membership.start(ME)
    case.go_on(monkeypatch)
    case.go_on(monkeypatch)
    case.error = Unavailable()
    case.go_on(monkeypatch)
    case.error = None
    case.go_on(monkeypatch)
    case.go_on(monkeypatch)
    assert case.membership.others == (OTHER,)
    assert len(case.said) > 2


def test_draining_is_told_without_waiting_for_the_next_heartbeat(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    case.membership.start(ME)
    case.go_on(monkeypatch)
    case.membership.drain()
    case.alarms.pop()()  # while a heartbeat is under way
    case.go_on(monkeypatch)
    assert case.pauses[-1] == 0
    case.go_on(monkeypatch)
    assert [said[0] for said in case.said[1:]] == [GateState.RUNNING, GateState.DRAINING]


def test_after_the_end_nothing_more_is_told(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    case.membership.start(ME)
    case.go_on(monkeypatch)
    case.membership.stop()
    case.go_on(monkeypatch)
    assert case.said == ["started", (GateState.RUNNING, 0), "stopped"]
    assert not case.jobs


def test_it_counts_as_running_only_as_long_as_the_others_surely_take_it_so(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not case.membership.counted
    case.membership.start(ME)
    case.go_on(monkeypatch)
    case.go_on(monkeypatch)
    assert case.membership.counted
    now = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: now() + GONE_AFTER)
    assert not case.membership.counted


def test_those_who_listen_hear_that_it_had_counted_as_gone(
    case: Case, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[float] = []
    case.membership.on_heartbeat(lambda heartbeat, _took: heard.append(heartbeat.away))
    case.heartbeat_answer = Heartbeat(away=20.0)
    case.membership.start(ME)
    case.go_on(monkeypatch)
    case.go_on(monkeypatch)
    assert heard == [20.0]
    assert "had counted as gone" in caplog.text
