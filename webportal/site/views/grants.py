"""'Your downloads': a customer's grants, the links of each, and how far they have got."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from itertools import islice

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods

from ftpgate.tokens import Token
from webportal.accounts.models import User
from webportal.core.browsers import browser_name
from webportal.core.errors import GrantError
from webportal.core.paging import page_of
from webportal.fulfilment import services
from webportal.fulfilment.by_word import complete_by_word
from webportal.fulfilment.checkout import add_to_cart
from webportal.grants import selectors
from webportal.grants.models import Grant, GrantItem, GrantToken, MadeFor
from webportal.grants.places import Watching, watching
from webportal.grants.selectors import ItemDetail
from webportal.grants.states import State
from webportal.history.models import Proof
from webportal.site.presenters import MOST_FILES, Ways, condition, document, offered, shown_item
from webportal.site.remembered import remember_token, remembered_token
from webportal.site.requests import CustomerRequest, allow, not_stored, post_only

GRANTS_A_PAGE = 20
"""Newest first."""
STREAMS_A_PAGE = 3
"""A browser opens six connections to one host at a time, in all its tabs; the downloads themselves need some."""


@require_GET
def downloads(request: CustomerRequest) -> HttpResponse:
    page = page_of(selectors.grants_of(request.user), request, GRANTS_A_PAGE)
    progress = selectors.progress(page.object_list)
    awaiting = selectors.awaiting_word(page.object_list)
    live = watching(islice((grant for grant in page if grant.present_state is State.OPEN), STREAMS_A_PAGE))
    shown = [
        {
            "grant": grant,
            "items": [entry.item for entry in grant.grant_items.all()],
            "progress": progress[grant.public_id],
            "condition": condition(grant.present_state, progress[grant.public_id], unconfirmed=grant.public_id in awaiting),
            "live": live.addresses.get(grant.public_id, ""),
        }
        for grant in page
    ]
    response = render(request, "site/grants/downloads.html", {"page": page, "shown": shown})
    return not_stored(_may_connect(response, live))


@require_GET
def grant_page(request: CustomerRequest, grant_id: str) -> HttpResponse:
    grant = _grant(request.user, grant_id)
    details = selectors.details(grant)
    until = grant.open_until
    token = remembered_token(request.session, grant) if until else None
    ways = Ways.of(token, request.user.get_username(), details) if token else None
    live = watching([grant])
    progress = selectors.progress([grant])[grant.public_id]
    asked_about = offered(grant, details)
    tokens = GrantToken.objects.filter(grant=grant, dead_at=None).order_by("-made_at", "-pk")
    response = render(
        request,
        "site/grants/grant.html",
        {
            "grant": grant,
            "items": [shown_item(detail, ways, offered=detail.id in asked_about) for detail in details],
            "progress": progress,
            "condition": condition(grant.present_state, progress, unconfirmed=selectors.lacks_only_unconfirmed(details)),
            "by_word": any(detail.proof == Proof.CUSTOMER for detail in details),
            "most_files": MOST_FILES,
            "open_until": until,
            "ways": ways,
            "live": live.addresses.get(grant.public_id, ""),
            "tokens": tokens,
            "own_token": tokens.filter(digest=token.digest()).first() if token else None,
            "page_address": request.build_absolute_uri(),
            "most_tokens": services.MOST_LIVE_TOKENS,
        },
    )
    return not_stored(_may_connect(response, live))


@require_GET
def grant_state(request: CustomerRequest, grant_id: str) -> JsonResponse:
    """The recorded state for a page that cannot reach the gate; see `presenters.document`."""
    grant = _grant(request.user, grant_id)
    response = JsonResponse(document(grant, selectors.details(grant)))
    not_stored(response)
    return response


@post_only("grant", "grant_id")
def make_links(request: CustomerRequest, grant_id: str) -> HttpResponse:
    """Give this browser session links of its own."""
    grant = _grant(request.user, grant_id)
    if not remembered_token(request.session, grant):
        _try(request, grant, services.add_token)
    return redirect("grant", grant.public_id)


@post_only("grant", "grant_id")
def replace_links(request: CustomerRequest, grant_id: str) -> HttpResponse:
    """Kill all links of a grant; this browser session gets new ones."""
    grant = _grant(request.user, grant_id)
    if _try(request, grant, services.replace_tokens):
        messages.success(request, _("All earlier links are dead. These are the new ones. What is running now still ends well."))
    return redirect("grant", grant.public_id)


@post_only("grant", "grant_id")
def another_device(request: CustomerRequest, grant_id: str) -> HttpResponse:
    """Links for a device that cannot sign in here. Shown in this answer only."""
    grant = _grant(request.user, grant_id)
    try:
        token = services.add_token(grant, made_for=MadeFor.DEVICE)
    except GrantError:
        return redirect("grant", grant.public_id)
    details = selectors.details(grant)
    ways = Ways.of(token, request.user.get_username(), details)
    return not_stored(render(request, "site/grants/device.html", {"grant": grant, "ways": ways}))


@require_http_methods(["GET", "POST"])
def received(request: CustomerRequest, grant_id: str, item_id: str) -> HttpResponse:
    """ "I have everything": what the customer's word means, and the button that gives it."""
    grant = _grant(request.user, grant_id)
    detail = _item(grant, item_id)
    if request.method == "POST":
        _take_word(request, grant, detail)
        return redirect("grant", grant.public_id)
    if detail.completed_at is not None or not offered(grant, [detail]):
        _cannot_be_closed(request, detail)
        return redirect("grant", grant.public_id)
    context = {"grant": grant, "detail": detail, "grace": timedelta(seconds=settings.FTPGATE.grace)}
    return render(request, "site/grants/received.html", context)


def _take_word(request: CustomerRequest, grant: Grant, detail: ItemDetail) -> None:
    entry = GrantItem.objects.select_related("item").get(grant=grant, item__public_id=detail.id)
    try:
        completion = complete_by_word(grant, entry.item, request.user)
    except GrantError:
        _cannot_be_closed(request, detail)
        return
    if completion.proof == Proof.CUSTOMER:
        messages.success(request, _("“%(title)s” is in your history now, as confirmed by you.") % {"title": detail.title})
    else:
        messages.success(request, _("“%(title)s” has arrived whole; your confirmation was not needed.") % {"title": detail.title})


def _cannot_be_closed(request: CustomerRequest, detail: ItemDetail) -> None:
    """Say why it is not a matter of the customer's word."""
    if detail.completed_at is not None:
        messages.info(request, _("“%(title)s” is in your history already.") % {"title": detail.title})
    else:
        text = _("“%(title)s” cannot be confirmed now: something is running, or not all of it was sent yet. Download it again.")
        messages.error(request, text % {"title": detail.title})


@post_only("grant", "grant_id")
def cart_again(request: CustomerRequest, grant_id: str) -> HttpResponse:
    """Put what never arrived back in the cart."""
    grant = _grant(request.user, grant_id)
    lacking = GrantItem.objects.filter(grant=grant, completion=None).select_related("item").order_by("position")
    for entry in lacking:
        add_to_cart(request.user, entry.item)
    if not all(entry.item.on_offer for entry in lacking):
        messages.info(request, _("What is no longer on offer was left out."))
    return redirect("cart")


def _grant(user: User, grant_id: str) -> Grant:
    try:
        return selectors.grant_of(user, grant_id)
    except Grant.DoesNotExist:
        raise Http404 from None


def _item(grant: Grant, item_id: str) -> ItemDetail:
    for detail in selectors.details(grant):
        if detail.id == item_id:
            return detail
    raise Http404


def _try(request: HttpRequest, grant: Grant, make: Callable[..., Token]) -> Token | None:
    """A new token, remembered in this session; None, with the page saying why, when the grant opens nothing any more."""
    try:
        token = make(grant, made_for=browser_name(request.headers.get("User-Agent", "")))
    except GrantError:
        return None  # the page that follows shows the state that forbids it
    remember_token(request.session, token)
    return token


def _may_connect(response: HttpResponse, live: Watching) -> HttpResponse:
    """Let the page's script read progress from the gate, and from those that it may be sent to later."""
    if live.origins:
        allow(response, "connect-src", *sorted(live.origins))
    return response
