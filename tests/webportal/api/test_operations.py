"""What other shops can do through the API."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from ftpgate.commands.shop import Shop as Commands
from ftpgate.grants import Batch
from ftpgate.tokens import Token
from tests.webportal.api.calling import Caller, problem
from tests.webportal.shop import leave_unconfirmed, let_expire, make_grant, make_item, make_user, whole
from webportal.accounts.models import User
from webportal.accounts.services import set_tier
from webportal.bridge import make_bridge
from webportal.commands import make_commands
from webportal.config import environment
from webportal.fulfilment.by_word import complete_by_word
from webportal.grants.models import Grant, GrantToken
from webportal.shops.models import IdempotentResponse, Scope, ShopUser
from webportal.shops.services import forget_answers, make_key, make_shop, revoke_key
from webportal.webhooks.models import Delivery, Endpoint

pytestmark = pytest.mark.django_db


@pytest.fixture
def shop() -> Caller:
    return Caller()


@pytest.fixture
def commands() -> Commands:
    return make_commands(environment.current())


def issue(shop: Caller, *items: Any, user: str = "customer-17", **more: Any) -> dict[str, Any]:
    answer = shop.post("grants", {"user": user, "items": [item.public_id for item in items], **more})
    assert answer.status_code == 201, answer.content
    document: dict[str, Any] = answer.json()
    return document


# ------------------------------------------------------------------------------------------------ items
def test_items_page_by_page(shop: Caller) -> None:
    made = [make_item(10, 20, title=f"Album {number}") for number in range(5)]
    seen, cursor = [], None
    for _ in range(3):
        page = shop.get("items", limit=2, **({"cursor": cursor} if cursor else {})).json()
        seen += page["items"]
        cursor = page["next"]
        make_item(1)  # what comes meanwhile shifts nothing
    assert [item["id"] for item in seen[:5]] == [item.public_id for item in made]
    assert seen[0] == {"id": made[0].public_id, "title": "Album 0", "artist": "", "year": None, "bytes": 30, "file_count": 2}


def test_items_are_found_by_words(shop: Caller) -> None:
    wanted = [make_item(1, title=f"Ёлка {number}") for number in range(3)]
    make_item(1, title="Oak")
    first = shop.get("items", q="елк", limit=2).json()
    rest = shop.get("items", q="елк", limit=2, cursor=first["next"]).json()
    assert {item["id"] for item in first["items"] + rest["items"]} == {item.public_id for item in wanted}
    assert rest["next"] is None
    assert shop.get("items", q="nothing").json() == {"items": [], "next": None}


def test_an_item_with_its_files_and_picture(shop: Caller) -> None:
    item = make_item(10, 20, title="Album")
    document = shop.get(f"items/{item.public_id}").json()
    assert (document["bytes"], document["file_count"]) == (30, 2)
    assert document["files"][1] == {
        "path": "02.ogg", "bytes": 20, "sha256": bytes(item.files.get(position=2).sha256).hex(), "title": "", "seconds": None,
    }  # fmt: skip
    assert shop.get(f"items/{item.public_id}/cover")["Content-Type"] == "image/svg+xml"
    for unknown in ("aaaaaaaa", "x" * 500, "%00", "..%2f", "é"):
        problem(shop.get(f"items/{unknown}"), 404)
        problem(shop.get(f"items/{unknown}/cover"), 404)


# ------------------------------------------------------------------------------------------------ grants
def test_a_grant_is_issued_and_shown_as_the_command_shows_it(shop: Caller, commands: Commands) -> None:
    one, two = make_item(10, 20), make_item(5)
    issued = issue(shop, one, two, expires="24h")
    token = Token.parse(issued["token"])
    assert token is not None
    assert GrantToken.objects.filter(digest=token.digest(), dead_at=None).exists()
    assert issued["token"] in issued["links"]["http"]
    grant = Grant.objects.get(public_id=issued["grant"])
    assert timedelta(hours=23) < grant.expires_at - timezone.now() < timedelta(hours=25)
    make_bridge(environment.current()).record("gate", Batch(delivered=whole(grant, one)))
    shown = shop.get(f"grants/{grant.public_id}").json()
    assert shown == {**commands.grant_show(grant.public_id), "user": "customer-17"}
    assert [item["complete"] for item in shown["items"]] == [True, False]
    assert set(issued) == set(commands.grant_token(grant.public_id))


def test_a_grant_tells_what_is_unconfirmed_and_what_the_customer_confirmed(shop: Caller, commands: Commands) -> None:
    one, two = make_item(10, 20), make_item(5)
    grant = Grant.objects.get(public_id=issue(shop, one, two)["grant"])
    leave_unconfirmed(grant, one, {2: (3, 7)})
    shown = shop.get(f"grants/{grant.public_id}").json()
    assert [file["unconfirmed"] for file in shown["items"][0]["files"]] == [[], [[3, 7]]]
    assert [item["proof"] for item in shown["items"]] == [None, None]
    complete_by_word(grant, one, grant.user)
    make_bridge(environment.current()).record("gate", Batch(delivered=whole(grant, two)))
    shown = shop.get(f"grants/{grant.public_id}").json()
    assert [item["proof"] for item in shown["items"]] == ["customer", "delivered"]
    assert shown == {**commands.grant_show(grant.public_id), "user": "customer-17"}
    assert shop.get(f"grants/{grant.public_id}/receipts/{one.public_id}").json()["receipt"]["proof"] == "customer"


def test_the_same_reference_is_the_same_customer_of_this_shop_alone(shop: Caller) -> None:
    item = make_item(1)
    for user in ("Anna Ёлкина <anna@example.org>", "2", "Anna Ёлкина <anna@example.org>"):
        issue(shop, item, user=user)
    other = Caller()
    issue(other, item, user="2")
    assert ShopUser.objects.filter(shop=shop.shop).count() == 2
    assert Grant.objects.values("user").distinct().count() == 3
    person = ShopUser.objects.get(shop=shop.shop, reference="Anna Ёлкина <anna@example.org>").user
    assert not person.has_usable_password()
    assert person.username.startswith(f"{shop.shop.name}.")
    assert person.get_full_name() == "Anna Ёлкина <anna@example.org>"


def test_customers_get_the_shops_tier() -> None:
    set_tier("fast", rate=8_000_000)
    shop = Caller(shop=make_shop("acme", tier="fast"))
    issue(shop, make_item(1))
    assert User.objects.get(username__startswith="acme.").tier.name == "fast"


def test_each_shop_sees_its_own_only(shop: Caller) -> None:
    item, other = make_item(1), Caller()
    ours, theirs = issue(shop, item)["grant"], issue(other, item)["grant"]
    portals, _ = make_grant(make_user(), item)
    assert [grant["grant"] for grant in shop.get("grants").json()["grants"]] == [ours]
    for grant in (theirs, portals.public_id, "aaaaaaaaaa"):
        problem(shop.get(f"grants/{grant}"), 404)
        problem(shop.post(f"grants/{grant}/revoke"), 404)
        problem(shop.post(f"grants/{grant}/renew", {"expires": "7d"}), 404)
        problem(shop.post(f"grants/{grant}/tokens"), 404)
        problem(shop.get(f"grants/{grant}/receipts/{item.public_id}"), 404)
    assert GrantToken.objects.count() == 3
    assert {grant.present_state for grant in Grant.objects.all()} == {"open"}


def test_grants_are_listed_newest_first(shop: Caller) -> None:
    item = make_item(1)
    made = [issue(shop, item, user=f"c{number % 2}")["grant"] for number in range(5)]
    let_expire(Grant.objects.get(public_id=made[0]))
    first = shop.get("grants", limit=3).json()
    rest = shop.get("grants", limit=3, cursor=first["next"]).json()
    assert [grant["grant"] for grant in first["grants"] + rest["grants"]] == made[::-1]
    assert rest["next"] is None
    assert [grant["grant"] for grant in shop.get("grants", user="c1").json()["grants"]] == [made[3], made[1]]
    assert [grant["grant"] for grant in shop.get("grants", state="expired").json()["grants"]] == [made[0]]
    assert shop.get("grants", user="nobody\0").json()["grants"] == []


def test_revoke_renew_and_another_token(shop: Caller) -> None:
    item = make_item(1)
    grant = issue(shop, item)["grant"]
    another = shop.post(f"grants/{grant}/tokens")
    assert another.status_code == 201
    assert GrantToken.objects.filter(dead_at=None).count() == 2
    replaced = shop.post(f"grants/{grant}/tokens", {"replace": True}).json()
    (live,) = GrantToken.objects.filter(dead_at=None)
    parsed = Token.parse(replaced["token"])
    assert parsed is not None
    assert bytes(live.digest) == parsed.digest()
    let_expire(Grant.objects.get())
    refused = problem(shop.post(f"grants/{grant}/tokens"), 409, "refused")
    assert refused["detail"] == f"The grant {grant} is expired, a token would open nothing."
    assert shop.post(f"grants/{grant}/renew", {"expires": "7d"}).json()["state"] == "open"
    assert shop.post(f"grants/{grant}/revoke").json()["state"] == "revoked"
    assert shop.post(f"grants/{grant}/revoke").json()["state"] == "revoked"
    problem(shop.post(f"grants/{grant}/renew", {"expires": "7d"}), 409, "refused")


@pytest.mark.parametrize(
    ("document", "at"),
    [
        ({}, "body/user"),
        ({"user": "a", "items": []}, "body/items"),
        ({"user": "", "items": ["ITEM"]}, "body/user"),
        ({"user": "a" * 151, "items": ["ITEM"]}, "body/user"),
        ({"user": "a\0b", "items": ["ITEM"]}, "body/user"),
        ({"user": "a\nb", "items": ["ITEM"]}, "body/user"),
        ({"user": "a", "items": ["ITEM", "aaaaaaaa"]}, "body/items/1"),
        ({"user": "a", "items": ["ITEM"] * 1001}, "body/items"),
        ({"user": "a", "items": ["\0"]}, "body/items/0"),
        ({"user": "a", "items": ["ITEM"], "expires": "0s"}, "body/expires"),
        ({"user": "a", "items": ["ITEM"], "expires": "soon"}, "body/expires"),
        ({"user": "a", "items": ["ITEM"], "expires": "9999w"}, "body/expires"),
        ({"user": "a", "items": ["ITEM"], "expire": "7d"}, "body/expire"),
        ([], "body"),
    ],
)
def test_what_cannot_be_issued(shop: Caller, document: Any, at: str) -> None:
    text = json.dumps(document).replace("ITEM", make_item(1).public_id)
    found = problem(shop.post("grants", text), 422, "invalid")
    assert at in [error["at"] for error in found["errors"]]
    assert (Grant.objects.count(), ShopUser.objects.count()) == (0, 0)


def test_an_item_without_files_is_refused(shop: Caller) -> None:
    item = make_item()
    found = problem(shop.post("grants", {"user": "a", "items": [item.public_id]}), 409, "refused")
    assert found["detail"] == f"The item {item.public_id} has no files."
    assert "ftpgate item" not in str(found), "a hint for people at a command line"
    assert not ShopUser.objects.exists()


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[" * 60_000, b'{"user": 1e999}', b"1" * 5_000, b'"\\ud800"'])
def test_bodies_that_are_no_json_of_ours(shop: Caller, body: bytes) -> None:
    answer = shop.client.post("/api/v1/grants", body, content_type="application/json")
    assert answer.status_code in (400, 422)
    assert answer["Content-Type"] == "application/problem+json"


def test_a_body_has_an_end(shop: Caller) -> None:
    answer = shop.client.post("/api/v1/grants", b" " * 65_537, content_type="application/json")
    assert "64 KiB" in problem(answer, 413)["detail"]


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/xml", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "json"],
)
def test_a_body_that_says_it_is_no_json_is_refused_and_nothing_done(shop: Caller, kind: str) -> None:
    order = json.dumps({"user": "a", "items": [make_item(1).public_id]})
    answer = shop.client.generic("POST", "/api/v1/grants", order, content_type=kind, headers={"idempotency-key": "k"})
    assert "application/json" in problem(answer, 415)["detail"]
    assert not Grant.objects.exists()
    assert (
        shop.client.post("/api/v1/grants", order, content_type="application/json", headers={"idempotency-key": "k"}).status_code
        == 201
    )


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON", ""])
def test_json_by_other_spellings(shop: Caller, kind: str) -> None:
    order = json.dumps({"user": "a", "items": [make_item(1).public_id]})
    assert shop.client.generic("POST", "/api/v1/grants", order, content_type=kind).status_code == 201


def test_without_a_body_nobody_asks_what_it_is(shop: Caller) -> None:
    grant = issue(shop, make_item(1))["grant"]
    path = f"/api/v1/grants/{grant}/revoke"
    assert shop.client.generic("POST", path, content_type="application/x-www-form-urlencoded").status_code == 200


@pytest.mark.parametrize("user", ["", " ", "  \t", "a\nb"])
def test_a_customers_name_can_be_seen(shop: Caller, user: str) -> None:
    found = problem(shop.post("grants", {"user": user, "items": [make_item(1).public_id]}), 422, "invalid")
    assert found["errors"][0]["at"] == "body/user"


def test_a_body_of_unknown_length_is_refused_and_not_taken_for_none(shop: Caller) -> None:
    grant = issue(shop, make_item(1))["grant"]
    answer = shop.client.generic(
        "POST",
        f"/api/v1/grants/{grant}/tokens",
        headers={"transfer-encoding": "chunked"},
        content_type="application/json",
    )
    problem(answer, 411)
    assert GrantToken.objects.count() == 1


# ------------------------------------------------------------------------------------------------ idempotency
def test_asked_twice_it_is_done_once(shop: Caller) -> None:
    item = make_item(1)
    order = {"user": "a", "items": [item.public_id]}
    first, second = (shop.post("grants", order, once="order-1") for _ in range(2))
    assert first.content == second.content
    assert (first.status_code, second.status_code) == (201, 201)
    assert "Idempotency-Replayed" not in first
    assert second["Idempotency-Replayed"] == "true"
    assert (Grant.objects.count(), GrantToken.objects.count()) == (1, 1)
    assert shop.post("grants", order, once="order-2").json()["grant"] != first.json()["grant"]
    assert Caller().post("grants", order, once="order-1").json()["grant"] != first.json()["grant"]


def test_what_is_remembered_is_encrypted_and_forgotten(shop: Caller) -> None:
    order = {"user": "a", "items": [make_item(1).public_id]}
    token = shop.post("grants", order, once="order-1").json()["token"]
    answer = IdempotentResponse.objects.get()
    assert token not in answer.body
    assert token.partition("-")[2] not in answer.body
    IdempotentResponse.objects.update(made_at=timezone.now() - timedelta(hours=24))
    assert shop.post("grants", order, once="order-1").json()["token"] != token
    assert (Grant.objects.count(), IdempotentResponse.objects.count()) == (2, 1)
    IdempotentResponse.objects.update(made_at=timezone.now() - timedelta(hours=24))
    assert forget_answers() == 1


def test_a_key_belongs_to_one_request(shop: Caller) -> None:
    item = make_item(1)
    grant = shop.post("grants", {"user": "a", "items": [item.public_id]}, once="k").json()["grant"]
    problem(shop.post("grants", {"user": "b", "items": [item.public_id]}, once="k"), 422, "idempotency-key-reused")
    problem(shop.post(f"grants/{grant}/revoke", once="k"), 422, "idempotency-key-reused")
    assert Grant.objects.get().present_state == "open"


def test_what_failed_may_be_asked_again(shop: Caller) -> None:
    item = make_item()
    order = {"user": "a", "items": [item.public_id]}
    problem(shop.post("grants", order, once="k"), 409, "refused")
    item.files.create(position=1, path="a", media="a", size=1, mtime_ns=1, sha256=b"x" * 32, crc32=1)
    assert shop.post("grants", order, once="k").status_code == 201


def test_an_answer_that_cannot_be_read_any_more(shop: Caller, settings: Any) -> None:
    order = {"user": "a", "items": [make_item(1).public_id]}
    shop.post("grants", order, once="k")
    settings.FTPGATE_SECRET = "another"
    problem(shop.post("grants", order, once="k"), 409, "answer-lost")


@pytest.mark.parametrize("key", ["x" * 256, "a b", "ключ"])
def test_keys_that_are_none(shop: Caller, key: str) -> None:
    found = problem(shop.post("grants", {"user": "a", "items": [make_item(1).public_id]}, once=key), 422, "invalid")
    assert found["errors"][0]["at"] == "header/Idempotency-Key"


# ------------------------------------------------------------------------------------------------ receipts, status
def test_a_receipt_of_what_is_complete(shop: Caller) -> None:
    one, two = make_item(10), make_item(5)
    grant = Grant.objects.get(public_id=issue(shop, one, two)["grant"])
    make_bridge(environment.current()).record("gate", Batch(delivered=whole(grant, one)))
    document = shop.get(f"grants/{grant.public_id}/receipts/{one.public_id}").json()
    assert document["receipt"]["user"]["full_name"] == "customer-17"
    problem(shop.get(f"grants/{grant.public_id}/receipts/{two.public_id}"), 404)


def test_status_without_gates(shop: Caller) -> None:
    assert shop.get("status").json() == {"gates": 0, "transfers": []}


# ------------------------------------------------------------------------------------------------ webhooks
def test_endpoints_are_managed_by_their_shop(shop: Caller) -> None:
    made = shop.post("webhooks", {"url": "https://shop.example/hooks", "kinds": ["grant.issued", "grant.complete"]})
    assert made.status_code == 201
    endpoint, secret = made.json()["id"], made.json()["secret"]
    assert secret.startswith("whsec_")
    assert secret not in Endpoint.objects.get().secret
    issue(shop, make_item(1))
    (shown,) = shop.get("webhooks").json()["endpoints"]
    assert shown == shop.get(f"webhooks/{endpoint}").json()
    assert (shown["url"], shown["active"], shown["waiting"], shown["failed"]) == ("https://shop.example/hooks", True, 1, 0)
    changed = shop.patch(f"webhooks/{endpoint}", {"active": False, "kinds": ["grant.expired"]}).json()
    assert (changed["active"], changed["kinds"], changed["url"]) == (False, ["grant.expired"], "https://shop.example/hooks")
    assert shop.post(f"webhooks/{endpoint}/secret").json()["secret"] not in (secret, "")
    problem(Caller().get(f"webhooks/{endpoint}"), 404)
    problem(Caller().delete(f"webhooks/{endpoint}"), 404)
    assert shop.delete(f"webhooks/{endpoint}").status_code == 204
    problem(shop.get(f"webhooks/{endpoint}"), 404)
    assert not Delivery.objects.exists()


@pytest.mark.parametrize(
    "url", ["http://shop.example/", "https://127.0.0.1/", "https://localhost/", "https://[fd00::1]/", "x", ""]
)
def test_a_shop_cannot_let_itself_in(shop: Caller, url: str) -> None:
    problem(shop.post("webhooks", {"url": url, "kinds": ["grant.issued"]}), 409, "refused")
    problem(
        shop.post("webhooks", {"url": "https://a.example/", "kinds": ["grant.issued"], "allow_internal": True}), 422, "invalid"
    )
    made = shop.post("webhooks", {"url": "https://a.example/", "kinds": ["grant.issued"]}).json()["id"]
    problem(shop.patch(f"webhooks/{made}", {"url": url}), 409, "refused")
    assert Endpoint.objects.get().url == "https://a.example/"


def test_endpoints_have_an_end(shop: Caller) -> None:
    wish = {"url": "https://a.example/", "kinds": ["grant.issued"]}
    assert {shop.post("webhooks", wish).status_code for _ in range(20)} == {201}
    problem(shop.post("webhooks", wish), 409, "refused")


# ------------------------------------------------------------------------------------------------ keys
def test_without_a_live_key_nothing_is_said(shop: Caller) -> None:
    def ask(value: str) -> Any:
        return Client(headers={"host": "localhost", "authorization": value} if value else {"host": "localhost"}).get(
            "/api/v1/items"
        )

    wrong = ["", "Bearer", "Bearer ", "Basic YTpi", f"Bearer {shop.secret[:-1]}", f"Bearer {shop.secret.upper()}", "Bearer \0é",
             "Bearer " + "ftpgate_" * 1_000, f"Bearer {shop.key.public_id}"]  # fmt: skip
    for value in wrong:
        answer = ask(value)
        problem(answer, 401, "key")
        assert answer["WWW-Authenticate"].startswith("Bearer")
    assert ask(f"Bearer {shop.secret}").status_code == ask(f"bearer {shop.secret}").status_code == 200
    revoke_key(shop.key)
    problem(ask(f"Bearer {shop.secret}"), 401, "key")


def test_a_key_is_stored_as_its_hash_and_its_use_remembered(shop: Caller) -> None:
    stored = " ".join(str(getattr(shop.key, field.name)) for field in shop.key._meta.fields)
    assert shop.secret.rpartition("_")[2] not in stored
    shop.get("items")
    shop.key.refresh_from_db()
    assert shop.key.last_used_at is not None


@pytest.mark.parametrize("scope", list(Scope))
def test_a_scope_allows_its_own_operations_only(scope: Scope) -> None:
    shop, item = Caller(scope), make_item(1)
    operations = {
        Scope.ITEMS_READ: [shop.get("items"), shop.get(f"items/{item.public_id}")],
        Scope.GRANTS_READ: [shop.get("grants"), shop.get("grants/aaaaaaaaaa"), shop.get("status")],
        Scope.GRANTS_WRITE: [
            shop.post("grants", {"user": "a", "items": [item.public_id]}),
            *(shop.post(f"grants/aaaaaaaaaa/{action}", {}) for action in ("revoke", "renew", "tokens")),
        ],
        Scope.RECEIPTS_READ: [shop.get("grants/aaaaaaaaaa/receipts/aaaaaaaa")],
        Scope.WEBHOOKS_WRITE: [shop.get("webhooks"), shop.post("webhooks", {}), shop.delete("webhooks/aaaaaaaaaa")],
    }
    for needed, answers in operations.items():
        for answer in answers:
            if needed is scope:
                assert answer.status_code != 403
            else:
                assert needed.value in problem(answer, 403, "scope")["detail"]


def test_a_browsers_session_opens_nothing() -> None:
    staff = make_user()
    staff.is_staff = staff.is_superuser = True
    staff.save()
    browser = Client(headers={"host": "localhost"})
    browser.force_login(staff)
    problem(browser.get("/api/v1/items"), 401, "key")


def test_a_key_that_asks_too_often_waits(shop: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    from webportal.api import auth
    from webportal.api.limits import RateLimit

    monkeypatch.setattr(auth, "limit", RateLimit(0.01, 2))
    assert [shop.get("items").status_code for _ in range(2)] == [200, 200]
    answer = shop.get("items")
    problem(answer, 429, "rate")
    assert 0 < int(answer["Retry-After"]) <= 100
    assert Caller(shop=shop.shop).get("items").status_code == 200


@pytest.mark.parametrize(("name", "scopes"), [("Acme", ["items:read"]), ("", ["items:read"]), ("a" * 41, ["items:read"])])
def test_names_that_no_shop_can_have(name: str, scopes: list[str]) -> None:
    with pytest.raises(Exception, match="is no name for a shop"):
        make_shop(name)


def test_scopes_that_no_key_can_have(shop: Caller) -> None:
    for scopes in ([], ["everything"], ["items:read", "x"]):
        with pytest.raises(Exception, match="scope"):
            make_key(shop.shop, scopes)


# ------------------------------------------------------------------------------------------------ everything else
def test_head_is_as_get_without_a_body(shop: Caller) -> None:
    item = make_item(10)
    for path, status in (("items", 200), (f"items/{item.public_id}", 200), ("items/none", 404), ("openapi.json", 200)):
        got, head = shop.get(path), shop.client.head(f"/api/v1/{path}")
        assert (head.status_code, head["Content-Type"]) == (status, got["Content-Type"])
        assert (head["Content-Length"], head.content) == (str(len(got.content)), b"")


@pytest.mark.parametrize("path", ["items", "nothing"])
def test_a_wrong_host_is_a_problem_too(shop: Caller, path: str) -> None:
    document = problem(shop.client.get(f"/api/v1/{path}", headers={"host": "elsewhere.example"}), 400)
    assert "Host" in document["detail"]


def test_a_wrong_host_of_a_page_is_told_to_people(shop: Caller) -> None:
    answer = shop.client.get("/", headers={"host": "elsewhere.example"})
    assert (answer.status_code, answer["Content-Type"]) == (400, "text/html; charset=utf-8")


def test_errors_of_all_kinds_are_problems(shop: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in ("", "nothing", "items/", "grants/a/b/c"):
        problem(shop.get(path), 404)
    answer = shop.delete("items")
    problem(answer, 405)
    assert answer["Allow"] == "GET, HEAD"
    assert shop.client.options("/api/v1/webhooks")["Allow"] == "GET, HEAD, POST"
    from django.db import OperationalError

    from webportal.api.routes import items

    def fail(error: Exception) -> Any:
        def raise_it(*_: Any) -> None:
            raise error

        return raise_it

    monkeypatch.setattr(items, "after_key", fail(OperationalError("server closed the connection")))
    away = shop.get("items")
    problem(away, 503)
    assert away["Retry-After"] == "10"
    monkeypatch.setattr(items, "after_key", fail(RuntimeError("secret /path")))
    assert "secret" not in str(problem(shop.get("items"), 500))


def test_the_documentation_is_for_staff_and_loads_nothing_from_elsewhere(shop: Caller) -> None:
    schema = Client(headers={"host": "localhost"}).get("/api/v1/openapi.json")
    assert schema.status_code == 200
    assert schema.json()["openapi"].startswith("3.")
    page = Client(headers={"host": "localhost"}).get("/api/v1/docs")
    assert page.status_code == 302
    staff = make_user()
    staff.is_staff = True
    staff.save()
    browser = Client(headers={"host": "localhost"})
    browser.force_login(staff)
    text = browser.get("/api/v1/docs").content.decode()
    assert "/static/ninja/swagger-ui-bundle.js" in text
    assert "https://" not in text
    assert "http://" not in text
