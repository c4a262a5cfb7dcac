"""The journal's file: what it holds, what breaks it, and how the next gate takes it over."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ftpgate.delivery import journal_file
from ftpgate.delivery.journal import Journal, waiting
from ftpgate.delivery.journal_file import LIVE, NAME, JournalError
from ftpgate.delivery.journal_file import broken as set_aside
from ftpgate.delivery.journal_rows import CREDIT, LEFT, SEGMENT, TRANSFER, USE, Changes, Recovered, encode
from ftpgate.grants import TransferRecord
from ftpgate.proof.coverage import Span, SpanSet
from tests.ftpgate.delivery.test_live_table import RUNNING, files_no_larger_than, make

RECORD = TransferRecord("grant", "item", "p\u0000\ud800ath", "http", "::1", "curl", 0, 9, 9, 1.5, 2.5, "done")
ENDED = replace(RUNNING, id="gate-9", sent=2_000, exact=True, unconfirmed={7: ((1_000, 2_000),)})


class Gate:
    """What a gate has in the state folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.journal = Journal(folder, name)
        self.table = make(folder / LIVE / f"{name}.bin")
        self._ended = False

    def credit(self, *spans: Span, key: str = "grant/7") -> None:
        self.journal.write(Changes([(CREDIT, key, spans)]))

    def take_over(self) -> Recovered:
        recovered = Recovered()
        self.journal.take_over(recovered)
        return recovered

    def end(self) -> None:
        """As by `kill -9`: nothing is cleared away."""
        if not self._ended:
            self._ended = True
            self.table._map.close()
            os.close(self.table._fd)
            self.journal.file.close()


@pytest.fixture
def gates(tmp_path: Path) -> Iterator[list[Gate]]:
    found = [Gate(tmp_path, name) for name in ("first", "second", "third")]
    yield found
    for gate in found:
        gate.end()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path, "gate")
    yield journal
    journal.file.close()


def rows(folder: Path) -> list[tuple[str, str, str, object]]:
    with contextlib.closing(sqlite3.connect(folder / NAME)) as database:
        found = database.execute("SELECT gate, kind, key, value FROM entries ORDER BY gate, kind, key")
        return [(gate, kind, key, json.loads(value)) for gate, kind, key, value in found]


def test_rows_are_written_replaced_and_deleted(journal: Journal, tmp_path: Path) -> None:
    journal.write(Changes([(CREDIT, "grant/7", ((0, 10),)), (CREDIT, "grant/8", ((0, 1),)), (USE, "ab12", 7.5)]))
    journal.write(Changes([(CREDIT, "grant/7", ((0, 10), (20, 30)))], [(CREDIT, "grant/8")]))
    assert rows(tmp_path) == [("gate", CREDIT, "grant/7", [[0, 10], [20, 30]]), ("gate", USE, "ab12", 7.5)]
    journal.write(Changes([(SEGMENT, "gate-9", None)]), anew=True)
    assert rows(tmp_path) == [("gate", SEGMENT, "gate-9", None)]


def test_more_rows_than_fit_into_one_statement(journal: Journal, tmp_path: Path) -> None:
    many = [(CREDIT, f"grant/{number}", ((0, 10),)) for number in range(1_234)]
    journal.write(Changes(many))
    assert len(rows(tmp_path)) == 1_234
    journal.write(Changes([], [(kind, key) for kind, key, _ in many]))
    assert rows(tmp_path) == []


def test_its_files_are_private(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        gate = Gate(tmp_path, "gate")
        gate.credit((0, 10))
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    finally:
        os.umask(before)
    gate.end()
    assert modes == {NAME: 0o600, f"{NAME}-wal": 0o600, f"{NAME}-shm": 0o600, LIVE: 0o700}


def test_one_that_others_may_read_is_closed_to_them(journal: Journal, tmp_path: Path) -> None:
    (tmp_path / NAME).touch(0o644)
    journal.write(Changes())
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o600


def test_what_an_ended_gate_left_becomes_the_next_ones(gates: list[Gate], tmp_path: Path) -> None:
    first, second, _ = gates
    left = [(CREDIT, "grant/7", ((0, 10),)), (TRANSFER, "first/1", RECORD), (USE, "ab12", 7.5), (SEGMENT, "gate-9", ENDED)]
    first.journal.write(Changes([*left, (SEGMENT, "gate-8", None)]))
    slot = first.table.add(RUNNING)
    first.table.written(slot, 9_000, 9_000)
    first.table.update(slot, 8_000, 7_000, 100, 5_000)
    first.end()
    recovered = second.take_over()
    ran = replace(RUNNING, sent=9_000, acknowledged=9_000, shown=7_000, hidden_bytes=100, credited=5_000, exact=True)
    assert recovered == Recovered(
        credits={("grant", 7): SpanSet([(0, 10)])}, transfers={"first/1": RECORD}, uses={b"\xab\x12": 7.5},
        segments={"gate-9": ENDED, "gate-8": None}, left={"gate-1": ran}, gates=["first"],
    )  # fmt: skip
    assert {(gate, kind, key) for gate, kind, key, _ in rows(tmp_path)} == {
        ("second", kind, key) for kind, key, _ in [*left, (SEGMENT, "gate-8", None), (LEFT, "gate-1", ran)]
    }
    assert sorted(path.stem for path in (tmp_path / LIVE).iterdir()) == ["second", "third"]
    assert not second.take_over()


def test_nothing_is_taken_of_a_gate_that_runs(gates: list[Gate]) -> None:
    first, second, _ = gates
    first.credit((0, 10))
    first.table.add(RUNNING)
    assert not second.take_over()
    first.journal.file.close()
    assert not second.take_over(), "its journal alone says nothing"


def test_rows_without_a_table_are_of_a_gate_that_has_ended(gates: list[Gate]) -> None:
    first, second, _ = gates
    first.credit((0, 10))
    first.table.close()
    assert second.take_over().credits == {("grant", 7): SpanSet([(0, 10)])}
    first._ended = True


def test_ranges_that_two_gates_left_are_merged_with_the_own(gates: list[Gate], tmp_path: Path) -> None:
    first, second, third = gates
    first.credit((0, 10))
    second.credit((10, 20), (40, 50))
    third.credit((45, 60))
    first.end()
    second.end()
    recovered = third.take_over()
    assert recovered.credits == {("grant", 7): SpanSet([(0, 20), (40, 60)])}
    assert rows(tmp_path) == [("third", CREDIT, "grant/7", [[0, 20], [40, 60]])]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_gate_killed_while_it_takes_over_loses_nothing_and_counts_nothing_twice(
    gates: list[Gate], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Just before it deletes the table of running transfers, or before it has the transaction."""

    class Killed(BaseException):
        pass

    def kill(*_: object, **__: object) -> None:
        raise Killed

    first, second, third = gates
    first.journal.write(Changes([(CREDIT, "grant/7", ((0, 10),)), (TRANSFER, "first/1", RECORD)]))
    first.table.add(RUNNING)
    first.end()
    with monkeypatch.context() as patched:
        patched.setattr(*((Path, "unlink") if moment == "after" else (Journal, "_merge")), kill)  # type: ignore[call-overload]
        with pytest.raises(Killed):
            second.take_over()
    if moment == "after":  # it had judged what ran, which must not come back
        second.journal.write(Changes([], [(LEFT, RUNNING.id)]))
    second.end()
    recovered = third.take_over()
    assert recovered.credits == {("grant", 7): SpanSet([(0, 10)])}
    assert recovered.transfers == {"first/1": RECORD}
    assert list(recovered.left) == ([] if moment == "after" else [RUNNING.id])
    assert {gate for gate, *_ in rows(tmp_path)} == {"third"}
    assert sorted(path.stem for path in (tmp_path / LIVE).iterdir()) == ["third"]


def test_what_is_known_better_is_not_taken_from_the_table(gates: list[Gate]) -> None:
    """Its transfer had ended, and was kept as a segment, when the gate was killed."""
    first, second, _ = gates
    first.table.add(RUNNING)
    ended = replace(ENDED, id=RUNNING.id)
    first.journal.write(Changes([(SEGMENT, RUNNING.id, ended)]))
    first.end()
    recovered = second.take_over()
    assert recovered.segments == {RUNNING.id: ended}
    assert recovered.left == {}


def test_what_nobody_judged_is_handed_on(gates: list[Gate]) -> None:
    first, second, third = gates
    first.table.add(RUNNING)
    first.end()
    second.take_over()
    second.end()
    assert list(third.take_over().left) == [RUNNING.id]


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        (CREDIT, "grant/x", "[[0,10]]"), (CREDIT, "grant/7", "[0,10]"), (CREDIT, "grant/7", "{"), (TRANSFER, "first/1", "[1,2]"),
        (TRANSFER, "first/1", '["g","i","p","http","::1","",null,9,9,1,2,"done"]'), (USE, "xyz", "1"), (USE, "ab", '"soon"'),
        (SEGMENT, "gate-9", '{"id":"gate-9"}'), (LEFT, "gate-9", "null"), ("other", "x", "1"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_read_is_kept_and_stops_nothing(
    gates: list[Gate], tmp_path: Path, kind: str, key: str, value: str
) -> None:
    first, second, third = gates
    first.credit((0, 10), key="grant/1")
    with contextlib.closing(sqlite3.connect(tmp_path / NAME)) as database, database:
        database.execute("INSERT INTO entries VALUES ('first', ?, ?, 1, ?)", (kind, key, value))
    first.end()
    assert second.take_over().credits == {("grant", 1): SpanSet([(0, 10)])}
    second.end()
    assert third.take_over().credits == {("grant", 1): SpanSet([(0, 10)])}
    with contextlib.closing(sqlite3.connect(tmp_path / NAME)) as database:
        kept = database.execute("SELECT kind, key, value FROM entries WHERE gate = 'unreadable'").fetchall()
    assert kept == [(kind, key, value)]


def test_a_table_that_cannot_be_read_is_set_aside(gates: list[Gate], tmp_path: Path) -> None:
    first, second, _ = gates
    first.credit((0, 10))
    first.table.path.write_bytes(b"x" * 10_000)
    first.end()
    assert second.take_over().credits == {("grant", 7): SpanSet([(0, 10)])}
    assert [path.name for path in set_aside(tmp_path)] == ["first.broken"]


BREAKAGES = {
    "no database": lambda path: path.write_bytes(b"x" * 5_000),
    "a page overwritten": lambda path: _overwrite(path),
    "another program's": lambda path: _execute(path, "PRAGMA application_id = 7"),
    "a later version's": lambda path: _execute(path, "PRAGMA user_version = 99"),
    "a table missing": lambda path: _execute(path, "DROP TABLE entries"),
}


def _overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4_096)
        file.write(b"\xff" * 4_096)


def _execute(path: Path, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute(statement)


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_a_broken_file_is_set_aside_and_another_one_made(journal: Journal, tmp_path: Path, breakage: str) -> None:
    journal.write(Changes([(CREDIT, "grant/7", ((0, 10),))]))
    journal.file.close()
    BREAKAGES[breakage](tmp_path / NAME)
    content = (tmp_path / NAME).read_bytes()
    with pytest.raises(JournalError) as caught:
        journal.write(Changes([(CREDIT, "grant/8", ((0, 10),))]))
    assert caught.value.set_aside
    (aside,) = set_aside(tmp_path)
    assert aside.read_bytes() == content
    assert journal.file.set_aside == 1
    journal.write(Changes([(CREDIT, "grant/8", ((0, 10),))]), anew=True)
    assert rows(tmp_path) == [("gate", CREDIT, "grant/8", [[0, 10]])]


def test_broken_files_do_not_become_ever_more(journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_file, "SET_ASIDE", 2)
    for _ in range(4):
        (tmp_path / NAME).write_bytes(b"x" * 5_000)
        with pytest.raises(JournalError) as caught:
            journal.write(Changes())
    assert not caught.value.set_aside
    assert "cannot be set aside" in str(caught.value)
    assert len(set_aside(tmp_path)) == 2


def test_a_gate_finds_that_another_one_has_set_the_file_aside(gates: list[Gate], tmp_path: Path) -> None:
    """Both had it in use; neither takes the other's new one for broken, or deletes its write-ahead log."""
    first, second, _ = gates
    first.credit((0, 10))
    second.credit((0, 20), key="grant/8")
    BREAKAGES["a table missing"](tmp_path / NAME)
    with pytest.raises(JournalError):
        first.credit((0, 10))
    first.credit((0, 10))
    assert not first.journal.file.moved()
    with pytest.raises(JournalError) as caught:
        second.credit((0, 20), key="grant/8")
    assert not caught.value.set_aside
    second.credit((0, 20), key="grant/8")
    BREAKAGES["a table missing"](tmp_path / NAME)
    with pytest.raises(JournalError):
        first.credit((0, 10))
    first.credit((0, 10))
    assert second.journal.file.moved()
    second.credit((0, 20), key="grant/8")
    assert not second.journal.file.moved()
    assert {(gate, key) for gate, _, key, _ in rows(tmp_path)} == {("first", "grant/7"), ("second", "grant/8")}
    assert len(set_aside(tmp_path)) == 2


def test_a_full_disk_stops_nothing_and_breaks_nothing(journal: Journal, tmp_path: Path) -> None:
    journal.write(Changes([(CREDIT, "grant/7", ((0, 10),))]))
    spans = tuple((number * 10, number * 10 + 5) for number in range(20_000))
    with files_no_larger_than(100_000), pytest.raises(JournalError) as caught:
        journal.write(Changes([(CREDIT, f"grant/{number}", spans) for number in range(8, 20)]))
    assert not caught.value.set_aside
    journal.write(Changes([(CREDIT, "grant/8", ((0, 10),))]))
    assert [(key, value) for _, _, key, value in rows(tmp_path)] == [("grant/7", [[0, 10]]), ("grant/8", [[0, 10]])]


def test_it_does_not_grow_beyond_its_bound(journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_file, "BYTES", 400_000)
    with pytest.raises(JournalError) as caught:
        journal.write(Changes([(TRANSFER, f"gate/{number}", replace(RECORD, path="p" * 1_000)) for number in range(1_000)]))
    assert caught.value.full
    journal.write(Changes([(TRANSFER, f"gate/{number}", RECORD) for number in range(10)]))
    assert len(rows(tmp_path)) == 10
    assert 0 < journal.file.bytes <= 400_000


def test_a_folder_that_nothing_can_be_written_into_is_told(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "none", "gate")
    with pytest.raises(JournalError, match="No such file"):
        journal.write(Changes())
    assert not journal.file.moved()


def test_syncing_waits_for_nobody(journal: Journal, tmp_path: Path) -> None:
    journal.file.sync()
    journal.write(Changes([(CREDIT, "grant/7", ((0, 10),))]))
    with contextlib.closing(sqlite3.connect(tmp_path / NAME, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        journal.file.sync()


def test_what_waits_is_shown_by_gate(gates: list[Gate], tmp_path: Path) -> None:
    assert waiting(tmp_path / "elsewhere") == []
    first, second, third = gates
    assert waiting(tmp_path) == []
    first.credit((0, 10))
    second.credit((0, 10))
    first.end()
    third.table.add(RUNNING)
    third.end()
    shown = {each.gate: each for each in waiting(tmp_path)}
    assert {(gate, each.rows, each.running) for gate, each in shown.items()} == {
        ("first", 1, False), ("second", 1, True), ("third", 1, False),
    }  # fmt: skip
    assert shown["first"].bytes == len("[[0,10]]")
    assert shown["first"].since > 1_700_000_000


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_whoever_asks_what_waits_hears_of_a_broken_file(journal: Journal, tmp_path: Path, breakage: str) -> None:
    journal.write(Changes([(CREDIT, "grant/7", ((0, 10),))]))
    journal.file.close()
    BREAKAGES[breakage](tmp_path / NAME)
    with pytest.raises(JournalError, match=NAME):
        waiting(tmp_path)
    assert set_aside(tmp_path) == []


def test_evidence_of_a_later_version_is_understood() -> None:
    recovered = Recovered()
    recovered.add(LEFT, "x", json.loads(encode(LEFT, ENDED)) | {"more": 1})
    assert recovered.left == {"x": ENDED}


def test_evidence_of_an_earlier_version_is_understood() -> None:
    row = json.loads(encode(LEFT, ENDED))
    recovered = Recovered()
    recovered.add(LEFT, "x", {"concealed" if name == "hidden_bytes" else name: value for name, value in row.items()})
    assert recovered.left == {"x": ENDED}
