"""`ftpgate reload`: have the gates of this state folder go on with the code and the settings that are there now."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from ftpgate import settings as settings_module
from ftpgate.errors import UserError
from ftpgate.process import pid_file
from ftpgate.settings import Settings
from ftpgate.translatable import os_reason

_SECONDS = 80.0
"""In which a gate has to say what has become of it: more than its workers have to start, less than systemd gives a reload."""
_LOOK_EVERY = 0.1


def reload(settings: Settings, *, environment: bool) -> dict[str, Any]:
    """`{"gates": [{"pid", "workers"}]}`: each parent, and the processes that accept now. Returns once they do.

    Args:
        environment: hand the `FTPGATE_…` of this process over; else a gate keeps its own, and reads `.env` again.

    Raises:
        UserError: no gate runs, or one cannot be told; or its new workers could not start, and it goes on as it was.
    """
    gates = pid_file.running(settings.state_dir)
    if not gates:
        cause = f"no gate runs with the state folder {settings.state_dir}"
        raise UserError(cause, "start one (ftpgate serve), or set FTPGATE_STATE_DIR as it is for the gate")
    return {"gates": [_reload(settings, gate, environment=environment) for gate in gates]}


def _reload(settings: Settings, gate: dict[str, Any], *, environment: bool) -> dict[str, Any]:
    pid = gate["pid"]
    try:
        if environment:
            pid_file.hand_over(settings.state_dir, pid, settings_module.given())
        os.kill(pid, signal.SIGUSR2)
    except OSError as error:
        raise UserError(f"the gate {pid} cannot be told to reload ({os_reason(error)})", "run this as its user") from None
    until = time.monotonic() + _SECONDS
    while time.monotonic() < until:
        time.sleep(_LOOK_EVERY)
        now = next((found for found in pid_file.running(settings.state_dir) if found["pid"] == pid), None)
        if now is None:
            raise UserError(f"the gate {pid} has ended", "see its log")
        if now["reloads"] > gate["reloads"]:
            if now["error"]:
                raise UserError(f"the gate {pid} goes on as it was, for its new workers cannot start", now["error"])
            return {"pid": pid, "workers": now["workers"]}
    raise UserError(f"the gate {pid} has not reloaded after {_SECONDS:.0f} s", "see its log")
