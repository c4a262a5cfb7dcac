"""`item list`, `user list`, `grant list`, `tier list` and what else tells and changes what there is."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import termios
from typing import Any

import pytest

from tests.commands.test_commands import TIME, refused
from tests.support.media import sha256, write_album
from tests.support.site import Site


def pages(site: Site, *arguments: str, limit: int = 2) -> list[list[dict[str, Any]]]:
    """The pages of a list, each asked for by the cursor of the one before."""
    noun, found, cursor = f"{arguments[0]}s", [], None
    while True:
        more: list[str] = ["--cursor", cursor] if cursor else []
        document = site.json(*arguments, "--limit", str(limit), *more)
        assert set(document) == {noun, "next"}
        found.append(document[noun])
        cursor = document["next"]
        if cursor is None:
            return found


def test_items_are_listed_found_shown_and_hidden(site: Site) -> None:
    for title in ("Salt", "Kites", "Salt Water"):
        folder = write_album(site.media_root / title, {"1.ogg": 10, "2.ogg": 20})
        site.json("item", "add", str(folder), "--artist", "Ёж", "--year", "2001")
    found = pages(site, "item", "list")
    assert [[item["title"] for item in page] for page in found] == [["Salt", "Kites"], ["Salt Water"]]
    salt = found[0][0]
    assert TIME.fullmatch(salt.pop("added_at"))
    assert salt == {
        "id": salt["id"], "title": "Salt", "artist": "Ёж", "year": 2001, "bytes": 30, "file_count": 2, "hidden_at": None,
        "withdrawn_at": None,
    }  # fmt: skip
    found = pages(site, "item", "list", "SALT еж", limit=1)
    assert [[item["title"] for item in page] for page in found] == [["Salt"], ["Salt Water"]]
    assert site.json("item", "list", "pepper") == {"items": [], "next": None}

    assert site.json("item", "hide", salt["id"]) == {"id": salt["id"], "title": "Salt", "hidden": True}
    shown = site.json("item", "show", salt["id"])
    assert TIME.fullmatch(shown["hidden_at"])
    assert (shown["folder"], shown["source"]) == ("Ёж - Salt (2001)", "Salt")
    assert shown["files"][1] == {
        "path": "2.ogg", "bytes": 20, "sha256": sha256(site.media_root / "Salt/2.ogg"), "title": "", "seconds": None,
        "problem": None,
    }  # fmt: skip
    table = site.run("item", "list").stdout.splitlines()
    assert [line.endswith("hidden") for line in table] == [False, True, False, False]
    assert "off the shelf" in site.run("item", "hide", salt["id"]).stdout
    assert site.json("item", "unhide", salt["id"])["hidden"] is False
    assert "hidden" not in site.run("item", "list").stdout
    for command in ("show", "hide", "unhide"):
        assert "no item 'x'" in refused(site, "item", command, "x", "--json")


def test_a_page_stays_where_it_is_when_rows_come_and_go(site: Site) -> None:
    for name in ("anna", "boris", "clara"):
        site.add_user(name)
    item = site.album({"1.ogg": 10})["id"]
    grants = [site.issue(name, item).id for name in ("anna", "boris", "clara")]
    first = site.json("grant", "list", "--limit", "1")
    assert [grant["grant"] for grant in first["grants"]] == grants[:1:-1]
    newest = site.issue("anna", item).id
    second = site.json("grant", "list", "--limit", "1", "--cursor", first["next"])
    assert [grant["grant"] for grant in second["grants"]] == [grants[1]]
    assert site.json("grant", "list", "--limit", "1")["grants"][0]["grant"] == newest


def test_grants_are_listed_by_user_and_state(site: Site) -> None:
    site.add_user("anna")
    site.add_user("boris")
    item = site.album({"1.ogg": 10})["id"]
    old, revoked, other = site.issue("anna", item), site.issue("anna", item), site.issue("boris", item)
    site.json("grant", "revoke", revoked.id)
    (found,) = pages(site, "grant", "list", "--user", "anna", limit=10)
    assert [(grant["grant"], grant["state"]) for grant in found] == [(revoked.id, "revoked"), (old.id, "open")]
    assert TIME.fullmatch(found[1].pop("issued_at"))
    assert found[1] == {
        "grant": old.id, "user": "anna", "state": "open", "expires_at": old.expires_at, "completed_at": None, "item_count": 1,
        "bytes": 10, "delivered": 0,
    }  # fmt: skip
    (opened,) = pages(site, "grant", "list", "--state", "open", limit=10)
    assert [grant["grant"] for grant in opened] == [other.id, old.id]
    assert site.json("grant", "list", "--user", "boris", "--state", "revoked")["grants"] == []
    assert "no user 'nobody'" in refused(site, "grant", "list", "--user", "nobody")
    assert "usage:" in refused(site, "grant", "list", "--state", "lost", status=2)


def test_users_and_tiers_are_listed(site: Site) -> None:
    site.json("tier", "set", "slow", "--rate", "512k", "--connections", "1")
    site.add_user("anna", tier="slow")
    site.add_user("boris")
    (users,) = pages(site, "user", "list", limit=5)
    assert TIME.fullmatch(users[0].pop("added_at"))
    assert users[0] == {"user": "anna", "tier": "slow", "email": "", "active": True, "staff": False, "signed_in_at": None}
    assert pages(site, "tier", "list", limit=1) == [
        [{"tier": "default", "rate": 0, "connections": 64, "users": 1}],
        [{"tier": "slow", "rate": 512_000, "connections": 1, "users": 1}],
    ]
    table = site.run("tier", "list", "--limit", "1").stdout.splitlines()
    assert re.fullmatch(r"default +no rate limit +64 +1", table[1])
    assert table[2].startswith("more tiers: --cursor k")
    assert site.run("tier", "set", "slow", "--rate", "0", "--connections", "1").stdout.endswith("no rate limit, 1 connection\n")


@pytest.mark.databases("sqlite")
def test_what_a_list_cannot_do_is_named(site: Site) -> None:
    assert "'rubbish' is not a cursor of this list" in refused(site, "user", "list", "--cursor", "rubbish")
    for limit in ("0", "1001", "many"):
        assert "is not a number from 1 to 1000" in refused(site, "item", "list", "--limit", limit, status=2)


@pytest.mark.databases("sqlite")
def test_a_table_fits_the_terminal_and_a_pipe_gets_all_of_it(site: Site) -> None:
    folder = write_album(site.media_root / "A", {"1.ogg": 10})
    title = f"{'very ' * 40}long\x1b[31m 日本"
    site.json("item", "add", str(folder), "--title", title)
    assert "very long\N{REPLACEMENT CHARACTER}[31m 日本" in site.run("item", "list").stdout
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    try:
        subprocess.run(
            [sys.executable, "-m", "ftpgate", "item", "list"],
            env=site.environ, cwd=site.root, stdin=subprocess.DEVNULL, stdout=theirs, check=True,
        )  # fmt: skip
        shown = os.read(ours, 65_536).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert "…" in shown
    assert {len(line) <= 80 for line in shown.splitlines()} == {True}


# ------------------------------------------------------------------------------------------------ passwords
def right(site: Site, name: str, password: str) -> bool:
    """Is this the user's password?"""
    script = (
        f"from webportal.accounts.models import User; print(User.objects.get(username={name!r}).check_password({password!r}))"
    )
    return site.run("manage", "shell", "--no-imports", "-c", script).stdout.strip() == "True"


def test_a_password_is_read_from_standard_input(site: Site) -> None:
    site.add_user("anna", password="the one before")
    assert site.json("user", "password", "anna", "--password-stdin", stdin="a long pass phrase 7\n") == {"user": "anna"}
    assert right(site, "anna", "a long pass phrase 7")
    for password, words in (("12345678\n", "too common"), ("anna\n", "too short"), ("\n", "no password on standard input")):
        assert words in refused(site, "user", "password", "anna", "--password-stdin", stdin=password)
    assert "no user 'nobody'" in refused(site, "user", "password", "nobody", "--password-stdin", stdin="a long pass phrase 7\n")
    assert "--password-stdin" in refused(site, "user", "password", "anna")
    assert right(site, "anna", "a long pass phrase 7")


def typed(site: Site, *lines: str) -> tuple[int, str]:
    """Type these lines at `user password anna`; returns the exit status and what the terminal showed."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(site.root)
        os.execve(sys.executable, [sys.executable, "-m", "ftpgate", "user", "password", "anna"], site.environ)
    shown, answered = b"", 0
    while True:
        try:
            read = os.read(terminal, 4096)
        except OSError:  # the terminal's end
            break
        if not read:
            break
        shown += read
        if answered < len(lines) and shown.count(b": ") > answered:
            os.write(terminal, lines[answered].encode() + b"\n")
            answered += 1
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()


@pytest.mark.databases("sqlite")
def test_a_terminal_asks_twice_and_shows_nothing(site: Site) -> None:
    site.add_user("anna")
    status, shown = typed(site, "a long pass phrase 7", "a long pass phrase 8")
    assert status == 1
    assert "ftpgate: the two passwords differ: try again" in shown
    assert not right(site, "anna", "a long pass phrase 7")
    status, shown = typed(site, "a long pass phrase 7", "a long pass phrase 7")
    assert status == 0
    assert "pass phrase" not in shown
    assert right(site, "anna", "a long pass phrase 7")
