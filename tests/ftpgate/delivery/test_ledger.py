"""The ledger's writer: batches, failures, and what it may never lose."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from ftpgate.delivery import backlog, ledger
from ftpgate.delivery.journal_rows import Recovered
from ftpgate.delivery.ledger import LedgerWriter
from ftpgate.errors import GateError, Unavailable
from ftpgate.grants import Batch, GrantStatus, TransferRecord
from ftpgate.proof.coverage import SpanSet
from tests.ftpgate.delivery.test_live_table import RUNNING


class Clock:
    """A loop's `call_later`, run by hand, and a thread that answers when told."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []
        self.jobs: list[tuple[Callable[[], Any], Callable[[Any, GateError | None], None]]] = []

    def call_later(self, seconds: float, call: Callable[[], None]) -> None:
        self.calls.append(call)

    def submit(self, work: Callable[[], Any], done: Callable[[Any, GateError | None], None]) -> None:
        self.jobs.append((work, done))

    def answer(self) -> None:
        """Let the thread do its job and the loop hear of it."""
        work, done = self.jobs.pop(0)
        try:
            result = work()
        except GateError as error:
            done(None, error)
        else:
            done(result, None)


class Shop:
    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.gates: list[str] = []
        self.away = False
        self.statuses: list[GrantStatus] = []

    def record(self, gate: str, batch: Batch) -> list[GrantStatus]:
        if self.away:
            raise Unavailable()
        self.batches.append(batch)
        self.gates.append(gate)
        return self.statuses


def make() -> tuple[LedgerWriter, Clock, Shop]:
    clock, shop = Clock(), Shop()
    return LedgerWriter(shop, "gate", clock, clock.call_later), clock, shop  # type: ignore[arg-type]


def record(grant: str) -> TransferRecord:
    return TransferRecord(grant, "i", "p", "http", "::1", "curl", 0, 1, 1, 0.0, 1.0, "done")


def test_what_comes_together_is_written_together() -> None:
    writer, clock, shop = make()
    writer.credit("a", 1, 0, 10)
    writer.credit("a", 1, 10, 30)
    writer.credit("a", 2, 5, 6)
    writer.transfer(record("a"))
    assert writer.flush()
    clock.answer()
    (batch,) = shop.batches
    assert {(d.file, d.spans) for d in batch.delivered} == {(1, ((0, 30),)), (2, ((5, 6),))}
    assert len(batch.transfers) == 1
    assert writer.backlog == 0
    assert not writer.flush()


def test_nothing_moved_nothing_written() -> None:
    writer, clock, _ = make()
    assert not writer.flush()
    assert not clock.jobs


def test_one_transaction_at_a_time() -> None:
    writer, clock, shop = make()
    writer.credit("a", 1, 0, 10)
    writer.flush()
    writer.credit("a", 1, 10, 20)
    writer.flush()
    assert len(clock.jobs) == 1
    clock.answer()
    writer.flush()
    clock.answer()
    assert [batch.delivered[0].spans for batch in shop.batches] == [((0, 10),), ((10, 20),)]


def test_a_failure_loses_nothing_and_merges() -> None:
    writer, clock, shop = make()
    shop.away = True
    writer.credit("a", 1, 0, 10)
    writer.transfer(record("a"))
    writer.flush()
    writer.credit("a", 1, 10, 20)
    clock.answer()
    assert writer.failing_since is not None
    assert writer.backlog == 2
    shop.away = False
    writer.flush()
    clock.answer()
    assert shop.batches[0].delivered[0].spans == ((0, 20),)
    assert len(shop.batches[0].transfers) == 1
    assert writer.failing_since is None


def test_a_transaction_that_hangs_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    writer, clock, _ = make()
    writer.credit("a", 1, 0, 10)
    writer.flush()
    writer.credit("a", 1, 10, 20)
    writer.flush_soon()
    assert not writer.stalled
    monkeypatch.setattr(ledger, "STALLED", 0.0)
    assert writer.stalled
    clock.answer()
    assert not writer.stalled


def test_history_is_bounded_while_the_database_is_away() -> None:
    writer, _, _ = make()
    for number in range(backlog.RECORDS + 5):
        writer.transfer(record(str(number)))
    assert writer.backlog == backlog.RECORDS


def test_a_large_backlog_goes_in_several() -> None:
    writer, clock, shop = make()
    for file in range(backlog.ROWS + 1):
        writer.credit("a", file, 0, 1)
    writer.flush()
    clock.answer()
    writer.flush()
    clock.answer()
    assert [len(batch.delivered) for batch in shop.batches] == [backlog.ROWS, 1]


def test_a_flush_soon_does_not_wait_for_the_second_to_be_over() -> None:
    writer, clock, shop = make()
    writer.credit("a", 1, 0, 10)
    writer.flush()
    clock.answer()
    writer.credit("a", 1, 10, 20)
    writer.flush_soon()
    clock.calls[-1]()
    clock.answer()
    assert len(shop.batches) == 2


def test_uses_of_tokens_go_along_and_cause_nothing() -> None:
    writer, clock, shop = make()
    writer.used(b"a")
    assert not clock.calls
    shop.away = True
    writer.credit("g", 1, 0, 10)
    writer.flush()
    writer.used(b"b")
    clock.answer()
    shop.away = False
    writer.flush()
    clock.answer()
    (batch,) = shop.batches
    assert set(batch.uses) == {b"a", b"b"}
    writer.credit("g", 1, 10, 20)
    writer.flush()
    clock.answer()
    assert not shop.batches[-1].uses


def test_uses_alone_are_written_at_the_end() -> None:
    writer, clock, shop = make()
    writer.used(b"a")
    assert writer.flush()
    clock.answer()
    assert set(shop.batches[0].uses) == {b"a"}
    assert not writer.flush()


def test_it_tells_since_when_something_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000.0
    monkeypatch.setattr(ledger.time, "time", lambda: now)  # type: ignore[attr-defined]
    writer, clock, shop = make()
    shop.away = True
    writer.credit("a", 1, 0, 10)
    now = 1_001.0
    writer.flush()
    writer.credit("a", 1, 10, 20)
    assert writer.waiting_since == 1_000.0
    clock.answer()
    assert writer.waiting_since == 1_000.0
    shop.away = False
    writer.flush()
    writer.credit("a", 1, 20, 30)
    clock.answer()
    assert writer.waiting_since == 1_001.0
    writer.flush()
    clock.answer()
    assert writer.waiting_since is None
    monkeypatch.setattr(backlog, "ROWS", 1)
    writer.credit("a", 1, 0, 10)
    writer.credit("a", 2, 0, 10)
    now = 1_002.0
    writer.flush()
    clock.answer()
    assert writer.waiting_since == 1_001.0, "one file is left of those"


def test_history_of_another_gate_is_recorded_as_its_own_and_at_once() -> None:
    writer, clock, shop = make()
    writer.recover(
        Recovered({("a", 1): SpanSet([(0, 10)])}, {"old/1": record("a"), "older/1": record("a")}, gates=["old", "older"])
    )
    writer.flush()
    clock.answer()
    while writer.pending:
        clock.calls[-1]()
        clock.answer()
    assert shop.gates == ["old", "gate", "older"]


def test_grants_with_transfers_that_ran_are_asked_for_until_they_are_judged() -> None:
    writer, clock, shop = make()
    asked: list[str] = []
    writer.report_to(SimpleNamespace(recover=asked.append))  # type: ignore[arg-type]
    writer.recover(Recovered(left={RUNNING.id: RUNNING}, gates=["old"]))
    clock.calls[-1]()
    assert asked == [RUNNING.grant]
    shop.away = True
    writer.credit("a", 1, 0, 10)
    writer.flush()
    clock.answer()
    writer._ask()
    assert asked == [RUNNING.grant], "it could not be looked up"
    shop.away = False
    writer.flush()
    clock.answer()
    writer._ask()
    assert asked == [RUNNING.grant] * 2
    writer.segment(RUNNING)
    writer._ask()
    assert asked == [RUNNING.grant] * 2


def test_what_was_recovered_is_told_of_until_every_look_up_finds_it_in_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "RECOVERED_FOR", 0.0)
    writer, clock, _ = make()
    writer.recover(Recovered({("a", 1): SpanSet([(0, 10)])}, gates=["old"]))
    assert writer.recovered("a") == ({1: ((0, 10),)}, ())
    writer.flush()
    clock.answer()
    assert writer.recovered("a") == ({1: ((0, 10),)}, ())
    clock.calls[-1]()
    assert writer.recovered("a") == ({}, ())
