"""The example's bridge, which tries what the gate's process may do whenever a token is looked up. For `test_confinement.py`."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from ftpgate.grants import BridgePaths, Grant
from ftpgate.settings import Settings
from ftpgate.tokens import Token
from tests.gate.example_bridge import ExampleBridge
from tests.support.seccomp import refusal, refuse_landlock

ANSWERS = "answers.json"
"""In the state folder: each attempt with the error that it met, or null."""


class ProbingBridge(ExampleBridge):
    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.state_dir / "example.sqlite3")
        self._settings = settings

    def look_up(self, token: Token) -> Grant | None:
        answers = {name: refusal(attempt) for name, attempt in _attempts(self._settings).items()}
        (self._settings.state_dir / ANSWERS).write_text(json.dumps(answers))
        return super().look_up(token)


def _attempts(settings: Settings) -> dict[str, Callable[[], object]]:
    media, shop = settings.media_root, settings.state_dir.parent / "shop"
    others = settings.state_dir.parent.with_name("others")  # the site's folder is that of the process, and Python's sys.path
    song = next(media.rglob("*.ogg"))
    return {
        "read the media": lambda: song.read_bytes()[:1],
        "write to the media": lambda: song.open("r+b").close(),
        "remove from the media": (media / "litter").unlink,
        "make a file in the media": (media / "new").touch,
        "make a file in the state folder": (settings.state_dir / "new").touch,
        "read the system's files": Path("/etc/passwd").read_bytes,
        "read files of others": (others / "file").read_bytes,
        "make a file of others": (others / "new").touch,
        "read what the module names": (shop / "read" / "file").read_bytes,
        "write to what it names for reading": lambda: (shop / "read" / "file").write_text("x"),
        "write to what it names for writing": lambda: (shop / "write" / "new").write_text("x"),
        "run a program": lambda: subprocess.run(["true"], check=True),
    }


def further_paths(settings: Settings) -> BridgePaths:
    shop = settings.state_dir.parent / "shop"
    return BridgePaths(read=(shop / "read",), write=(shop / "write", shop / "not there"))


def make_bridge(settings: Settings) -> ProbingBridge:
    refused = int(os.environ.get("REFUSE_LANDLOCK", "0"))
    if refused:
        refuse_landlock(refused)
    return ProbingBridge(settings)
