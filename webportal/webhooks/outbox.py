"""Events into the outbox: within the transaction of what happened, so that neither is without the other.

Gates run this too, when they record a completion: it must stay light, and imports nothing but models.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from webportal.grants.models import Grant, GrantItem
from webportal.grants.states import State
from webportal.history.models import Completion, Proof
from webportal.webhooks.models import Delivery, Endpoint, Event, EventType

TRIED_FOR = timedelta(days=3)
"""A receiver may be away for a weekend."""
MOST_WAITING = 10_000
"""Deliveries that wait for one endpoint. What comes on top is not tried by itself, but can be sent again by staff."""


def enqueue_event(event_type: EventType, grants: Collection[int], now: datetime) -> None:
    """These grants (by primary key), as they are stored now, were issued, completed or expired.

    Within a transaction. Grants of no shop, and shops that do not want to hear of it, cost one query.
    """
    found = _of_shops(grants)
    proofs = _proofs(found)
    _write(event_type, ((grant, _about(grant, proofs.get(grant.pk))) for grant in found), now)


def enqueue_item_events(entries: Sequence[GrantItem], proof: Proof, now: datetime) -> None:
    """These items of grants were received whole. Within a transaction."""
    grants = {grant.pk: grant for grant in _of_shops({entry.grant_id for entry in entries})}
    if not grants:
        return
    whole = GrantItem.objects.filter(pk__in=[entry.pk for entry in entries], grant__in=grants).select_related("item")
    happened = []
    for entry in whole.order_by("pk"):
        grant = grants[entry.grant_id]
        item = {"id": entry.item.public_id, "title": entry.item.title}
        data = {"grant": grant.public_id, "user": _user(grant), "item": item, "completed_at": _time(now), "proof": proof.value}
        happened.append((grant, data))
    _write(EventType.ITEM_COMPLETE, happened, now)


def _of_shops(grants: Collection[int]) -> list[Grant]:
    found = Grant.objects.filter(pk__in=grants, user__shop_user__isnull=False)
    return list(found.select_related("user__shop_user").order_by("pk"))


def _write(event_type: EventType, happened: Iterable[tuple[Grant, dict[str, Any]]], now: datetime) -> None:
    listening: defaultdict[int, list[Endpoint]] = defaultdict(list)
    happened = list(happened)
    shops = {grant.user.shop_user.shop_id for grant, _ in happened}
    if not shops:
        return
    for endpoint in Endpoint.objects.filter(shop__in=shops, active=True).order_by("pk"):
        if event_type in endpoint.event_types:
            listening[endpoint.shop_id].append(endpoint)
    events = [
        Event(shop_id=shop, type=event_type, grant=grant.public_id, made_at=now, body=_body(event_type, data, now))
        for grant, data in happened
        if listening[shop := grant.user.shop_user.shop_id]
    ]
    Event.objects.bulk_create(events, batch_size=500)
    room = {endpoint.pk: _room(endpoint) for heard in listening.values() for endpoint in heard}
    deliveries = []
    for event in events:
        for endpoint in listening[event.shop_id]:
            room[endpoint.pk] -= 1
            fits = room[endpoint.pk] >= 0
            state = Delivery.State.WAITING if fits else Delivery.State.FAILED
            said = "" if fits else f"not tried: {MOST_WAITING} others wait for this endpoint"
            deliveries.append(
                Delivery(event=event, endpoint=endpoint, state=state, next_at=now, give_up_at=now + TRIED_FOR, answer=said)
            )
    Delivery.objects.bulk_create(deliveries, batch_size=500)


def _room(endpoint: Endpoint) -> int:
    waiting = Delivery.objects.filter(endpoint=endpoint, state=Delivery.State.WAITING).order_by()
    return MOST_WAITING - waiting[:MOST_WAITING].count()


def _proofs(grants: Iterable[Grant]) -> dict[int, Proof]:
    """Of those that are complete, by primary key: the customer's word as soon as one item rests on it."""
    complete = {grant.pk for grant in grants if grant.state == State.COMPLETE}
    if not complete:
        return {}
    by_word = Completion.objects.filter(grant_item__grant__in=complete, proof=Proof.CUSTOMER)
    closed = set(by_word.order_by().values_list("grant_item__grant", flat=True))
    return {grant: Proof.CUSTOMER if grant in closed else Proof.DELIVERED for grant in complete}


def _about(grant: Grant, proof: Proof | None) -> dict[str, Any]:
    return {
        "grant": grant.public_id,
        "user": _user(grant),
        "state": grant.state,
        "issued_at": _time(grant.issued_at),
        "expires_at": _time(grant.expires_at),
        "completed_at": None if grant.completed_at is None else _time(grant.completed_at),
        "proof": None if proof is None else proof.value,
    }


def _user(grant: Grant) -> str:
    return str(grant.user.shop_user.reference)


def _body(event_type: EventType, data: dict[str, Any], now: datetime) -> str:
    """The payload as Standard Webhooks advises: `type`, `timestamp` and `data`."""
    return json.dumps(
        {"type": event_type.value, "timestamp": _time(now), "data": data}, ensure_ascii=False, separators=(",", ":")
    )


def _time(when: datetime) -> str:
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
