"""Who may come in: what one client does must not hurt the others that wait with it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from ftpgate.delivery import gatekeeper
from ftpgate.delivery.accounts import OpenGrant
from ftpgate.delivery.gatekeeper import Gatekeeper
from ftpgate.errors import GateError, Unavailable
from ftpgate.grants import Grant, GrantState, GrantStatus, Tier
from ftpgate.tokens import Token, new_grant_id

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
    def used(self, token: bytes) -> None:
        pass


class Case:
    def __init__(self) -> None:
        self.token = Token.new(new_grant_id())
        self.threads = Threads()
        self.rounds: list[Callable[[], None]] = []
        self.keeper = Gatekeeper(
            Shop(self.token), self.threads, Ledger(), lambda _, call: self.rounds.append(call), grace=0  # type: ignore[arg-type]
        )  # fmt: skip
        self.heard: Heard = []

    def admit_one_that_fails_and_one_that_does_not(self) -> None:
        self.keeper.admit(self.token.reveal(), "::1", self._fail)
        self.keeper.admit(self.token.reveal(), "::2", lambda *answer: self.heard.append(answer))

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
    monkeypatch.setattr(gatekeeper, "PATIENCE", 0.0)
    case.rounds[-1]()
    ((grant, error),) = case.heard
    assert grant is None
    assert isinstance(error, Unavailable)
