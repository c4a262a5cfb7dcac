from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from webportal.cart.models import CartItem


def header(request: HttpRequest) -> dict[str, Any]:
    """`cart_count` for the header; asked of the database only by pages that show it."""
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return {}
    return {"cart_count": SimpleLazyObject(lambda: CartItem.objects.filter(user=user).count())}
