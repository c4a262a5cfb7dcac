"""What a running gate can do with files, and what it tells of that."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ftpgate.process import landlock
from tests.gate import example_bridge
from tests.gate.probing_bridge import ANSWERS
from tests.support.clients import curl
from tests.support.fuse import mounted
from tests.support.media import write_album
from tests.support.site import Grant, Site
from tests.support.tools import ROOT
from tests.support.waiting import wait_until

try:
    VERSION = landlock.version()
except landlock.NotRestricted as absent:
    pytestmark = pytest.mark.skip(reason=str(absent))

FILES = {"01 one.ogg": 300_000}


@pytest.fixture
def probed(tmp_path: Path) -> Iterator[Site]:
    """A site whose bridge tries what it may do."""
    environ = {"FTPGATE_BRIDGE": "tests.gate.probing_bridge", "PYTHONPATH": str(ROOT)}
    site = Site(tmp_path / "site", "", environ)
    site.new_interpreters = True
    for folder in (site.root / "shop" / "read", site.root / "shop" / "write", tmp_path / "others"):
        folder.mkdir(parents=True)
        (folder / "file").write_text("content")
    (site.media_root / "litter").touch()
    write_album(site.media_root / "Album", FILES)
    yield site
    site.close()


def answers(site: Site, tmp_path: Path) -> dict[str, str | None]:
    """Fetch a file, and give what the bridge has found meanwhile."""
    command = [sys.executable, example_bridge.__file__, "anna", "Album"]
    sold = subprocess.run(command, env=site.environ, cwd=site.root, capture_output=True, text=True, check=True)
    curl(f"{sold.stdout.strip()}Album/01%20one.ogg", tmp_path / "one.ogg")
    found: dict[str, str | None] = json.loads((site.state_dir / ANSWERS).read_text())
    return found


def told(site: Site) -> dict[str, Any]:
    """What the gate's status says of it."""
    assert site.gate is not None
    host, port = site.gate.admin
    with urllib.request.urlopen(f"http://{host}:{port}/status", timeout=20) as answer:
        found: dict[str, Any] = json.load(answer)["gates"][0]["confinement"]
    return found


def test_the_gate_reads_the_media_and_writes_its_state_alone(probed: Site, tmp_path: Path) -> None:
    gate = probed.start()
    assert answers(probed, tmp_path) == {
        "read the media": None,
        "write to the media": "EACCES",
        "remove from the media": "EACCES",
        "make a file in the media": "EACCES",
        "make a file in the state folder": None,
        "read the system's files": None,
        "read files of others": "EACCES",
        "make a file of others": "EACCES",
        "read what the module names": None,
        "write to what it names for reading": "EACCES",
        "write to what it names for writing": None,
        "run a program": "EACCES",
    }
    assert told(probed) == {"landlock": VERSION, "problem": "", "absent": False}
    assert f"confined to its files by Landlock (version {VERSION})" in probed.gate_log()
    # The kernel shows no thread's restrictions, but what each of them gave up together with them.
    threads = [(task / "status").read_text() for task in Path(f"/proc/{gate.pid}/task").iterdir()]
    assert len(threads) > 10
    assert all("\nNoNewPrivs:\t1\n" in thread for thread in threads)


@pytest.mark.parametrize(("number", "level"), [(errno.ENOSYS, "INFO"), (errno.EPERM, "WARNING")], ids=["absent", "refused"])
def test_a_gate_that_cannot_be_confined_says_so_and_delivers(probed: Site, tmp_path: Path, number: int, level: str) -> None:
    probed.environ["REFUSE_LANDLOCK"] = str(number)
    probed.start()
    found = answers(probed, tmp_path)
    assert found["read files of others"] is None
    assert found["run a program"] is None
    document = told(probed)
    assert (document["landlock"], document["absent"]) == (None, number == errno.ENOSYS)
    assert f"{level} ftpgate.gate: not confined to its files: {document['problem']}\n" in probed.gate_log()


def status_of(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def shop(site: Site, title: str) -> Grant:
    return site.issue(site.add_user(title.lower()), site.album({"one.ogg": 100_000}, title=title)["id"])


@pytest.mark.databases("sqlite")
def test_the_media_root_may_be_a_link(site: Site, tmp_path: Path) -> None:
    site.media_root.rename(tmp_path / "disk")
    site.media_root.symlink_to(tmp_path / "disk")
    site.start()
    grant = shop(site, "Album")
    curl(grant.http_url("Album/one.ogg"), tmp_path / "one.ogg")
    site.wait_for_grant(grant)


@pytest.mark.databases("sqlite")
def test_a_file_system_may_be_mounted_beneath_the_media_root_later(site: Site, tmp_path: Path) -> None:
    (site.media_root / "disk").mkdir()
    site.start()
    other = tmp_path / "other"
    write_album(other / "Album", {"one.ogg": 100_000})
    with mounted(other, site.media_root / "disk"):
        item = site.add_item(site.media_root / "disk" / "Album", title="Album")
        grant = site.issue(site.add_user(), item["id"])
        curl(grant.http_url("Album/one.ogg"), tmp_path / "one.ogg")
        site.wait_for_grant(grant)
        site.kill()


@pytest.mark.databases("sqlite")
def test_another_folder_in_the_media_root_s_place_asks_for_a_restart(site: Site, tmp_path: Path) -> None:
    """No file is to blame: none is reported to staff as changed, which would last until it is verified."""
    first, second = tmp_path / "first", tmp_path / "second"
    site.media_root.rename(first)
    site.media_root.symlink_to(first)
    site.start()
    grant = shop(site, "Album")
    second.mkdir()
    (first / "Album").rename(second / "Album")
    site.media_root.unlink()
    site.media_root.symlink_to(second)
    url = grant.http_url("Album/one.ogg")
    assert status_of(url) == 503
    wait_until(lambda: "restart the gate" in site.gate_log(), 10, "the line of the log")
    site.restart()
    assert status_of(url) == 200
    assert "not as they were imported" not in site.gate_log()
