"""A shop with its portal and its gate, and people with Chromium in front of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.person import Person
from tests.support.databases import Databases
from tests.support.media import NASTY_NAMES
from tests.support.site import Site, free_address
from tests.support.tools import require_chromium

FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
PASSWORD = "a long pass phrase 7"
STAFF = "librarian"
MAKE_PEOPLE = f"""
import json
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.hashers import make_password
from django.contrib.sessions.backends.db import SessionStore
from webportal.accounts.models import User
from webportal.accounts.services import add_user, set_tier
set_tier("walking", rate=1_000_000)
password, sessions = make_password({PASSWORD!r}), {{}}
for name in ({STAFF!r}, *(f"{{kind}}{{number}}" for kind in ("person", "walker") for number in range(40))):
    user = add_user(name, tier="walking" if name.startswith("walker") else "default")
    user.password, user.is_staff, user.is_superuser = password, name == {STAFF!r}, name == {STAFF!r}
    user.save()
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    sessions[name] = session.session_key
print(json.dumps(sessions))
"""
"""Everybody at once: to set and check a password, and to start a command, takes a processor for most of a second."""


class Shop:
    """A site with a portal at `url`, a running gate, and some albums by title."""

    def __init__(self, site: Site, url: str) -> None:
        self.site = site
        self.url = url
        self.albums: dict[str, dict] = {}
        self.sessions: dict[str, str] = json.loads(site.run("manage", "shell", "--no-imports", "-c", MAKE_PEOPLE).stdout)
        """Session keys of all people, with which `Person.enter` begins."""
        self._customers = iter([name for name in self.sessions if name.startswith("person")])
        self._walkers = iter([name for name in self.sessions if name.startswith("walker")])

    def album(self, title: str, files: dict[str, int], **tags: str | int) -> dict:
        self.albums[title] = self.site.album(files, title, **tags)
        return self.albums[title]

    def customer(self) -> str:
        """A new customer, who can enter, or sign in with `PASSWORD`."""
        return next(self._customers)

    def walker(self) -> str:
        """A new customer who gets 1 MB a second."""
        return next(self._walkers)

    def folder(self, title: str) -> Path:
        return self.site.media_root / title


@pytest.fixture(scope="package")
def shop(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """On SQLite: what differs between databases is tested without a browser."""
    root = tmp_path_factory.mktemp("shop") / "site"
    # As behind a proxy: a browser that guesses passwords says that it comes from elsewhere, and shuts nobody else out.
    site = Site(root, databases.migrated("sqlite"), {"FTPGATE_PORTAL": free_address(), "FTPGATE_TRUSTED_PROXIES": "127.0.0.1"})
    try:
        site.start()
        with site.portal() as url:
            shop = Shop(site, url)
            shop.album(
                "Salt", {"01 Deep water.ogg": 1_200_000, "02 Shore.ogg": 800_000, "cover.txt": 300}, artist="Low Coast", year=2020
            )
            shop.album("Kites", dict.fromkeys(NASTY_NAMES, 300000), artist="Тихая #1 [100%]", year=2024)
            yield shop
    finally:
        site.close()


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """For this folder only: Playwright keeps an event loop in the thread, where Django then refuses to use its database."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=require_chromium(), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def person(shop: Shop, chromium: Browser) -> Iterator[Callable[..., Person]]:
    """`person(locale=…, phone=…, dark=…, scripts=…)`: somebody with a browser of their own. What the browser complains of
    (errors, refused by policy) fails the test."""
    people: list[Person] = []

    def make(**options: Any) -> Person:
        people.append(Person(chromium, options.pop("url", shop.url), shop.sessions, **options))
        return people[-1]

    yield make
    complaints = [complaint for someone in people for complaint in someone.complaints]
    for someone in people:
        someone.leave()
    assert complaints == []
