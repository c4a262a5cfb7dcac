"""Segments that ended without proof: what a gate hands in is kept, and handed to the gates that come after it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import datetime

from django.db.models import Count

from ftpgate.proof.coverage import Span, SpanSet
from ftpgate.proof.segments import Evidence
from webportal.gateway.prepared import Prepared
from webportal.grants.models import GateExchange, Grant, GrantHold, Segment
from webportal.grants.selectors import running_gates

_log = logging.getLogger(__name__)

MOST_SEGMENTS = 256
"""Segments kept of one resource under one grant. The oldest go: what they sent is then like what was never sent, and can be
fetched again, but not be closed by the customer's word."""

MOST_RANGES = 64
"""Ranges kept of one file in one segment; see `_bounded`."""

_PLAIN = ("resource", "start", "end", "sent", "acknowledged", "shown", "hidden_bytes", "credited", "paced", "exact")
"""Fields of the same name and kind in `Evidence` and `Segment`."""
_SEGMENTS = Prepared(
    Grant._meta.pk,
    lambda grant: (
        Segment.objects.filter(grant_id=grant)
        .order_by("ended_at", "pk")
        .values_list("gate", "grant__public_id", "segment_id", "unconfirmed", *_PLAIN)
    ),
    0,
)


def handed_on(grant: int, gate: str) -> tuple[Evidence, ...]:
    """Segments of this grant (by primary key) that `gate` may settle, oldest first: its own, those of gates that have
    stopped or are gone (`webportal.gateway.membership`), and those of gates that have let go of this grant.

    Those of another gate that serves it are left out: it may still settle them, and tells of them by `exchange`.
    """
    rows = list(_SEGMENTS.rows(grant))
    holding = _holding(grant, _running({of for of, *_ in rows} - {gate}))
    return tuple(
        Evidence(
            id=segment_id,
            grant=public_id,
            unconfirmed={int(file): tuple((start, end) for start, end in spans) for file, spans in unconfirmed.items()},
            **dict(zip(_PLAIN, plain, strict=True)),
        )
        for of, public_id, segment_id, unconfirmed, *plain in rows
        if of not in holding
    )


def keep(gate: str, segments: Iterable[Evidence], grants: Mapping[str, Grant], now: datetime) -> None:
    """Insert segments, or replace those of the same id. `grants` are locked. `Segment.ended_at` is when one first came."""
    latest = {segment.id: segment for segment in segments if segment.grant in grants and _is_in_order(segment)}
    if not latest:
        return
    Segment.objects.bulk_create(
        [
            Segment(
                grant=grants[segment.grant],
                segment_id=segment.id,
                gate=gate,
                unconfirmed={str(file): _bounded(spans) for file, spans in segment.unconfirmed.items() if spans},
                ended_at=now,
                **{name: getattr(segment, name) for name in _PLAIN},
            )
            for segment in latest.values()
        ],
        batch_size=1_000,
        update_conflicts=True,
        unique_fields=["segment_id"],
        update_fields=["gate", "unconfirmed", *_PLAIN],
    )
    _drop_surplus({(grants[segment.grant].pk, segment.resource) for segment in latest.values()})


def settle(ids: Iterable[str]) -> None:
    """Delete the segments of these ids. Their grants are locked."""
    Segment.objects.filter(segment_id__in=ids).delete()


def grants_of(ids: Iterable[str]) -> set[str]:
    """Public ids of the grants that these segments belong to."""
    return set(Segment.objects.filter(segment_id__in=ids).values_list("grant__public_id", flat=True))


def _holding(grant: int, gates: Set[str]) -> set[str]:
    """Those of these running gates that may still settle this grant's segments: they hold it, or have not told what they hold."""
    if not gates:
        return set()
    telling = set(GateExchange.objects.filter(gate__in=gates).values_list("gate", flat=True))
    return set(gates) - telling | set(GrantHold.objects.filter(grant=grant, gate__in=gates).values_list("gate", flat=True))


def _running(gates: Set[str]) -> set[str]:
    """Those of these gates that run or drain: a draining one has clients still, and alone knows their connections."""
    return {gate.public_id for gate in running_gates()} & gates if gates else set()


def _is_in_order(segment: Evidence) -> bool:
    """Will the database have it? A row that it refuses would keep the whole batch from being recorded, again and again."""
    if 0 <= segment.start <= segment.credited <= segment.sent <= segment.end:
        return True
    _log.error("a segment whose positions are out of order is not recorded: %s", segment)
    return False


def _bounded(spans: Sequence[Span]) -> list[Span]:
    """As given, or from the first to the last when they are many: what lies between was sent by the segment as well, and
    where it was delivered, coverage has it."""
    merged = list(SpanSet(spans))
    return merged if len(merged) <= MOST_RANGES else [(merged[0][0], merged[-1][1])]


def _drop_surplus(changed: Set[tuple[int, str]]) -> None:
    here = Segment.objects.filter(grant__in={grant for grant, _ in changed}, resource__in={resource for _, resource in changed})
    crowded = here.order_by().values("grant", "resource").annotate(rows=Count("pk")).filter(rows__gt=MOST_SEGMENTS)
    for grant, resource in list(crowded.values_list("grant", "resource")):
        newest = Segment.objects.filter(grant=grant, resource=resource).order_by("-ended_at", "-pk")
        Segment.objects.filter(pk__in=list(newest.values_list("pk", flat=True)[MOST_SEGMENTS:])).delete()
