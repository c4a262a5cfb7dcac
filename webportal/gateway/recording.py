"""A gate's batch into the database: merged, completed and logged within the caller's transaction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from ftpgate.grants import Batch, Delivered, TransferRecord
from ftpgate.proof.coverage import Span, SpanSet
from webportal.catalogue.models import File, Item
from webportal.fulfilment.completion import complete_whole_items, lock_grants, write_down_expiry
from webportal.fulfilment.services import use_tokens
from webportal.gateway import segments
from webportal.grants.models import Coverage, Grant, State
from webportal.history.models import Transfer

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
    transfers = [transfer for transfer in transfers if transfer.grant in grants]
    if not transfers:
        return
    items = dict(Item.objects.filter(public_id__in={transfer.item for transfer in transfers}).values_list("public_id", "pk"))
    Transfer.objects.bulk_create(
        [
            Transfer(
                grant=grants[transfer.grant],
                item_id=items[transfer.item],
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
            for transfer in transfers
            if transfer.item in items
        ],
        batch_size=1_000,
        ignore_conflicts=True,  # written before, by a commit whose answer was lost
    )


def _when(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
