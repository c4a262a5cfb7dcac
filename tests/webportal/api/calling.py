"""A shop that calls the API, by Django's test client."""

from __future__ import annotations

from typing import Any

from django.test import Client

from tests.support.responses import Response
from tests.webportal.webhooks.shops import make_shop
from webportal.shops.models import ApiKey, Scope, Shop
from webportal.shops.services import make_key


class Caller:
    """Calls as one shop with one key, which may do everything unless scopes are named."""

    def __init__(self, *scopes: Scope, shop: Shop | None = None) -> None:
        self.shop = shop or make_shop()
        key, secret = make_key(self.shop, scopes or list(Scope))
        self.key: ApiKey = key
        self.secret = secret
        self.client = Client(headers={"host": "localhost", "authorization": f"Bearer {secret}"}, raise_request_exception=False)

    def get(self, path: str, **query: Any) -> Response:
        return self.client.get(f"/api/v1/{path}", query)

    def post(self, path: str, document: Any = None, *, once: str = "") -> Response:
        headers = {"idempotency-key": once} if once else {}
        body = b"" if document is None else document
        return self.client.post(f"/api/v1/{path}", body, content_type="application/json", headers=headers)

    def patch(self, path: str, document: Any) -> Response:
        return self.client.patch(f"/api/v1/{path}", document, content_type="application/json")

    def delete(self, path: str) -> Response:
        return self.client.delete(f"/api/v1/{path}")


def problem(answer: Response, status: int, name: str = "") -> dict[str, Any]:
    """The problem document of an answer, which has to be one with this status and name."""
    assert answer.status_code == status, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    assert answer["Cache-Control"] == "no-store"
    document: dict[str, Any] = answer.json()
    assert document["status"] == status
    assert document["type"] == (f"urn:ftpgate:{name}" if name else "about:blank")
    assert document["title"]
    assert document["detail"]
    return document
