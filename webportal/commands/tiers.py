"""`ftpgate tier …`."""

from __future__ import annotations

from typing import Any

from django.db.models import Count

from ftpgate.commands.shop import Document, Page
from webportal.accounts import services
from webportal.accounts.models import Tier, User
from webportal.commands import found


def set_tier(name: str, rate: int, connections: int | None) -> Document:
    return _document(services.set_tier(name, rate=rate, connections=connections))


def list_tiers(page: Page) -> Document:
    def documents(tiers: list[Tier]) -> list[dict[str, Any]]:
        people = dict(User.objects.filter(tier__in=tiers).order_by().values_list("tier_id").annotate(Count("pk")))
        return [_document(tier) | {"users": people.get(tier.pk, 0)} for tier in tiers]

    return found.listed("tiers", Tier.objects.all(), page, documents)


def _document(tier: Tier) -> dict[str, Any]:
    return {"tier": tier.name, "rate": tier.rate, "connections": tier.connections}
