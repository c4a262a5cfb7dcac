"""An item that is off the shelf: nobody finds, chooses or checks it out, and what grants have of it goes on."""

from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse

from ftpgate.grants import Batch
from tests.webportal.api.calling import Caller, problem
from tests.webportal.shop import let_expire, make_grant, make_item, make_user, whole
from tests.webportal.visiting import text, visitor
from webportal.accounts.models import User
from webportal.bridge import make_bridge
from webportal.cart.models import CartItem
from webportal.catalogue.models import Item
from webportal.catalogue.search import search
from webportal.catalogue.services import hide, show
from webportal.config import environment
from webportal.core.errors import GrantError
from webportal.core.texts import Text
from webportal.fulfilment.checkout import add_to_cart, check_out
from webportal.fulfilment.services import renew_grant
from webportal.grants.models import GrantItem
from webportal.grants.states import State

pytestmark = pytest.mark.django_db


def take_off(item: Item) -> Item:
    assert hide(Item.objects.filter(pk=item.pk)) == 1
    item.refresh_from_db()
    return item


def found(query: str = "") -> list[str]:
    items = search(query)
    return [item.title for item in items[: items.count()]]


def test_the_shelf_the_search_and_the_api_leave_it_out(alice: User) -> None:
    kites, salt = make_item(1, title="Kites"), make_item(1, title="Salt")
    for item in (kites, salt):
        item.save()  # fills in the words
    take_off(salt)
    assert (found(), found("salt"), found("kites")) == (["Kites"], [], ["Kites"])
    page = text(visitor(alice).get("/"))
    assert "Kites" in page
    assert "Salt" not in page
    shop = Caller()
    for answer in (shop.get("items"), shop.get("items", q="salt")):
        assert salt.public_id not in text(answer)
    refused = problem(shop.post("grants", {"user": "u", "items": [kites.public_id, salt.public_id]}), 422, "invalid")
    assert refused["errors"] == [{"at": "body/items/1", "detail": f"The item {salt.public_id} is not on offer."}]
    assert show(Item.objects.all()) == 1
    assert found("salt") == ["Salt"]
    assert shop.post("grants", {"user": "u", "items": [salt.public_id]}).status_code == 201


def test_its_page_says_so_and_plays_nothing(alice: User) -> None:
    browser, item = visitor(alice), take_off(make_item(1, title="Salt"))
    page = text(browser.get(reverse("item", args=[item.public_id])))
    assert "This is no longer on offer." in page
    assert "Add to cart" not in page
    assert browser.post(reverse("cart-add", args=[item.public_id])).status_code == 404
    assert not CartItem.objects.exists()


def test_a_check_out_leaves_it_in_the_cart(alice: User) -> None:
    browser = visitor(alice)
    kites, salt = make_item(1_000, title="Kites"), make_item(5_000, title="Salt")
    for item in (kites, salt):
        add_to_cart(alice, item)
    take_off(salt)
    page = text(browser.get(reverse("cart")))
    assert "This is no longer on offer." in page
    assert "1 item, 1.00 kB" in page.replace("\N{NO-BREAK SPACE}", " ")
    grant = check_out(alice).grant
    assert [entry.item for entry in GrantItem.objects.filter(grant=grant)] == [kites]
    assert check_out(alice).grant == grant
    assert CartItem.objects.filter(user=alice).count() == 2
    show(Item.objects.all())
    assert [entry.item for entry in GrantItem.objects.filter(grant=check_out(alice).grant)] == [salt]


def test_a_cart_of_nothing_else_cannot_be_checked_out(alice: User) -> None:
    browser, item = visitor(alice), make_item(1)
    add_to_cart(alice, item)
    take_off(item)
    with pytest.raises(GrantError) as refused:
        check_out(alice)
    assert refused.value.message is Text.CART_NOT_ON_OFFER
    assert "Get the download links" not in text(browser.get(reverse("cart")))
    assert not add_to_cart(make_user(), item)


def test_grants_that_have_it_go_on(alice: User) -> None:
    item = make_item(10, 20)
    add_to_cart(alice, item)
    grant, token = check_out(alice)
    assert token is not None
    take_off(item)
    bridge = make_bridge(environment.current())
    opened = bridge.look_up(token)
    assert opened is not None
    assert [file.size for file in opened.items[0].files] == [10, 20]
    let_expire(grant)
    renewed = renew_grant(grant, expires_at=make_grant(make_user(), make_item(1))[0].expires_at)
    bridge.record("gate", Batch(delivered=whole(renewed, item)))
    renewed.refresh_from_db()
    assert renewed.state == State.COMPLETE
    assert not CartItem.objects.exists()


def test_what_is_put_back_in_the_cart_leaves_it_out(alice: User) -> None:
    browser, kites, salt = visitor(alice), make_item(1), make_item(1)
    grant, _ = make_grant(alice, kites, salt)
    let_expire(grant)
    take_off(salt)
    page = text(browser.post(reverse("cart-again", args=[grant.public_id]), follow=True))
    assert "What is no longer on offer was left out." in page
    assert [entry.item for entry in CartItem.objects.filter(user=alice)] == [kites]


def test_staff_take_items_off_the_shelf_and_put_them_there_again(browser: Client, staff: User) -> None:
    items = [make_item(1, title=f"Salt {number}") for number in range(3)]
    take_off(items[0])
    address = reverse("admin:catalogue_item_changelist")

    def act(action: str) -> str:
        chosen = {"action": action, "_selected_action": [item.pk for item in items]}
        return text(browser.post(address, chosen, follow=True))

    assert "2 items are off the shelf" in act("hide")
    assert not Item.objects.on_offer().exists()
    assert LogEntry.objects.filter(user=staff).count() == 2
    assert "Salt 1" in text(browser.get(address, {"shelf": "hidden"}))
    assert "Salt 1" not in text(browser.get(address, {"shelf": "offered"}))
    assert "3 items are on the shelf again" in act("show")
    assert Item.objects.on_offer().count() == 3
    assert LogEntry.objects.filter(user=staff).count() == 5
