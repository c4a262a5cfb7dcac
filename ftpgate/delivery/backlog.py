"""What happened on this gate that the database has not confirmed, and what of it the journal has still to be told. Pure.

Everything stays here until a batch with it was recorded; a batch that failed needs no putting back. Coverage is a set of ranges,
so that waiting costs no more memory than what was really delivered; the rest is bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

from ftpgate.delivery.journal_marks import NOTHING, JournalMarks, Mark
from ftpgate.delivery.journal_rows import CREDIT, LEFT, SEGMENT, TRANSFER, USE, Changes, Recovered
from ftpgate.grants import Batch, Delivered, TransferRecord
from ftpgate.proof.coverage import Span, SpanSet
from ftpgate.proof.segments import Evidence

ROWS = 5_000
"""Files, and again transfers and segments, in one batch at the most."""
RECORDS = 20_000
"""Ended transfers kept while the database is away; beyond it the oldest go, which loses history, never coverage."""
SEGMENTS = 20_000
"""Segments without proof kept meanwhile; beyond it the oldest go, which costs a repeat."""
LEFT_OVER = 65_536
"""Transfers kept that ran when their gate ended and that nobody has judged; beyond it the oldest go, which costs a repeat."""
USES = 10_000
"""Tokens whose last use is kept until the next batch."""


@dataclass(slots=True)
class _Grant:
    """What was recovered of one grant."""

    coverage: dict[int, SpanSet] = field(default_factory=dict)
    evidence: dict[str, Evidence] = field(default_factory=dict)


class Waiting(NamedTuple):
    """How much the database has not confirmed; `str()` says it, '' when it is nothing."""

    files: int = 0
    bytes: int = 0
    transfers: int = 0
    segments: int = 0

    def __str__(self) -> str:
        said = [f"{self.bytes} delivered bytes of {self.files} files"] if self.files else []
        said += [f"{self.transfers} ended transfers"] if self.transfers else []
        said += [f"{self.segments} segments"] if self.segments else []
        return ", ".join(said)


class Backlog:
    """Of one gate.

    Args:
        gate: its id.
        journaled: is there a journal? Otherwise `changes` tells nothing.
    """

    def __init__(self, gate: str, *, journaled: bool = False) -> None:
        self._gate = gate
        self._spans: dict[tuple[str, int], SpanSet] = {}
        self._transfers: dict[str, TransferRecord] = {}
        self._inherited: dict[str, TransferRecord] = {}
        """Of other gates, recorded under their names: the database knows by it what it has already."""
        self._segments: dict[str, Evidence | None] = {}
        self._unseen: set[str] = set()
        """Segments that no batch has held yet: nobody has to be told that one of them is settled."""
        self._uses: dict[bytes, float] = {}
        self._left: dict[str, Evidence] = {}
        self._recovered: dict[str, _Grant] = {}
        self._batches_to_go = 0
        """Batches until everything recovered has been recorded: what has waited longest goes first."""
        self._number = 0
        self._taken: Batch | None = None
        self._taken_transfers: Sequence[str] = ()
        self._inherited_turn = False
        self.marks = JournalMarks(journaled=journaled)
        """What the journal has to be told of."""
        self.transfers_left_out = False
        """There is no room in the journal for ended transfers."""
        self.dropped = 0
        """Ended transfers that had to go since the database last confirmed anything."""

    # -- what happens

    def credit(self, grant: str, file: int, start: int, end: int) -> None:
        key = grant, file
        spans = self._spans.get(key)
        if spans is None:
            spans = self._spans[key] = SpanSet()
        spans.add(start, end)
        self.marks.touch(CREDIT, key)

    def transfer(self, record: TransferRecord) -> None:
        self._number += 1
        key = f"{self._gate}/{self._number}"
        self._transfers[key] = record
        self.marks.touch(TRANSFER, key)
        self._bound_transfers()

    def used(self, token: bytes, now: float) -> None:
        if len(self._uses) < USES or token in self._uses:
            self._uses[token] = now
            self.marks.touch(USE, token)

    def segment(self, evidence: Evidence) -> None:
        """A segment ended without proof, or what is known of it has changed."""
        if evidence.id not in self._segments and evidence.id not in self._left:
            self._unseen.add(evidence.id)
        self._judge(evidence.id, evidence)
        known = self._recovered.get(evidence.grant)
        if known is not None and evidence.id in known.evidence:
            known.evidence[evidence.id] = evidence
        self._bound_segments()

    def settled(self, id_: str) -> None:
        """Nothing of a segment is unconfirmed any more."""
        for grant in self._recovered.values():
            grant.evidence.pop(id_, None)
        if id_ in self._unseen:
            self._unseen.discard(id_)
            del self._segments[id_]
            self.marks.touch(SEGMENT, id_)
        else:
            self._judge(id_, None)

    def _judge(self, id_: str, evidence: Evidence | None) -> None:
        self._segments[id_] = evidence
        self.marks.touch(SEGMENT, id_)
        if self._left.pop(id_, None) is not None:
            self.marks.touch(LEFT, id_)

    # -- what ended gates have left

    def recover(self, recovered: Recovered) -> None:
        """Take on what stands in the journal under this gate's name by now."""
        for key, spans in recovered.credits.items():
            self._spans.setdefault(key, SpanSet()).update(spans)
            self._grant(key[0]).coverage.setdefault(key[1], SpanSet()).update(spans)
            self.marks.touch(CREDIT, key)
        for token, when in recovered.uses.items():
            self._uses.setdefault(token, when)
        for id_, evidence in recovered.segments.items():
            self._segments.setdefault(id_, evidence)
            if evidence is not None:
                self._grant(evidence.grant).evidence[id_] = evidence
        for id_, left in recovered.left.items():
            self._left[id_] = left
            self._grant(left.grant).evidence[id_] = left
        self._inherited |= recovered.transfers
        self.marks.hold((CREDIT, key) for key in recovered.credits)
        self.marks.hold((TRANSFER, key) for key in recovered.transfers)
        self.marks.hold((USE, token) for token in recovered.uses)
        self.marks.hold((SEGMENT, id_) for id_ in recovered.segments)
        self.marks.hold((LEFT, id_) for id_ in recovered.left)
        self._bound_transfers()
        self._bound_segments()
        self._batches_to_go = max(len(self._spans), len(self._segments)) // ROWS + 1

    def recovered(self, grant: str) -> tuple[Mapping[int, Sequence[Span]], Sequence[Evidence]]:
        """What was recovered of a grant: coverage by `File.id`, and segments without proof, those that nobody has judged too."""
        known = self._recovered.get(grant)
        if known is None:
            return {}, ()
        return {file: tuple(spans) for file, spans in known.coverage.items()}, tuple(known.evidence.values())

    def unjudged(self) -> Iterable[str]:
        """Grants with transfers that ran when their gate ended, and of which neither `segment` nor `settled` was called yet."""
        return dict.fromkeys(evidence.grant for evidence in self._left.values())

    def forget(self, grant: str) -> None:
        """There is no such grant any more."""
        for id_ in [id_ for id_, evidence in self._left.items() if evidence.grant == grant]:
            self.settled(id_)
        self._recovered.pop(grant, None)

    @property
    def recovered_recorded(self) -> bool:
        """Has the database all that was recovered?"""
        return bool(self._recovered) and not self._batches_to_go

    def forget_recovered(self) -> None:
        """Whoever looks a grant up from now on finds in the database what was recovered, but for what nobody has judged."""
        waiting = {evidence.grant for evidence in self._left.values()}
        self._recovered = {grant: known for grant, known in self._recovered.items() if grant in waiting}

    def _grant(self, grant: str) -> _Grant:
        return self._recovered.setdefault(grant, _Grant())

    # -- what the database is told

    @property
    def rows(self) -> int:
        """Files with ranges, ended transfers and segments that the database has not confirmed."""
        return len(self._spans) + len(self._transfers) + len(self._inherited) + len(self._segments) + len(self._left)

    def waiting(self) -> Waiting:
        """What there is to record."""
        size = sum(spans.size for spans in self._spans.values())
        return Waiting(len(self._spans), size, len(self._transfers) + len(self._inherited), len(self._segments))

    @property
    def pending(self) -> bool:
        """Is there something to record? Uses of tokens alone are not worth a transaction."""
        return bool(self._spans or self._transfers or self._inherited or self._segments)

    @property
    def used_only(self) -> bool:
        """Is there nothing but these?"""
        return bool(self._uses) and not self.pending

    @property
    def inherited(self) -> bool:
        """Are there transfers of other gates to record? They have batches of their own."""
        return bool(self._inherited)

    def take(self) -> tuple[str, Batch]:
        """The next batch, and the gate that it is recorded for; then `confirm`, or `failed`."""
        assert self._taken is None
        own = bool(self._spans or self._transfers or self._segments)
        self._inherited_turn = bool(self._inherited) and (not own or not self._inherited_turn)
        if self._inherited_turn:
            gate, keys = self._oldest_inherited()
            batch = Batch(transfers=tuple(self._inherited[key] for key in keys))
        else:
            gate, keys = self._gate, tuple(islice(self._transfers, ROWS))
            segments = {id_: self._segments[id_] for id_ in islice(self._segments, ROWS)}
            batch = Batch(
                delivered=tuple(Delivered(*key, tuple(spans)) for key, spans in islice(self._spans.items(), ROWS)),
                segments=tuple(evidence for evidence in segments.values() if evidence is not None),
                settled=tuple(id_ for id_, evidence in segments.items() if evidence is None),
                transfers=tuple(self._transfers[key] for key in keys),
                uses=dict(self._uses),
            )
            self._unseen -= segments.keys()
        self._taken, self._taken_transfers = batch, keys
        return gate, batch

    def failed(self) -> None:
        """The batch was not recorded, or nobody knows."""
        self._taken = None

    def confirm(self) -> None:
        """The batch was recorded."""
        batch, self._taken = self._taken, None
        assert batch is not None
        for delivered in batch.delivered:
            self._confirm_spans((delivered.grant, delivered.file), delivered.spans)
        for key in self._taken_transfers:
            self._transfers.pop(key, None)
            self._inherited.pop(key, None)
            self.marks.touch(TRANSFER, key)
        for id_, evidence in [(each.id, each) for each in batch.segments] + [(id_, None) for id_ in batch.settled]:
            if id_ in self._segments and self._segments[id_] is evidence:
                del self._segments[id_]
                self.marks.touch(SEGMENT, id_)
        for token, when in batch.uses.items():
            if self._uses.get(token) == when:
                del self._uses[token]
                self.marks.touch(USE, token)
        if not self._inherited_turn:
            self._batches_to_go = max(self._batches_to_go - 1, 0)
        self.dropped = 0
        if not self.pending:
            self.transfers_left_out = False

    def _confirm_spans(self, key: tuple[str, int], recorded: Sequence[Span]) -> None:
        spans = self._spans[key]
        if tuple(spans) == recorded:
            del self._spans[key]
        else:
            for start, end in recorded:
                spans.remove(start, end)
        self.marks.touch(CREDIT, key)

    def _oldest_inherited(self) -> tuple[str, Sequence[str]]:
        """A gate, and the keys of its transfers that go into one batch."""
        gate = next(iter(self._inherited)).rpartition("/")[0]
        return gate, tuple(islice((key for key in self._inherited if key.rpartition("/")[0] == gate), ROWS))

    def _bound_transfers(self) -> None:
        while len(self._transfers) + len(self._inherited) > RECORDS:
            held = self._inherited or self._transfers
            oldest = next(iter(held))
            del held[oldest]
            self.dropped += 1
            self.marks.touch(TRANSFER, oldest)

    def _bound_segments(self) -> None:
        while len(self._segments) > SEGMENTS:
            oldest = next(iter(self._segments))
            del self._segments[oldest]
            self._unseen.discard(oldest)
            self.marks.touch(SEGMENT, oldest)
        while len(self._left) > LEFT_OVER:
            oldest = next(iter(self._left))
            self._grant(self._left.pop(oldest).grant).evidence.pop(oldest, None)
            self.marks.touch(LEFT, oldest)

    # -- what the journal is told

    def changes(self) -> Changes:
        """What the journal has to be told, taken as told: after a failure call `journal_lost`."""
        return self.marks.changes(lambda kind, key: _VALUES[kind](self, key))

    def journal_lost(self) -> None:
        """What the journal holds of this gate is not known, or nothing any more: tell it everything anew."""
        marks: set[Mark] = {(CREDIT, key) for key in self._spans} | {(USE, token) for token in self._uses}
        marks |= {(TRANSFER, key) for key in (*self._transfers, *self._inherited)}
        marks |= {(SEGMENT, id_) for id_ in self._segments} | {(LEFT, id_) for id_ in self._left}
        self.marks.lost(marks)

    def _credited(self, key: tuple[str, int]) -> Any:
        spans = self._spans.get(key)
        return NOTHING if spans is None else tuple(spans)

    def _ended(self, key: str) -> Any:
        if self.transfers_left_out:
            return NOTHING
        return self._transfers.get(key) or self._inherited.get(key, NOTHING)


_VALUES: Mapping[str, Callable[[Backlog, Any], Any]] = {
    CREDIT: Backlog._credited,
    TRANSFER: Backlog._ended,
    USE: lambda backlog, token: backlog._uses.get(token, NOTHING),
    SEGMENT: lambda backlog, id_: backlog._segments.get(id_, NOTHING),
    LEFT: lambda backlog, id_: backlog._left.get(id_, NOTHING),
}
"""What the journal is to hold in a row of a kind."""
