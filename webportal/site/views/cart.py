from __future__ import annotations

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from webportal.cart.selectors import cart_of
from webportal.catalogue.models import Item
from webportal.catalogue.selectors import items
from webportal.core.browsers import browser_name
from webportal.core.errors import GrantError
from webportal.fulfilment import checkout
from webportal.fulfilment.services import MOST_ITEMS, add_token
from webportal.grants.models import Grant, GrantItem
from webportal.grants.states import State
from webportal.site.remembered import remember_token, remembered_token
from webportal.site.requests import CustomerRequest, came_from, post_only


@require_GET
def cart(request: CustomerRequest) -> HttpResponse:
    entries = list(cart_of(request.user))
    sized = {item.pk: item for item in items().filter(pk__in=[entry.item_id for entry in entries])}
    granted = dict(
        GrantItem.objects.filter(
            grant__in=Grant.objects.filter(user=request.user).in_state(State.OPEN), item__in=sized, completion=None
        ).values_list("item_id", "grant__public_id")
    )
    shown = [{"item": sized[entry.item_id], "grant": granted.get(entry.item_id, "")} for entry in entries]
    # Hidden meanwhile: nothing leaves a cart but by its owner or by being complete.
    kept = [item for item in sized.values() if item.on_offer or item.pk in granted]
    return render(
        request,
        "site/cart/cart.html",
        {
            "shown": shown,
            "count": len(kept),
            "total": sum(getattr(item, "total_bytes", None) or 0 for item in kept),
            "new": len(kept) - len(granted),
        },
    )


@post_only("item", "item_id")
def add(request: CustomerRequest, item_id: str) -> HttpResponse:
    if cart_of(request.user).count() >= MOST_ITEMS:
        messages.error(request, _("Your cart is full. Check out first, then go on choosing."))
    else:
        item = _item(item_id)
        if not item.on_offer:
            raise Http404
        checkout.add_to_cart(request.user, item)
    return redirect(came_from(request, "catalogue"))


@post_only("cart")
def remove(request: CustomerRequest, item_id: str) -> HttpResponse:
    checkout.remove_from_cart(request.user, _item(item_id))
    return redirect(came_from(request, "cart"))


@post_only("cart")
def check_out(request: CustomerRequest) -> HttpResponse:
    """Issue the grant and show its links. A second click shows the same grant."""
    browser = browser_name(request.headers.get("User-Agent", ""))
    try:
        grant, token = checkout.check_out(request.user, made_for=browser)
        if token is None and remembered_token(request.session, grant) is None:
            token = add_token(grant, made_for=browser)
    except GrantError:
        messages.error(request, _("Nothing could be checked out. Look at what is in your cart and try again."))
        return redirect("cart")
    if token is not None:
        remember_token(request.session, token)
    return redirect("grant", grant.public_id)


def _item(public_id: str) -> Item:
    try:
        return Item.objects.get(public_id=public_id)
    except Item.DoesNotExist:
        raise Http404 from None
