"""The ledger: what was delivered goes to the database, in batches, from one thread, and is never forgotten on the way.

At most one transaction a second, none when nothing moved, at once when an item seems complete. What happened waits in the
`Backlog` until the database has confirmed it, and in the journal as well, for the case that the gate ends before.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence

from ftpgate.access.ledger import GrantListener
from ftpgate.delivery.backlog import Backlog
from ftpgate.delivery.journal_rows import Recovered
from ftpgate.errors import GateError
from ftpgate.grants import Bridge, GrantStatus, TransferRecord
from ftpgate.net.executor import Executor
from ftpgate.net.timer import Alarm, CallLater
from ftpgate.proof.coverage import Span
from ftpgate.proof.segments import Evidence

_log = logging.getLogger(__name__)

EVERY = 0.9
"""Seconds between two transactions; what is credited is recorded within one."""
GATHER = 0.05
"""Seconds that the first credit after a quiet time waits for others."""
LONGEST_PAUSE = 8.0
"""Seconds between two tries at the most."""
STALLED = 5.0
"""Seconds after which a transaction that is still under way counts as one that the database does not answer."""
RECOVERED_FOR = 60.0
"""Seconds that what was recovered is told of after the database has it: a look-up may have begun before."""
ASK_EVERY = 5.0
"""Seconds between two rounds of `GrantListener.recover`."""
ASK_AT_ONCE = 64
"""Grants in one round."""


class LedgerWriter:
    """Collects on the loop, writes in a thread.

    Args:
        bridge: the shop; only `record` is called, off the loop.
        gate: this gate's id.
        offloop: one thread.
        call_later: the loop's.
        backlog: where what happened waits; one without a journal when left out.
    """

    def __init__(
        self, bridge: Bridge, gate: str, executor: Executor, call_later: CallLater, backlog: Backlog | None = None
    ) -> None:
        self._bridge = bridge
        self._executor = executor
        self._backlog = Backlog(gate) if backlog is None else backlog
        self._alarm = Alarm(call_later, self._write)
        self._asking = Alarm(call_later, self._ask)
        self._forgetting = Alarm(call_later, self._forget_recovered)
        self._writing = False
        self._began = self._written_at = 0.0
        self._pause = 0.0
        self._since = self._taken_since = 0.0
        self.failing_since: float | None = None
        """Unix time of the first of the latest failures in a row, or None while the database answers."""
        self.transactions = 0
        self._listener: GrantListener | None = None

    def report_to(self, listener: GrantListener) -> None:
        """Tell `listener` of what the database, and ended gates, know of grants."""
        self._listener = listener

    @property
    def backlog(self) -> int:
        """Files with ranges, ended transfers and segments that are not recorded yet."""
        return self._backlog.rows

    @property
    def pending(self) -> bool:
        """Is something on its way to the database, or to be sent there?"""
        return self._writing or self._backlog.pending

    @property
    def waiting_since(self) -> float | None:
        """Unix time from which on something has not been confirmed; None when all is."""
        return (self._taken_since or self._since or None) if self.pending else None

    @property
    def stalled(self) -> bool:
        """Does the database leave a transaction without an answer?"""
        return self._writing and time.monotonic() - self._began >= STALLED

    # -- what happens

    def credit(self, grant: str, file: int, start: int, end: int) -> None:
        """Bytes `[start, end)` of a file were delivered under a grant."""
        self._backlog.credit(grant, file, start, end)
        self._moved()

    def transfer(self, record: TransferRecord) -> None:
        """A transfer has ended."""
        self._backlog.transfer(record)
        self._moved()

    def used(self, token: bytes) -> None:
        """A token, by its digest, has let a client in: not worth a transaction of its own."""
        self._backlog.used(token, time.time())

    def segment(self, evidence: Evidence) -> None:
        """A segment ended without proof, or what is known of it has changed."""
        self._backlog.segment(evidence)
        self._moved()

    def settled(self, id_: str) -> None:
        """Nothing of a segment is unconfirmed any more."""
        self._backlog.settled(id_)
        self._moved()

    def flush_soon(self) -> None:
        """An item seems complete: do not wait for the next round."""
        if not self._pause:
            self._schedule(now=True)

    # -- what ended gates have left

    def recover(self, recovered: Recovered) -> None:
        """Take on what they left."""
        self._backlog.recover(recovered)
        self._moved()
        self._asking.within(0.0)

    def recovered(self, grant: str) -> tuple[Mapping[int, Sequence[Span]], Sequence[Evidence]]:
        """What they left of a grant and a look-up may not find in the database yet.

        Returns coverage by `File.id`, in bytes of the file, and segments without proof. Those that ran when their gate ended
        have no `unconfirmed` yet, and the coverage lacks what was `credited` to them: both take the grant's tree to know.
        """
        return self._backlog.recovered(grant)

    def forget(self, grant: str) -> None:
        """There is no such grant any more."""
        self._backlog.forget(grant)
        self._moved()

    def _ask(self) -> None:
        """Have the grants opened that nobody may ever open again."""
        grants = list(self._backlog.unjudged())
        if not grants:
            return
        self._asking.within(ASK_EVERY)
        if self.failing_since is None and self._listener is not None:
            for grant in grants[:ASK_AT_ONCE]:
                self._listener.recover(grant)

    # -- writing

    def flush(self) -> bool:
        """Write what is pending without waiting for its time; False when there is nothing to write and nothing on its way."""
        self._pause = 0.0
        self._write(uses=True)
        return self._writing

    def _moved(self) -> None:
        if not self._since:
            self._since = time.time()
        self._schedule()
        self._backlog.marks.tell()

    def _schedule(self, *, now: bool = False) -> None:
        if self._writing:
            if now:
                self._written_at = 0.0  # as soon as this one is through
            return
        rest = self._written_at + max(EVERY, self._pause) - time.monotonic()
        self._alarm.within(0.0 if now else max(rest, GATHER))

    def _write(self, *, uses: bool = False) -> None:
        if self._writing or not (self._backlog.pending or (uses and self._backlog.used_only)):
            return
        gate, batch = self._backlog.take()
        self._writing = True
        self._taken_since, self._since = self._since, 0.0
        self._began = self._written_at = time.monotonic()
        try:
            self._executor.submit(lambda: self._bridge.record(gate, batch), self._recorded)
        except GateError as error:
            self._recorded(None, error)

    def _recorded(self, statuses: Sequence[GrantStatus] | None, error: GateError | None) -> None:
        self._writing = False
        if error is not None:
            self._failed(error)
        else:
            self._confirmed()
            if statuses and self._listener is not None:
                self._listener.changed(statuses)
        if self._backlog.pending:
            self._since = self._since or self._taken_since
            self._schedule(now=self._backlog.inherited and not self._pause)
        self._taken_since = 0.0
        self._backlog.marks.tell()

    def _failed(self, error: GateError) -> None:
        self._backlog.failed()
        self._since = self._taken_since
        if self.failing_since is None:
            self.failing_since = time.time()
            _log.error("the database does not take what was delivered (%s); it is kept and tried again", error)
        self._pause = min(max(self._pause * 2, 1.0), LONGEST_PAUSE)
        self._written_at = time.monotonic()

    def _confirmed(self) -> None:
        dropped = self._backlog.dropped
        self._backlog.confirm()
        self.transactions += 1
        if self.failing_since is not None:
            _log.warning("the database is back after %d s; nothing delivered was lost", time.time() - self.failing_since)
            if dropped:
                _log.warning("%d ended transfers were dropped from the history meanwhile", dropped)
            self.failing_since, self._pause = None, 0.0
        if self._backlog.recovered_recorded:
            self._forgetting.within(RECOVERED_FOR)

    def _forget_recovered(self) -> None:
        if self._backlog.recovered_recorded:
            self._backlog.forget_recovered()
