from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any

from django.conf import settings
from django.http import HttpResponse
from ninja import Query, Router

from ftpgate.settings import parse_duration
from webportal.api import schemas
from webportal.api.auth import Key, ShopRequest
from webportal.api.once import IdempotencyKey, once
from webportal.api.problems import missing, wrong
from webportal.api.routes import answers
from webportal.catalogue.models import Item
from webportal.core import clock
from webportal.core.cursors import after_key
from webportal.fulfilment import services
from webportal.grants.documents import grant_document, rfc3339, token_document
from webportal.grants.models import Grant
from webportal.grants.states import State
from webportal.shops.models import Scope
from webportal.shops.selectors import grants_of_shop
from webportal.shops.services import shop_user

router = Router(tags=["grants"])
_READ, _WRITE = Key(Scope.GRANTS_READ), Key(Scope.GRANTS_WRITE)


@router.post(
    "/grants", auth=_WRITE, response=answers(201, schemas.Issued, 409), summary="Issue a grant",
)  # fmt: skip
def issue_grant(request: ShopRequest, order: schemas.Order, idempotency_key: IdempotencyKey = None) -> HttpResponse:
    """Gives one of your customers the right to fetch items. The token and the links are in this answer only."""

    def issue() -> schemas.Issued:
        items = _items(order.items)
        expires = settings.FTPGATE.expires if order.expires is None else parse_duration(order.expires)
        user = shop_user(request.auth.shop, order.user)
        grant, token = services.issue_grant(user, items, expires_at=_in(expires), made_for=_made_for(request))
        return schemas.Issued(**token_document(grant, token))

    return once(request, idempotency_key, 201, issue)


@router.get("/grants", auth=_READ, response=answers(200, schemas.Grants), summary="List grants")
def list_grants(
    request: ShopRequest,
    user: Annotated[str | None, Query(max_length=1000, description="Only this customer's, by your own name")] = None,
    state: schemas.State | None = None,
    cursor: schemas.Cursor = None,
    limit: schemas.Limit = 100,
) -> schemas.Grants:
    """The grants of your own customers, newest first."""
    grants = grants_of_shop(request.auth.shop)
    if user is not None:
        grants = grants.filter(user__shop_user__reference=user.replace("\0", ""))
    if state is not None:
        grants = grants.filter(pk__in=Grant.objects.in_state(State(state)).values("pk"))
    found, following = after_key(grants, cursor, limit, newest=True)
    return schemas.Grants(grants=[schemas.GrantSummary(**_summary(grant)) for grant in found], next=following)


@router.get("/grants/{grant_id}", auth=_READ, response=answers(200, schemas.Grant, 404), summary="Show a grant")
def show_grant(request: ShopRequest, grant_id: str) -> schemas.Grant:
    """Everything in it, and what of it has been delivered: the document of `ftpgate grant show`."""
    return _shown(request, grant_id)


@router.post("/grants/{grant_id}/revoke", auth=_WRITE, response=answers(200, schemas.Grant, 404, 409), summary="Revoke a grant")
def revoke_grant(request: ShopRequest, grant_id: str, idempotency_key: IdempotencyKey = None) -> HttpResponse:
    """Ends an open grant for good, and what runs of it within 2 s. Revoking again changes nothing."""

    def revoke() -> schemas.Grant:
        services.revoke_grant(_grant(request, grant_id))
        return _shown(request, grant_id)

    return once(request, idempotency_key, 200, revoke)


@router.post("/grants/{grant_id}/renew", auth=_WRITE, response=answers(200, schemas.Grant, 404, 409), summary="Renew a grant")
def renew_grant(
    request: ShopRequest, grant_id: str, renewal: schemas.Renewal, idempotency_key: IdempotencyKey = None
) -> HttpResponse:
    """Opens an expired grant again, or moves the expiry of an open one. What was delivered stays delivered."""

    def renew() -> schemas.Grant:
        services.renew_grant(_grant(request, grant_id), expires_at=_in(parse_duration(renewal.expires)))
        return _shown(request, grant_id)

    return once(request, idempotency_key, 200, renew)


@router.post(
    "/grants/{grant_id}/tokens", auth=_WRITE, response=answers(201, schemas.Issued, 404, 409), summary="Make another token"
)
def make_token(
    request: ShopRequest, grant_id: str, wish: schemas.TokenWish | None = None, idempotency_key: IdempotencyKey = None
) -> HttpResponse:
    """For another device, or in place of links that got into wrong hands. Of more than 5 the longest unused dies."""

    def make() -> schemas.Issued:
        grant = _grant(request, grant_id)
        make_one = services.replace_tokens if wish is not None and wish.replace else services.add_token
        return schemas.Issued(**token_document(grant, make_one(grant, made_for=_made_for(request))))

    return once(request, idempotency_key, 201, make)


def _items(public_ids: list[str]) -> list[Item]:
    found = Item.objects.in_bulk(public_ids, field_name="public_id")
    for at, public_id in enumerate(public_ids):
        if public_id not in found:
            raise wrong(f"body/items/{at}", f"There is no item {public_id}.")
        if found[public_id].hidden_at is not None:
            raise wrong(f"body/items/{at}", f"The item {public_id} is not on offer.")
    return [found[public_id] for public_id in public_ids]


def _grant(request: ShopRequest, public_id: str) -> Grant:
    """A grant of the shop's own; others are as if they were not there."""
    grants = grants_of_shop(request.auth.shop)
    grant = grants.filter(public_id=public_id).first() if public_id.isalnum() else None
    if grant is None:
        raise missing("grant")
    return grant


def _shown(request: ShopRequest, public_id: str) -> schemas.Grant:
    grant = _grant(request, public_id)
    return schemas.Grant(**grant_document(grant, grant.user.shop_user.reference))


def _summary(grant: Grant) -> dict[str, Any]:
    return {
        "grant": grant.public_id,
        "user": grant.user.shop_user.reference,
        "state": grant.present_state.value,
        "issued_at": rfc3339(grant.issued_at),
        "expires_at": rfc3339(grant.expires_at),
        "completed_at": rfc3339(grant.completed_at),
    }


def _made_for(request: ShopRequest) -> str:
    return f"API key {request.auth.public_id}"


def _in(seconds: int) -> datetime:
    return clock.now() + timedelta(seconds=seconds)
