from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

from django.conf import settings
from django.db import transaction

from ftpgate.tokens import Token
from webportal.accounts.models import User
from webportal.cart.models import CartItem
from webportal.catalogue.models import Item
from webportal.core import clock
from webportal.core.errors import GrantError
from webportal.core.texts import Text
from webportal.fulfilment.services import issue_grant
from webportal.grants.models import Grant, GrantItem
from webportal.grants.states import State


class Checkout(NamedTuple):
    """The grant that serves a cart. `token` is None when it was there already: its secret is not kept."""

    grant: Grant
    token: Token | None


def add_to_cart(user: User, item: Item) -> bool:
    """Put an item in the cart; False when it was there, or is not on offer."""
    if not item.on_offer:
        return False
    return CartItem.objects.get_or_create(user=user, item=item)[1]


def remove_from_cart(user: User, item: Item) -> bool:
    """Take an item out of the cart; False when it was not there. Grants that hold it stay as they are."""
    return CartItem.objects.filter(user=user, item=item).delete()[0] > 0


@transaction.atomic
def check_out(user: User, *, made_for: str = "") -> Checkout:
    """Issue a grant for what is in the cart and in no open grant yet; the items stay in the cart until they are complete.
    What was hidden meanwhile is left out: it waits in the cart for being shown again, or for its owner to remove it.

    Again for the same cart (a double click, a second tab) it makes nothing and returns the newest grant that serves it.

    Raises:
        GrantError: the cart is empty, or nothing in it is on offer.
    """
    User.objects.select_for_update(no_key=True).get(pk=user.pk)  # two check-outs of one user, one after the other
    items = [entry.item for entry in CartItem.objects.filter(user=user).select_related("item")]
    if not items:
        raise GrantError(Text.CART_EMPTY())
    serving = dict(
        GrantItem.objects.filter(grant__in=Grant.objects.filter(user=user).in_state(State.OPEN), item__in=items, completion=None)
        .order_by("grant__issued_at", "grant_id")
        .values_list("item_id", "grant_id")
    )
    unserved = [item for item in items if item.pk not in serving and item.on_offer]
    if not unserved and not serving:
        raise GrantError(Text.CART_NOT_ON_OFFER())
    if not unserved:
        return Checkout(Grant.objects.filter(pk__in=serving.values()).order_by("-issued_at", "-pk")[0], None)
    expires_at = clock.now() + timedelta(seconds=settings.FTPGATE.expires)
    return Checkout(*issue_grant(user, unserved, expires_at=expires_at, made_for=made_for))
