"""What a process holds, as Linux counts it: memory and descriptors, sampled while a trial runs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

MB = 1e6


class Sample(NamedTuple):
    """One look.

    Attributes:
        at: seconds since the first one.
        pss: bytes of memory, what is shared with other processes counted in parts.
        anonymous: the part of it that no file backs: the heap.
        descriptors: that are open.
    """

    at: float
    pss: int
    anonymous: int
    descriptors: int


class Sampler:
    """Looks at one process."""

    def __init__(self, pid: int) -> None:
        self._folder = Path(f"/proc/{pid}")
        self._began = time.monotonic()
        self.samples: list[Sample] = []

    def look(self) -> Sample:
        """Raises OSError when the process has gone."""
        fields = dict(line.split(":", 1) for line in (self._folder / "smaps_rollup").read_text().splitlines()[1:])
        pss, anonymous = (1024 * int(fields[name].split()[0]) for name in ("Pss", "Pss_Anon"))
        sample = Sample(time.monotonic() - self._began, pss, anonymous, len(os.listdir(self._folder / "fd")))
        self.samples.append(sample)
        return sample

    def at_rest(self, seconds: float, timeout: float) -> Sample:
        """Look until the number of descriptors has not changed for so many seconds."""
        since = until = time.monotonic()
        until += timeout
        before = self.look()
        while time.monotonic() < min(since + seconds, until):
            time.sleep(1)
            now = self.look()
            if now.descriptors != before.descriptors:
                since, before = time.monotonic(), now
        return self.samples[-1]


def growth(samples: Sequence[Sample], begin: float, end: float, span: float, what: Callable[[Sample], float]) -> float:
    """How much more the median of the last `span` seconds before `end` is than that of the first after `begin`."""
    first = [what(sample) for sample in samples if begin <= sample.at <= begin + span]
    last = [what(sample) for sample in samples if end - span <= sample.at <= end]
    return median(last) - median(first)
