"""The bridge that the manual shows: it sells a folder, and a gate delivers it."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ftpgate.grants import Bridge
from tests.gate import example_bridge
from tests.support.clients import curl
from tests.support.media import write_album
from tests.support.site import Site
from tests.support.waiting import wait_until

FILES = {"01 one.ogg": 300_000, "CD2/01 two.ogg": 200_000, "empty.txt": 0}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Without a database of Django's."""
    module = Path(example_bridge.__file__)
    environ = {"FTPGATE_BRIDGE": module.stem, "PYTHONPATH": str(module.parent)}
    site = Site(tmp_path / "site", "", environ)
    site.new_interpreters = True
    yield site
    site.close()


def sell(site: Site, customer: str, folder: str) -> str:
    command = [sys.executable, example_bridge.__file__, customer, folder]
    return subprocess.run(command, env=site.environ, cwd=site.root, capture_output=True, text=True, check=True).stdout.strip()


def completed(site: Site) -> list[str]:
    with closing(sqlite3.connect(site.state_dir / "example.sqlite3")) as database:
        return [customer for (customer,) in database.execute("SELECT customer FROM sold WHERE completed_at IS NOT NULL")]


def shown(url: str) -> list[dict]:
    request = urllib.request.Request(url, headers={"Accept": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)["entries"]


def test_the_gate_delivers_what_the_example_has_sold(site: Site, tmp_path: Path) -> None:
    write_album(site.media_root / "Album", FILES)
    site.start()
    url = sell(site, "anna", "Album")
    curl(f"{url}Album/01%20one.ogg", tmp_path / "one.ogg")
    wait_until(lambda: shown(url)[0]["delivered"] == FILES["01 one.ogg"], 15, "the first file")
    assert completed(site) == []

    site.restart()
    assert [(entry["delivered"], entry["complete"]) for entry in shown(url)] == [(FILES["01 one.ogg"], False)]
    curl(f"{url}Album/CD2/01%20two.ogg", tmp_path / "two.ogg")
    wait_until(lambda: completed(site) == ["anna"], 15, "the completion")
    assert (tmp_path / "two.ogg").read_bytes() == (site.media_root / "Album" / "CD2" / "01 two.ogg").read_bytes()


def test_commands_say_that_this_shop_has_none(site: Site) -> None:
    done = site.run("user", "add", "anna", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "FTPGATE_BRIDGE=example_bridge comes without commands (make_commands)" in done.stderr


def test_the_example_is_a_bridge(tmp_path: Path) -> None:
    bridge: Bridge = example_bridge.ExampleBridge(tmp_path / "example.sqlite3")
    assert bridge.look_up_grant("unknown") is None
    assert bridge.refresh(["unknown"]) == []
