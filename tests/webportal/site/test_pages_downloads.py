"""Check-out, the links of a grant, what each state of it shows."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import pytest
from django.conf import settings
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from ftpgate.grants import Batch, Delivered
from ftpgate.signed_links import Purpose, SignedLinks
from ftpgate.tokens import Token
from tests.webportal.shop import let_expire, make_grant, make_item, make_user, whole
from tests.webportal.visiting import text, tokens_in, visitor
from webportal.accounts.models import User
from webportal.bridge import make_bridge
from webportal.cart.models import CartItem
from webportal.catalogue.models import Item
from webportal.config import environment
from webportal.fulfilment.checkout import add_to_cart
from webportal.fulfilment.services import revoke_grant
from webportal.grants.models import Grant, GrantToken
from webportal.grants.states import State

pytestmark = pytest.mark.django_db


@pytest.fixture
def item() -> Item:
    return make_item(1_000, 3_000, 0, title="Salt [live] #1 100%")


@pytest.fixture
def browser(alice: User) -> Client:
    return visitor(alice)


def record(*delivered: Delivered) -> None:
    make_bridge(environment.current()).record("gate", Batch(delivered=delivered))


def check_out(browser: Client) -> Grant:
    answer = browser.post("/cart/check-out")
    assert answer.status_code == 302
    return Grant.objects.get(public_id=answer["Location"].strip("/").split("/")[-1])


def shown(browser: Client, grant: Grant) -> str:
    return text(browser.get(f"/downloads/{grant.public_id}/"))


def opens(token: str) -> bool:
    parsed = Token.parse(token)
    assert parsed is not None
    return GrantToken.objects.filter(digest=parsed.digest(), dead_at=None).exists()


def pass_of(stream: str) -> str:
    """The grant that the address of a stream is for."""
    found = re.fullmatch(rf"http://{settings.FTPGATE.http}/d/([^/]+)/progress", stream)
    assert found
    return SignedLinks(settings.FTPGATE).read(Purpose.WATCH, found[1])


def condition(page: str) -> str:
    found = re.search(r'id="grant"[^>]* data-condition="(\w+)"', page)
    assert found
    return found[1]


def test_check_out_gives_links_once_however_often_it_is_clicked(browser: Client, alice: User, item: Item) -> None:
    add_to_cart(alice, item)
    grant = check_out(browser)
    assert check_out(browser) == grant
    assert Grant.objects.count() == GrantToken.objects.count() == 1
    page = browser.get(f"/downloads/{grant.public_id}/")
    (token,) = tokens_in(page)
    assert opens(token)
    assert tokens_in(browser.get(f"/downloads/{grant.public_id}/")) == {token}, "the same browser is shown the same links"
    assert page["Cache-Control"] == "no-store, private"
    assert GrantToken.objects.get().made_for == "Firefox · Linux"
    assert "(this browser)" in re.sub(r"<[^>]*>", "", text(page))
    assert f"/downloads/{grant.public_id}/" in text(browser.get("/cart/"))


def test_an_empty_cart_is_not_checked_out(browser: Client) -> None:
    answer = browser.post("/cart/check-out", follow=True)
    assert "Nothing could be checked out" in text(answer)
    assert not Grant.objects.exists()


def test_a_session_in_the_database_betrays_no_token(browser: Client, alice: User, item: Item) -> None:
    add_to_cart(alice, item)
    (token,) = tokens_in(browser.get(f"/downloads/{check_out(browser).public_id}/"))
    secret = token.partition("-")[2]
    for session in Session.objects.all():
        assert secret not in session.session_data
        assert secret not in json.dumps(session.get_decoded())


def test_another_browser_gets_links_of_its_own(browser: Client, alice: User, item: Item) -> None:
    add_to_cart(alice, item)
    grant = check_out(browser)
    (first,) = tokens_in(browser.get(f"/downloads/{grant.public_id}/"))
    other = visitor(alice)
    assert tokens_in(other.get(f"/downloads/{grant.public_id}/")) == set()
    assert "This browser has no links yet" in shown(other, grant)
    for _ in range(2):
        other.post(f"/downloads/{grant.public_id}/links")
    (second,) = tokens_in(other.get(f"/downloads/{grant.public_id}/"))
    assert first != second
    assert opens(first)
    assert opens(second)
    assert GrantToken.objects.count() == 2, "a browser that has links gets no others"


def test_links_for_another_device_are_shown_once(browser: Client, alice: User, item: Item) -> None:
    add_to_cart(alice, item)
    grant = check_out(browser)
    (own,) = tokens_in(browser.get(f"/downloads/{grant.public_id}/"))
    answer = browser.post(f"/downloads/{grant.public_id}/device")
    (token,) = tokens_in(answer)
    assert token != own
    assert opens(token)
    assert "<svg" in text(answer)
    assert answer["Cache-Control"] == "no-store, private"
    assert tokens_in(browser.get(f"/downloads/{grant.public_id}/")) == {own}


def test_replacing_all_links_kills_the_others(browser: Client, alice: User, item: Item) -> None:
    add_to_cart(alice, item)
    grant = check_out(browser)
    (before,) = tokens_in(browser.get(f"/downloads/{grant.public_id}/"))
    answer = browser.post(f"/downloads/{grant.public_id}/replace", follow=True)
    (after,) = tokens_in(answer)
    assert not opens(before)
    assert opens(after)
    assert "All earlier links are dead" in text(answer)


def test_nobody_sees_or_touches_anothers_grant(item: Item, alice: User) -> None:
    grant, token = make_grant(alice, item)
    stranger = visitor(make_user("mallory"))
    assert stranger.get(f"/downloads/{grant.public_id}/").status_code == 404
    assert stranger.get(f"/downloads/{grant.public_id}/state").status_code == 404
    for what in ("links", "replace", "device", "again"):
        assert stranger.post(f"/downloads/{grant.public_id}/{what}").status_code == 404, what
    assert opens(token.reveal())
    assert grant.public_id not in text(stranger.get("/downloads/"))


def test_the_states_of_a_grant_and_what_each_offers(browser: Client, alice: User, item: Item) -> None:
    add_to_cart(alice, item)
    grant = check_out(browser)
    first, _, _ = item.files.order_by("position")
    assert condition(shown(browser, grant)) == "waiting"

    record(Delivered(grant.public_id, first.pk, ((0, 500),)))
    page = shown(browser, grant)
    assert condition(page) == "paused"
    assert "500\N{NO-BREAK SPACE}B of 4.00\N{NO-BREAK SPACE}kB" in page
    assert "50 %" in page

    record(*whole(grant, item))
    page = shown(browser, grant)
    assert condition(page) == "complete"
    assert "for latecomers" in page
    assert tokens_in(browser.get(f"/downloads/{grant.public_id}/")), "complete keeps serving for a grace time"
    assert not CartItem.objects.exists()
    Grant.objects.update(completed_at=timezone.now() - timedelta(days=1))
    assert tokens_in(browser.get(f"/downloads/{grant.public_id}/")) == set()
    assert "no links yet" not in shown(browser, grant)


def test_an_expired_grant_gives_back_what_never_arrived(browser: Client, alice: User) -> None:
    salt, kites = make_item(1_000, title="Salt"), make_item(1_000, title="Kites")
    grant, _ = make_grant(alice, salt, kites)
    record(*whole(grant, salt))
    let_expire(grant)
    assert condition(shown(browser, grant)) == "expired"
    assert 'data-condition="expired"' in text(browser.get("/downloads/"))
    answer = browser.post(f"/downloads/{grant.public_id}/again")
    assert answer["Location"] == "/cart/"
    assert [entry.item for entry in CartItem.objects.filter(user=alice)] == [kites]
    browser.post(f"/downloads/{grant.public_id}/links")
    assert tokens_in(browser.get(f"/downloads/{grant.public_id}/")) == set()


def test_a_revoked_grant_offers_nothing(browser: Client, alice: User, item: Item) -> None:
    grant, _ = make_grant(alice, item)
    revoke_grant(grant)
    page = shown(browser, grant)
    assert condition(page) == "revoked"
    assert "Download with" not in page
    assert "make-links" not in page
    assert browser.post(f"/downloads/{grant.public_id}/device").status_code == 302
    assert GrantToken.objects.count() == 1


def test_the_recorded_state_has_the_form_of_the_gates(browser: Client, alice: User, item: Item) -> None:
    grant, _ = make_grant(alice, item)
    first, second, empty = item.files.order_by("position")
    record(Delivered(grant.public_id, first.pk, ((0, 10), (20, 30))))
    answer = browser.get(f"/downloads/{grant.public_id}/state")
    assert answer["Cache-Control"] == "no-store, private"
    document = json.loads(answer.content)
    assert pass_of(document.pop("stream")) == grant.public_id
    assert document == {
        "grant": grant.public_id,
        "state": State.OPEN.value,
        "items": [
            {
                "id": item.public_id,
                "title": item.title,
                "folder": item.folder,
                "bytes": 4_000,
                "delivered": 20,
                "unconfirmed": 0,
                "complete": False,
                "files": [
                    {"path": first.path, "bytes": 1_000, "covered": [[0, 10], [20, 30]], "unconfirmed": []},
                    {"path": second.path, "bytes": 3_000, "covered": [], "unconfirmed": []},
                    {"path": empty.path, "bytes": 0, "covered": [], "unconfirmed": []},
                ],
            }
        ],
    }


def test_only_pages_of_open_grants_may_connect_to_the_gate(browser: Client, alice: User, item: Item) -> None:
    add_to_cart(alice, item)
    grant = check_out(browser)
    origin = f"http://{settings.FTPGATE.http}"
    gate = f"connect-src 'self' {origin};"
    pages = (f"/downloads/{grant.public_id}/", "/downloads/")
    for path in pages:
        for someone in (browser, visitor(alice)):
            assert gate in someone.get(path)["Content-Security-Policy"] + ";", path
    assert origin not in browser.get("/")["Content-Security-Policy"]
    revoke_grant(grant)
    for path in pages:
        assert origin not in browser.get(path)["Content-Security-Policy"], path


def test_a_page_follows_the_gate_with_a_pass_and_not_with_the_token(browser: Client, alice: User, item: Item) -> None:
    add_to_cart(alice, item)
    grant = check_out(browser)
    (token,) = tokens_in(browser.get(f"/downloads/{grant.public_id}/"))
    for path in (f"/downloads/{grant.public_id}/", "/downloads/"):
        for someone in (browser, visitor(alice)):  # a browser without links can look on as well
            (stream,) = re.findall('data-stream="([^"]*)"', text(someone.get(path)))
            assert pass_of(stream) == grant.public_id
            assert token not in stream
    revoke_grant(grant)
    assert 'data-stream=""' in text(browser.get(f"/downloads/{grant.public_id}/"))
    assert json.loads(browser.get(f"/downloads/{grant.public_id}/state").content)["stream"] == ""


def test_a_page_of_many_grants_asks_few_questions(browser: Client, alice: User, django_assert_max_num_queries) -> None:
    for _ in range(25):
        make_grant(alice, make_item(10), make_item(10))
    with django_assert_max_num_queries(20):
        page = text(browser.get("/downloads/"))
    assert page.count("data-grant=") == 20
    assert "page=2" in page
