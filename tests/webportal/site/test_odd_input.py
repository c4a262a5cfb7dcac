"""Whatever is written into addresses and forms gets an answer in words: never an error of ours."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from urllib.parse import quote

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import URLPattern, get_resolver, reverse

from tests.webportal.shop import make_grant, make_item
from tests.webportal.visiting import visitor
from webportal.accounts.models import User
from webportal.site import forms

pytestmark = pytest.mark.django_db

ODD = ("a\0b", "x" * 5_000, "\ud800", "../../etc/passwd", "evil\r\nX: y", "-1", "9" * 30, "１")
FIELDS = (
    *("next", "language", "q", "sort", "page", "folder", "item", "connection", "username", "password", "email", "time_zone"),
    *("old_password", "new_password1", "new_password2", "wants_mail", "csrfmiddlewaretoken", "limit", "cursor", "state", "user"),
)


@pytest.fixture(autouse=True)
def _without_long_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages repeat them whatever is asked, and take a fifth of their time for that: the admin's tables, and 600 time zones."""
    monkeypatch.setattr(admin.site, "enable_nav_sidebar", False)
    monkeypatch.setattr(forms, "available_timezones", lambda: {"Asia/Tokyo", "Europe/Moscow"})


def pages() -> Iterator[URLPattern]:
    """Every page of customers and staff, apart from the admin and the API."""
    for included in get_resolver().url_patterns:
        if not str(included.pattern).startswith(("admin", "api")):
            yield from included.url_patterns  # type: ignore[misc, union-attr]


def sent(value: str) -> str:
    """As a browser or somebody at a command line may write it into an address or a form."""
    return quote(value, errors="surrogatepass")


@pytest.mark.parametrize("value", ODD, ids=ascii)
def test_any_page_bears_any_field(browser: Client, staff: User, value: str) -> None:
    item = make_item(10)
    grant, _ = make_grant(staff, item)
    known = {"item_id": item.public_id, "grant_id": grant.public_id, "position": 1, "key": 1, "link": "x"}
    fields = "&".join(f"{name}={sent(value)}" for name in FIELDS)
    for pattern in pages():
        address = reverse(pattern.name, kwargs={name: known[name] for name in pattern.pattern.converters})
        for one in (browser, visitor()):
            assert one.get(f"{address}?{fields}").status_code < 500, address
            assert one.post(f"{address}?{fields}", fields, "application/x-www-form-urlencoded").status_code < 500, address
        if pattern.name in ("logout", "password"):
            browser.force_login(staff, "django.contrib.auth.backends.ModelBackend")


@pytest.mark.parametrize("value", ODD, ids=ascii)
def test_addresses_may_hold_anything(browser: Client, value: str) -> None:
    odd = sent(value).replace("/", "%2F")
    places = (
        *(
            "/{}",
            "/{}/",
            "/items/{}/",
            "/items/{}/cover",
            "/items/{}/listen/{}",
            "/cart/add/{}",
            "/downloads/{}/",
            "/history/{}/{}/",
        ),
        *(
            "/downloads/{}/{}/received",
            "/account/sign-ins/{}/end",
            "/static/{}",
            "/admin/{}/",
            "/admin/catalogue/item/{}/change/",
        ),
        *(
            "/admin/catalogue/item/{}/history/",
            "/admin/r/{}/{}/",
            "/admin/accounts/user/{}/password/",
            "/api/v1/items/{}",
            "/api/v1/{}",
        ),
        *("/api/v1/grants/{}/receipts/{}", "/api/v1/webhooks/{}"),
    )
    for place, ask in product(places, (browser.get, browser.post)):
        assert ask(place.replace("{}", odd)).status_code < 500, place


@pytest.mark.parametrize("value", [value for value in ODD if "/" not in value and "\n" not in value], ids=ascii)
def test_lists_of_the_admin_bear_any_query(browser: Client, value: str) -> None:
    odd = sent(value)
    for model, of in admin.site._registry.items():
        address = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
        names = ["q", "p", "o", "id", str(of.list_display[0])]
        for name in names:
            assert browser.get(f"{address}?{sent(name)}={odd}").status_code < 500, (address, name)
        form = f"action={odd}&_selected_action={odd}&index={odd}&select_across={odd}&tier={odd}"
        assert browser.post(address, form, "application/x-www-form-urlencoded").status_code < 500, address
    for query in ("app_label", "model_name", "field_name", "term"):
        assert browser.get(f"/admin/autocomplete/?{query}={odd}").status_code < 500


HEADERS = (
    *("Host", "Cookie", "Referer", "User-Agent", "Accept-Language", "If-Modified-Since", "Content-Type", "Authorization"),
    *("Idempotency-Key", "X-Forwarded-For", "Range", "Origin", "Accept"),
)


@pytest.mark.databases("postgres")  # which refuses what SQLite keeps
@pytest.mark.parametrize("name", HEADERS)
def test_headers_may_hold_anything(browser: Client, name: str) -> None:
    item = make_item(10)
    for value in (*ODD, "sessionid=\0; known=-.-.; django_language=\ud800", "Bearer \0", "Bearer ftpgate_\xe9", "x" * 30_000):
        header = value.encode("utf-8", "surrogatepass").decode("latin-1").replace("\r", "").replace("\n", "")
        for address in ("/", "/sign-in/", f"/items/{item.public_id}/cover", "/admin/jsi18n/", "/api/v1/items"):
            for ask in (browser.get, browser.post):
                assert ask(address, headers={name: header}).status_code < 500, (address, value[:20])
