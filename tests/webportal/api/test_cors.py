"""Calls by pages of a shop: which origins may read what the API answers."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from tests.support.responses import Response
from tests.webportal.api.calling import Caller
from tests.webportal.visiting import text
from tests.webportal.webhooks.shops import make_shop
from webportal.shops.models import MOST_ORIGINS, Scope, Shop

pytestmark = pytest.mark.django_db

OWN = "https://shop.example"
OTHER = "https://other.example:8443"


@pytest.fixture
def caller() -> Caller:
    caller = Caller(Scope.ITEMS_READ)
    Shop.objects.filter(pk=caller.shop.pk).update(origins=f"http://localhost:3000\n{OWN}")
    Shop.objects.filter(pk=make_shop().pk).update(origins=OTHER)
    return caller


def ask(caller: Caller, origin: str, path: str = "items", **headers: str) -> Response:
    return caller.client.get(f"/api/v1/{path}", headers={"origin": origin, **headers})


def preflight(origin: str, path: str = "items", method: str = "GET") -> Response:
    """As browsers ask: without the key."""
    headers = {
        "host": "localhost", "origin": origin, "access-control-request-method": method,
        "access-control-request-headers": "authorization",
    }  # fmt: skip
    return Client(headers=headers).options(f"/api/v1/{path}")


@pytest.mark.parametrize("origin", [OWN, "http://localhost:3000"])
def test_pages_of_the_shop_may_read(caller: Caller, origin: str) -> None:
    answer = ask(caller, origin)
    assert answer.status_code == 200
    assert answer["Access-Control-Allow-Origin"] == origin
    assert "Origin" in answer["Vary"]
    assert "Access-Control-Allow-Credentials" not in answer


@pytest.mark.parametrize(
    "origin", [OTHER, "https://shop.example.evil.example", "https://shop.exampl", "null", "*", "", "https://"]
)
def test_pages_of_others_may_not(caller: Caller, origin: str) -> None:
    """Nor those of another shop, with this one's key."""
    answer = ask(caller, origin)
    assert answer.status_code == 200
    assert "Access-Control-Allow-Origin" not in answer
    assert "Origin" in answer["Vary"]


@pytest.mark.parametrize(("path", "status"), [("items/nothing", 404), ("grants", 403), ("nowhere", 404)])
def test_a_page_may_read_why_it_was_refused(caller: Caller, path: str, status: int) -> None:
    answer = ask(caller, OWN, path)
    assert answer.status_code == status
    assert answer["Access-Control-Allow-Origin"] == OWN


def test_a_page_may_read_that_its_key_is_wrong(caller: Caller) -> None:
    answer = ask(caller, OWN, authorization="Bearer nonsense")
    assert answer.status_code == 401
    assert answer["Access-Control-Allow-Origin"] == OWN


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
def test_a_browser_asks_first(caller: Caller, method: str) -> None:
    answer = preflight(OWN, method=method)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer["Access-Control-Allow-Origin"] == OWN
    assert method in answer["Access-Control-Allow-Methods"].split(", ")
    assert {"Authorization", "Content-Type", "Idempotency-Key"} == set(answer["Access-Control-Allow-Headers"].split(", "))
    assert "Origin" in answer["Vary"]


@pytest.mark.parametrize("origin", ["https://evil.example", "null", ""])
def test_a_browser_hears_no(caller: Caller, origin: str) -> None:
    answer = preflight(origin)
    assert answer.status_code == 405
    assert "Access-Control-Allow-Origin" not in answer
    assert "Access-Control-Allow-Methods" not in answer


def test_options_that_are_no_question_are_refused_as_ever(caller: Caller) -> None:
    answer = caller.client.options("/api/v1/items", headers={"origin": OWN})
    assert answer.status_code == 405


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://shop.example\nhttp://localhost:3000", True), ("", True), ("http://[::1]:8000", True), ("https://a", True),
        ("https://shop.example/", False), ("https://shop.example/path", False), ("shop.example", False), ("*", False),
        ("null", False), ("https://*.example", False), ("HTTPS://Shop.example", False), ("javascript:alert(1)", False),
        ("\n".join(f"https://s{n}.example" for n in range(MOST_ORIGINS)), True),
        ("\n".join(f"https://s{n}.example" for n in range(MOST_ORIGINS + 1)), False),
    ],
)  # fmt: skip
def test_staff_enter_a_shops_pages(browser: Client, given: str, kept: bool) -> None:
    shop = make_shop()
    inlines = {"keys-TOTAL_FORMS": "0", "keys-INITIAL_FORMS": "0"}
    answer = browser.post(reverse("admin:api_shop_change", args=[shop.pk]), {"tier": shop.tier_id, "origins": given, **inlines})
    shop.refresh_from_db()
    assert (answer.status_code == 302) is kept, text(answer)
    assert shop.origins.split() == (given.split() if kept else [])
