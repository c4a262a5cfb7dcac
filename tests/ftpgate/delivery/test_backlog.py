"""What waits for the database: that nothing of it is lost, counted twice, or kept from the journal."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpgate.delivery import backlog as module
from ftpgate.delivery.backlog import Backlog
from ftpgate.delivery.journal_rows import CREDIT, LEFT, SEGMENT, TRANSFER, USE, Recovered
from ftpgate.grants import Batch, Delivered
from ftpgate.proof.coverage import SpanSet
from ftpgate.proof.segments import Evidence
from tests.ftpgate.delivery.test_journal import ENDED, RECORD
from tests.ftpgate.delivery.test_live_table import RUNNING

Row = tuple[str, str]


class Gate:
    """A backlog with a journal and a database that do as they are told."""

    def __init__(self) -> None:
        self.backlog = Backlog("gate", journaled=True)
        self.journal: dict[Row, Any] = {}
        self.batches: list[tuple[str, Batch]] = []

    def record(self) -> Batch:
        self.batches.append(self.backlog.take())
        self.backlog.confirm()
        return self.batches[-1][1]

    def recover(self, recovered: Recovered) -> None:
        """As the journal does it: by then all of it stands there under this gate's name."""
        self.journal |= {(CREDIT, f"{grant}/{file}"): tuple(spans) for (grant, file), spans in recovered.credits.items()}
        self.journal |= {(TRANSFER, key): record for key, record in recovered.transfers.items()}
        self.journal |= {(USE, token.hex()): when for token, when in recovered.uses.items()}
        self.journal |= {(SEGMENT, id_): segment for id_, segment in recovered.segments.items()}
        self.journal |= {(LEFT, id_): left for id_, left in recovered.left.items()}
        self.backlog.recover(recovered)

    def write(self) -> tuple[set[Row], set[Row]]:
        changes = self.backlog.changes()
        for kind, key, value in changes.put:
            self.journal[kind, key] = value
        for row in changes.drop:
            del self.journal[row]
        return {(kind, key) for kind, key, _ in changes.put}, set(changes.drop)


@pytest.fixture
def gate() -> Gate:
    return Gate()


def test_what_comes_together_is_recorded_together(gate: Gate) -> None:
    backlog = gate.backlog
    backlog.credit("grant", 1, 0, 10)
    backlog.credit("grant", 1, 10, 30)
    backlog.credit("grant", 2, 5, 6)
    backlog.transfer(RECORD)
    backlog.segment(ENDED)
    backlog.settled("gate-8")
    backlog.used(b"token", 7.5)
    assert gate.record() == Batch(
        (Delivered("grant", 1, ((0, 30),)), Delivered("grant", 2, ((5, 6),))), (ENDED,), ("gate-8",), (RECORD,), {b"token": 7.5}
    )
    assert not backlog.pending
    assert backlog.rows == 0


def test_a_batch_that_failed_is_whole_in_the_next(gate: Gate) -> None:
    backlog = gate.backlog
    backlog.credit("grant", 1, 0, 10)
    backlog.segment(ENDED)
    backlog.take()
    backlog.credit("grant", 1, 10, 20)
    backlog.failed()
    assert gate.record() == Batch((Delivered("grant", 1, ((0, 20),)),), (ENDED,))


def test_what_comes_while_a_batch_is_under_way_is_in_the_next_alone(gate: Gate) -> None:
    backlog = gate.backlog
    backlog.credit("grant", 1, 0, 10)
    backlog.segment(ENDED)
    backlog.used(b"token", 1.0)
    backlog.take()
    backlog.credit("grant", 1, 10, 20)
    backlog.credit("grant", 2, 0, 1)
    backlog.segment(changed := replace(ENDED, credited=1_500))
    backlog.used(b"token", 2.0)
    backlog.confirm()
    assert gate.record() == Batch(
        (Delivered("grant", 1, ((10, 20),)), Delivered("grant", 2, ((0, 1),))), (changed,), uses={b"token": 2.0}
    )


def test_a_segment_that_nobody_heard_of_is_settled_in_silence(gate: Gate) -> None:
    gate.backlog.segment(ENDED)
    gate.backlog.settled(ENDED.id)
    assert not gate.backlog.pending
    gate.backlog.segment(ENDED)
    gate.backlog.take()
    gate.backlog.settled(ENDED.id)
    gate.backlog.failed()
    assert gate.record() == Batch(settled=(ENDED.id,)), "it may have been recorded all the same"


def test_batches_are_bounded(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS", 3)
    for number in range(4):
        gate.backlog.credit("grant", number, 0, 1)
        gate.backlog.transfer(RECORD)
        gate.backlog.segment(replace(ENDED, id=str(number)))
    assert [tuple(map(len, (batch.delivered, batch.transfers, batch.segments))) for batch in (gate.record(), gate.record())] == [
        (3, 3, 3), (1, 1, 1),
    ]  # fmt: skip


def test_history_and_segments_are_bounded(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RECORDS", 3)
    monkeypatch.setattr(module, "SEGMENTS", 2)
    for number in range(5):
        gate.backlog.transfer(replace(RECORD, start=number))
        gate.backlog.segment(replace(ENDED, id=str(number)))
        gate.write()
    assert gate.backlog.dropped == 2
    assert set(gate.journal) == {(TRANSFER, f"gate/{number}") for number in (3, 4, 5)} | {(SEGMENT, "3"), (SEGMENT, "4")}
    batch = gate.record()
    assert [record.start for record in batch.transfers] == [2, 3, 4]
    assert [segment.id for segment in batch.segments] == ["3", "4"]
    assert gate.backlog.dropped == 0


def test_what_was_recovered_is_bounded(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    for bound in ("RECORDS", "SEGMENTS", "LEFT_OVER"):
        monkeypatch.setattr(module, bound, 2)
    names = ("1", "2", "3")
    gate.recover(
        Recovered(
            transfers={f"old/{name}": RECORD for name in names},
            segments={name: replace(ENDED, id=name) for name in names},
            left={f"left-{name}": replace(RUNNING, id=f"left-{name}") for name in names},
            gates=["old"],
        )
    )
    gate.write()
    kept = [(TRANSFER, "old/2"), (TRANSFER, "old/3"), (SEGMENT, "2"), (SEGMENT, "3"), (LEFT, "left-2"), (LEFT, "left-3")]
    assert set(gate.journal) == set(kept)
    assert "left-1" not in [evidence.id for evidence in gate.backlog.recovered("grant")[1]]


def test_tokens_are_bounded_and_cause_nothing(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "USES", 2)
    for token in (b"a", b"b", b"c"):
        gate.backlog.used(token, 1.0)
    assert not gate.backlog.pending
    assert not gate.backlog.marks.changed
    gate.backlog.credit("grant", 1, 0, 1)
    assert gate.record().uses == {b"a": 1.0, b"b": 1.0}


def test_the_journal_is_told_what_changed_and_no_more(gate: Gate) -> None:
    backlog = gate.backlog
    backlog.credit("grant", 1, 0, 10)
    backlog.transfer(RECORD)
    assert gate.write() == ({(CREDIT, "grant/1"), (TRANSFER, "gate/1")}, set())
    backlog.credit("grant", 2, 0, 10)
    assert gate.write() == ({(CREDIT, "grant/2")}, set())
    gate.record()
    assert gate.write() == (set(), {(CREDIT, "grant/1"), (CREDIT, "grant/2"), (TRANSFER, "gate/1")})
    assert not len(backlog.marks)


def test_what_the_database_has_confirmed_meanwhile_never_gets_there(gate: Gate) -> None:
    gate.backlog.credit("grant", 1, 0, 10)
    gate.record()
    assert gate.write() == (set(), set())


def test_without_a_journal_nothing_is_kept_for_it() -> None:
    backlog = Backlog("gate")
    for number in range(10):
        backlog.transfer(replace(RECORD, start=number))
        backlog.take()
        backlog.confirm()
    assert not backlog.marks._changed


def test_a_journal_that_is_lost_is_told_everything_anew(gate: Gate) -> None:
    backlog = gate.backlog
    gate.recover(Recovered(left={RUNNING.id: RUNNING}))
    backlog.credit("grant", 1, 0, 10)
    backlog.transfer(RECORD)
    backlog.segment(ENDED)
    backlog.used(b"token", 7.5)
    gate.write()
    before = dict(gate.journal)
    gate.journal.clear()
    backlog.journal_lost()
    gate.write()
    assert gate.journal == before


def test_a_full_journal_gives_up_history_first(gate: Gate) -> None:
    gate.backlog.credit("grant", 1, 0, 10)
    gate.backlog.transfer(RECORD)
    gate.write()
    gate.backlog.transfers_left_out = True
    gate.backlog.journal_lost()
    gate.journal.clear()
    gate.write()
    assert set(gate.journal) == {(CREDIT, "grant/1")}
    gate.record()
    assert not gate.backlog.transfers_left_out


RECOVERED = Recovered(
    credits={("grant", 1): SpanSet([(0, 10)])}, transfers={"old/1": RECORD, "old/2": RECORD, "older/1": RECORD},
    uses={b"token": 7.5}, segments={ENDED.id: ENDED, "gate-8": None}, left={RUNNING.id: RUNNING}, gates=["old", "older"],
)  # fmt: skip


def test_what_was_recovered_is_recorded_each_transfer_under_the_gate_it_ran_on(gate: Gate) -> None:
    """By that name the database knows those that were recorded just before the gate ended."""
    gate.recover(RECOVERED)
    while gate.backlog.pending:
        gate.record()
    recorded = {of: [batch for by, batch in gate.batches if by == of] for of in ("gate", "old", "older")}
    assert recorded == {
        "gate": [Batch((Delivered("grant", 1, ((0, 10),)),), (ENDED,), ("gate-8",), (), {b"token": 7.5})],
        "old": [Batch(transfers=(RECORD, RECORD))],
        "older": [Batch(transfers=(RECORD,))],
    }


def test_recovered_history_does_not_keep_coverage_waiting_nor_the_other_way_round(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROWS", 1)
    gate.recover(RECOVERED)
    for number in range(6):
        gate.backlog.credit("grant", number, 0, 20)
        gate.record()
    assert [by for by, _ in gate.batches] == ["old", "gate", "old", "gate", "older", "gate"]


def test_who_opens_a_grant_sees_what_was_recovered_of_it(gate: Gate) -> None:
    backlog = gate.backlog
    gate.recover(RECOVERED)
    assert backlog.recovered("other") == ({}, ())
    assert backlog.recovered("grant") == ({1: ((0, 10),)}, (ENDED, RUNNING))
    assert list(backlog.unjudged()) == ["grant"]
    backlog.segment(judged := replace(RUNNING, unconfirmed={7: ((1_000, 1_200),)}))
    assert backlog.recovered("grant")[1] == (ENDED, judged)
    backlog.settled(ENDED.id)
    assert backlog.recovered("grant")[1] == (judged,)
    assert not list(backlog.unjudged())
    assert not backlog.recovered_recorded
    while backlog.pending:
        gate.record()
    assert backlog.recovered_recorded
    assert backlog.recovered("grant") == ({1: ((0, 10),)}, (judged,)), "a look-up may have begun before"
    backlog.forget_recovered()
    assert backlog.recovered("grant") == ({}, ())


def test_what_nobody_has_judged_waits_in_the_journal_alone(gate: Gate) -> None:
    backlog = gate.backlog
    gate.recover(RECOVERED)
    while backlog.pending:
        assert RUNNING not in gate.record().segments
    backlog.forget_recovered()
    assert backlog.recovered("grant")[1] == (ENDED, RUNNING)
    backlog.segment(RUNNING)
    assert gate.write()[1] >= {(LEFT, RUNNING.id)}
    assert gate.record().segments == (RUNNING,)


def test_of_a_grant_that_is_gone_nothing_is_left(gate: Gate) -> None:
    gate.recover(RECOVERED)
    gate.backlog.forget("grant")
    assert not list(gate.backlog.unjudged())
    assert gate.backlog.recovered("grant") == ({}, ())


OPERATIONS = st.one_of(
    st.tuples(st.just("credit"), st.integers(1, 3), st.integers(0, 30), st.integers(1, 10)),
    st.tuples(st.just("transfer")),
    st.tuples(st.just("segment"), st.integers(0, 3), st.integers(1_000, 2_000)),
    st.tuples(st.just("settled"), st.integers(0, 3)),
    st.tuples(st.just("used"), st.integers(0, 3), st.floats(0, 9)),
    st.tuples(st.sampled_from(["take", "confirm", "failed", "write", "lost", "recover"])),
)


@given(st.lists(OPERATIONS, max_size=60))
def test_database_and_journal_hold_all_together_at_any_moment(operations: list[tuple[Any, ...]]) -> None:
    """What has happened is what the database has recorded and, after a writing, what the journal holds besides."""
    gate, under_way = Gate(), False
    backlog = gate.backlog
    happened: dict[int, SpanSet] = {}
    recorded: dict[int, SpanSet] = {}
    segments: dict[str, Evidence | None] = {}
    in_database: dict[str, Evidence | None] = {}
    transfers = recorded_transfers = 0
    for name, *given_ in [*operations, ("write",)]:
        if name == "credit":
            file, start, length = given_
            happened.setdefault(file, SpanSet()).add(start, start + length)
            backlog.credit("grant", file, start, start + length)
        elif name == "transfer":
            transfers += 1
            backlog.transfer(RECORD)
        elif name == "segment":
            evidence = replace(ENDED, id=str(given_[0]), credited=given_[1])
            segments[evidence.id] = evidence
            backlog.segment(evidence)
        elif name == "settled":
            segments[str(given_[0])] = None
            backlog.settled(str(given_[0]))
        elif name == "used":
            backlog.used(bytes([given_[0]]), given_[1])
        elif name == "take" and not under_way and backlog.pending:
            gate.batches.append(backlog.take())
            under_way = True
        elif name == "failed" and under_way:
            backlog.failed()
            under_way = False
        elif name == "confirm" and under_way:
            batch = gate.batches[-1][1]
            for delivered in batch.delivered:
                recorded.setdefault(delivered.file, SpanSet()).update(delivered.spans)
            in_database |= {each.id: each for each in batch.segments} | dict.fromkeys(batch.settled)
            recorded_transfers += len(batch.transfers)
            backlog.confirm()
            under_way = False
        elif name == "lost":
            gate.journal.clear()
            backlog.journal_lost()
        elif name == "recover":
            happened.setdefault(9, SpanSet()).add(0, 10)
            gate.recover(Recovered(credits={("grant", 9): SpanSet([(0, 10)])}, gates=["old"]))
        elif name == "write":
            gate.write()
            held = {file: SpanSet(spans) for file, spans in recorded.items()}
            for (kind, key), value in gate.journal.items():
                if kind == CREDIT:
                    held.setdefault(int(key.rpartition("/")[2]), SpanSet()).update(value)
            assert held == happened
            assert sum(kind == TRANSFER for kind, _ in gate.journal) + recorded_transfers == transfers
            known = in_database | {key: value for (kind, key), value in gate.journal.items() if kind == SEGMENT}
            assert {id_: known.get(id_) for id_ in segments} == segments
            assert {key for kind, key in gate.journal if kind == USE} == {token.hex() for token in backlog._uses}
