"""When the journal is written, and what is done when it takes nothing."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ftpgate.delivery import journal_file
from ftpgate.delivery import journal_writer as module
from ftpgate.delivery.backlog import Backlog
from ftpgate.delivery.journal import Journal
from ftpgate.delivery.journal_file import LIVE, NAME, broken
from ftpgate.delivery.journal_rows import CREDIT, LEFT, TRANSFER, Changes, Recovered
from ftpgate.delivery.journal_writer import JournalWriter
from ftpgate.delivery.live_table import FIRST_ROWS, NO_SLOT, LiveTable
from ftpgate.errors import GateError, Unavailable
from tests.ftpgate.delivery.test_journal import BREAKAGES, RECORD, Gate, rows
from tests.ftpgate.delivery.test_live_table import RUNNING, files_no_larger_than


class Writer:
    """A writer with a real journal; time passes, and threads work, when they are told to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls: list[tuple[float, Callable[[], None]]] = []
        self.jobs: list[tuple[Callable[[], Any], Callable[[Any, GateError | None], None]]] = []
        self.busy = False
        self.recovered: list[Recovered] = []
        self.backlog = Backlog("gate", journaled=True)
        self.table = LiveTable(folder / LIVE / "gate.bin")
        self.journal = Journal(folder, "gate")
        self.writer = JournalWriter(
            self.backlog, self.journal, self, lambda seconds, call: self.calls.append((seconds, call)),
            table=self.table, recover=self._recover,
        )  # fmt: skip

    def _recover(self, recovered: Recovered) -> None:
        self.recovered.append(recovered)
        self.backlog.recover(recovered)

    def submit(self, work: Callable[[], Any], done: Callable[[Any, GateError | None], None]) -> None:
        if self.busy:
            raise Unavailable()
        self.jobs.append((work, done))

    def work(self) -> int:
        """Let threads do what they were given, and what comes of it; returns how many jobs that were."""
        count = 0
        while self.jobs:
            work, done = self.jobs.pop(0)
            done(work(), None)
            count += 1
        return count

    def round(self) -> None:
        """The next writing is due."""
        self.writer._write()
        self.work()

    def tick(self) -> int:
        self.writer._tick()
        return self.work()

    def credit(self, file: int = 7) -> None:
        self.backlog.credit("grant", file, 0, 10)
        self.writer.schedule()

    def keys(self) -> list[str]:
        return [key for _, _, key, _ in rows(self.folder)]


@pytest.fixture
def unstarted(tmp_path: Path) -> Iterator[Writer]:
    writer = Writer(tmp_path)
    yield writer
    writer.writer.close()


@pytest.fixture
def writer(unstarted: Writer) -> Writer:
    unstarted.writer.start()
    return unstarted


def test_what_changes_is_written_soon_and_deleted_when_it_is_recorded(writer: Writer) -> None:
    before = len(writer.calls)
    writer.credit()
    writer.credit()
    (due,) = writer.calls[before:]
    assert due[0] <= 0.2
    writer.round()
    assert writer.keys() == ["grant/7"]
    writer.backlog.take()
    writer.backlog.confirm()
    writer.round()
    assert writer.keys() == []
    assert writer.writer.health() == ""


def test_what_comes_during_a_writing_is_in_the_next(writer: Writer) -> None:
    writer.credit(7)
    writer.writer._write()
    writer.credit(8)
    writer.work()
    assert writer.keys() == ["grant/7"]
    assert writer.writer._alarm.pending
    writer.round()
    assert writer.keys() == ["grant/7", "grant/8"]


def test_what_was_written_is_synced_once_and_an_idle_gate_leaves_the_disk_alone(
    writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []
    monkeypatch.setattr(journal_file.JournalFile, "sync", lambda journal: synced.append(journal))
    monkeypatch.setattr(module, "LOOK_EVERY", 0.0)
    writer.credit()
    writer.round()
    for _ in range(3):
        writer.tick()
    assert len(synced) == 1


def test_a_sync_that_fails_is_told_and_everything_written_anew(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    def sync(journal: Journal) -> None:
        raise journal_file.JournalError("Input/output error")

    writer.credit()
    writer.round()
    with monkeypatch.context() as patched:
        patched.setattr(journal_file.JournalFile, "sync", sync)
        writer.tick()
    assert writer.writer.health() == "the journal takes nothing (Input/output error)"
    writer.round()
    assert writer.writer.health() == ""
    assert writer.keys() == ["grant/7"]


def test_a_journal_that_takes_nothing_is_told_once_and_tried_again(unstarted: Writer, caplog: pytest.LogCaptureFixture) -> None:
    """A folder is where it should be; the gate goes on, and catches up as soon as it can."""
    writer = unstarted
    (writer.folder / NAME).mkdir()
    writer.writer.start()
    assert writer.writer.health().startswith("the journal takes nothing (")
    before = len(writer.calls)
    writer.credit(7)
    writer.credit(8)
    assert len(writer.calls) == before, "it is tried again in its time"
    writer.round()
    assert [each.levelno for each in caplog.records] == [logging.ERROR]
    assert writer.writer.failures == 2
    (writer.folder / NAME).rmdir()
    writer.round()
    assert writer.writer.health() == ""
    assert writer.keys() == ["grant/7", "grant/8"]


def test_a_full_disk_is_told_and_overcome(writer: Writer) -> None:
    writer.credit(1)
    writer.round()
    spans = [(number * 10, number * 10 + 5) for number in range(20_000)]
    for start, end in spans:
        writer.backlog.credit("grant", 2, start, end)
    writer.backlog.take()
    writer.backlog.failed()
    with files_no_larger_than(100_000):
        writer.round()
        assert writer.writer.health().startswith("the journal takes nothing (")
    writer.round()
    assert writer.writer.health() == ""
    assert writer.keys() == ["grant/1", "grant/2"]


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_a_broken_journal_is_replaced_by_a_new_one_with_all_that_waits(unstarted: Writer, breakage: str) -> None:
    writer = unstarted
    writer.journal.write(Changes([(CREDIT, "grant/1", ((0, 10),))]))
    writer.journal.file.close()
    BREAKAGES[breakage](writer.folder / NAME)
    writer.writer.start()
    writer.credit()
    assert 0.0 in [seconds for seconds, _ in writer.calls], "it is not tried again at once"
    writer.round()
    assert writer.writer.health() == ""
    assert writer.keys() == ["grant/7"]
    assert len(broken(writer.folder)) == writer.writer.set_aside == 1


def test_a_journal_that_somebody_else_replaced_gets_all_that_waits(writer: Writer) -> None:
    writer.credit(7)
    writer.round()
    for path in writer.folder.glob(f"{NAME}*"):
        path.unlink()
    writer.credit(8)
    writer.round()
    writer.round()
    assert writer.keys() == ["grant/7", "grant/8"]


def test_a_journal_without_room_gives_up_history_and_keeps_what_was_delivered(
    unstarted: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_file, "BYTES", 200_000)
    writer = unstarted
    writer.writer.start()
    for _ in range(500):
        writer.backlog.transfer(replace(RECORD, path="p" * 1_000))
    writer.credit()
    writer.round()
    writer.round()
    assert writer.keys() == ["grant/7"]
    assert "the journal is full" in writer.writer.health()
    writer.backlog.take()
    writer.backlog.confirm()
    writer.round()
    assert writer.writer.health() == ""
    writer.backlog.transfer(RECORD)
    writer.round()
    assert [(kind, len(rows(writer.folder))) for _, kind, _, _ in rows(writer.folder)] == [(TRANSFER, 1)]


def test_a_disk_that_does_not_answer_is_told(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    writer.credit()
    writer.writer._write()
    assert writer.writer.health() == ""
    monkeypatch.setattr(module, "STALLED", 0.0)
    assert writer.writer.health() == "the disk of the journal does not answer"
    writer.work()
    assert writer.writer.health() == ""


def test_threads_that_are_busy_lose_nothing(writer: Writer) -> None:
    writer.credit()
    writer.busy = True
    writer.round()
    assert writer.writer.health()
    writer.busy = False
    writer.round()
    assert writer.keys() == ["grant/7"]


def test_what_ended_gates_left_is_taken_over_at_the_start(unstarted: Writer) -> None:
    old = Gate(unstarted.folder, "old")
    old.credit((0, 10))
    old.table.add(RUNNING)
    old.end()
    unstarted.writer.start()
    (recovered,) = unstarted.recovered
    assert (list(recovered.credits), list(recovered.left)) == ([("grant", 7)], [RUNNING.id])
    assert unstarted.backlog.recovered("grant") == ({7: ((0, 10),)}, (replace(RUNNING, exact=True),))
    unstarted.backlog.segment(recovered.left[RUNNING.id])
    unstarted.backlog.take()
    unstarted.backlog.confirm()
    unstarted.round()
    assert unstarted.keys() == []


def test_what_a_gate_leaves_that_ends_later_is_taken_over_then(writer: Writer) -> None:
    old = Gate(writer.folder, "old")
    old.credit((0, 10))
    writer.tick()
    assert not writer.recovered
    old.end()
    writer.tick()
    assert [list(recovered.credits) for recovered in writer.recovered] == [[("grant", 7)]]
    assert rows(writer.folder) == [("gate", CREDIT, "grant/7", [[0, 10]])]


def test_what_a_gate_leaves_that_stops_later_is_taken_over_soon(writer: Writer) -> None:
    """Its table is gone with it; what the database did not take is in the journal alone."""
    old = Gate(writer.folder, "old")
    old.credit((0, 10))
    writer.tick()
    old.table.close()
    old.journal.file.close()
    writer.writer._looked_at = 0.0
    writer.tick()
    assert [list(recovered.credits) for recovered in writer.recovered] == [[("grant", 7)]]


def test_a_broken_journal_keeps_nobody_from_taking_over_what_ran(unstarted: Writer) -> None:
    old = Gate(unstarted.folder, "old")
    old.table.add(RUNNING)
    old.end()
    (unstarted.folder / NAME).write_bytes(b"x" * 5_000)
    unstarted.writer.start()
    assert [list(recovered.left) for recovered in unstarted.recovered] == [[RUNNING.id]]
    assert [(kind, key) for _, kind, key, _ in rows(unstarted.folder)] == [(LEFT, RUNNING.id)]


def test_a_gate_without_a_lock_writes_nothing_that_another_one_would_take(unstarted: Writer) -> None:
    writer = unstarted
    (writer.folder / LIVE).write_text("in the way")
    writer.writer.start()
    writer.credit()
    writer.round()
    assert "live" in writer.writer.health()
    assert not (writer.folder / NAME).exists()
    (writer.folder / LIVE).unlink()
    writer.round()
    writer.tick()
    assert writer.writer.health() == ""
    assert writer.keys() == ["grant/7"]
    assert writer.table.rows == FIRST_ROWS


def test_the_table_of_running_transfers_gets_more_rows_in_time(writer: Writer) -> None:
    for _ in range(FIRST_ROWS * 3 // 4):
        writer.table.add(RUNNING)
    writer.tick()
    assert writer.table.rows == 2 * FIRST_ROWS


def test_a_table_without_room_is_told_and_tried_again(writer: Writer) -> None:
    while writer.table.add(RUNNING) != NO_SLOT:
        pass
    with files_no_larger_than(FIRST_ROWS * 256):
        writer.tick()
        assert "running transfers are not kept" in writer.writer.health()
        assert writer.writer.running_left_out == 1
    writer.tick()
    assert writer.writer.health() == ""
    assert writer.table.add(RUNNING) != NO_SLOT


def test_at_the_end_everything_is_written_and_synced(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    done, synced = [], []
    monkeypatch.setattr(journal_file.JournalFile, "sync", lambda journal: synced.append(journal))
    writer.credit(7)
    writer.credit(8)
    writer.backlog.transfer(RECORD)
    writer.writer._write()
    writer.writer.finish(lambda: done.append(True))
    writer.work()
    assert done == [True]
    assert synced
    assert writer.keys() == ["grant/7", "grant/8", "gate/1"]
    assert writer.writer.outcome() == ("20 delivered bytes of 2 files, 1 ended transfers", "")
    writer.writer.close()
    assert not list((writer.folder / LIVE).iterdir())


def test_after_the_end_nothing_is_begun_that_the_process_would_not_wait_for(writer: Writer) -> None:
    writer.writer.finish(lambda: None)
    writer.work()
    writer.backlog.transfer(RECORD)
    writer.writer._tick()
    writer.writer._write()
    assert not writer.jobs
    writer.writer.close()
    assert not list((writer.folder / LIVE).iterdir())


def test_at_the_end_what_is_lost_is_named(writer: Writer) -> None:
    done = []
    writer.credit()
    writer.backlog.transfer(RECORD)
    writer.journal.file.close()
    shutil.rmtree(writer.folder)
    writer.writer.finish(lambda: done.append(True))
    writer.work()
    assert done == [True]
    assert writer.writer.outcome() == ("", "10 delivered bytes of 1 files, 1 ended transfers")
    assert writer.writer.health()


def test_at_the_end_history_that_had_no_room_is_named(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_file, "BYTES", 200_000)
    writer.journal.file.close()
    for _ in range(500):
        writer.backlog.transfer(replace(RECORD, path="p" * 1_000))
    writer.credit()
    writer.writer.finish(lambda: None)
    writer.work()
    writer.round()
    assert writer.writer.outcome() == ("10 delivered bytes of 1 files", "500 ended transfers")
