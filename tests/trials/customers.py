"""Customers that come and go: they read some, or nothing, in one stream or in segments, and many come back for the rest."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

from tests.trials.crowd import Job, Talk
from tests.trials.lab import Target
from tests.trials.spans import less
from tests.trials.trial import Run, Trial
from tests.trials.wire import Connector, Stream

SIZE = 1_500_007
ACTIONS = (1, 6)


class _Customer:
    """One with a memory of what it holds."""

    def __init__(self, target: Target, rng: random.Random, talk: Talk) -> None:
        self._target = target
        self._random = rng
        self._talk = talk

    def acts(self) -> None:
        ways: list[Callable[[], None]] = [self._one_stream, self._nothing, self._segments]
        for _ in range(self._random.randrange(*ACTIONS)):
            self._random.choice(ways)()
            self._talk.pause(self._random.choice([0, 0, 0.2]))
        if self._random.random() < 0.7:
            self._finish()

    def _begin(self, start: int) -> Stream:
        protocol = self._random.choice(["http", "ftp"])
        buffer = self._random.choice([0, 0, 32_768, 400_000])
        self._talk.story.manner += f" {protocol}"
        return Connector(self._target, self._talk.story, protocol, {"receive_buffer": buffer}).get(start)

    def _leave(self, stream: Stream) -> None:
        self._talk.story.cuts += not stream.whole
        stream.leave(reset=not stream.whole and self._random.random() < 0.3)

    def _missing(self) -> list[tuple[int, int]]:
        return less([(0, SIZE)], self._talk.story.read())

    def _one_stream(self) -> None:
        """From the first byte that it lacks, to somewhere."""
        for start, _ in self._missing()[:1]:
            stream = self._begin(start)
            step = self._random.choice([1_000, 16_384, 65_536, 262_144])
            stream.read_to(self._random.randrange(start + 1, SIZE + 1), step)
            self._leave(stream)

    def _nothing(self) -> None:
        for start, _ in self._missing()[:1]:
            self._leave(self._begin(start))

    def _segments(self) -> None:
        """Every hole in segments, each up to the next one's start; stopped half-way, or not."""
        bounds = []
        for start, end in self._missing():
            step = max((end - start) // self._random.choice([2, 4, 8]), 65_536)
            bounds += [(at, min(at + step, end)) for at in range(start, end, step)]
        share = self._random.choice([0.3, 0.5, 1.0])
        streams = [(self._begin(start), start + int((end - start) * share)) for start, end in bounds[:16]]
        threads = [threading.Thread(target=stream.read_to, args=(end,)) for stream, end in streams]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for stream, _ in streams:
            self._leave(stream)

    def _finish(self) -> None:
        """Every hole in one stream, to the end of the file."""
        while missing := self._missing():
            stream = self._begin(missing[0][0])
            if not stream.read_to(SIZE):
                raise ConnectionError(f"the connection broke at {stream.position} of {SIZE}")
            stream.leave()


def comes_and_goes(target: Target, rng: random.Random, talk: Talk) -> None:
    customer = _Customer(target, rng, talk)
    customer.acts()
    if not less([(0, SIZE)], talk.story.read()):
        talk.holds_all()


def _draw(rng: random.Random, seed: str) -> Job:
    return Job("customers that come and go", seed, SIZE, rng.choice(["20 MB/s", "unlimited"]), comes_and_goes)


def run(trial: Run) -> None:
    trial.crowd().run(trial.jobs(_draw), 8, trial.until)


TRIAL = Trial(
    "Customers that come up to five times for some of a file, for nothing, or for segments, and many for the rest.", run, 25, 250
)
