"""What the portal asks the system of other processes on this machine."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def is_running(pid: int) -> bool:
    """Is there a process of this number here? It may be another one by now that was given the same."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # it is someone else's
    return True


def identity(pid: int) -> str:
    """What tells a process of this machine from all others, also from later ones of its number; '' where Linux does not tell.

    That is the boot, the namespace in which the number counts, and when the process was started.
    """
    try:
        return f"{_here()} {_started(pid)}"
    except (OSError, ValueError, IndexError):
        return ""


def has_ended(pid: int, known_as: str) -> bool:
    """Has the process that `identity` named so surely ended? False where this machine cannot tell: it may be another's."""
    where, _, started = known_as.rpartition(" ")
    try:
        if not where or where != _here():
            return False
        if not is_running(pid):
            return True
        now = _started(pid)
        return now == -1 or now != int(started)
    except (OSError, ValueError, IndexError):
        return False  # it may be hidden from us (hidepid), or end just now


def _here() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {os.readlink('/proc/self/ns/pid')}"


def _started(pid: int) -> int:
    """When a process was started, in clock ticks since the boot (proc(5)); -1 when there is none, or nothing left of it.

    Raises:
        OSError: it cannot be looked at.
    """
    with suppress(FileNotFoundError):
        after_name = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return -1 if after_name[0] in "ZX" else int(after_name[19])
    if is_running(pid):
        raise FileNotFoundError(pid)
    return -1
