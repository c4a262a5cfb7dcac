"""What gates tell each other, several times a second while more than one runs: one transaction of few, small statements.

Times are kept by the database's clock. A gate reads and writes them as seconds before its own exchange.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Q

from ftpgate.errors import Unavailable
from ftpgate.gates import Covered, GateNews, Heard, SegmentNews, Told
from ftpgate.notices import Kind, Notice
from ftpgate.proof.segments import CLOCK_ERROR, Evidence
from webportal.core import clock, push
from webportal.core.batches import AT_ONCE, batches
from webportal.grants.models import Coverage, GateExchange, Grant, GrantHold, LiveSegment
from webportal.grants.selectors import running_gates

TRIES = 3
"""Times that the database's clock is asked for an answer that is precise enough."""
SWEEP = 40
"""Exchanges of one gate between two looks for what ended gates have left here."""
_POSITIONS = ("start", "end", "sent", "acknowledged", "shown", "hidden_bytes", "credited", "paced", "exact")
"""Fields of `Evidence` that are kept as they are."""


def exchange(told: Told) -> Heard:
    """Write what one gate tells; return what the others have told since it heard of them.

    Raises:
        Unavailable: the database's clock answers too slowly to compare the times of two gates.
    """
    others = {gate.public_id for gate in running_gates()} - {told.gate}
    if not others and not GateExchange.objects.filter(gate=told.gate).exists():
        return Heard(0)
    with transaction.atomic():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL synchronous_commit = off")  # of no use after a crash of the database
        now, at = _now(), time.monotonic()
        offset = at - told.taken_at
        if not others:
            _forget({told.gate})
            return Heard(0, forgotten=True)
        last = GateExchange.objects.filter(gate=told.gate).values_list("number", flat=True).first()
        GateExchange.objects.update_or_create(
            gate=told.gate, defaults={"number": told.number, "told_at": now - timedelta(seconds=offset)}
        )
        forgotten = last != told.number - 1
        _hold(told)
        _write(told, now - timedelta(seconds=offset))
        if told.number % SWEEP == 0:
            _forget(set(GateExchange.objects.values_list("gate", flat=True)) - others - {told.gate})
        heard = _read(told, others, now, at, forgotten=forgotten)
        _tell(told, heard)
        return heard


def _tell(told: Told, heard: Heard) -> None:
    """Have the others ask at once which serve a grant of which something has begun here, or which has only now become shared."""
    concerned = {name: heard.shared[name] for name in {*told.begun, *told.anew, *told.holds} if name in heard.shared}
    push.tell_all(Notice(Kind.EVIDENCE, name, gate) for name, gates in concerned.items() for gate in gates)


def _now() -> datetime:
    """The database's time, right to half of CLOCK_ERROR."""
    for _ in range(TRIES):
        asked_at = time.monotonic()
        now = clock.now()
        if time.monotonic() - asked_at <= CLOCK_ERROR / 2:
            return now
    raise Unavailable


def _forget(gates: Collection[str]) -> None:
    """These gates have ended, or none is left to tell anything."""
    if gates:
        for model in (LiveSegment, GrantHold, GateExchange):
            model.objects.filter(gate__in=gates).delete()


def _hold(told: Told) -> None:
    for some in batches(told.releases):
        for model in (LiveSegment, GrantHold):
            model.objects.filter(gate=told.gate, grant__public_id__in=some).delete()
    for some in batches(told.holds):
        keys = list(Grant.objects.filter(public_id__in=some).values_list("pk", flat=True))
        GrantHold.objects.bulk_create([GrantHold(gate=told.gate, grant_id=key) for key in keys], ignore_conflicts=True)
        of_others = GrantHold.objects.filter(grant__in=keys).exclude(gate=told.gate)
        shared = set(of_others.values_list("grant_id", flat=True))
        alone = GrantHold.objects.filter(grant__in=shared, shared=False).select_for_update().order_by("pk")
        GrantHold.objects.filter(pk__in=list(alone.values_list("pk", flat=True))).update(shared=True)


def _write(told: Told, taken_at: datetime) -> None:
    names = {news.evidence.grant for news in told.segments}
    keys: dict[str, int] = {}
    for some in batches(names):
        keys.update(Grant.objects.filter(public_id__in=some).values_list("public_id", "pk"))
    LiveSegment.objects.bulk_create(
        [
            LiveSegment(
                gate=told.gate, grant_id=keys[news.evidence.grant], segment_id=news.evidence.id, number=told.number,
                told=_packed(news, taken_at.timestamp()),
            )
            for news in told.segments
            if news.evidence.grant in keys
        ],
        batch_size=AT_ONCE, update_conflicts=True, unique_fields=["gate", "segment_id"], update_fields=["number", "told"],
    )  # fmt: skip
    for ids in batches(told.settled):
        LiveSegment.objects.filter(gate=told.gate, segment_id__in=ids).delete()


def _read(told: Told, others: set[str], now: datetime, at: float, *, forgotten: bool) -> Heard:
    mine = dict(GrantHold.objects.filter(gate=told.gate, shared=True).values_list("grant_id", "grant__public_id"))
    holders: defaultdict[str, set[str]] = defaultdict(set)
    for some in batches(mine):
        for grant, gate in GrantHold.objects.filter(grant__in=some, gate__in=others).values_list("grant_id", "gate"):
            holders[mine[grant]].add(gate)
    gates = set().union(*holders.values())
    latest = list(GateExchange.objects.filter(gate__in=gates).values_list("gate", "number", "told_at"))  # before what they tell
    news = _news(told, {key: name for key, name in mine.items() if name in holders}, gates, now.timestamp())
    return Heard(
        others=len(others),
        at=at,
        forgotten=forgotten,
        shared={name: frozenset(holding) for name, holding in holders.items()},
        gates={gate: GateNews(number, (now - told_at).total_seconds(), news[gate]) for gate, number, told_at in latest},
        covered=_covered(told.delivered),
    )


def _news(told: Told, shared: Mapping[int, str], gates: Collection[str], now: float) -> Mapping[str, list[SegmentNews]]:
    found: defaultdict[str, list[SegmentNews]] = defaultdict(list)
    if not shared or not gates:
        return found
    later = Q(pk=None)
    for gate in gates:
        later |= Q(gate=gate, number__gt=told.heard.get(gate, 0))
    anew = [key for key, name in shared.items() if name in told.anew]
    for some in batches(shared):
        rows = LiveSegment.objects.filter(Q(gate__in=gates) & (later | Q(grant__in=anew)), grant__in=some).order_by("pk")
        for gate, grant, told_of in rows.values_list("gate", "grant_id", "told"):
            found[gate].append(_unpacked(shared[grant], told_of, now))
    return found


def _covered(delivered: Mapping[str, Mapping[int, int]]) -> list[Covered]:
    found = []
    for some in batches(delivered):
        rows = Coverage.objects.filter(grant__public_id__in=some).values_list("pk", "grant__public_id", "file_id", "covered")
        more = {key: (grant, file) for key, grant, file, covered in rows if covered > delivered[grant].get(file, 0)}
        for keys in batches(more):
            for key, spans in Coverage.objects.filter(pk__in=keys).values_list("pk", "spans"):
                found.append(Covered(*more[key], tuple((start, end) for start, end in spans)))
    return found


def _packed(news: SegmentNews, taken_at: float) -> dict[str, Any]:
    times = {name: None if ago is None else taken_at - ago for name, ago in (("began", news.began), ("moved", news.moved))}
    kept = {"resource": news.evidence.resource, "positions": [getattr(news.evidence, name) for name in _POSITIONS]}
    return {"id": news.evidence.id, "line": news.line, "ended": news.ended, "orderly": news.orderly, **kept, **times}


def _unpacked(grant: str, told: Mapping[str, Any], now: float) -> SegmentNews:
    positions = dict(zip(_POSITIONS, told["positions"], strict=True))
    evidence = Evidence(id=told["id"], grant=grant, resource=told["resource"], **positions)
    began, moved = (None if told[name] is None else max(now - told[name], 0.0) for name in ("began", "moved"))
    return SegmentNews(evidence, told["line"], told["ended"], told["orderly"], began, moved)
