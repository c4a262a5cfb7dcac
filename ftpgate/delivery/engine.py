"""All transfers of one gate, and the one clock that looks after them.

A transfer that is being sent looks after itself. One that is written, or stands at a line, is looked at many times a second
until the client has acknowledged; thousands of connections need no timer of their own for that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from ftpgate.access.ledger import Ledger
from ftpgate.access.open_grant import OpenGrant
from ftpgate.delivery.files import FileStore
from ftpgate.delivery.newcomers import Newcomers
from ftpgate.delivery.sections import BodyPart, EvidenceTable
from ftpgate.delivery.transfer import Carrier, Transfer
from ftpgate.grants import TransferInfo
from ftpgate.net.timer import Alarm, CallLater
from ftpgate.proof.credit import Phase
from ftpgate.proof.segments import Evidence

SETTLE_EVERY = 0.02
"""Seconds between two looks at what is written and not yet acknowledged."""
LOOK_FOR = 0.004
"""Seconds of one turn of the loop for these looks; the others have theirs in the next one."""
SWEEP_EVERY = 5.0
"""Seconds between two looks at all transfers for those that are `STALLED` or `SUSPECT`."""
STALLED = 300.0
"""Seconds without a new acknowledgement after which a transfer is given up."""
SUSPECT = 30.0
"""Seconds without one after which a transfer is looked at: slow ones look at themselves every 64 KiB only."""
CHUNK = 262_144
"""Bytes per turn of an unlimited transfer: it shares the loop with the others."""

_UNSETTLED = (Phase.AT_LINE, Phase.AWAITING_ACK)

GENTLE_FOR = 0.03
GENTLE_EVERY = 0.01
GENTLE_LONGEST = 0.3
"""Seconds that a transfer waits for its client's other connections: at the least, between two looks for them, and at the most.
Measured: 30 ms alone were too short in 2 of 8 runs beside other load."""
ELSEWHERE_LONGEST = 1.5
"""Seconds that it waits for what other gates have begun under its grant: two exchanges tell that they serve it, and two what they
have begun."""


class NoEvidence:
    """An `EvidenceTable` that keeps nothing."""

    def add(self, evidence: Evidence) -> None:
        return None

    def update(self, slot: int, acknowledged: int, shown: int, hidden_bytes: int, credited: int) -> None: ...

    def offered(self, slot: int, offered: int) -> None: ...

    def written(self, slot: int, written: int, offered: int) -> None: ...

    def remove(self, slot: int) -> None: ...


class Engine:
    """Starts transfers and sees each to its end.

    Args:
        files: where descriptors come from.
        ledger: told of every ended transfer.
        call_later: the loop's.
        evidence: where the evidence of running segments is kept for the case that this process is killed.
        name: of this gate; unique over all gates and restarts.
    """

    def __init__(
        self, files: FileStore, ledger: Ledger, call_later: CallLater, *,
        chunk: int = CHUNK, evidence: EvidenceTable | None = None, name: str = "gate",
    ) -> None:  # fmt: skip
        self.files = files
        self.evidence: EvidenceTable = evidence or NoEvidence()
        self.newcomers = Newcomers()
        self._name = name
        self._segments = 0
        self.chunk = chunk
        self.transfers: set[Transfer] = set()
        self.delivered = 0
        """Bytes acknowledged by all transfers that have ended; for the metrics."""
        self.outcomes: dict[str, int] = {}
        self._ledger = ledger
        self._call_later = call_later
        self._settling: dict[Transfer, None] = {}
        """Who was looked at longest ago comes first."""
        self._clock = Alarm(call_later, self._tick)
        self._on_idle: Callable[[], None] | None = None
        call_later(SWEEP_EVERY, self._sweep)

    def start(
        self, carrier: Carrier, grant: OpenGrant, parts: Sequence[BodyPart], *,
        item: str, path: str, protocol: str, peer: str, client: str = "",
    ) -> Transfer:  # fmt: skip
        """Begin to send `parts` over `carrier`. Everything after that is told to the carrier.

        Args:
            item: the item's id, and `path` the resource's path in the grant, for the records.
            protocol: `ftp`, `ftps`, `http` or `https`.
            peer: the client's address.
            client: what the client calls itself.
        """
        transfer = Transfer(self, carrier, grant, parts, TransferInfo(item, path, protocol, peer, client[:200]))
        self.transfers.add(transfer)
        grant.transfers.add(transfer)
        grant.customer.transfers.add(transfer)
        transfer.begin()
        return transfer

    def new_segment(self) -> str:
        """An id for a segment that begins."""
        self._segments += 1
        return f"{self._name}-{self._segments}"

    def wait_for_others(self, peer: str, grant: OpenGrant, come: Callable[[], None]) -> None:
        """Call `come` after a short while, and not before connections of a client at `peer` that are on their way have come, or
        before it is known what other gates had begun under `grant` by now."""
        began = time.monotonic()

        def look() -> None:
            now = time.monotonic()
            here = now - began < GENTLE_LONGEST and self.newcomers.expected(peer, now)
            if here or (now - began < ELSEWHERE_LONGEST and grant.known_until < began):
                self._call_later(GENTLE_EVERY, look)
            else:
                come()

        self._call_later(GENTLE_FOR, look)

    def settle(self, transfer: Transfer) -> None:
        """`transfer` stands at a line, or is written: watch for its acknowledgement."""
        self._settling[transfer] = None
        self._tick_by(time.monotonic() + SETTLE_EVERY)

    def ended(self, transfer: Transfer) -> None:
        """`transfer` has its outcome."""
        self.transfers.discard(transfer)
        self._settling.pop(transfer, None)
        transfer.grant.transfers.discard(transfer)
        transfer.grant.customer.transfers.discard(transfer)
        self.delivered += transfer.credit.acknowledged
        record = transfer.record()
        self.outcomes[record.outcome] = self.outcomes.get(record.outcome, 0) + 1
        self._ledger.transfer(record)
        if self._on_idle is not None and not self.transfers:
            self._on_idle()

    def when_idle(self, call: Callable[[], None]) -> None:
        """Call once no transfer is left, at once if there is none: the way to drain."""
        self._on_idle = call
        if not self.transfers:
            call()

    def abort_all(self) -> None:
        """End everything that still runs, by reset."""
        for transfer in tuple(self.transfers):
            transfer.cut()

    def _tick_by(self, when: float) -> None:
        self._clock.within(max(when - time.monotonic(), 0.001))

    def _tick(self) -> None:
        began = now = time.monotonic()
        for transfer in tuple(self._settling):
            if transfer not in self._settling:
                continue  # it has ended with one before it
            transfer.look(now)
            if self._settling.pop(transfer, transfer) is None and transfer.credit.phase in _UNSETTLED:
                self._settling[transfer] = None
            now = time.monotonic()
            if now - began > LOOK_FOR:
                return self._tick_by(now)
        if self._settling:
            self._tick_by(began + SETTLE_EVERY)

    def _sweep(self) -> None:
        """Find the stalled ones; a client that takes nothing must not keep its place for ever."""
        self._call_later(SWEEP_EVERY, self._sweep)
        self.files.tidy()
        now = time.monotonic()
        for transfer in tuple(self.transfers):
            if now - transfer.moved_at > SUSPECT:
                transfer.look(now)
            if now - transfer.moved_at <= STALLED:
                continue
            if transfer.credit.phase is Phase.AWAITING_READ:
                transfer.cut("unproven")  # another one may be on its way behind it
            else:
                transfer.cut("stalled")
