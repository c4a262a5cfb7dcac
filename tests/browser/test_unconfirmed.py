"""A client that leaves without having read: the page shows what is unconfirmed and asks, and its customer answers."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from tests.browser.conftest import Shop
from tests.browser.person import Person
from tests.support.rawhttp import RawClient
from tests.support.waiting import wait_until

NewPerson = Callable[..., Person]
UNREAD = 60_000
"""So little that it lies in the client's buffer whole, and so much that it shows as unread there."""
FILES = {"01 Read.ogg": 900_000, "02 Not read.ogg": UNREAD, "03 Read too.ogg": 600_000}


def check_out(shop: Shop, someone: Person, title: str) -> str:
    """A new customer with the album of `FILES` checked out; returns the address of its folder page."""
    if title not in shop.albums:
        shop.album(title, FILES, artist="Low Coast", year=2021)
    someone.enter(shop.customer())
    someone.choose(title)
    someone.check_out()
    return someone.page.locator(".way-browser .command code").text_content() or ""


def fetch_all_but_one(someone: Person, folder: str, album: str) -> None:
    for name in ("01%20Read.ogg", "03%20Read%20too.ogg"):
        assert someone.page.request.get(f"{folder}{album}/{name}").ok
    leave_unread(f"{folder}{album}/02%20Not%20read.ogg")


def leave_unread(address: str) -> None:
    """Ask for a file, let all of it come, read nothing and reset the connection."""
    with asking(address) as client:
        wait_until(lambda: client.unread > UNREAD, 20, "the file in the client's buffer")
        client.reset()


def asking(address: str) -> RawClient:
    """A client that has asked for a file and reads nothing."""
    parts = urlsplit(address)
    return RawClient((str(parts.hostname), parts.port or 80)).ask(parts.path)


@pytest.mark.parametrize(("phone", "locale"), [(False, "en-GB"), (True, "ru-RU")], ids=["desktop", "phone"])
def test_the_customer_confirms_what_lacks_proof(shop: Shop, person: NewPerson, phone: bool, locale: str) -> None:
    russian = locale == "ru-RU"
    someone = person(phone=phone, locale=locale, dark=russian)
    page = someone.page
    fetch_all_but_one(someone, check_out(shop, someone, "Shallows"), "Low%20Coast%20-%20Shallows%20%282021%29")

    def looks_well(name: str) -> None:
        assert someone.findings() == [], name
        assert someone.overflow() <= 0, name
        someone.picture(f"{name}-{'phone' if phone else 'desktop'}-{locale[:2]}")

    offer = page.locator(".offer")
    offer.locator("p").first.wait_for()  # by itself: the page has been open all the time
    assert someone.condition == "unconfirmed"
    assert page.locator(".map-legend").is_visible()
    assert ("60,0\N{NO-BREAK SPACE}кБ" if russian else "60.0\N{NO-BREAK SPACE}kB") in page.locator(".map-legend").inner_text()
    assert (page.locator(".map .map-unconfirmed").get_attribute("d") or "").count("M") == 1
    looks_well("unconfirmed")
    page.reload()
    offer.locator("p").first.wait_for()
    offer.locator("summary").click()
    assert offer.locator(".lacking li").all_inner_texts()[0].startswith("02 Not read.ogg")
    looks_well("unconfirmed-again")

    offer.get_by_role("link", name="У меня есть всё" if russian else "I have everything").click()
    page.get_by_role("heading", level=1, name="Shallows").wait_for()
    looks_well("confirm")
    page.get_by_role("button", name="Да, у меня есть всё" if russian else "Yes, I have everything").click()
    page.locator("#grant").wait_for()
    assert someone.condition == "complete"
    looks_well("confirmed")
    page.goto("/history/")
    assert ("Получено, подтверждено вами" if russian else "Received, confirmed by you") in page.locator(".row-when").inner_text()
    looks_well("confirmed-history")
    page.locator(".row a.button").click()
    page.locator(".receipt").wait_for()
    looks_well("confirmed-receipt")


def test_what_is_downloaded_again_needs_no_word(shop: Shop, person: NewPerson) -> None:
    someone = person()
    page = someone.page
    folder, album = check_out(shop, someone, "Tides"), "Low%20Coast%20-%20Tides%20%282021%29"
    fetch_all_but_one(someone, folder, album)
    offer = page.locator(".offer")
    offer.locator("p").first.wait_for()
    with asking(f"{folder}{album}/01%20Read.ogg") as client:
        offer.locator("p").first.wait_for(state="hidden")  # what runs may bring what is lacking
        client.reset()
    offer.locator("summary").click()
    link = offer.get_by_role("link", name="02 Not read.ogg")
    assert page.request.get(link.get_attribute("href") or "").ok
    someone.wait_for_condition("complete")
    assert page.get_by_text("Arrived whole", exact=True).is_visible()
    assert not page.locator(".offer p").is_visible()
    assert not page.locator(".map-legend").is_visible()


def test_without_scripts_the_page_asks_as_well(shop: Shop, person: NewPerson) -> None:
    someone = person(scripts=False)
    page = someone.page
    fetch_all_but_one(someone, check_out(shop, someone, "Ebb"), "Low%20Coast%20-%20Ebb%20%282021%29")

    def asked() -> bool:
        page.reload()
        return page.locator(".offer p").first.is_visible()

    wait_until(asked, 30, "the page to ask")
    page.locator(".offer").get_by_role("link", name="I have everything").click()
    page.get_by_role("button", name="Yes, I have everything").click()
    page.locator("#grant").wait_for()
    assert someone.condition == "complete"
