"""Programs and other parts that a test needs and a machine may lack."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache"
PATH = f"{CACHE / 'tools' / 'bin'}:{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"


def missing(what: str) -> NoReturn:
    """End a test that cannot run for want of `what`: skipped with that reason, failed where CI=true."""
    reason = f"{what} is missing; `make tools` gets it"
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def require_tool(name: str) -> str:
    """The path of a program; ends the test by `missing` when there is none."""
    return shutil.which(name, path=PATH) or missing(name)


def require_chromium() -> str:
    """The path of Chromium, without its windows where it can be had so; ends the test by `missing` when there is none."""
    return shutil.which("chromium-headless-shell", path=PATH) or require_tool("chromium")


def clean_environment(home: Path) -> dict[str, str]:
    """An environment for a program under test: nothing of the user's settings, proxies or configuration files.

    Args:
        home: a folder that is the program's home, where it finds no configuration.
    """
    keep = ("LANG", "LC_ALL", "TZ", "TMPDIR", "COVERAGE_PROCESS_START")
    return {
        "LC_ALL": "C.UTF-8",
        **{name: os.environ[name] for name in keep if name in os.environ},
        "PATH": PATH,
        "HOME": str(home),
        "PYTHONUNBUFFERED": "1",
    }
