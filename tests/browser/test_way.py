"""The whole way: from signing in to an album that has arrived, by the browser itself and by the commands that it shows."""

from __future__ import annotations

import ftplib
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.browser.conftest import PASSWORD, Shop
from tests.browser.person import Person
from tests.support.media import hashes
from tests.support.tools import clean_environment, require_tool
from tests.support.waiting import wait_until

NewPerson = Callable[..., Person]


def arrive(shop: Shop, someone: Person, *titles: str) -> None:
    """A new customer with these albums checked out."""
    someone.enter(shop.customer())
    for title in titles:
        someone.choose(title)
    someone.check_out()


def unpacked(archive: Path, to: Path) -> dict[str, str]:
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(to)
    (folder,) = to.iterdir()
    return hashes(folder)


def test_the_browser_itself_fetches_an_album(shop: Shop, person: NewPerson, tmp_path: Path) -> None:
    someone = person()
    arrive(shop, someone, "Salt")
    page = someone.page
    assert someone.condition == "waiting"
    page.get_by_label("curl").check()
    page.locator(".granted-item summary").click()
    with page.expect_download() as downloading:
        page.get_by_role("link", name="Download Salt").click()
    archive = tmp_path / "salt.zip"
    downloading.value.save_as(archive)
    assert downloading.value.suggested_filename == "Low Coast - Salt (2020).zip"
    assert unpacked(archive, tmp_path / "unpacked") == hashes(shop.folder("Salt"))
    someone.wait_for_condition("complete")
    assert page.get_by_text("Arrived whole", exact=True).is_visible()
    page.get_by_text("Everything has arrived whole.").wait_for()
    page.get_by_text("for latecomers").wait_for()  # the page has been renewed around what was done on it
    assert page.get_by_label("curl").is_checked()
    assert page.get_by_text("01 Deep water.ogg").is_visible()
    assert page.evaluate("document.activeElement.textContent") == "Download Salt"
    page.locator("#cart-count").wait_for(state="hidden")
    someone.picture("arrived")
    page.goto("/history/")
    assert page.get_by_role("link", name="Salt", exact=True).is_visible()


@pytest.mark.parametrize(
    ("way", "tool"), [("curl", "curl"), ("wget", "wget"), ("aria2", "aria2c"), ("lftp", "lftp"), ("rclone", "rclone")]
)
def test_the_commands_work_as_copied(shop: Shop, person: NewPerson, tmp_path: Path, way: str, tool: str) -> None:
    require_tool(tool)
    someone = person()
    arrive(shop, someone, "Kites", "Salt")
    commands = [command for command in someone.commands(way) if not command.startswith("http")]
    environment = clean_environment(tmp_path)
    folder = "Тихая #1 [100%] - Kites (2024)"
    count = {"curl": 0, "rclone": 2}.get(way, 1)
    everything, each = commands[:count], commands[count:]
    for number, command in enumerate([*everything, *each]):
        place = tmp_path / str(number)
        place.mkdir()
        for _ in range(2):  # the same command again finds nothing left to do
            done = subprocess.run(
                command, shell=True, cwd=place, env=environment, capture_output=True, text=True, timeout=120, check=False
            )
        assert done.returncode == 0 or way in ("curl",), done.stderr
        fetched = sorted(path.name for path in place.iterdir() if path.name != "aria2.txt")
        if command in everything:
            assert fetched == sorted([folder, "Low Coast - Salt (2020)"])
            got, wanted = hashes(place / folder), hashes(shop.folder("Kites"))
            if way == "wget":  # it decodes twice what it finds in a page
                wanted = {unquote(name): digest for name, digest in wanted.items()}
            assert got == wanted
        else:
            assert len(fetched) == 1
            title = "Kites" if "Kites" in fetched[0] else "Salt"
            if way == "rclone":
                assert hashes(place / fetched[0]) == hashes(shop.folder(title))
                continue
            assert unpacked(place / fetched[0], place / "unpacked") == hashes(shop.folder(title))
        shutil.rmtree(place)
    someone.wait_for_condition("complete")


def test_what_forms_for_ftp_want_and_the_address_work_as_copied(shop: Shop, person: NewPerson, tmp_path: Path) -> None:
    someone = person()
    arrive(shop, someone, "Salt")
    page = someone.page
    (address,) = someone.commands("ftp")
    subprocess.run(["curl", "-sS", f"{address}Low%20Coast%20-%20Salt%20(2020).zip", "-o", "s.zip"], cwd=tmp_path, check=True)
    assert unpacked(tmp_path / "s.zip", tmp_path / "unpacked") == hashes(shop.folder("Salt"))
    page.get_by_label("FileZilla").check()
    host, user, password, port = (page.locator(f"#login-{what}").inner_text() for what in ("host", "user", "password", "port"))
    assert urlsplit(address).port == int(port)
    with ftplib.FTP() as ftp:
        ftp.connect(host, int(port))
        ftp.login(user, password)
        assert ftp.nlst() == ["Low Coast - Salt (2020)"]


def test_it_all_works_without_scripts(shop: Shop, person: NewPerson, tmp_path: Path) -> None:
    someone = person(scripts=False)
    arrive(shop, someone, "Salt")
    page = someone.page
    page.get_by_label("lftp").check()
    assert page.locator(".way-lftp .command").first.is_visible()
    assert page.locator(".way-browser").is_hidden()
    with page.expect_download() as downloading:
        page.get_by_role("link", name="Download Salt").click()
    downloading.value.save_as(tmp_path / "salt.zip")

    def complete() -> bool:
        page.reload()
        return someone.condition == "complete"

    wait_until(complete, 15, "the item to be complete", interval=0.3)


def test_another_browser_makes_its_own_links_and_replacing_kills_them(shop: Shop, person: NewPerson) -> None:
    name = shop.customer()
    first, second = person(), person(phone=True)
    first.enter(name)
    second.sign_in(name, PASSWORD)  # a session of its own
    first.choose("Salt")
    first.check_out()
    second.page.goto(first.page.url)
    second.page.get_by_role("button", name="Make links for this browser").click()
    links = [someone.page.locator(".way-browser .command code").text_content() for someone in (first, second)]
    assert links[0] != links[1]
    first.page.get_by_text("Replace all links").click()
    first.page.get_by_role("button", name="Replace them now").click()
    first.page.get_by_text("All earlier links are dead").wait_for()
    second.page.reload()
    assert second.page.get_by_role("button", name="Make links for this browser").is_visible()


def test_the_search_answers_while_one_types(shop: Shop, person: NewPerson) -> None:
    someone = person()
    someone.enter(shop.customer())
    page = someone.page
    page.get_by_role("searchbox").press_sequentially("kite")
    page.get_by_text("1 item found").wait_for()
    assert page.locator(".card").count() == 1
    page.wait_for_url("**/?q=kite")
    page.get_by_role("searchbox").fill("zzz")
    page.get_by_text("Nothing found for “zzz”").wait_for()


def test_a_copy_button_copies_the_command(shop: Shop, person: NewPerson) -> None:
    someone = person()
    arrive(shop, someone, "Kites")
    page = someone.page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_label("curl").check()
    page.locator(".way-curl .copy").first.click()
    page.locator(".way-curl .copy.done").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == someone.commands("curl")[0]
    page.reload()
    assert page.get_by_label("curl").is_checked(), "the program that was chosen last"


def test_wrong_and_dead_links_help(shop: Shop, person: NewPerson) -> None:
    someone = person()
    arrive(shop, someone, "Salt")
    page = someone.page
    link = page.locator(".way-browser .command code").text_content() or ""
    grant = page.locator("#grant").get_attribute("data-grant") or ""
    page.goto(link[:-4] + "222/")
    assert page.locator("h1").is_visible()
    shop.site.json("grant", "revoke", grant)
    page.goto(f"/downloads/{grant}/")
    assert someone.condition == "revoked"
    assert page.get_by_text("The shop has ended these links").is_visible()
    answer = wait_until(
        lambda: (found := page.goto(link)) and found.status == 410 and found, 5, "the gate to know it", interval=0.3
    )
    assert answer
