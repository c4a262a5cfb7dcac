from __future__ import annotations

from django.db.models import QuerySet

from webportal.accounts.models import User
from webportal.cart.models import CartItem


def cart_of(user: User) -> QuerySet[CartItem]:
    """What is in a user's cart, in the order it was put there, with `item` selected."""
    return CartItem.objects.filter(user=user).select_related("item")
