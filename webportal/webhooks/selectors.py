from __future__ import annotations

from django.db.models import Count, Q, QuerySet

from webportal.shops.models import Shop
from webportal.webhooks.models import Delivery, Endpoint


def endpoints(shop: Shop | None = None) -> QuerySet[Endpoint]:
    """Endpoints, of one shop or of all. Each has `waiting` and `failed`: how many deliveries to it are so."""

    def count(state: Delivery.State) -> Count:
        return Count("deliveries", filter=Q(deliveries__state=state))

    found = Endpoint.objects.annotate(waiting=count(Delivery.State.WAITING), failed=count(Delivery.State.FAILED))
    return (found if shop is None else found.filter(shop=shop)).order_by("shop", "pk")
