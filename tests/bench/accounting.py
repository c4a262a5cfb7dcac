"""What a server costs: processor time and memory of process trees, as Linux counts them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import psutil


class Bill:
    """The processes of one server, each with all that it has started.

    Args:
        pids: the roots of the trees.
    """

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = tuple(pids)

    def seconds(self) -> float:
        """User and system time so far. A child that has ended is counted with the parent that waited for it."""
        total = 0.0
        for process in self._processes():
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
        return total

    def pss(self) -> int:
        """Bytes of memory, what is shared with others counted in parts."""
        total = 0
        for process in self._processes():
            with contextlib.suppress(psutil.Error):
                total += process.memory_full_info().pss
        return total

    def _processes(self) -> Iterator[psutil.Process]:
        for pid in self._pids:
            with contextlib.suppress(psutil.NoSuchProcess):
                root = psutil.Process(pid)
                yield root
                yield from root.children(recursive=True)


def machine_seconds() -> float:
    """Seconds that all processors together have been busy since the machine started."""
    times = psutil.cpu_times()
    return sum(times) - times.idle - times.iowait - times.guest - times.guest_nice
