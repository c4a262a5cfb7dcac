"""What the portal asks the system of other processes on this machine."""

from __future__ import annotations

import os


def is_running(pid: int) -> bool:
    """Is there a process of this number here? It may be another one by now that was given the same."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # it is someone else's
    return True
