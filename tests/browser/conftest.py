"""A shop with its portal and its gate, and people with Chromium in front of it."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.person import Person
from tests.support.databases import Databases
from tests.support.media import NASTY_NAMES
from tests.support.site import Site
from tests.support.tools import require_tool
from tests.support.waiting import wait_until

FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
PASSWORD = "a long pass phrase 7"


class Shop:
    """A site with a portal at `url`, a running gate, and some albums by title."""

    def __init__(self, site: Site, url: str) -> None:
        self.site = site
        self.url = url
        self.albums: dict[str, dict] = {}
        self._names = (f"person{number}" for number in count(1))

    def album(self, title: str, files: dict[str, int], **tags: str | int) -> dict:
        self.albums[title] = self.site.album(files, title, **tags)
        return self.albums[title]

    def customer(self, tier: str | None = None) -> str:
        """A new customer; signs in with `PASSWORD`."""
        return self.site.add_user(next(self._names), tier, PASSWORD)

    def folder(self, title: str) -> Path:
        return self.site.media_root / title


@pytest.fixture(scope="package")
def shop(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """On SQLite: what differs between databases is tested without a browser."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    root = tmp_path_factory.mktemp("shop") / "site"
    # As behind a proxy: a browser that guesses passwords says that it comes from elsewhere, and shuts nobody else out.
    settings = {"FTPGATE_PORTAL": address, "FTPGATE_TRUSTED_PROXIES": "127.0.0.1"}
    site = Site(root, databases.migrated("sqlite"), settings)
    try:
        site.start()
        with _portal(site, f"http://{address}"):
            shop = Shop(site, f"http://{address}")
            shop.album(
                "Salt", {"01 Deep water.ogg": 1_200_000, "02 Shore.ogg": 800_000, "cover.txt": 300}, artist="Low Coast", year=2020
            )
            shop.album("Kites", dict.fromkeys(NASTY_NAMES, 300000), artist="Тихая #1 [100%]", year=2024)
            yield shop
    finally:
        site.close()


@contextmanager
def _portal(site: Site, url: str) -> Iterator[None]:
    log = site.root / "portal.log"
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "ftpgate", "portal"],
            env=site.environ,
            cwd=site.root,
            stdin=subprocess.DEVNULL,
            stdout=stderr,
            stderr=stderr,
            start_new_session=True,
        )
    try:
        wait_until(lambda: process.poll() is not None or _answers(url), 60, "the portal")
        assert process.poll() is None, log.read_text()
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/sign-in/", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """For this folder only: Playwright keeps an event loop in the thread, where Django then refuses to use its database."""
    path = require_tool("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def person(shop: Shop, chromium: Browser) -> Iterator[Callable[..., Person]]:
    """`person(locale=…, phone=…, dark=…, scripts=…)`: somebody with a browser of their own. What the browser complains of
    (errors, refused by policy) fails the test."""
    people: list[Person] = []

    def make(**options: object) -> Person:
        people.append(Person(chromium, shop.url, **options))
        return people[-1]

    yield make
    complaints = [complaint for someone in people for complaint in someone.complaints]
    for someone in people:
        someone.leave()
    assert complaints == []
