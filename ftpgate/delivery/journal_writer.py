"""Keeps the journal up to date with the backlog, and the table of running transfers in room, off the loop."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftpgate.delivery.backlog import Backlog, Waiting
from ftpgate.delivery.journal import Journal
from ftpgate.delivery.journal_file import JournalError
from ftpgate.delivery.journal_rows import Changes, Recovered
from ftpgate.delivery.live_table import LiveTable
from ftpgate.errors import GateError
from ftpgate.net.executor import Executor
from ftpgate.net.timer import Alarm, CallLater

_log = logging.getLogger(__name__)

EVERY = 0.1
"""Seconds that what was credited waits before it is written; it is in the journal within 0.2."""
SHARE = 10
"""Of the processor's time, a tenth at the most goes into the journal, however slow that makes it."""
SYNC_EVERY = 0.8
"""Seconds between two syncs while something is written; a loss of power costs one at the most. As often is looked for gates that
were killed: their clients come to one that runs at once, and what had been sent to them proves what they hold."""
LOOK_EVERY = 5.0
"""Seconds between two looks into the journal for gates that have ended: one that stops while another runs may leave something."""
RETRY = 10.0
"""Seconds before a journal that takes nothing is tried again."""
STALLED = 5.0
"""Seconds after which a writing that is still under way counts as one that the disk does not answer."""


@dataclass(slots=True)
class _Done:
    """What a writing has come to."""

    changes: Changes
    seconds: float = 0.0
    anew: bool = False
    """Everything was written."""
    last: bool = False
    """It was begun after `finish`, and synced."""
    moved: bool = False
    """The journal is another file than before."""
    error: JournalError | None = None


class JournalWriter:
    """Collects on the loop, writes in threads.

    Args:
        backlog: whose changes are written.
        journal: where to.
        offloop: two threads, one of which may have to wait for the disk.
        call_later: the loop's.
        table: of the running transfers. Only a gate that holds it writes into the journal: another one would take its rows over.
        recover: told, on the loop, of what gates that have ended left.
    """

    def __init__(
        self, backlog: Backlog, journal: Journal, executor: Executor, call_later: CallLater, *,
        table: LiveTable, recover: Callable[[Recovered], None],
    ) -> None:  # fmt: skip
        self._backlog = backlog
        self._journal = journal
        self._executor = executor
        self._table = table
        self._recover = recover
        self._alarm = Alarm(call_later, self._write)
        self._call_later = call_later
        self._writing = self._syncing = self._reserving = False
        self._unsynced = False
        self._began = self._looked_at = 0.0
        self._rest = EVERY
        self._finished: Callable[[], None] | None = None
        self._over = self._saved = False
        self.problem = ""
        """Why the journal takes nothing; '' while it does."""
        self.table_problem = ""
        """Why the table of running transfers has no more room."""
        self.failures = 0
        """How often the journal took nothing."""
        backlog.marks.watch(self.schedule)

    def start(self) -> None:
        """Take over what ended gates have left, and write from now on. May block: called before the loop runs."""
        try:
            self._table.extend(self._table.reserve(self._table.wanted))
        except OSError as error:
            self._no_room(f"{self._table.path}: {error.strerror}")
        for _ in range(2):
            recovered = Recovered()
            done = self._look_off_loop(recovered, closely=True)
            self._looked(recovered, done, None)
            if done.error is None or not done.error.set_aside:
                break
        self._call_later(SYNC_EVERY, self._tick)

    @property
    def rows(self) -> int:
        """Rows of this gate in the journal."""
        return len(self._backlog.marks)

    @property
    def bytes(self) -> int:
        """Bytes of the journal that hold something, of all gates."""
        return self._journal.file.bytes

    @property
    def set_aside(self) -> int:
        """Broken files that this gate has set aside."""
        return self._journal.file.set_aside

    @property
    def running_left_out(self) -> int:
        """Transfers that were not kept while they ran, for want of room."""
        return self._table.left_out

    @property
    def path(self) -> Path:
        return self._journal.file.path

    def health(self) -> str:
        """What is wrong, in one line; '' when nothing is."""
        if self.problem:
            return f"the journal takes nothing ({self.problem})"
        if self._writing and time.monotonic() - self._began >= STALLED:
            return "the disk of the journal does not answer"
        if self._backlog.transfers_left_out:
            return "the journal is full: the history of ended transfers is not kept in it"
        return self.table_problem and f"running transfers are not kept ({self.table_problem})"

    def schedule(self) -> None:
        """The backlog has changed."""
        if not (self._alarm.pending or self._writing or self.problem):
            self._alarm.within(self._rest)

    def finish(self, done: Callable[[], None]) -> None:
        """Write all that is left, bring it to the disk, then call `done`; nothing is written after that."""
        self._finished = done
        if not self._writing:
            self._write()

    def outcome(self) -> tuple[str, str]:
        """After `finish`, in words: what the database has not taken and is kept, and what is lost. '' for nothing."""
        waiting = self._backlog.waiting()
        dropped = self._backlog.dropped
        if not self._saved:
            return "", str(waiting._replace(transfers=waiting.transfers + dropped))
        if self._backlog.transfers_left_out:
            waiting, dropped = waiting._replace(transfers=0), waiting.transfers + dropped
        return str(waiting), str(Waiting(transfers=dropped))

    def close(self) -> None:
        """At the end of the process, when the threads have ended."""
        if self._writing:
            return  # a thread waits for the disk, and closing would as well
        self._journal.file.close()
        self._table.close()

    # -- rounds

    def _write(self) -> None:
        if self._writing or self._over:
            return
        anew = bool(self.problem)
        if anew:
            self._backlog.journal_lost()
        last = self._finished is not None
        began = time.perf_counter()
        changes = self._backlog.changes()
        spent = time.perf_counter() - began
        self._submit(lambda: self._written_off_loop(changes, spent, anew=anew, last=last))

    def _written_off_loop(self, changes: Changes, spent: float, *, anew: bool, last: bool) -> _Done:
        began = time.thread_time()
        done = _Done(changes, anew=anew, last=last, moved=not anew and self._journal.file.moved())
        try:
            self._hold()
            if not done.moved:
                self._journal.write(changes, anew=anew)
                if last:
                    self._journal.file.sync()
        except JournalError as error:
            done.error = error
        done.seconds = spent + time.thread_time() - began
        return done

    def _hold(self) -> None:
        try:
            self._table.hold()
        except OSError as error:
            raise JournalError(f"{self._table.path}: {error.strerror}") from error

    def _submit(self, work: Callable[[], _Done]) -> None:
        self._writing = True
        self._began = time.monotonic()
        try:
            self._executor.submit(work, self._written)
        except GateError as error:
            self._written(None, error)

    def _written(self, done: _Done | None, failed: GateError | None) -> None:
        self._writing = False
        error = done.error if done is not None else JournalError(str(failed))
        if error is not None:
            return self._fail(error)
        assert done is not None
        self._unsynced |= bool(done.changes.put or done.changes.drop)
        self._rest = max(EVERY, done.seconds * SHARE)
        if done.moved:
            self._backlog.journal_lost()
        elif done.anew:
            _log.warning("the journal takes what the database has not confirmed again")
            self.problem = ""
        if self._finished is None:
            if self._backlog.marks.changed:
                self._alarm.within(self._rest)
        elif done.last and not done.moved:
            self._finish(saved=True)
        else:
            self._write()

    def _fail(self, error: JournalError) -> None:
        self.failures += 1
        at_once = error.set_aside
        if error.full and not self._backlog.transfers_left_out:
            _log.error("the journal is full (%s): it keeps no ended transfers until the database has taken what waits", error)
            self._backlog.transfers_left_out = at_once = True
        elif not self.problem and not error.set_aside:
            _log.error("the journal takes nothing (%s): what the database has not confirmed is lost if this gate ends", error)
        self.problem = str(error)
        if self._finished is not None and not at_once:
            return self._finish(saved=False)
        self._alarm.within(0.0 if at_once else RETRY)

    def _finish(self, *, saved: bool) -> None:
        self._over, self._saved = True, saved
        finished, self._finished = self._finished, None
        if finished is not None:
            finished()

    # -- what is done from time to time

    def _tick(self) -> None:
        if self._over:
            return
        self._call_later(SYNC_EVERY, self._tick)
        if self._unsynced and not self._syncing and not self.problem:
            self._syncing, self._unsynced = True, False
            self._aside(self._synced_off_loop, self._synced)
        if not self._reserving and self._table.wanted > self._table.rows:
            self._reserving = True
            self._aside(self._reserved_off_loop, self._reserved)
        now = time.monotonic()
        if not self._writing and not self.problem:
            closely = now - self._looked_at >= LOOK_EVERY
            self._looked_at = now if closely else self._looked_at
            self._look_for_ended(closely=closely)

    def _aside(self, work: Callable[[], Any], done: Callable[[Any, GateError | None], None]) -> None:
        try:
            self._executor.submit(work, done)
        except GateError as error:
            done(None, error)

    def _synced_off_loop(self) -> str:
        try:
            self._journal.file.sync()
        except JournalError as error:
            return str(error)
        return ""

    def _synced(self, problem: str | None, failed: GateError | None) -> None:
        self._syncing = False
        if problem or failed:
            self._fail(JournalError(problem or str(failed)))

    def _reserved_off_loop(self) -> int | str:
        try:
            return self._table.reserve(self._table.wanted)
        except OSError as error:
            return f"{self._table.path}: {error.strerror}"

    def _reserved(self, found: int | str | None, failed: GateError | None) -> None:
        self._reserving = False
        if isinstance(found, int):
            self._table.extend(found)
            self.table_problem = ""
        else:
            self._no_room(found or str(failed))

    def _no_room(self, problem: str) -> None:
        if not self.table_problem:
            _log.error(
                "no room for what is known of running transfers (%s): if this gate is killed, more is delivered twice", problem
            )
        self.table_problem = problem

    def _look_for_ended(self, *, closely: bool) -> None:
        recovered = Recovered()
        self._writing = True
        self._began = time.monotonic()
        self._aside(
            lambda: self._look_off_loop(recovered, closely=closely), lambda done, failed: self._looked(recovered, done, failed)
        )

    def _look_off_loop(self, recovered: Recovered, *, closely: bool) -> _Done:
        done = _Done(Changes(), moved=self._journal.file.moved())
        try:
            self._hold()
            if not done.moved and (closely or self._journal.has_ended_gates()):
                self._journal.take_over(recovered)
        except JournalError as error:
            done.error = error
        return done

    def _looked(self, recovered: Recovered, done: _Done | None, failed: GateError | None) -> None:
        if recovered:
            _log.warning(
                "taken over what gates that have ended left (%s): %d files with ranges, %d ended transfers, %d segments, "
                "%d transfers that ran", ", ".join(recovered.gates), len(recovered.credits), len(recovered.transfers),
                len(recovered.segments), len(recovered.left),
            )  # fmt: skip
            self._recover(recovered)
        self._written(done, failed)
