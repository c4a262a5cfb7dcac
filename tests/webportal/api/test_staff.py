"""What staff do with other shops: in the admin and by commands."""

from __future__ import annotations

import re
from html import unescape
from io import StringIO
from typing import Any

import pytest
from django.contrib.admin.models import DELETION, LogEntry
from django.contrib.auth.models import Permission
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from ftpgate.translatable import SystemReason
from tests.support.responses import Response
from tests.webportal.api.calling import Caller, problem
from tests.webportal.shop import make_grant, make_item, make_user
from tests.webportal.visiting import text, visitor
from tests.webportal.webhooks.shops import make_customer, make_endpoint, make_shop
from webportal.accounts.models import User
from webportal.accounts.services import set_tier
from webportal.core.texts import Text
from webportal.shops.models import ApiKey, Shop
from webportal.shops.selectors import live_key
from webportal.webhooks.models import Delivery, Endpoint, Event
from webportal.webhooks.selectors import endpoints

pytestmark = pytest.mark.django_db


def act(browser: Client, model: str, action: str, *rows: Any) -> Response:
    chosen = {"action": action, "_selected_action": [row.pk for row in rows]}
    return browser.post(reverse(f"admin:{model}_changelist"), chosen, follow=True)


def command(name: str, *arguments: str) -> str:
    out = StringIO()
    call_command(name, *arguments, stdout=out)
    return out.getvalue().strip()


# ------------------------------------------------------------------------------------------------ keys
def test_a_command_names_the_shops_own_pages() -> None:
    command("api_key", "acme", "--scope", "items:read", "--origin", "https://a.example", "--origin", "http://[::1]:3000")
    shop = Shop.objects.get(name="acme")
    assert shop.origins.split() == ["https://a.example", "http://[::1]:3000"]
    with pytest.raises(CommandError, match="without a path"):
        command("api_key", "acme", "--scope", "items:read", "--origin", "https://a.example/")
    command("api_key", "acme", "--scope", "items:read")
    shop.refresh_from_db()
    assert len(shop.origins.split()) == 2, "not named, they stay"


def test_a_key_is_made_shown_once_and_revoked(browser: Client, staff: User) -> None:
    shop = make_shop()
    given = {"shop": shop.pk, "label": "till", "scopes": ["items:read", "grants:read"]}
    answer = browser.post(reverse("admin:api_apikey_add"), given)
    (shown,) = re.findall(r"ftpgate_\w+", text(answer))
    assert "no-store" in answer["Cache-Control"]
    key = live_key(shown)
    assert key is not None
    assert (key.shop, key.label, key.scopes) == (shop, "till", ["items:read", "grants:read"])
    for page in ("admin:api_apikey_changelist", "admin:admin_logentry_changelist"):
        assert shown not in text(browser.get(reverse(page)))
    assert shown not in text(browser.get(reverse("admin:api_apikey_change", args=[key.pk])))
    assert "1 key is revoked" in text(act(browser, "api_apikey", "revoke", key))
    assert live_key(shown) is None
    assert LogEntry.objects.filter(user=staff, change_message="revoked").count() == 1


def test_a_key_without_scopes_is_not_made(browser: Client) -> None:
    answer = browser.post(reverse("admin:api_apikey_add"), {"shop": make_shop().pk, "label": "", "scopes": []})
    assert answer.status_code == 200
    assert not ApiKey.objects.exists()


def test_a_shop_keeps_its_name_and_is_never_deleted(browser: Client) -> None:
    tier = set_tier("fast", rate=1)
    browser.post(reverse("admin:api_shop_add"), {"name": "acme", "tier": tier.pk, **no_keys()})
    shop = Shop.objects.get()
    browser.post(reverse("admin:api_shop_change", args=[shop.pk]), {"name": "other", "tier": tier.pk, **no_keys()})
    shop.refresh_from_db()
    assert (shop.name, shop.tier) == ("acme", tier)
    assert browser.post(reverse("admin:api_shop_delete", args=[shop.pk]), {"post": "yes"}).status_code == 403


def no_keys() -> dict[str, int]:
    return {"keys-TOTAL_FORMS": 0, "keys-INITIAL_FORMS": 0}


def test_staff_who_may_only_look_may_not_act() -> None:
    looker = make_user("looker")
    looker.is_staff = True
    looker.save()
    names = ("view_apikey", "view_delivery", "view_event", "view_endpoint")
    looker.user_permissions.set(Permission.objects.filter(codename__in=names))
    browser, shop = visitor(looker), Caller()
    endpoint, _ = make_endpoint(shop.shop)
    make_grant(make_customer(shop.shop), make_item(1))
    Delivery.objects.update(state="failed")
    act(browser, "api_apikey", "revoke", shop.key)
    act(browser, "webhooks_delivery", "send_again", Delivery.objects.get())
    act(browser, "webhooks_event", "send_again", Event.objects.get())
    act(browser, "webhooks_endpoint", "replace_secret", endpoint)
    assert shop.get("items").status_code == 200
    assert Delivery.objects.get().state == "failed"
    assert Endpoint.objects.get().secret == endpoint.secret


def test_the_command_makes_shops_and_keys_and_revokes_them() -> None:
    first = command("api_key", "acme", "--scope", "items:read", "--label", "till")
    second = command("api_key", "acme", "--scope", "items:read", "--scope", "grants:write")
    assert first != second
    key = live_key(first)
    assert key is not None
    assert (Shop.objects.get().name, key.label, key.scopes) == ("acme", "till", ["items:read"])
    assert command("api_key", "acme", "--revoke", first) == f"{key.public_id} is revoked"
    assert live_key(first) is None
    found = live_key(second)
    assert found is not None
    command("api_key", "acme", "--revoke", found.public_id)
    assert live_key(second) is None


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["acme"], "--scope"),
        (["Bad Name", "--scope", "items:read"], "no name for a shop"),
        (["acme", "--scope", "everything"], "invalid choice"),
        (["acme", "--scope", "items:read", "--tier", "nothing"], "no tier"),
        (["acme", "--revoke", "nothing"], "has no key"),
    ],
)
def test_what_the_command_refuses(arguments: list[str], says: str) -> None:
    with pytest.raises(CommandError, match=says):
        command("api_key", *arguments)
    assert not Shop.objects.exists()


# ------------------------------------------------------------------------------------------------ webhooks
def test_an_endpoint_is_added_and_changed(browser: Client) -> None:
    shop = make_shop()
    given = {"shop": shop.pk, "url": "https://shop.example/", "event_types": ["grant.issued"], "active": "on"}
    answer = browser.post(reverse("admin:webhooks_endpoint_add"), given)
    assert "whsec_" in text(answer)
    assert "no-store" in answer["Cache-Control"]
    endpoint = Endpoint.objects.get()
    Endpoint.objects.update(leased_by="somebody", failures=7)
    address = reverse("admin:webhooks_endpoint_change", args=[endpoint.pk])
    assert "whsec_" not in text(browser.get(address))
    inside = given | {"url": "http://127.0.0.1:8025/"}
    assert "does not begin with https://" in text(browser.post(address, inside))
    browser.post(address, inside | {"allow_internal": "on"})
    changed = Endpoint.objects.get()
    assert (changed.url, changed.allow_internal, changed.failures) == ("http://127.0.0.1:8025/", True, 0)
    assert (changed.leased_by, changed.secret) == ("somebody", endpoint.secret), "the worker's columns are left alone"


def test_a_bad_address_is_explained_in_the_language_of_whoever_gave_it(browser: Client, staff: User) -> None:
    User.objects.filter(pk=staff.pk).update(language="ru")
    given = {"shop": make_shop().pk, "event_types": ["grant.issued"], "active": "on"}
    said = {
        "http://shop.example/": "адрес 'http://shop.example/' не начинается с https://: укажите адрес вида https://shop.example/hooks",
        "https://10.0.0.1/": "'10.0.0.1' — внутренний адрес: укажите адрес, доступный из Интернета",
        "https://me@shop.example/": "в адресе есть имя пользователя или фрагмент (#)",
    }
    for url, why in said.items():
        page = unescape(text(browser.post(reverse("admin:webhooks_endpoint_add"), given | {"url": url})))
        assert why in page
    assert not Endpoint.objects.exists()


def test_why_a_delivery_failed_is_said_in_the_language_of_whoever_looks(browser: Client, staff: User) -> None:
    shop = make_shop()
    make_endpoint(shop)
    make_grant(make_customer(shop), make_item(1))
    delivery = Delivery.objects.get()
    delivery.set_failure(Text.CONNECTION_FAILED(reason=SystemReason.CONNECTION_REFUSED()))
    delivery.save()
    pages = [
        reverse("admin:webhooks_event_change", args=[Event.objects.get().pk]),
        reverse("admin:webhooks_delivery_change", args=[Delivery.objects.get().pk]),
    ]
    for page in pages:
        assert "the connection failed: Connection refused" in text(browser.get(page))
    User.objects.filter(pk=staff.pk).update(language="ru")
    for page in pages:
        assert "не удалось соединиться: в соединении отказано" in text(browser.get(page))


def test_a_new_secret_is_shown_once(browser: Client) -> None:
    endpoint, old = make_endpoint(make_shop())
    answer = act(browser, "webhooks_endpoint", "replace_secret", endpoint)
    (new,) = re.findall(r"whsec_[\w+/=]+", text(answer))
    assert new != old
    assert "no-store" in answer["Cache-Control"]


def test_an_endpoint_is_deleted_with_what_waits_for_it(browser: Client, staff: User) -> None:
    shop = make_shop()
    first, _ = make_endpoint(shop)
    second, _ = make_endpoint(shop)
    make_grant(make_customer(shop), make_item(1))
    browser.post(reverse("admin:webhooks_endpoint_delete", args=[first.pk]), {"post": "yes"})
    assert list(Endpoint.objects.all()) == [second]
    chosen = {"action": "delete_selected", "_selected_action": [second.pk], "post": "yes"}
    browser.post(reverse("admin:webhooks_endpoint_changelist"), chosen)
    assert not Endpoint.objects.exists()
    assert not Delivery.objects.exists()
    assert LogEntry.objects.filter(user=staff, action_flag=DELETION).count() == 2


def test_deliveries_are_visible_and_sent_again(browser: Client, staff: User) -> None:
    shop = make_shop()
    make_endpoint(shop, url="http://127.0.0.1:1/a")
    make_endpoint(shop, url="http://127.0.0.1:1/b")
    make_grant(make_customer(shop), make_item(1))
    event = Event.objects.get()
    Delivery.objects.update(state="failed", attempts=20, status=500, answer="out of order")
    page = text(browser.get(reverse("admin:webhooks_event_change", args=[event.pk])))
    assert "out of order" in page
    assert event.public_id in page
    first = Delivery.objects.earliest("pk")
    assert "1 delivery is on its way" in text(act(browser, "webhooks_delivery", "send_again", first))
    assert list(Delivery.objects.order_by("pk").values_list("state", "attempts")) == [("waiting", 0), ("failed", 20)]
    assert "2 deliveries are" in text(act(browser, "webhooks_event", "send_again", event))
    assert [(row.waiting, row.failed) for row in endpoints()] == [(1, 0), (1, 0)]  # type: ignore[attr-defined]
    assert LogEntry.objects.filter(user=staff, change_message="sent again").count() == 2


def test_the_command_adds_an_endpoint_that_may_be_internal() -> None:
    shop = make_shop()
    public_id, secret = command("webhook_endpoint", shop.name, "http://127.0.0.1:8025/", "--allow-internal").split()
    endpoint = Endpoint.objects.get(public_id=public_id)
    assert endpoint.allow_internal
    assert len(endpoint.event_types) == 4
    assert secret.startswith("whsec_")
    for arguments in ([shop.name, "http://127.0.0.1:8025/"], [shop.name, "https://10.0.0.1/"], ["nobody", "https://a.example/"]):
        with pytest.raises(CommandError):
            command("webhook_endpoint", *arguments)


def test_a_customer_of_a_shop_is_found_by_its_own_name(browser: Client) -> None:
    shop = Caller()
    grant = shop.post("grants", {"user": "customer-17", "items": [make_item(1).public_id]}).json()["grant"]
    assert grant in text(browser.get(reverse("admin:grants_grant_changelist"), {"q": "customer-17"}))
    for page in ("admin:history_completion_changelist", "admin:history_transfer_changelist"):
        assert browser.get(reverse(page), {"q": "customer-17"}).status_code == 200
    assert "customer-17" in text(browser.get(reverse("admin:api_shopuser_changelist"), {"q": "customer-17"}))
    problem(shop.get("grants/aaaaaaaaaa"), 404)
