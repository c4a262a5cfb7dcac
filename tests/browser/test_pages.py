"""Every page: readable by everybody, on every screen, in both languages, light and dark, with nothing that jumps."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import chain, count

import pytest

from tests.browser.conftest import PASSWORD, STAFF, Shop
from tests.browser.person import Person

NewPerson = Callable[..., Person]
LARGEST = 150_000
NUMBERS = count(1)
APPS = tuple(f"/admin/{app}/" for app in ("accounts", "api", "catalogue", "grants", "history", "webhooks"))
COUNT_JUMPS = """
window.jumped = 0;
const watch = (list) => { for (const shift of list.getEntries()) window.jumped += shift.value; };
new PerformanceObserver(watch).observe({ type: "layout-shift", buffered: true });
"""


def every_page(shop: Shop, someone: Person) -> Iterator[str]:
    """Walk through the pages in a state that shows much; names each when it is there."""
    page = someone.page
    page.goto("/sign-in/")
    yield "sign-in"
    name = shop.customer()
    someone.sign_in(name, PASSWORD)
    yield "catalogue"
    page.goto("/?q=nothing+of+that+name")
    yield "nothing-found"
    page.goto("/downloads/")
    yield "no-downloads"
    page.goto("/cart/")
    yield "empty-cart"
    page.goto(f"/items/{shop.albums['Kites']['id']}/")
    yield "item"
    for title in ("Salt", "Kites"):
        page.goto(f"/items/{shop.albums[title]['id']}/")
        page.locator(".item-head button").click()
        page.locator(".item-head .chosen").wait_for()
    page.goto("/cart/")
    yield "cart"
    page.locator("aside button.primary").click()
    page.locator("#grant").wait_for()
    yield "grant"
    page.locator(".files summary").first.click()
    page.locator(".tabs input#way-filezilla").check()
    yield "grant-filezilla"
    page.locator(".tabs input#way-aria2").check()
    yield "grant-aria2"
    page.locator("form[action$=device] button").click()
    page.locator(".qr").wait_for()
    yield "device"
    page.goto("/downloads/")
    yield "downloads"
    page.goto("/history/")
    yield "history"
    page.goto("/account/")
    yield "account"
    page.goto("/account/password/")
    yield "password"
    page.locator("#id_old_password").fill("not this one")
    page.locator("#id_new_password1").fill("short")
    page.locator("#id_new_password2").fill("other")
    page.locator("main form button.primary").click()
    page.locator(".field-error").first.wait_for()
    yield "password-refused"
    page.goto("/nothing/")
    yield "missing"
    page.goto("/staff/")
    yield "not-allowed"


def every_state(shop: Shop, someone: Person) -> Iterator[str]:
    """What a customer meets later on: what has arrived and its receipt, links that are over, and being refused."""
    page = someone.page
    page.context.clear_cookies()
    name = shop.customer()
    someone.sign_in(name, PASSWORD)
    for title in ("Salt", "Kites"):
        page.goto("/")
        someone.choose(title)
    someone.check_out()
    here, grant = page.url, page.locator("#grant").get_attribute("data-grant") or ""
    folder = page.locator(".way-browser .command code").text_content() or ""
    page.request.get(page.locator('.granted-item:has-text("Salt") a.button').get_attribute("href") or "")
    page.locator(".granted-item[data-complete]").wait_for()
    page.locator(".granted-side a", has_text=re.compile("Receipt|Квитанция")).click()  # it is there without a reload
    page.locator(".receipt").wait_for()
    yield "receipt"
    page.emulate_media(media="print")
    yield "receipt-printed"
    page.emulate_media(media="screen")
    page.goto("/history/")
    yield "history-of-one"
    page.goto(folder)
    yield "folder"
    expire = f"Grant.objects.filter(public_id={grant!r}).update(issued_at=now - timedelta(days=1), expires_at=now)"
    names = (
        "from webportal.grants.models import Grant; from datetime import timedelta; from django.utils.timezone import now as n"
    )
    shop.site.run("manage", "shell", "--no-imports", "-c", f"{names}; now = n(); {expire}")
    page.goto(here)
    assert someone.condition == "expired"
    yield "expired"
    shop.site.run("grant", "renew", grant, "--expires", "7d")
    page.goto(here)
    assert someone.condition == "paused"
    shop.site.run("grant", "revoke", grant)
    someone.wait_for_condition("revoked")
    yield "revoked"
    assert page.goto(folder).status == 410  # type: ignore[union-attr]
    yield "dead-link"
    page.context.clear_cookies()
    page.set_extra_http_headers({"X-Forwarded-For": f"192.0.2.{next(NUMBERS)}"})
    page.goto("/sign-in/")
    for _ in range(11):
        page.locator("#id_username").fill(f"nobody{name}")
        page.locator("#id_password").fill("wrong")
        page.locator("main form button.primary").click()
    page.locator(".problem").wait_for()
    yield "locked-out"
    page.set_extra_http_headers({})
    page.goto("/sign-in/")
    page.context.clear_cookies()
    page.locator("#id_username").fill("somebody")
    page.locator("#id_password").fill("wrong")
    page.locator("main form button.primary").click()
    page.locator(".problem").wait_for()
    yield "out-of-date"


@pytest.mark.parametrize(("phone", "language"), [(False, "en"), (True, "ru")], ids=["desktop", "phone"])
def test_every_page_is_for_everybody(shop: Shop, person: NewPerson, phone: bool, language: str) -> None:
    someone = person(phone=phone, locale={"en": "en-GB", "ru": "ru-RU"}[language])
    for name in chain(every_page(shop, someone), every_state(shop, someone)):
        assert someone.overflow() <= 0, name
        if someone.page.url.startswith(shop.url):  # the gate's own pages are for every program alike
            assert someone.page.locator("html").get_attribute("lang") == language
        for scheme, rules in (("light", ()), ("dark", ("color-contrast",))):  # a scheme is colours, and nothing else
            someone.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]  # or colours are still on their way
            assert someone.findings(*rules) == [], f"{name}, {scheme}"
            someone.picture(f"{name}-{'phone' if phone else 'desktop'}-{scheme}")


def test_on_a_phone_the_ways_lie_at_the_thumb(shop: Shop, person: NewPerson) -> None:
    someone = person(phone=True)
    someone.enter(shop.customer())
    box = someone.page.get_by_role("navigation", name="Main").bounding_box()
    assert box is not None
    assert box["y"] + box["height"] == pytest.approx(812, abs=1)
    someone.page.get_by_role("link", name="History").click()
    assert someone.page.url.endswith("/history/")


def test_on_a_phone_things_keep_their_distance(shop: Shop, person: NewPerson) -> None:
    someone = person(phone=True)
    someone.enter(shop.customer())
    page = someone.page
    page.goto("/cart/")
    first, second = (button.bounding_box() for button in page.locator(".empty a.button").all())
    assert first is not None
    assert second is not None
    assert second["y"] - first["y"] - first["height"] >= 8 or second["x"] - first["x"] - first["width"] >= 8
    page.goto("/")
    someone.choose("Salt")
    someone.check_out()
    button, card = page.locator(".granted-side .button").bounding_box(), page.locator(".granted-item .map").bounding_box()
    assert button is not None
    assert card is not None
    assert (button["x"], button["width"]) == pytest.approx((card["x"], card["width"]), abs=1)
    page.request.get(page.locator(".granted-side .button").get_attribute("href") or "")
    someone.wait_for_condition("complete")
    page.goto("/history/")
    assert re.search(r"Arrived whole\s", page.locator(".row-when").inner_text())


def test_the_times_of_a_receipt_hold_on_paper(shop: Shop, person: NewPerson) -> None:
    someone = person()
    someone.enter(shop.customer())
    page = someone.page
    someone.choose("Salt")
    someone.check_out()
    page.request.get(page.locator(".granted-side .button").get_attribute("href") or "")
    someone.wait_for_condition("complete")
    page.goto("/account/")
    page.locator("#id_time_zone").select_option("Asia/Tokyo")
    page.locator("main form button.primary").click()
    page.goto("/history/")
    assert not re.search("GMT|UTC|JST", page.locator(".row-when").inner_text())  # the reader's own, as everywhere on the screen
    page.locator(".row a", has_text="Receipt").click()
    times = page.locator(".receipt time").all_inner_texts()
    assert len(times) == 2
    assert all(re.fullmatch(r".*\d:\d\d:\d\d\b.*(GMT\+9|JST)", time) for time in times), times


def test_words_without_end_are_broken_on_a_phone(shop: Shop, person: NewPerson) -> None:
    title, artist = "Donaudampfschifffahrtsgesellschaftskapitän" * 2, "Ы" * 90
    item = shop.album(title, {f"{'a' * 180}.ogg": 5_000}, artist=artist)
    someone = person(phone=True)
    someone.enter(shop.customer())
    page = someone.page
    someone.choose(title)
    widths = {"catalogue": someone.overflow()}
    page.goto(f"/items/{item['id']}/")
    widths["item"] = someone.overflow()
    page.goto("/cart/")
    widths["cart"] = someone.overflow()
    someone.check_out()
    page.locator(".files summary").first.click()
    widths["grant"] = someone.overflow()
    page.request.get(page.locator(".granted-side .button").get_attribute("href") or "")
    someone.wait_for_condition("complete")
    for path in ("/downloads/", "/history/"):
        page.goto(path)
        widths[path] = someone.overflow()
    page.locator(".row a", has_text="Receipt").click()
    page.locator(".receipt").wait_for()
    widths["receipt"] = someone.overflow()
    assert {name: width for name, width in widths.items() if width > 0} == {}


def test_the_keyboard_reaches_the_content_first(shop: Shop, person: NewPerson) -> None:
    someone = person()
    someone.enter(shop.customer())
    keyboard = someone.page.keyboard
    keyboard.press("Tab")
    assert someone.page.evaluate("document.activeElement.className") == "skip"
    keyboard.press("Enter")
    assert someone.page.evaluate("document.activeElement.id") == "main"


def test_a_language_is_kept(shop: Shop, person: NewPerson) -> None:
    someone = person()
    someone.enter(shop.customer())
    someone.page.get_by_role("button", name="Русский").click()
    someone.page.get_by_role("heading", name="Каталог").wait_for()
    someone.page.goto("/history/")
    assert someone.page.get_by_role("heading", name="История").is_visible()


def test_main_pages_are_light_and_nothing_jumps(shop: Shop, person: NewPerson) -> None:
    someone = person(moving=True)
    someone.enter(shop.customer())
    page = someone.page
    weighed: dict[str, int] = {}
    page.on("requestfinished", lambda request: weighed.__setitem__(request.url, request.sizes()["responseBodySize"]))
    page.add_init_script(COUNT_JUMPS)
    someone.choose("Salt")
    someone.check_out()
    for path in ("/", f"/items/{shop.albums['Salt']['id']}/", "/cart/", page.url, "/downloads/", "/history/"):
        weighed.clear()
        page.goto(path)
        page.wait_for_load_state("networkidle") if "downloads" not in path else page.wait_for_load_state("load")
        assert sum(size for url, size in weighed.items() if not url.endswith("/cover")) < LARGEST, path
        assert page.evaluate("window.jumped") < 0.01, path


def test_the_code_leads_a_phone_to_the_page(shop: Shop, person: NewPerson) -> None:
    someone = person()
    someone.enter(shop.customer())
    someone.choose("Salt")
    someone.check_out()
    someone.page.get_by_text("This page on a phone").click()
    assert someone.page.locator("#grant .qr svg").is_visible()


@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
def test_staffs_pages_are_for_everybody(shop: Shop, person: NewPerson, phone: bool) -> None:
    """On a phone our own: those of the admin are Django's there."""
    someone = person(phone=phone)
    someone.enter(STAFF)
    ours = ("/staff/", "/staff/import/", "/staff/purge/")
    for path in ours if phone else (*ours, "/admin/", "/admin/grants/grant/", "/admin/accounts/tier/", *APPS):
        someone.page.goto(path)
        assert someone.findings() == [], path
        assert path not in ours or someone.overflow() <= 0, path
        someone.picture(f"staff{path.replace('/', '-')}{'phone' if phone else 'desktop'}")
