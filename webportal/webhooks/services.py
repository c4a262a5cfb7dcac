from __future__ import annotations

import base64
import secrets
from collections.abc import Collection
from datetime import timedelta

from django.db import transaction
from django.db.models import QuerySet

from webportal.core import clock
from webportal.core.errors import EndpointError
from webportal.core.sealing import seal
from webportal.core.texts import Text
from webportal.shops.models import Shop
from webportal.webhooks.guard import target
from webportal.webhooks.models import Delivery, Endpoint, Event, EventType
from webportal.webhooks.outbox import TRIED_FOR

MOST_ENDPOINTS = 20
"""Of one shop: each gets every event."""
PREVIOUS_SIGNS_FOR = timedelta(hours=24)
"""In which a receiver changes over to a new secret."""
EVENTS_KEPT = timedelta(days=30)
"""For staff, who may send them again."""
PURPOSE = "webhook secrets"
_AT_ONCE = 1_000
"""Events that are deleted in one transaction."""


@transaction.atomic
def add_endpoint(shop: Shop, url: str, event_types: Collection[str], *, allow_internal: bool = False) -> tuple[Endpoint, str]:
    """A new endpoint of a shop, and its secret for verifying signatures, which is not shown again.

    Args:
        allow_internal: let it be an address of this machine or network; not for a shop to decide.

    Raises:
        EndpointError: the address or the event_types are not usable, or the shop has `MOST_ENDPOINTS` already.
    """
    Shop.objects.select_for_update(no_key=True).get(pk=shop.pk)
    if Endpoint.objects.filter(shop=shop).count() >= MOST_ENDPOINTS:
        raise EndpointError(Text.TOO_MANY_ENDPOINTS(shop=shop.name, most=MOST_ENDPOINTS))
    target(url, allow_internal=allow_internal)
    endpoint = Endpoint(shop=shop, url=url, event_types=_checked(event_types), allow_internal=allow_internal)
    return endpoint, store_endpoint(endpoint)


def store_endpoint(endpoint: Endpoint) -> str:
    """Store a new endpoint, checked before; returns its secret."""
    secret = new_secret()
    endpoint.secret = seal(PURPOSE, secret)
    endpoint.save(force_insert=True)
    return secret


@transaction.atomic
def change_endpoint(
    endpoint: Endpoint, *, url: str | None = None, event_types: Collection[str] | None = None, active: bool | None = None
) -> Endpoint:
    """Change an endpoint as its shop may. With another address, staff's leave to be internal ends.

    Raises:
        EndpointError: the address or the event_types are not usable.
    """
    endpoint = Endpoint.objects.select_for_update(no_key=True).get(pk=endpoint.pk)
    if url is not None and url != endpoint.url:
        target(url, allow_internal=False)
        endpoint.url, endpoint.allow_internal = url, False
    if event_types is not None:
        endpoint.event_types = _checked(event_types)
    if active is not None:
        endpoint.active = active
    store_change(endpoint)
    return endpoint


def store_change(endpoint: Endpoint) -> None:
    """Store what people change of an endpoint, and try it anew at once. The rest of the row is the worker's."""
    endpoint.failures, endpoint.backoff_until = 0, None
    endpoint.save(update_fields=["url", "allow_internal", "event_types", "active", "failures", "backoff_until"])


@transaction.atomic
def replace_secret(endpoint: Endpoint) -> str:
    """Give an endpoint another secret. For a day the old one signs along, so that the receiver can change over in peace."""
    endpoint = Endpoint.objects.select_for_update(no_key=True).get(pk=endpoint.pk)
    secret = new_secret()
    endpoint.previous_secret, endpoint.previous_until = endpoint.secret, clock.now() + PREVIOUS_SIGNS_FOR
    endpoint.secret = seal(PURPOSE, secret)
    endpoint.save(update_fields=["secret", "previous_secret", "previous_until"])
    return secret


def send_again(deliveries: QuerySet[Delivery]) -> int:
    """Try these from now on, for three days, whether they had failed, wait for their time or were delivered before.

    Under the same event id: a receiver that has booked it already takes it for a repeat. Returns how many.
    """
    now = clock.now()
    with transaction.atomic():
        Endpoint.objects.filter(deliveries__in=deliveries).update(failures=0, backoff_until=None)
        return Delivery.objects.filter(pk__in=deliveries.values("pk")).update(
            state=Delivery.State.WAITING, attempts=0, next_at=now, give_up_at=now + TRIED_FOR
        )


def forget_events() -> int:
    """Delete events that are older than a month, with their deliveries; returns how many rows."""
    old = Event.objects.filter(made_at__lte=clock.expiry_time() - EVENTS_KEPT).order_by("made_at").values_list("pk", flat=True)
    return Event.objects.filter(pk__in=list(old[:_AT_ONCE])).delete()[0]


def new_secret() -> str:
    """A secret as Standard Webhooks writes it: 256 random bits."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def _checked(event_types: Collection[str]) -> list[str]:
    wanted = list(dict.fromkeys(event_types))
    unknown = [event_type for event_type in wanted if event_type not in EventType.values]
    if unknown or not wanted:
        known = EventType.values
        raise EndpointError(
            Text.EVENT_UNKNOWN(event=unknown[0][:40], known=known) if unknown else Text.EVENT_MISSING(known=known)
        )
    return wanted
