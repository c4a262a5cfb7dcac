"""The ledger: what was delivered goes to the database, in batches, from one thread, and is never forgotten on the way.

At most one transaction a second, none when nothing moved, at once when an item seems complete. When the database is
away the batch is merged back and tried again: coverage is a set of ranges, so repeats are harmless and waiting costs no
more memory than what was really delivered.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence

from ftpgate.coverage import SpanSet
from ftpgate.delivery.alarm import Alarm, CallLater
from ftpgate.delivery.files import OffLoop
from ftpgate.errors import GateError
from ftpgate.grants import Batch, Bridge, Delivered, GrantStatus, TransferRecord
from ftpgate.proof.segments import Evidence

_log = logging.getLogger(__name__)

EVERY = 0.9
"""Seconds between two transactions; what is credited is recorded within one."""
GATHER = 0.05
"""Seconds that the first credit after a quiet time waits for others."""
ROWS = 5_000
"""Files in one transaction at the most."""
RECORDS = 20_000
"""Ended transfers kept while the database is away; beyond it the oldest go, which loses history, never coverage."""
USES = 10_000
"""Tokens whose last use is kept until the next transaction."""
PATIENCE = 8.0
"""Seconds between two tries at the most."""
HANGS = 5.0
"""Seconds after which a transaction that is still under way counts as one that the database does not answer."""


class LedgerWriter:
    """Collects on the loop, writes in a thread.

    Args:
        bridge: the shop; only `record` is called, off the loop.
        gate: this gate's id.
        offloop: one thread.
        call_later: the loop's.
    """

    def __init__(self, bridge: Bridge, gate: str, offloop: OffLoop, call_later: CallLater) -> None:
        self._bridge = bridge
        self._gate = gate
        self._offloop = offloop
        self._alarm = Alarm(call_later, self._write)
        self._spans: dict[tuple[str, int], SpanSet] = {}
        self._records: deque[TransferRecord] = deque()
        self._segments: dict[str, Evidence] = {}
        self._settled: set[str] = set()
        self._uses: dict[bytes, float] = {}
        self._writing: Batch | None = None
        self._began = self._written_at = 0.0
        self._pause = 0.0
        self._lost = 0
        self.failing_since: float | None = None
        """Unix time of the first of the latest failures in a row, or None while the database answers."""
        self.transactions = 0
        self.changed: Callable[[Sequence[GrantStatus]], None] = lambda statuses: None
        """Told, on the loop, of grants whose state changed by what was written."""

    @property
    def backlog(self) -> int:
        """Files with ranges, and ended transfers, that are not recorded yet."""
        writing = len(self._writing.delivered) + len(self._writing.transfers) if self._writing else 0
        return len(self._spans) + len(self._records) + writing

    @property
    def hangs(self) -> bool:
        """Does the database leave a transaction without an answer?"""
        return self._writing is not None and time.monotonic() - self._began >= HANGS

    def credit(self, grant: str, file: int, start: int, end: int) -> None:
        spans = self._spans.get((grant, file))
        if spans is None:
            spans = self._spans[grant, file] = SpanSet()
        spans.add(start, end)
        self._schedule()

    def transfer(self, record: TransferRecord) -> None:
        if len(self._records) >= RECORDS:
            self._records.popleft()
            self._lost += 1
        self._records.append(record)
        self._schedule()

    def segment(self, evidence: Evidence) -> None:
        self._segments[evidence.id] = evidence
        self._schedule()

    def settled(self, segment: str) -> None:
        if self._segments.pop(segment, None) is None:
            self._settled.add(segment)
            self._schedule()

    def used(self, token: bytes) -> None:
        if len(self._uses) < USES or token in self._uses:
            self._uses[token] = time.time()

    def flush_soon(self) -> None:
        if not self._pause:
            self._schedule(now=True)

    def flush(self) -> bool:
        """Write what is pending without waiting for its time; False when there is nothing to write and nothing on its way."""
        self._pause = 0.0
        self._write()
        return self._writing is not None

    def _schedule(self, *, now: bool = False) -> None:
        if self._writing is not None:
            if now:
                self._written_at = 0.0  # as soon as this one is through
            return
        rest = self._written_at + max(EVERY, self._pause) - time.monotonic()
        self._alarm.within(0.0 if now else max(rest, GATHER))

    def _write(self) -> None:
        if self._writing is not None or not self._pending:
            return
        chosen = list(self._spans)[:ROWS]
        delivered = tuple(Delivered(grant, file, tuple(self._spans.pop((grant, file)))) for grant, file in chosen)
        records = tuple(self._records.popleft() for _ in range(min(len(self._records), ROWS)))
        uses, self._uses = self._uses, {}
        segments, self._segments = tuple(self._segments.values()), {}
        settled, self._settled = tuple(self._settled), set()
        batch = Batch(delivered=delivered, segments=segments, settled=settled, transfers=records, uses=uses)
        self._writing = batch
        self._began = self._written_at = time.monotonic()
        try:
            self._offloop.submit(lambda: self._bridge.record(self._gate, batch), self._recorded)
        except GateError as error:
            self._recorded(None, error)

    def _recorded(self, statuses: Sequence[GrantStatus] | None, error: GateError | None) -> None:
        batch, self._writing = self._writing, None
        assert batch is not None
        if error is not None:
            self._put_back(batch)
            if self.failing_since is None:
                self.failing_since = time.time()
                _log.error("the database does not take what was delivered (%s); it is kept and tried again", error)
            self._pause = min(max(self._pause * 2, 1.0), PATIENCE)
            self._written_at = time.monotonic()
        else:
            self.transactions += 1
            if self.failing_since is not None:
                _log.warning("the database is back after %d s; nothing delivered was lost", time.time() - self.failing_since)
                if self._lost:
                    _log.warning("%d ended transfers were dropped from the history meanwhile", self._lost)
                self.failing_since, self._pause, self._lost = None, 0.0, 0
            if statuses:
                self.changed(statuses)
        if self._pending:
            self._schedule()

    @property
    def _pending(self) -> bool:
        return bool(self._spans or self._records or self._segments or self._settled)

    def _put_back(self, batch: Batch) -> None:
        for delivered in batch.delivered:
            self._spans.setdefault((delivered.grant, delivered.file), SpanSet()).update(delivered.spans)
        self._records.extendleft(reversed(batch.transfers))
        self._segments = {**{evidence.id: evidence for evidence in batch.segments}, **self._segments}
        self._settled.update(batch.settled)
        self._uses = {**batch.uses, **self._uses}
