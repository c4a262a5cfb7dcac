"""Rights of staff: whoever is no superuser never ends with more, nor does anybody by his hand, whatever he posts to the admin."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from ftpgate.grants import Batch
from tests.support.responses import Response
from tests.webportal.api.calling import Caller
from tests.webportal.shop import make_grant, make_item, whole
from tests.webportal.visiting import text, visitor
from tests.webportal.webhooks.shops import make_customer, make_endpoint
from webportal.accounts.models import Tier, User
from webportal.accounts.services import add_user, set_tier
from webportal.bridge import make_bridge
from webportal.catalogue.services import report_changed
from webportal.config import environment
from webportal.grants.models import Gate
from webportal.shops.models import ApiKey, Scope, Shop
from webportal.staff.admin.accounts import RightsAdmin, UserAdmin
from webportal.webhooks.models import Endpoint, EventType

pytestmark = pytest.mark.django_db

OLD, NEW = "narrow green boat 7", "taken over 12345"
REGISTERED = [*admin.site._registry]
Posted = dict[str, Any]


def make_clerk(*codenames: str) -> User:
    """Staff with these permissions only."""
    clerk = add_user("clerk", password=OLD)
    User.objects.filter(pk=clerk.pk).update(is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    return User.objects.get(pk=clerk.pk)


def rights_over(model: type[Model]) -> list[str]:
    rights = Permission.objects.filter(content_type=ContentType.objects.get_for_model(model))
    return list(rights.values_list("codename", flat=True))


@pytest.fixture
def world() -> dict[str, User]:
    """Somebody of each kind, and a row or more of every table that has a page."""
    keepers = Group.objects.create(name="keepers")
    keepers.permissions.set(Permission.objects.filter(codename__in=("change_grant", "add_item")))
    Group.objects.create(name="nothing")
    people = {name: add_user(name, password=OLD, email=f"{name}@shop.example") for name in ("boss", "dormant", "peer", "member")}
    User.objects.filter(username__in=("boss", "dormant")).update(is_superuser=True)
    User.objects.exclude(username="member").update(is_staff=True)
    User.objects.filter(username="dormant").update(is_active=False)
    people["peer"].user_permissions.set(Permission.objects.filter(codename="view_item"))
    people["member"].groups.set([keepers])
    people["customer"] = add_user("customer", password=OLD, email="customer@shop.example")
    item = make_item(10, 20)
    grant, _ = make_grant(people["customer"], item)
    make_bridge(environment.current()).record("gate", Batch(delivered=whole(grant, item)))
    report_changed({item.files.all()[0].pk: "shorter than imported"})
    Gate.objects.create(public_id="gate", host="host", pid=1, started_at=grant.issued_at)
    caller = Caller(Scope.ITEMS_READ)
    make_endpoint(caller.shop, url="http://127.0.0.1:8025/")
    make_grant(make_customer(caller.shop), item)
    return {name: User.objects.get(pk=user.pk) for name, user in people.items()}


def standing() -> set[tuple[str, ...]]:
    """Every right that somebody or something has."""
    users = User.objects.values_list("username", "is_superuser", "is_staff")
    found = {(name, right) for name, superuser, staff in users for right in ["superuser"] * superuser + ["staff"] * staff}
    found |= {(name, str(right)) for name, right in User.objects.values_list("username", "user_permissions") if right}
    found |= {(name, f"group {group}") for name, group in User.objects.values_list("username", "groups__name") if group}
    found |= {(f"group {name}", str(right)) for name, right in Group.objects.values_list("name", "permissions") if right}
    found |= {("right", *map(str, right)) for right in Permission.objects.values_list()}  # type: ignore[misc]
    found |= {("key", scope) for key in ApiKey.objects.all() for scope in key.scopes}
    return found | {("internal", endpoint.url) for endpoint in Endpoint.objects.filter(allow_internal=True)}


def doors() -> set[tuple[Any, ...]]:
    """How those get in who have rights, by name, password or address."""
    above = User.objects.filter(username__in=("boss", "dormant", "peer", "member"))
    return set(above.values_list("pk", "username", "password", "email", "is_active", "tier"))


class _Fields(HTMLParser):
    """The fields of a page with their values, as a browser would post them."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, list[str]] = {}
        self._select = ""
        self.actions: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        name = given.get("name") or ""
        if tag == "select":
            self._select = name
            self.found.setdefault(name, [])
        elif tag == "option":
            value = given.get("value") or ""
            if self._select == "action":
                self.actions += [value] if value else []
            elif "selected" in given:
                self.found[self._select].append(value)
        elif tag in ("input", "textarea") and given.get("type") not in ("submit", "file"):
            ticked = given.get("type") not in ("checkbox", "radio") or "checked" in given
            self.found.setdefault(name, []).extend([given.get("value") or ""] if ticked else [])


def fields_of(answer: Response) -> _Fields:
    fields = _Fields()
    fields.feed(text(answer))
    for name in ("", "csrfmiddlewaretoken", "_selected_action", "action", "index"):
        fields.found.pop(name, None)
    return fields


def demands(user: User, url: str) -> Posted:
    """Every field by which rights could be had."""
    everything = list(Permission.objects.filter(content_type__app_label="accounts").values_list("pk", flat=True))
    return {
        "is_active": "on", "is_staff": "on", "is_superuser": "on", "email": "thief@shop.example",
        "groups": list(Group.objects.values_list("pk", flat=True)), "user_permissions": everything, "permissions": everything,
        "password": "x", "password1": NEW, "password2": NEW, "usable_password": "true", "set-password": "x",
        "user": user.pk, "scopes": Scope.values, "event_types": EventType.values, "allow_internal": "on", "url": url,
        "user_set": [user.pk], "users": [user.pk], "codename": "change_user", "session_key": "x",
    }  # fmt: skip


def filled(fields: Mapping[str, list[str]], asked: Posted, number: int) -> Posted:
    """A page's own form, its empty fields filled, with these demands on top."""
    rows = {"tier": Tier.objects.latest("pk").pk, "shop": Shop.objects.latest("pk").pk}
    return {name: values if any(values) else rows.get(name, f"new{number}") for name, values in fields.items()} | asked


def posts(model: type[Model], user: User, browser: Client) -> Iterator[Response]:
    """Post everything to every page of a table: first what adds and changes, then the list's actions and deletions."""
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
    rows = list(model._default_manager.values_list("pk", flat=True))
    pages = [reverse(f"{name}_add"), *(reverse(f"{name}_change", args=[pk]) for pk in rows)]
    if model is User:
        pages += [reverse("admin:auth_user_password_change", args=[pk]) for pk in rows]
    urls = ("http://127.0.0.1:9121/", "https://thief.example/")
    for number, (page, url) in enumerate((page, url) for page in pages for url in (urls if model is Endpoint else urls[:1])):
        given = filled(fields_of(browser.get(page)).found, demands(user, url), number)
        yield browser.post(page, given | {"_saveasnew": "x"})
        yield browser.post(page, given | {"_save": "x"})
    changelist = reverse(f"{name}_changelist")
    asked = demands(user, urls[0])
    edited: Posted = {"form-TOTAL_FORMS": len(rows), "form-INITIAL_FORMS": len(rows), "_save": "x"}
    for index, pk in enumerate(rows):
        edited |= {f"form-{index}-{field}": value for field, value in asked.items()} | {f"form-{index}-id": pk}
    yield browser.post(changelist, edited)
    for action in fields_of(browser.get(changelist)).actions:
        chosen = {"action": action, "_selected_action": rows, "post": "yes", "tier": set_tier("slow", rate=1).pk}
        yield browser.post(changelist, asked | chosen)
        yield browser.post(changelist, asked | chosen | {"_selected_action": rows[:1], "select_across": "1"})
    for pk in rows:
        yield browser.post(reverse(f"{name}_delete", args=[pk]), {"post": "yes"})


@pytest.mark.databases("postgres")
@pytest.mark.parametrize("model", REGISTERED, ids=lambda model: model.__name__)
def test_the_rights_over_one_table_never_lead_to_more(world: dict[str, User], model: type[Model]) -> None:
    clerk = make_clerk(*rights_over(model))
    before, doors_before = standing(), doors()
    for answer in posts(model, clerk, visitor(clerk)):
        assert answer.status_code < 500
        assert standing() - before == set()
        assert doors() == doors_before
    lost = {owner for owner, *_ in before - standing()}
    assert lost <= {"clerk", "key", "internal"}, "only a superuser takes rights"


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize(
    ("model", "gained"),
    [
        (User, ("clerk", "superuser")),
        (User, ("clerk", "group keepers")),
        (Group, ("group nothing", "{add_user}")),
        (ApiKey, ("key", "grants:write")),
        (Endpoint, ("internal", "http://127.0.0.1:9121/")),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_superuser_gives_rights_by_the_same_posts(world: dict[str, User], model: type[Model], gained: tuple[str, str]) -> None:
    clerk, seen = make_clerk(), set[tuple[str, ...]]()
    for _answer in posts(model, clerk, visitor(world["boss"])):
        seen |= standing()
    add_user = Permission.objects.get(codename="add_user").pk
    assert tuple(word.format(add_user=add_user) for word in gained) in seen


def test_every_page_that_edits_users_or_groups_keeps_the_rule() -> None:
    """What posts cannot know of: another page, or rows within another page, for tables that hold rights."""
    of_rights = {User, Group, Permission, User.groups.through, User.user_permissions.through, Group.permissions.through}
    for model, its_admin in admin.site._registry.items():
        assert model not in of_rights or isinstance(its_admin, RightsAdmin), model
        assert not of_rights & {inline.model for inline in its_admin.inlines}, model


# ------------------------------------------------------------------------------------------------ users and groups
def change(browser: Client, user: User, **given: Any) -> Response:
    page = reverse("admin:accounts_user_change", args=[user.pk])
    return browser.post(page, fields_of(browser.get(page)).found | given)


def test_a_clerk_helps_customers(world: dict[str, User]) -> None:
    clerk = make_clerk("change_user", "view_user", "delete_user", "add_user")
    browser, customer = visitor(clerk), world["customer"]
    assert change(browser, customer, email="new@shop.example").status_code == 302
    browser.post(
        reverse("admin:auth_user_password_change", args=[customer.pk]),
        {"password1": NEW, "password2": NEW, "usable_password": "true", "set-password": "x"},
    )
    customer.refresh_from_db()
    assert (customer.email, customer.check_password(NEW)) == ("new@shop.example", True)
    made = {"username": "late", "tier": customer.tier_id, "usable_password": "true", "password1": NEW, "password2": NEW}
    browser.post(reverse("admin:accounts_user_add"), made)
    late = User.objects.get(username="late")
    browser.post(reverse("admin:accounts_user_delete", args=[late.pk]), {"post": "yes"})
    assert not User.objects.filter(username="late").exists()


def test_a_clerk_helps_those_of_the_staff_who_have_no_more_rights(world: dict[str, User]) -> None:
    clerk, peer = make_clerk("change_user", "view_item"), world["peer"]
    assert change(visitor(clerk), peer, email="new@shop.example").status_code == 302
    peer.user_permissions.add(Permission.objects.get(codename="delete_item"))
    assert change(visitor(clerk), peer, email="again@shop.example").status_code == 403
    peer.refresh_from_db()
    assert peer.email == "new@shop.example"


def test_a_clerk_looks_at_superusers_and_cannot_save(world: dict[str, User]) -> None:
    browser = visitor(make_clerk("change_user"))
    page = browser.get(reverse("admin:accounts_user_change", args=[world["boss"].pk]))
    assert page.status_code == 200
    assert 'name="_save"' not in text(page)
    assert change(browser, world["boss"], email="thief@shop.example").status_code == 403


def test_an_action_leaves_superusers_out_and_says_so(world: dict[str, User]) -> None:
    clerk, slow = make_clerk("change_user"), set_tier("slow", rate=1)
    browser, address = visitor(clerk), reverse("admin:accounts_user_changelist")
    chosen = {"action": "change_tier", "tier": slow.pk, "_selected_action": [world["boss"].pk, world["customer"].pk]}
    assert "Some were left as they are" in text(browser.post(address, chosen, follow=True))
    assert set(User.objects.filter(tier=slow)) == {world["customer"]}
    alone = chosen | {"_selected_action": [world["boss"].pk]}
    assert "Some were left as they are" in text(browser.post(address, alone, follow=True))
    assert set(User.objects.filter(tier=slow)) == {world["customer"]}


@pytest.mark.parametrize("columns", [("email",), ("is_active",), ("is_staff",), ("is_superuser",)])
def test_a_list_with_columns_to_edit_keeps_the_rule(
    world: dict[str, User], monkeypatch: pytest.MonkeyPatch, columns: tuple[str, ...]
) -> None:
    monkeypatch.setattr(UserAdmin, "list_display", ("username", *columns))
    monkeypatch.setattr(UserAdmin, "list_editable", columns)
    monkeypatch.setattr(admin.site._registry[User], "list_editable", columns)
    browser, address = visitor(make_clerk("change_user")), reverse("admin:accounts_user_changelist")
    before = standing()
    for user, given in ((world["boss"], {"email": "thief@shop.example"}), (world["customer"], dict.fromkeys(columns, "on"))):
        row = {f"form-0-{name}": value for name, value in given.items()} | {"form-0-id": user.pk}
        answer = browser.post(address, {"form-TOTAL_FORMS": 1, "form-INITIAL_FORMS": 1, "_save": "x", **row})
        assert (answer.status_code == 403) == (user == world["boss"] or columns[0] in ("is_staff", "is_superuser"))
        assert standing() == before
    assert User.objects.get(username="boss").email == "boss@shop.example"


def test_rights_are_shown_to_a_clerk_in_his_language(world: dict[str, User]) -> None:
    browser = visitor(make_clerk("change_user", "change_group"))
    pages = [
        reverse("admin:accounts_user_change", args=[world["peer"].pk]),
        reverse("admin:auth_group_change", args=[Group.objects.get(name="keepers").pk]),
    ]
    said = [("Catalogue | item | can view", "Каталог | альбом | может просматривать"),
            ("Catalogue | item | can add", "Каталог | альбом | может добавлять")]  # fmt: skip
    for page, (english, _) in zip(pages, said, strict=True):
        assert english in text(browser.get(page))
    User.objects.filter(username="clerk").update(language="ru")
    for page, (_, russian) in zip(pages, said, strict=True):
        assert russian in text(browser.get(page))


# ------------------------------------------------------------------------------------------------ keys and endpoints
def test_a_key_may_what_its_maker_may(world: dict[str, User]) -> None:
    shop = ApiKey.objects.get().shop
    clerk = make_clerk("add_apikey", "view_grant", "view_transfer")
    browser, page = visitor(clerk), reverse("admin:api_apikey_add")
    refused = browser.post(page, {"shop": shop.pk, "scopes": ["grants:read", "grants:write"]})
    assert "grants:write is not one of the available choices" in text(refused)
    assert ApiKey.objects.count() == 1
    browser.post(page, {"shop": shop.pk, "scopes": ["items:read", "grants:read"]})
    assert ApiKey.objects.latest("pk").scopes == ["items:read", "grants:read"]


def test_a_clerk_keeps_an_internal_endpoint_at_its_address(world: dict[str, User]) -> None:
    endpoint = Endpoint.objects.get()
    browser = visitor(make_clerk("change_endpoint", "view_endpoint"))
    page = reverse("admin:webhooks_endpoint_change", args=[endpoint.pk])
    given = {"url": endpoint.url, "event_types": ["grant.issued"], "active": "on"}
    assert browser.post(page, given).status_code == 302
    endpoint.refresh_from_db()
    assert (endpoint.event_types, endpoint.allow_internal) == (["grant.issued"], True)
    inside = browser.post(page, given | {"url": "http://127.0.0.1:9121/", "allow_internal": "on"})
    assert "does not begin with https://" in text(inside)
    assert browser.post(page, given | {"url": "https://shop.example/", "allow_internal": "on"}).status_code == 302
    endpoint.refresh_from_db()
    assert (endpoint.url, endpoint.allow_internal) == ("https://shop.example/", False)


def test_a_page_that_is_refused_is_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    user = add_user("clerk")
    user.is_staff = True
    user.save()
    assert visitor(user).get(reverse("admin:accounts_user_changelist")).status_code == 403
    (record,) = [record for record in caplog.records if record.name == "django.request"]
    assert (record.levelname, record.exc_info) == ("WARNING", None)
    assert record.getMessage().startswith("Forbidden")
