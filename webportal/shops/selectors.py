from __future__ import annotations

from django.db.models import QuerySet

from webportal.grants.models import Grant
from webportal.shops.models import ApiKey, Shop
from webportal.shops.services import digest_of, looks_like_key


def live_key(text: str) -> ApiKey | None:
    """The key that a client presents, with its `shop`; None when it is unknown or was revoked."""
    if not looks_like_key(text):
        return None
    return ApiKey.objects.filter(digest=digest_of(text), revoked_at=None).select_related("shop__tier").first()


def grants_of_shop(shop: Shop) -> QuerySet[Grant]:
    """The grants of a shop's own customers, with `user.shop_user` selected."""
    return Grant.objects.filter(user__shop_user__shop=shop).select_related("user__shop_user")


def is_origin_of_a_shop(origin: str) -> bool:
    """May pages of this origin call the API at all?"""
    return any(shop.has_origin(origin) for shop in Shop.objects.filter(origins__contains=origin))
