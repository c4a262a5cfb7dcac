"""Other shops for tests, made by the services."""

from __future__ import annotations

from itertools import count

from webportal.accounts.models import User
from webportal.shops import services
from webportal.shops.models import Shop
from webportal.webhooks.models import Endpoint, EventType
from webportal.webhooks.services import add_endpoint

_numbers = count(1)


def make_shop() -> Shop:
    return services.make_shop(f"shop{next(_numbers)}")


def make_customer(shop: Shop, reference: str = "") -> User:
    return services.shop_user(shop, reference or f"customer {next(_numbers)}")


def make_endpoint(shop: Shop, *event_types: EventType, url: str = "http://127.0.0.1:1/") -> tuple[Endpoint, str]:
    """An endpoint for these event_types (for all), and its secret."""
    return add_endpoint(shop, url, event_types or list(EventType), allow_internal=True)
