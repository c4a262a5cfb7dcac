"""The state folder is closed to other users of the machine: by commands, for older installations, and as the doctor tells it."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.databases import Databases
from tests.support.disk import open_to_others
from tests.support.media import write_album, write_file
from tests.support.site import Site

pytestmark = pytest.mark.databases("sqlite")


@pytest.fixture
def machine(make_site: Callable[..., Site], databases: Databases) -> Site:
    """An installation that keeps everything in its state folder, which is there and empty."""
    site = make_site(databases.empty("sqlite"))
    del site.environ["FTPGATE_DATABASE_URL"], site.environ["FTPGATE_MEDIA_ROOT"]
    site.root.chmod(0o755)
    return site


@pytest.fixture
def installed(machine: Site, databases: Databases) -> Site:
    """`machine` with its database."""
    shutil.move(databases.migrated("sqlite").removeprefix("sqlite:///"), machine.state_dir / "ftpgate.sqlite3")
    for path in (machine.state_dir, machine.state_dir / "ftpgate.sqlite3"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    return machine


def run(site: Site, *arguments: str, umask: int = 0) -> str:
    """Run `ftpgate …` under a umask; returns what it wrote to stderr."""
    return subprocess.run(
        [sys.executable, "-m", "ftpgate", *arguments], env=site.environ, cwd=site.root, umask=umask, check=True, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    ).stderr  # fmt: skip


def state_check(site: Site) -> dict[str, Any]:
    checks = json.loads(site.run("doctor", "--json", check=False).stdout)["checks"]
    return {check["name"]: check for check in checks}["state folder"]  # type: ignore[no-any-return]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022], ids=oct)
def test_what_commands_make_is_private_and_is_served(machine: Site, tmp_path: Path, umask: int) -> None:
    album = write_album(tmp_path / "Album", {"1.ogg": 1000, "CD2/2.ogg": 1000})
    for command in (("manage", "migrate", "-v0"), ("item", "add", str(album), "--copy"), ("manage", "collectstatic", "-v0")):
        assert "could read" not in run(machine, *command, umask=umask), "an empty folder tells nobody anything"
    assert {path.name for path in machine.state_dir.iterdir()} == {"ftpgate.sqlite3", "secret_key", "media", "static"}
    assert open_to_others(machine.state_dir) == []
    assert list(machine.state_dir.rglob("*.gz")), "what is compressed is looked at, too"
    machine.start()
    assert open_to_others(machine.state_dir) == []
    grant = machine.issue(machine.add_user(), machine.json("item", "verify")["items"][0]["id"])
    with urllib.request.urlopen(grant.http_url("Album/CD2/2.ogg"), timeout=20) as answer:
        assert len(answer.read()) == 1000


def test_a_copy_elsewhere_is_for_whom_the_umask_says(installed: Site, tmp_path: Path) -> None:
    installed.environ["FTPGATE_MEDIA_ROOT"] = str(tmp_path / "made" / "media")
    run(installed, "item", "add", str(write_album(tmp_path / "Album", {"CD1/1.ogg": 10})), "--copy", umask=0o027)
    copied = tmp_path / "made" / "media" / "Album" / "CD1" / "1.ogg"
    assert (mode(copied), {mode(copied.parents[index]) for index in range(4)}) == (0o640, {0o750})
    assert open_to_others(installed.state_dir) == []


@pytest.mark.parametrize("command", ["status", "serve", "portal"])
def test_an_older_installation_is_closed_by_the_next_command(installed: Site, command: str) -> None:
    write_file(installed.state_dir / "covers" / "1.jpg", 10)
    for path in (installed.state_dir, *installed.state_dir.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    installed.environ["FTPGATE_PORTAL"] = installed.environ["FTPGATE_FTP"] = (
        "192.0.2.1:1"  # none of ours: gate and portal end there
    )
    done = installed.run(command, check=False)
    assert open_to_others(installed.state_dir) == []
    assert f"other users of this machine could read '{installed.state_dir}'" in done.stderr
    assert "could read" not in installed.run("status").stderr


def test_the_doctor_names_what_others_can_read(installed: Site) -> None:
    assert state_check(installed)["ok"]
    installed.state_dir.chmod(0o755)
    (installed.state_dir / "ftpgate.sqlite3").chmod(0o644)
    found = state_check(installed)
    assert not found["ok"]
    assert f"can read '{installed.state_dir}', '{installed.state_dir}/ftpgate.sqlite3'" in found["found"]
    assert found["hint"].startswith(f"chmod 700 {installed.state_dir}")
    installed.state_dir.chmod(0o700)
    assert state_check(installed)["ok"]


def test_the_doctor_names_a_database_elsewhere(machine: Site, tmp_path: Path) -> None:
    database = tmp_path / "data" / "my shop.sqlite3"
    machine.environ["FTPGATE_DATABASE_URL"] = f"sqlite:///{database}"
    run(machine, "manage", "migrate", "-v0")
    assert mode(database) == 0o600
    database.chmod(0o644)
    database.parent.chmod(0o755)
    found = state_check(machine)
    assert (found["ok"], found["hint"]) == (False, f"chmod 600 '{database}'")
    run(machine, "status")
    assert (mode(database), mode(database.parent)) == (0o600, 0o755)
    assert state_check(machine)["ok"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_the_doctor_tells_of_a_folder_that_others_use_too(installed: Site) -> None:
    notes = write_file(installed.state_dir / "notes.txt", 10)
    os.chown(notes, 65_534, 65_534)
    installed.state_dir.chmod(0o755)
    assert run(installed, "status") == ""
    assert mode(installed.state_dir) == 0o755
    found = state_check(installed)
    assert "set FTPGATE_STATE_DIR to a folder that holds nothing else" in found["hint"]
    assert "sqlite3" not in found["found"], "what is ours is closed all the same"
