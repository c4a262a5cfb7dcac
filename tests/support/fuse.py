"""A FUSE file system that shows a folder, in a process of its own that can be stopped: a disk that does not answer.

Nothing but the kernel's protocol (include/uapi/linux/fuse.h, 7.31 and later) is needed. Read-only; what changes in the folder is
seen at once.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.waiting import wait_until

_LIBC = ctypes.CDLL(None, use_errno=True)
_MNT_FORCE, _MNT_DETACH = 1, 2
_SERVER = Path(__file__).with_name("fuse_server.py")


class SlowDisk:
    """A mounted one. `stop` has every request wait until `go_on`; `folder` is what it shows."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes]) -> None:
        self.folder = folder
        self._process = process

    def stop(self) -> None:
        self._process.send_signal(signal.SIGSTOP)
        wait_until(lambda: self._state() == "T", 5, "the stop of the disk")

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def fail(self) -> None:
        """From now on every request gets an error."""
        self._process.kill()
        self._process.wait()

    def _state(self) -> str:
        return Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()[0]


@contextmanager
def mounted(folder: Path, mount_point: Path, *, direct: bool = False) -> Iterator[SlowDisk]:
    """Show `folder` at `mount_point`; `direct`: nothing is kept in memory of what was read.

    Skips the test where this process may not mount.
    """
    mount_point.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-I", "-S", str(_SERVER), str(folder), str(mount_point), *(["direct"] if direct else [])]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        answer = process.stdout.readline().decode().strip()
        if answer != "mounted":
            pytest.skip(f"no FUSE file system can be mounted here ({answer})")
        yield SlowDisk(folder, process)
    finally:
        process.kill()  # what waits for an answer gets an error
        process.wait()
        process.stdout.close()
        _LIBC.umount2(os.fsencode(mount_point), _MNT_FORCE | _MNT_DETACH)
