"""Looking on: the page moves with what arrives, in every tab, over a reload and a restarted gate; and what runs can be ended."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.browser.conftest import PASSWORD, Shop
from tests.browser.person import Person
from tests.support.tools import clean_environment, require_tool
from tests.support.waiting import wait_until

NewPerson = Callable[..., Person]
NOTE_MOVES = """
window.moves = 0;
const map = document.querySelector(".map-arrived");
new MutationObserver(() => window.moves += 1).observe(map, { attributeFilter: ["d"] });
"""


def arrive(shop: Shop, someone: Person) -> str:
    """A new customer at 1 MB/s with an album of 40 MB checked out; returns the name."""
    if "Long" not in shop.albums:
        shop.album("Long", {"long.ogg": 40_000_000})
    name = shop.walker()
    someone.enter(name)
    someone.choose("Long")
    someone.check_out()
    return name


@contextmanager
def aria2(someone: Person, place: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The command of the page at work, with its 16 connections."""
    require_tool("aria2c")
    command = next(command for command in someone.commands("aria2") if "Long.zip" in command)
    with subprocess.Popen(shlex.split(command), cwd=place, env=clean_environment(place), stdout=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.terminate()


def test_the_page_follows_sixteen_connections(shop: Shop, person: NewPerson, tmp_path: Path) -> None:
    someone = person()
    arrive(shop, someone)
    page = someone.page
    numbers = page.locator(".numbers")
    with aria2(someone, tmp_path) as process:
        someone.wait_for_condition("running")
        wait_until(lambda: "16 (HTTP)" in numbers.inner_text(), 15, "all connections on the page")
        wait_until(lambda: re.search(r"\d\s[kM]B/s", numbers.inner_text()), 15, "a speed on the page")
        assert "left" in numbers.inner_text()
        boxes = page.locator(".map-running").get_attribute("d") or ""
        assert boxes.count("M") == 16
        page.evaluate(NOTE_MOVES)
        wait_until(lambda: page.evaluate("window.moves") >= 4, 15, "the map to move")
        someone.picture("running")
        process.terminate()
        process.wait(10)
        someone.wait_for_condition("paused")
    page.reload()
    assert someone.condition == "paused"
    assert page.locator(".map-arrived").get_attribute("d")


def test_a_reload_a_second_tab_and_a_restarted_gate_change_nothing(shop: Shop, person: NewPerson, tmp_path: Path) -> None:
    someone = person(forgives="net::ERR_")  # the gate is away for a moment: Chromium says so
    arrive(shop, someone)
    page = someone.page
    with aria2(someone, tmp_path):
        someone.wait_for_condition("running")
        page.reload()
        someone.wait_for_condition("running")
        second = page.context.new_page()
        second.goto(page.url)
        for tab in (page, second):
            tab.bring_to_front()
            tab.locator('#grant[data-condition="running"]').wait_for()
            wait_until(lambda tab=tab: tab.locator(".map-arrived").get_attribute("d"), 15, "what has arrived on the map")  # type: ignore[misc]
    page.bring_to_front()
    someone.wait_for_condition("paused")
    before = page.locator("[data-field=amount]").inner_text()
    shop.site.restart()
    with aria2(someone, tmp_path):
        someone.wait_for_condition("running")
        wait_until(lambda: page.locator("[data-field=amount]").inner_text() != before, 15, "what arrives after the restart")
        wait_until(lambda: "(HTTP)" in page.locator(".numbers").inner_text(), 15, "the gate's own word again")


def test_a_browser_without_links_can_look_on(shop: Shop, person: NewPerson, tmp_path: Path) -> None:
    someone, other = person(), person(phone=True)
    name = arrive(shop, someone)
    other.sign_in(name, PASSWORD)  # a session of its own
    other.page.goto(someone.page.url)
    assert other.page.get_by_role("button", name="Make links for this browser").is_visible()
    with aria2(someone, tmp_path):
        other.wait_for_condition("running")
        wait_until(lambda: "16 (HTTP)" in other.page.locator(".numbers").inner_text(), 15, "all connections on the page")
        other.page.goto("/downloads/")
        other.page.locator('[data-grant][data-condition="running"]').wait_for()


def test_a_running_download_can_be_ended_from_the_account(shop: Shop, person: NewPerson, tmp_path: Path) -> None:
    someone = person()
    arrive(shop, someone)
    page = someone.page
    page_of_the_grant = page.url
    command = shlex.split(someone.commands("curl")[0])
    command[command.index("--retry") + 1] = "0"
    page.goto("/account/")
    assert page.get_by_text("Nothing is being fetched").is_visible()
    with subprocess.Popen([*command, "-s"], cwd=tmp_path, env=clean_environment(tmp_path)) as curl:
        row = page.locator("#running li", has_text="HTTP · 127.0.0.1 · 1 connection")
        row.wait_for()  # by itself: the part is looked up again and again
        assert "Long" in row.inner_text()
        assert someone.findings() == []
        someone.picture("account-running")
        row.get_by_role("button", name="End it").click()
        page.get_by_text("It is ended.").wait_for()
        assert curl.wait(5) in (18, 56), "curl says that the connection was cut"
    page.get_by_text("Nothing is being fetched").wait_for()
    page.goto(page_of_the_grant)
    assert someone.condition == "paused"


def test_a_download_that_stands_still_is_told_of(shop: Shop, person: NewPerson, tmp_path: Path) -> None:
    someone = person()
    arrive(shop, someone)
    command = [*shlex.split(someone.commands("curl")[0]), "-s"]
    with subprocess.Popen(command, cwd=tmp_path, env=clean_environment(tmp_path)) as curl:
        try:
            someone.wait_for_condition("running")
            curl.send_signal(signal.SIGSTOP)
            someone.wait_for_condition("stalled")
            assert someone.page.get_by_text("Connected, but nothing moves.").is_visible()
            someone.picture("stalled")
            curl.send_signal(signal.SIGCONT)
            someone.wait_for_condition("running")
        finally:
            curl.kill()
