"""A gate's batch into the database: merged, completed and logged within the caller's transaction."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from ftpgate.grants import Batch, Delivered, TransferRecord
from ftpgate.proof.coverage import Span, SpanSet
from webportal.catalogue.models import File, Item
from webportal.fulfilment.completion import complete_whole_items, lock_grants, write_down_expiry
from webportal.fulfilment.services import use_tokens
from webportal.gateway import segments
from webportal.grants.models import Coverage, Grant
from webportal.grants.states import State
from webportal.history.models import Transfer

ROWS_A_MINUTE = 64
"""Rows of transfers of one grant that ended at one gate within a minute; of more, those of one item, protocol, file, address and
client are joined, or else of one item and protocol. Single bytes could be fetched by the thousand otherwise, each with a row."""
MOST_SPANS = 10_000
"""Ranges kept of one file. Who fetches more separate bits than that loses the smallest and has to fetch them again."""


def record(gate: str, batch: Batch, now: datetime) -> list[str]:
    """Write a batch; returns the public ids of the grants whose state changed.

    What names a grant, file or item that is gone is left out. Two gates with the same grant wait for each other at the
    grants' rows, so that neither merges into coverage that the other is just changing.
    """
    named = {entry.grant for entry in batch.delivered} | {entry.grant for entry in batch.segments}
    named |= {entry.grant for entry in batch.transfers}
    if batch.settled:
        named |= segments.grants_of(batch.settled)
    grants = {grant.public_id: grant for grant in lock_grants(named)}
    keys = [grant.pk for grant in grants.values()]
    whole = _merge_coverage(batch.delivered, grants)
    segments.keep(gate, batch.segments, grants, now)
    if batch.settled:
        segments.settle(batch.settled)
    _log_transfers(gate, batch.transfers, grants)
    use_tokens({digest: _when(seconds) for digest, seconds in batch.uses.items()})
    completed = complete_whole_items({grant for grant, _ in whole}, now, files={file for _, file in whole}) if whole else set()
    changed = [grant.public_id for grant in grants.values() if grant.pk in completed]
    due = [grant for grant in grants.values() if grant.state == State.OPEN and grant.present_state is State.EXPIRED]
    if due and write_down_expiry(keys):
        changed.extend(grant.public_id for grant in due)
    return changed


def _merge_coverage(delivered: Iterable[Delivered], grants: Mapping[str, Grant]) -> list[tuple[int, int]]:
    """Merge what was delivered into what is recorded; returns (grant, file) of files that are covered whole now."""
    new: defaultdict[tuple[int, int], list[Span]] = defaultdict(list)
    for entry in delivered:
        if entry.grant in grants:
            new[grants[entry.grant].pk, entry.file].extend(entry.spans)
    if not new:
        return []
    files = {file for _, file in new}
    sizes = dict(File.objects.filter(pk__in=files).values_list("pk", "size"))
    recorded = Coverage.objects.filter(grant__in={grant for grant, _ in new}, file__in=files)
    before = {
        (grant, file): spans
        for grant, file, spans in recorded.values_list("grant_id", "file_id", "spans")
        if (grant, file) in new
    }
    rows, whole = [], []
    for (grant, file), spans in new.items():
        if file not in sizes:
            continue
        held = SpanSet((start, end) for start, end in before.get((grant, file), ()))
        if held.update((max(start, 0), min(end, sizes[file])) for start, end in spans):
            kept = _bounded(held)
            rows.append(Coverage(grant_id=grant, file_id=file, spans=list(kept), covered=kept.size))
        if held.size == sizes[file]:
            whole.append((grant, file))
    rows.sort(key=lambda row: (row.grant_id, row.file_id))
    Coverage.objects.bulk_create(
        rows, batch_size=1_000, update_conflicts=True, unique_fields=["grant", "file"], update_fields=["spans", "covered"]
    )
    return whole


def _bounded(spans: SpanSet) -> SpanSet:
    if len(spans) <= MOST_SPANS:
        return spans
    return SpanSet(sorted(sorted(spans, key=lambda span: span[0] - span[1])[:MOST_SPANS]))


def _log_transfers(gate: str, transfers: Iterable[TransferRecord], grants: Mapping[str, Grant]) -> None:
    transfers = sorted((transfer for transfer in transfers if transfer.grant in grants), key=lambda transfer: transfer.ended_at)
    if not transfers:
        return
    items = dict(Item.objects.filter(public_id__in={transfer.item for transfer in transfers}).values_list("public_id", "pk"))
    ended = [
        _row(gate, transfer, grants[transfer.grant], items[transfer.item]) for transfer in transfers if transfer.item in items
    ]
    new, joined = _joined(ended, _rows_of_their_minutes(gate, ended))
    Transfer.objects.bulk_create(
        new,
        batch_size=1_000,
        ignore_conflicts=True,  # written before, by a commit whose answer was lost
    )
    Transfer.objects.bulk_update(joined, ("end", "delivered", "ended_at", "outcome", "number"), 100)


def _row(gate: str, transfer: TransferRecord, grant: Grant, item: int) -> Transfer:
    return Transfer(
        grant=grant,
        item_id=item,
        gate=gate,
        path=transfer.path[:1300],
        protocol=transfer.protocol[:8],
        peer=transfer.peer[:80],
        client=transfer.client[:200].replace("\0", ""),
        start=transfer.start,
        end=max(transfer.start, transfer.end),
        delivered=max(transfer.delivered, 0),
        started_at=_when(transfer.started_at),
        ended_at=_when(transfer.ended_at),
        outcome=transfer.outcome[:16],
    )


def _rows_of_their_minutes(gate: str, ended: Sequence[Transfer]) -> list[Transfer]:
    """What is recorded of the grants and minutes of `ended`, where there may be so much that rows are joined."""
    if not ended:
        return []
    first, last = _minute(ended[0]), _minute(ended[-1]) + timedelta(minutes=1)
    there = Transfer.objects.filter(gate=gate, ended_at__gte=first, ended_at__lt=last).order_by("pk")
    number = Counter(row.grant_id for row in ended)
    number.update(there.filter(grant__in=list(number)).values_list("grant_id", flat=True))
    return list(there.filter(grant__in=[grant for grant, rows in number.items() if rows > ROWS_A_MINUTE]))


def _joined(ended: Iterable[Transfer], there: Iterable[Transfer]) -> tuple[list[Transfer], list[Transfer]]:
    """New rows for transfers that have ended, and those of `there` that some of them were joined to."""
    minutes: defaultdict[tuple[int, datetime], _Minute] = defaultdict(_Minute)
    for row in there:
        minutes[row.grant_id, _minute(row)].add(row)
    new, changed = [], {}
    for row in ended:
        minute = minutes[row.grant_id, _minute(row)]
        other = minute.row_for(row)
        if other is None:
            minute.add(row)
            new.append(row)
        elif row.ended_at > other.ended_at:  # else it is in there already, by a commit whose answer was lost
            _join(other, row)
            if other.pk is not None:
                changed[other.pk] = other
    return new, list(changed.values())


class _Minute:
    """The rows of one grant's transfers that ended within a minute."""

    __slots__ = ("_of_item", "_once", "_rows", "_same")

    def __init__(self) -> None:
        self._rows = 0
        self._once: dict[tuple[object, ...], Transfer] = {}
        self._same: dict[tuple[object, ...], Transfer] = {}
        self._of_item: dict[tuple[object, ...], Transfer] = {}

    def add(self, row: Transfer) -> None:
        self._rows += 1
        self._once[_once(row)] = row
        if row.client or row.path:
            self._same[_same(row)] = row
        else:
            self._of_item[row.item_id, row.protocol] = row

    def row_for(self, row: Transfer) -> Transfer | None:
        """The row that a transfer is joined to; None when it gets one of its own."""
        if self._rows < ROWS_A_MINUTE:
            return self._once.get(_once(row))
        found = self._once.get(_once(row)) or self._same.get(_same(row)) or self._of_item.get((row.item_id, row.protocol))
        if found is None:
            row.path = row.client = ""
        return found


def _once(row: Transfer) -> tuple[object, ...]:
    """As the constraint `transfer_once`, within a grant and gate."""
    return row.started_at, row.peer, row.protocol, row.start


def _same(row: Transfer) -> tuple[object, ...]:
    return row.item_id, row.protocol, row.path, row.peer, row.client


def _join(row: Transfer, other: Transfer) -> None:
    row.end = max(row.end, other.end)  # its start stays: by it, among others, a row that was written before is known
    row.delivered += other.delivered
    row.ended_at = max(row.ended_at, other.ended_at)
    row.number += other.number
    if row.outcome == Transfer.Outcome.DONE:
        row.outcome = other.outcome


def _minute(row: Transfer) -> datetime:
    return row.ended_at.replace(second=0, microsecond=0)


def _when(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
