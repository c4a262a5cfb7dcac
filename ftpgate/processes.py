"""What the system tells of other processes on this machine."""

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


def started(pid: int) -> int | None:
    """When a process was started, in clock ticks since the boot (proc(5)); None when there is none, or nothing left of it.

    By it a process is told from a later one of the same number.

    Raises:
        OSError: it runs and cannot be looked at: this is not Linux, or it is hidden (`hidepid`).
    """
    with suppress(FileNotFoundError):
        after_name = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return None if after_name[0] in "ZX" else int(after_name[19])
    if is_running(pid):
        raise FileNotFoundError(pid)
    return None
