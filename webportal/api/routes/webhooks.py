from __future__ import annotations

from django.http import HttpResponse
from ninja import Router
from ninja.responses import Status

from webportal.api import schemas
from webportal.api.auth import Key, ShopRequest
from webportal.api.once import IdempotencyKey, once
from webportal.api.problems import missing
from webportal.api.routes import answers
from webportal.grants.documents import rfc3339
from webportal.shops.models import Scope
from webportal.webhooks import services
from webportal.webhooks.models import Endpoint
from webportal.webhooks.selectors import endpoints

router = Router(tags=["webhooks"], auth=Key(Scope.WEBHOOKS_WRITE))


@router.get("/webhooks", response=answers(200, schemas.Endpoints), summary="List endpoints")
def list_endpoints(request: ShopRequest) -> schemas.Endpoints:
    """Where your shop is told of what happens to its grants."""
    return schemas.Endpoints(endpoints=[_shown(endpoint) for endpoint in endpoints(request.auth.shop)])


@router.post("/webhooks", response=answers(201, schemas.EndpointSecret, 409), summary="Add an endpoint")
def add_endpoint(request: ShopRequest, wish: schemas.EndpointWish, idempotency_key: IdempotencyKey = None) -> HttpResponse:
    """Its address has to be https:// and on the Internet. Keep the secret: it is in this answer only.

    `item.complete` and `grant.complete` carry `proof`: `delivered`, or `customer` where it rests on the customer's own word.
    """

    def add() -> schemas.EndpointSecret:
        endpoint, secret = services.add_endpoint(request.auth.shop, wish.url, wish.kinds)
        return schemas.EndpointSecret(id=endpoint.public_id, secret=secret)

    return once(request, idempotency_key, 201, add)


@router.get("/webhooks/{endpoint_id}", response=answers(200, schemas.Endpoint, 404), summary="Show an endpoint")
def show_endpoint(request: ShopRequest, endpoint_id: str) -> schemas.Endpoint:
    return _shown(_endpoint(request, endpoint_id))


@router.patch("/webhooks/{endpoint_id}", response=answers(200, schemas.Endpoint, 404, 409), summary="Change an endpoint")
def change_endpoint(request: ShopRequest, endpoint_id: str, change: schemas.EndpointChange) -> schemas.Endpoint:
    """What is left out stays. What waits for it goes to the new address; events that occur while inactive are not sent."""
    services.change_endpoint(_endpoint(request, endpoint_id), url=change.url, event_types=change.kinds, active=change.active)
    return _shown(_endpoint(request, endpoint_id))


@router.delete("/webhooks/{endpoint_id}", response=answers(204, None, 404), summary="Delete an endpoint")
def delete_endpoint(request: ShopRequest, endpoint_id: str) -> Status[None]:
    """With everything that waits for it."""
    _endpoint(request, endpoint_id).delete()
    return Status(204, None)


@router.post(
    "/webhooks/{endpoint_id}/secret", response=answers(200, schemas.EndpointSecret, 404), summary="Replace an endpoint's secret"
)
def replace_secret(request: ShopRequest, endpoint_id: str, idempotency_key: IdempotencyKey = None) -> HttpResponse:
    """For 24 hours both secrets sign, so that you can change over without missing anything."""

    def replace() -> schemas.EndpointSecret:
        endpoint = _endpoint(request, endpoint_id)
        return schemas.EndpointSecret(id=endpoint.public_id, secret=services.replace_secret(endpoint))

    return once(request, idempotency_key, 200, replace)


def _endpoint(request: ShopRequest, public_id: str) -> Endpoint:
    endpoint = endpoints(request.auth.shop).filter(public_id=public_id).first() if public_id.isalnum() else None
    if endpoint is None:
        raise missing("endpoint")
    return endpoint


def _shown(endpoint: Endpoint) -> schemas.Endpoint:
    return schemas.Endpoint(
        id=endpoint.public_id,
        url=endpoint.url,
        kinds=endpoint.event_types,
        active=endpoint.active,
        made_at=rfc3339(endpoint.made_at) or "",
        waiting=getattr(endpoint, "waiting", 0),
        failed=getattr(endpoint, "failed", 0),
    )
