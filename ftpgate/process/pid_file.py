"""Which gates run with a state folder: a file for each, in the folder `run`, by which `ftpgate reload` finds them."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftpgate import private, processes

FOLDER = "run"


class PidFile:
    """The parent's own file. What cannot be written is no reason not to run: only `ftpgate reload` misses it."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self._path = state_dir / FOLDER / f"{os.getpid()}.json"
        self.problem = ""
        """Why it could not be written."""

    def write(self, document: Mapping[str, Any]) -> None:
        """Replace it as a whole. Process and start are added."""
        text = json.dumps({"pid": os.getpid(), "started": started(os.getpid()), **document})
        temporary = self._path.with_suffix(".new")
        try:
            private.make_folder(self._path.parent)
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()
            private.write_new(temporary, text)
            temporary.rename(self._path)
            self.problem = ""
        except OSError as error:
            self.problem = f"{self._path}: {error.strerror}"

    def handed_over(self) -> dict[str, str] | None:
        """The settings that `ftpgate reload --environment` has left for this process, once."""
        path = handover(self.state_dir, os.getpid())
        try:
            found: dict[str, str] = json.loads(path.read_text())
            path.unlink()
        except (OSError, ValueError):
            return None
        return found

    def remove(self) -> None:
        with contextlib.suppress(OSError):
            self._path.unlink()


def running(state_dir: Path) -> list[dict[str, Any]]:
    """What the gates say that run with this state folder. Files of those that were killed are removed."""
    found = []
    for path in sorted((state_dir / FOLDER).glob("*.json")):
        try:
            document: dict[str, Any] = json.loads(path.read_text())
            pid, since = int(document["pid"]), document["started"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if started(pid) == since and since is not None:
            found.append(document)
        else:
            with contextlib.suppress(OSError):
                path.unlink()
    return found


def hand_over(state_dir: Path, pid: int, settings: Mapping[str, str]) -> None:
    """Leave settings for a gate's next reload; the file holds what is secret, and is the gate's to remove.

    Raises:
        OSError: it cannot be written.
    """
    path = handover(state_dir, pid)
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    private.write_new(path, json.dumps(dict(settings)))


def handover(state_dir: Path, pid: int) -> Path:
    return state_dir / FOLDER / f"{pid}.settings"


def started(pid: int) -> int | None:
    """As `processes.started`; 0, which is the same for all, where only Linux could tell."""
    try:
        return processes.started(pid)
    except OSError:
        return None if os.path.exists("/proc/self/stat") else 0
