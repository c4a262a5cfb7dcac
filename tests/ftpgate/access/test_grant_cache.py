"""Who may come in: what one client does must not hurt the others that wait with it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from ftpgate.access import grant_cache
from ftpgate.access.failed_tokens import TRIES
from ftpgate.access.grant_cache import GrantCache
from ftpgate.access.look_ups import AT_ONCE
from ftpgate.access.open_grant import OpenGrant
from ftpgate.errors import DeadToken, GateError, Unavailable
from ftpgate.grants import Grant, GrantState, GrantStatus, Tier
from ftpgate.proof.coverage import Span
from ftpgate.proof.segments import Evidence
from ftpgate.tokens import Token, new_grant_id
from tests.support.clocks import WEEK, Clocks

Heard = list[tuple[OpenGrant | None, GateError | None]]


class Threads:
    """Work off the loop that is done when told."""

    def __init__(self) -> None:
        self.jobs: list[Callable[[], None]] = []

    def submit(self, work: Callable[[], Any], done: Callable[[Any, GateError | None], None]) -> None:
        self.jobs.append(lambda: done(work(), None))

    def work(self) -> None:
        for job in (jobs := self.jobs[:]):
            self.jobs.remove(job)
            job()
        assert jobs


class Shop:
    def __init__(self, token: Token) -> None:
        status = GrantStatus(
            token.grant, GrantState.OPEN, time.time() + 60, None, "user", Tier("t", 0, 9), frozenset({token.digest()})
        )
        self.grant = Grant(status, time.time(), ())

    def look_up(self, token: Token) -> Grant:
        return self.grant


class Ledger:
    def report_to(self, listener: object) -> None:
        pass

    def used(self, token: bytes) -> None:
        pass

    def recovered(self, grant: str) -> tuple[dict[int, Sequence[Span]], Sequence[Evidence]]:
        return {}, ()


class Case:
    def __init__(self) -> None:
        self.token = Token.new(new_grant_id())
        self.threads = Threads()
        self.rounds: list[Callable[[], None]] = []
        self.shop = Shop(self.token)
        self.clocks = Clocks()
        self.grant_cache = GrantCache(
            self.shop, self.threads, Ledger(), lambda _, call: self.rounds.append(call),  # type: ignore[arg-type]
            grace=0, clock=self.clocks.guard,
        )  # fmt: skip
        self.heard: Heard = []

    def admit_one_that_fails_and_one_that_does_not(self) -> None:
        self.grant_cache.admit(self.token.reveal(), "::1", self._fail)
        self.grant_cache.admit(self.token.reveal(), "::2", lambda *answer: self.heard.append(answer))

    def admitted(self) -> GateError | None:
        self.grant_cache.admit(self.token.reveal(), "::1", lambda *answer: self.heard.append(answer))
        if self.threads.jobs:
            self.threads.work()
        return self.heard.pop()[1]

    def _fail(self, grant: OpenGrant | None, error: GateError | None) -> None:
        raise RuntimeError


def test_a_front_that_fails_leaves_the_others_that_wait_for_the_same_token_alone() -> None:
    case = Case()
    case.admit_one_that_fails_and_one_that_does_not()
    case.threads.work()
    ((grant, error),) = case.heard
    assert grant is not None
    assert (grant.id, error) == (case.token.grant, None)


def test_so_it_does_when_they_have_waited_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case()
    case.admit_one_that_fails_and_one_that_does_not()
    monkeypatch.setattr(grant_cache, "LOOKUP_TIMEOUT", 0.0)
    case.rounds[-1]()
    ((grant, error),) = case.heard
    assert grant is None
    assert isinstance(error, Unavailable)


def test_the_link_of_a_grant_that_was_renewed_opens_at_once() -> None:
    """Who renews a customer's grant tells him so, and he does not wait for the next refreshing."""
    case = Case()
    fresh = case.shop.grant
    case.shop.grant = replace(fresh, status=replace(fresh.status, state=GrantState.EXPIRED))
    assert isinstance(case.admitted(), DeadToken)
    assert isinstance(case.admitted(), DeadToken)
    case.shop.grant = fresh
    assert case.admitted() is None


@pytest.mark.parametrize("state", [GrantState.REVOKED, GrantState.COMPLETE])
def test_a_grant_that_is_over_for_ever_is_not_asked_for_again(state: GrantState) -> None:
    case = Case()
    case.shop.grant = replace(case.shop.grant, status=replace(case.shop.grant.status, state=state, completed_at=1.0))
    assert isinstance(case.admitted(), DeadToken)
    look_ups = case.grant_cache.look_ups
    assert isinstance(case.admitted(), DeadToken)
    assert case.grant_cache.look_ups == look_ups


def test_a_grant_is_kept_for_a_while_after_its_last_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """A download of hours is cut, and its client comes back: what is unconfirmed of it is judged by what this gate knows."""
    case = Case()
    assert case.admitted() is None
    (grant,) = case.grant_cache.grants()
    grant.sessions += 1
    monkeypatch.setattr(case.grant_cache, "_used", {grant.id: -1e9})
    case.rounds[-1]()
    grant.sessions -= 1
    case.rounds[-1]()
    assert case.grant_cache.grants() == (grant,)


def test_while_the_clocks_disagree_a_grant_is_kept_to_hear_the_databases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody may come for hours, and then nothing else would tell that they agree again."""
    monkeypatch.setattr(grant_cache, "IDLE", -1.0)
    case = Case()
    assert case.admitted() is None
    kept = []
    for ahead in (WEEK, WEEK, 0.0):
        case.clocks.wall_ahead = ahead
        case.rounds[-1]()
        kept.append(len(case.grant_cache.grants()))
    assert kept == [1, 1, 0]


def test_ten_dead_tokens_put_an_address_in_the_slower_line_and_lock_nothing_out() -> None:
    case = Case()
    fresh = case.shop.grant
    case.shop.grant = replace(fresh, status=replace(fresh.status, state=GrantState.EXPIRED))
    for _ in range(TRIES):
        assert isinstance(case.admitted(), DeadToken)
    case.shop.grant = fresh
    assert not case.grant_cache._line._pausing
    assert case.admitted() is None
    assert case.grant_cache._line._pausing


def test_a_token_is_not_looked_up_for_a_client_that_has_left() -> None:
    case = Case()
    left: list[bool] = []
    for n in range(AT_ONCE + 1):
        token = Token.new(new_grant_id())
        case.grant_cache.admit(token.reveal(), "::1", lambda *answer: case.heard.append(answer), lambda: bool(left))
        assert len(case.threads.jobs) == min(n + 1, AT_ONCE)
    left.append(True)
    case.threads.work()
    assert case.threads.jobs == []
    assert case.grant_cache.look_ups == AT_ONCE
