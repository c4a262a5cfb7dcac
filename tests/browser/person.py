"""Somebody with a browser."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Response, ViewportSize

ARTEFACTS = Path(__file__).parent / "artefacts"
DESKTOP = ViewportSize(width=1280, height=900)
PHONE = ViewportSize(width=375, height=812)
_AXE = Axe().axe_script


class Person:
    """A browser with cookies of its own, one page open.

    Args:
        locale: the language that the browser asks for.
        phone: a screen of 375 pixels, touched.
        dark: wants dark pages.
        scripts: runs scripts.
        moving: sees what moves, which takes a processor while it does.
        forgives: what may stand in a complaint of the browser that is expected; nothing when it is empty.
    """

    def __init__(
        self, browser: Browser, url: str, sessions: Mapping[str, str], *, locale: str = "en-GB", phone: bool = False,
        dark: bool = False, scripts: bool = True, moving: bool = False, forgives: str = "",
    ) -> None:  # fmt: skip
        self.url = url
        self.complaints: list[str] = []
        self._forgives = forgives
        self._sessions = sessions
        self._context = browser.new_context(
            base_url=url,
            viewport=PHONE if phone else DESKTOP,
            has_touch=phone,
            color_scheme="dark" if dark else "light",
            reduced_motion="no-preference" if moving else "reduce",
            locale=locale,
            java_script_enabled=scripts,
            accept_downloads=True,
        )
        self._context.set_default_timeout(20_000)
        self.page: Page = self._context.new_page()
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("response", self._answered)

    def _heard(self, message: ConsoleMessage) -> None:
        # A page that is missing on purpose is told of here too; `_answered` hears of those that should be there.
        expected = "the server responded with a status of" in message.text or (self._forgives and self._forgives in message.text)
        if message.type in ("error", "warning") and not expected:
            self.complaints.append(message.text)

    def _answered(self, response: Response) -> None:
        if response.status >= 400 and response.request.resource_type != "document":
            self.complaints.append(f"{response.status} {response.url}")

    def enter(self, name: str) -> None:
        """Be signed in already, as a customer of the shop."""
        self._context.add_cookies([{"name": "sessionid", "value": self._sessions[name], "url": self.url}])
        self.page.goto("/")

    def sign_in(self, name: str, password: str) -> None:
        self.page.goto("/sign-in/")
        self.page.locator("#id_username").fill(name)
        self.page.locator("#id_password").fill(password)
        self.page.locator("main form button.primary").click()
        self.page.wait_for_url(f"{self.url}/")

    def choose(self, title: str) -> None:
        """Put an item of the catalogue in the cart."""
        card = self.page.locator(".card", has=self.page.get_by_title(title, exact=True))
        card.get_by_role("button").click()
        card.locator(".chosen").wait_for()

    def check_out(self) -> None:
        """From the cart to the links."""
        self.page.goto("/cart/")
        self.page.locator("aside button.primary").click()
        self.page.locator("#grant").wait_for()

    def commands(self, way: str) -> list[str]:
        """The commands that the page shows for a program, word for word."""
        return self.page.locator(f".way-{way} .command code").all_text_contents()

    @property
    def condition(self) -> str:
        return str(self.page.locator("#grant").get_attribute("data-condition"))

    def wait_for_condition(self, condition: str) -> None:
        self.page.locator(f'#grant[data-condition="{condition}"]').wait_for(timeout=30_000)

    def findings(self, *rules: str) -> list[str]:
        """What axe-core finds serious or worse on the page, by these of its rules or by all."""
        if not self.page.evaluate("'axe' in window"):
            self.page.evaluate(_AXE)
        options = {"resultTypes": ["violations"], **({"runOnly": rules} if rules else {})}
        violations = self.page.evaluate("options => axe.run(options)", options)["violations"]
        serious = [found for found in violations if found["impact"] in ("serious", "critical")]
        return [f"{found['id']}: {node['html']} {node['failureSummary']}" for found in serious for node in found["nodes"]]

    def overflow(self) -> int:
        """By how many pixels the page is wider than the screen."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth"))

    def picture(self, name: str) -> None:
        """With `PICTURES=1` in the environment, keep a picture of the whole page in `artefacts/`, for a person to look at."""
        if not os.environ.get("PICTURES"):
            return
        ARTEFACTS.mkdir(exist_ok=True)
        self.page.screenshot(path=ARTEFACTS / f"{name}.png", full_page=True)

    def leave(self) -> None:
        self._context.close()
