"""Processes that are known by more than their number, which the next one may be given."""

from __future__ import annotations

import os
from pathlib import Path

from ftpgate import processes


def identity(pid: int) -> str:
    """What tells a process of this machine from all others, also from later ones of its number; '' where Linux does not tell.

    That is the boot, the namespace in which the number counts, and when the process was started.
    """
    try:
        since = processes.started(pid)
        return f"{_here()} {-1 if since is None else since}"
    except (OSError, ValueError, IndexError):
        return ""


def has_ended(pid: int, known_as: str) -> bool:
    """Has the process that `identity` named so surely ended? False where this machine cannot tell: it may be another's."""
    where, _, started = known_as.rpartition(" ")
    try:
        if not where or where != _here():
            return False
        return processes.started(pid) != int(started)
    except (OSError, ValueError, IndexError):
        return False  # it may be hidden from us (hidepid), or end just now


def _here() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {os.readlink('/proc/self/ns/pid')}"
