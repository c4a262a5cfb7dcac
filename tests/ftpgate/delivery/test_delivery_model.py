"""The proof of delivery against generated clients, and the clients against proofs that are broken on purpose.

`python -m tests.trials.model --count 1000000` plays many more.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from ftpgate.proof import credit, rules
from tests.support.delivery_model import CLIENTS, HONEST, Outcome, play

HISTORIES = 2_000
OVER_TWO_GATES = range(100, 150)
"""Seeds of histories with two gates; each takes as long as twenty with one."""


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    return [play(seed) for seed in range(HISTORIES)]


def test_nothing_is_credited_that_was_not_read_and_nothing_is_lost(outcomes: list[Outcome]) -> None:
    """But for what the rules allow for of cut segments, and a window of next to nothing unread."""
    assert [(seed, outcome.kind, outcome.broken) for seed, outcome in enumerate(outcomes) if outcome.broken] == []


def test_who_holds_everything_has_completed_or_is_one_click_away(outcomes: list[Outcome]) -> None:
    honest = [outcome for outcome in outcomes if outcome.kind in HONEST]
    assert all(outcome.held and outcome.confirmable for outcome in honest)
    assert sum(outcome.complete for outcome in honest) > len(honest) / 2


def test_the_same_holds_over_two_gates() -> None:
    """They learn of each other's segments a moment later, and from answers that fail."""
    outcomes = [play(seed, gates=2) for seed in OVER_TWO_GATES]
    assert [
        (seed, outcome.kind, outcome.broken) for seed, outcome in zip(OVER_TWO_GATES, outcomes, strict=True) if outcome.broken
    ] == []
    honest = [outcome for outcome in outcomes if outcome.kind in HONEST]
    assert all(outcome.held and outcome.confirmable for outcome in honest)
    assert any(outcome.complete and outcome.cuts for outcome in honest)


def test_all_kinds_of_clients_are_played(outcomes: list[Outcome]) -> None:
    kinds = Counter((outcome.kind, outcome.paced) for outcome in outcomes)
    assert set(kinds) == {(kind, paced) for kind in CLIENTS for paced in (True, False)}
    assert any(outcome.cuts for outcome in outcomes)
    assert any(outcome.kind not in HONEST and not outcome.held for outcome in outcomes)


def test_a_history_is_told_by_its_seed() -> None:
    assert [play(seed) for seed in range(20)] == [play(seed) for seed in range(20)]


def _agrees(*_: Any, **__: Any) -> bool:
    return True


def _fin(self: credit.Credit, now: float, look: Any) -> bool:
    """Takes any end for an orderly one."""
    self.progress(now, look)
    if self.phase in (credit.Phase.AT_LINE, credit.Phase.AWAITING_READ):
        self._all()
    return True


def _cut(self: credit.Credit, look: Any) -> None:
    """Forgets what may have been read beyond the credited bytes."""
    if not self.ended:
        self.sent = self.credited
        self._move(credit.Phase.ABORTED)


def test_the_model_finds_what_is_broken_between_two_gates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "agrees", _agrees)
    assert any(play(seed, gates=2).broken for seed in OVER_TWO_GATES)


@pytest.mark.parametrize(
    ("where", "name", "instead"),
    [
        (rules, "agrees", _agrees),
        (rules, "SHORT", 10 << 20),
        (credit, "MARGIN", 0),
        (credit, "AGED_MARGIN", -(1 << 20)),
        (credit.Credit, "fin", _fin),
        (credit.Credit, "cut", _cut),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_model_finds_what_is_broken(monkeypatch: pytest.MonkeyPatch, where: Any, name: str, instead: Any) -> None:
    monkeypatch.setattr(where, name, instead)
    assert any(play(seed).broken for seed in range(HISTORIES))
