"""Two-factor authentication in a real Chromium: an app, a passkey of the browser's own, recovery codes."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable

import pytest
from django_otp.oath import totp
from playwright.sync_api import CDPSession

from tests.browser.conftest import PASSWORD, Shop
from tests.browser.person import Person

NewPerson = Callable[..., Person]


@pytest.fixture
def by_name(shop: Shop, person: NewPerson) -> NewPerson:
    """People who open the shop by a name, since browsers keep no passkeys for IP addresses."""
    return lambda **wishes: person(url=shop.url.replace("127.0.0.1", "localhost"), **wishes)


def staff_of(shop: Shop) -> str:
    name = shop.customer()
    found = f"from webportal.accounts.models import User; User.objects.filter(username={name!r})"
    shop.site.run("manage", "shell", "--no-imports", "-c", f"{found}.update(is_staff=True, is_superuser=True)")
    return name


def security_key(someone: Person) -> CDPSession:
    """Chromium's own authenticator, as its developer tools have it."""
    tools = someone.page.context.new_cdp_session(someone.page)
    tools.send("WebAuthn.enable")
    options = {"protocol": "ctap2", "transport": "usb", "hasResidentKey": False, "hasUserVerification": False}
    tools.send("WebAuthn.addVirtualAuthenticator", {"options": options | {"automaticPresenceSimulation": True}})
    return tools


def enter_password(someone: Person, name: str, page: str = "/sign-in/") -> None:
    someone.page.goto(page)
    someone.page.locator("#id_username").fill(name)
    someone.page.locator("#id_password").fill(PASSWORD)
    someone.page.locator("button.primary, input[type=submit]").first.click()


def looks_well(someone: Person, name: str) -> None:
    """On a phone and a desktop, light and dark."""
    kind = "phone" if someone.page.viewport_size == {"width": 375, "height": 812} else "desktop"
    assert someone.overflow() <= 0, name
    for scheme, rules in (("light", ()), ("dark", ("color-contrast",))):  # a scheme is colours, and nothing else
        someone.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
        assert someone.findings(*rules) == [], f"{name}, {scheme}"
        someone.picture(f"two-factor-{name}-{kind}-{scheme}")


@pytest.mark.parametrize(("phone", "locale"), [(False, "en-GB"), (True, "ru-RU")], ids=["desktop", "phone"])
def test_an_app_a_passkey_and_recovery_codes(shop: Shop, by_name: NewPerson, phone: bool, locale: str) -> None:
    someone = by_name(phone=phone, locale=locale)
    page, name = someone.page, staff_of(shop)
    security_key(someone)
    someone.sign_in(name, PASSWORD)
    page.goto("/account/two-factor/")
    looks_well(someone, "off")
    page.goto("/account/two-factor/app/")
    key = base64.b32decode(page.locator("#key").inner_text().replace(" ", ""))
    looks_well(someone, "app")
    page.locator("#id_code").fill("12")
    page.locator("main form button.primary").click()
    page.locator(".field-error").wait_for()
    looks_well(someone, "app-wrong")
    page.locator("#id_code").fill(f"{totp(key):06}")
    page.locator("main form button.primary").click()
    page.locator("#codes").wait_for()
    looks_well(someone, "codes")
    codes = page.locator("#codes").inner_text().split()
    page.locator("main a.primary").click()
    page.goto("/account/two-factor/passkey/")
    looks_well(someone, "passkey")
    page.locator("#id_name").fill("Yellow key")
    page.locator("main form button.primary").click()
    page.get_by_text("Yellow key").first.wait_for()
    looks_well(someone, "on")

    page.context.clear_cookies()
    enter_password(someone, name)
    page.locator("[data-passkey] button").wait_for()
    looks_well(someone, "second-step")
    page.locator("[data-passkey] button").click()
    page.wait_for_url(f"{someone.url}/")

    page.context.clear_cookies()
    enter_password(someone, name, "/admin/login/")
    page.locator("summary").click()
    page.locator("#id_recovery_code").fill("none of them")
    page.locator("details button").click()
    page.locator(".field-error").wait_for()
    looks_well(someone, "second-step-wrong")
    page.locator("#id_recovery_code").fill(codes[3])
    page.locator("details button").click()
    page.wait_for_url(f"{someone.url}/admin/")

    page.goto("/account/two-factor/")
    page.locator(".tokens button").click()
    page.locator("#id_password").fill("wrong")
    page.locator("main form button.primary").click()
    page.locator(".field-error").wait_for()
    looks_well(someone, "remove")
    page.locator("#id_password").fill(PASSWORD)
    page.locator("main form button.primary").click()
    page.wait_for_url(f"{someone.url}/account/two-factor/")
    assert page.get_by_text("Yellow key").count() == 0


def test_a_passkey_alone_signs_in_again_and_again(shop: Shop, by_name: NewPerson) -> None:
    someone = by_name()
    page, name = someone.page, shop.customer()
    security_key(someone)
    someone.sign_in(name, PASSWORD)
    page.goto("/account/two-factor/passkey/")
    page.locator("main form button.primary").click()
    page.locator("#codes").wait_for()
    for target in ("/history/", "/cart/"):
        page.context.clear_cookies()
        enter_password(someone, name, target)
        assert page.locator("#id_code").count() == 0
        page.locator("[data-passkey] button").click()
        page.wait_for_url(f"{someone.url}{target}")


def test_a_browser_without_the_key_says_so(shop: Shop, by_name: NewPerson) -> None:
    someone, other = by_name(), by_name()
    name = shop.customer()
    security_key(someone)
    someone.sign_in(name, PASSWORD)
    someone.page.goto("/account/two-factor/passkey/")
    someone.page.locator("main form button.primary").click()
    someone.page.locator("#codes").wait_for()
    security_key(other)  # another one
    enter_password(other, name)
    other.page.locator("[data-passkey] button").click()
    other.page.locator("[data-problem]:not([hidden])").wait_for()
    assert "no passkey" in other.page.locator("[data-problem]").inner_text()
    looks_well(other, "second-step-no-key")


def test_without_scripts_a_code_still_signs_in(shop: Shop, by_name: NewPerson) -> None:
    someone = by_name(scripts=False)
    page, name = someone.page, shop.customer()
    someone.sign_in(name, PASSWORD)
    page.goto("/account/two-factor/app/")
    key = base64.b32decode(page.locator("#key").inner_text().replace(" ", ""))
    page.locator("#id_code").fill(f"{totp(key):06}")
    page.locator("main form button.primary").click()
    codes = page.locator("#codes").inner_text().split()
    page.context.clear_cookies()
    enter_password(someone, name)
    page.locator("summary").click()
    page.locator("#id_recovery_code").fill(codes[0])
    page.locator("details button").click()
    page.wait_for_url(f"{someone.url}/")
    assert page.get_by_text(re.compile("9 recovery codes are left")).count() == 1


def test_staffs_page_for_a_reset_is_for_everybody(shop: Shop, person: NewPerson) -> None:
    someone = person()
    name = staff_of(shop)
    someone.sign_in(name, PASSWORD)
    page = someone.page
    page.goto(f"/admin/accounts/user/?q={name}")
    page.locator("input.action-select").first.check()
    page.locator("select[name=action]").select_option("reset_two_factor")
    page.locator(".actions button").first.click()
    page.locator("input[name=confirmed]").wait_for(state="attached")
    assert someone.findings() == []
    someone.picture("two-factor-reset")
