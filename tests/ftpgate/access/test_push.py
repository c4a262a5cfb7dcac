"""The push counts as working when what the gate sends itself arrives, and as nothing else does."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import pytest

from ftpgate.access.push import TRUSTED, Push
from ftpgate.errors import GateError, Unavailable
from ftpgate.notices import Changes, Kind, Notice

PING = Notice(Kind.PING, "me")


class Case:
    """A push that hears what it is told; `later` has what it wants to do after a pause."""

    def __init__(self) -> None:
        self.done: Callable[[Any, GateError | None], None] | None = None
        self.later: list[tuple[float, Callable[[], None]]] = []
        self.push = Push(self, self, lambda *call: self.later.append(call), "me")  # type: ignore[arg-type]
        self.push.start()

    def wait_for_changes(self, timeout: float) -> None:
        raise AssertionError("the answers are the test's")

    def submit(self, work: Callable[[], Any], done: Callable[[Any, GateError | None], None]) -> None:
        assert self.done is None, "one call at a time"
        self.done = done

    def hear(self, changes: Changes | None, error: GateError | None = None) -> None:
        assert self.done is not None
        done, self.done = self.done, None
        done(changes, error)

    def notice(self, *notices: Notice) -> None:
        self.hear(Changes(frozenset(notices)))


@pytest.fixture
def case() -> Case:
    return Case()


def test_a_shop_that_cannot_push_is_asked_once(case: Case) -> None:
    case.hear(None)
    assert case.done is None
    assert not case.later
    assert (case.push.state, case.push.works) == ("none", False)


def test_a_connection_through_which_nothing_comes_is_not_trusted(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    case.hear(Changes(everything=True))
    case.notice()
    assert (case.push.state, case.push.works) == ("starting", False)
    now = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: now() + TRUSTED)
    assert (case.push.state, case.push.works) == ("broken", False)


def test_it_works_from_the_gates_own_notice_on_for_a_while(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    case.notice(PING)
    assert (case.push.state, case.push.works) == ("works", True)
    now = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: now() + TRUSTED)
    assert not case.push.works


def test_another_gates_notice_to_itself_proves_nothing(case: Case) -> None:
    case.notice(Notice(Kind.PING, "another"))
    assert not case.push.works


def test_a_broken_connection_is_made_anew_at_once_and_then_with_pauses(case: Case) -> None:
    case.notice(PING)
    case.hear(None, Unavailable())
    assert not case.push.works
    case.later.pop()[1]()
    case.hear(None, Unavailable())
    ((pause, again),) = case.later
    assert pause > 0
    again()
    case.hear(Changes(everything=True))
    assert case.push.reconnects == 1
    case.hear(None, Unavailable())
    assert case.later.pop()[0] > 0  # it has not worked in between


def test_a_connection_that_had_worked_is_made_anew_at_once(case: Case) -> None:
    for _ in range(2):
        case.notice(PING)
        case.hear(None, Unavailable())
        pause, again = case.later.pop()
        assert pause == 0
        again()


def test_notices_reach_those_who_want_their_kind_and_errors_of_theirs_do_not_end_it(case: Case) -> None:
    heard: list[object] = []

    def fail(_names: object) -> None:
        raise RuntimeError

    case.push.on(Kind.LEASE, lambda names: heard.append(("lease", names)))
    case.push.on(Kind.EVIDENCE, lambda names: heard.append(("evidence", names)))
    case.push.on(Kind.GRANT, fail)
    case.push.on_everything(lambda: heard.append("everything"))
    case.notice(Notice(Kind.LEASE, "anna"), Notice(Kind.LEASE, "berta"), Notice(Kind.TIER, "gold"))
    with pytest.raises(RuntimeError):
        case.notice(Notice(Kind.GRANT, "g"))
    case.notice(Notice(Kind.EVIDENCE, "g"))
    case.hear(Changes(everything=True))
    assert heard == [("lease", {"anna", "berta"}), ("evidence", {"g"}), "everything"]
    assert dict(case.push.received) == {"lease": 2, "tier": 1, "grant": 1, "evidence": 1, "everything": 1}


def test_the_log_tells_once_that_it_is_broken_and_once_that_it_works(case: Case, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ftpgate.gate")
    for changes in ((PING,), ()):
        case.push.look()
        case.notice(*changes)
        case.push.look()
        case.push.look()
    case.hear(None, Unavailable())
    case.push.look()
    case.push.look()
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING"]


def test_after_the_end_nothing_is_waited_for(case: Case) -> None:
    case.push.stop()
    case.notice(PING)
    assert case.done is None
