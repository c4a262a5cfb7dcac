"""Media players: they read from where the listener is, and drop the connection when he skips forward."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

from tests.trials.crowd import Job, Talk
from tests.trials.lab import Target
from tests.trials.spans import less
from tests.trials.trial import Run, Trial, draw_size
from tests.trials.wire import Stream, draw_connector

SKIPS = (100_000, 2_000_000)
"""Bytes that a listener skips."""


@dataclass(frozen=True, slots=True)
class _Manner:
    """`pace`: bytes a second that it reads, 0 for all that comes; `bursts`: it reads much at once, and then nothing for long."""

    pace: int
    bursts: bool
    step: int
    old_first: bool
    reset: bool


def _play(stream: Stream, seconds: float, count: int, manner: _Manner) -> bool:
    """Read for a while, or so many bytes; False at the end of the file."""
    until, end = time.monotonic() + seconds, stream.position + count
    step = manner.pace // 2 if manner.bursts and manner.pace else manner.step
    while (now := time.monotonic()) < until and stream.position < end:
        if not stream.read_to(min(stream.position + step, stream.end, end), manner.step):
            return False
        if stream.whole:
            return False
        if manner.pace:
            time.sleep(max(min(now + step / manner.pace, until) - time.monotonic(), 0))
    return True


def skips(target: Target, rng: random.Random, talk: Talk) -> None:
    """Several times; sometimes back; the old connection is dropped before the new one is opened, or after."""
    connector = draw_connector(rng, target, talk.story, "http http https")
    manner = _Manner(
        rng.choice([0, 0, 40_000, 200_000, 1_000_000, 4_000_000]), rng.random() < 0.4,
        rng.choice([8_192, 32_768, 65_536]), rng.random() < 0.5, rng.random() < 0.3,
    )  # fmt: skip
    talk.story.manner = f"{connector.protocol} {manner}"
    stream = connector.get(0)
    skipped = []
    for _ in range(rng.randrange(3, 13)):
        count = rng.randrange(20_000, 3_000_000)
        going = _play(stream, rng.choice([0.1, 0.5, 2.0]) * rng.random(), count, manner)
        back = rng.random() < 0.05
        to = rng.randrange(stream.position) if back else stream.position + rng.randrange(*SKIPS)
        if not going or to >= target.size:
            break
        if not back:
            skipped.append((stream.position, to))
        talk.story.cuts += 1
        if manner.old_first:
            stream.leave(reset=manner.reset)
        after = connector.get(to)
        if not manner.old_first:
            stream.leave(reset=manner.reset)
        stream = after
    _play(stream, 0.3, 500_000, manner)
    if stream.whole:
        stream.say_goodbye()
    else:
        talk.story.cuts += 1
        stream.leave(reset=manner.reset)
    talk.story.skipped = less(skipped, talk.story.read())
    if not less([(0, target.size)], talk.story.read()):
        talk.holds_all()


def _draw(rng: random.Random, seed: str) -> Job:
    rate = rng.choice(["1 MB/s", "5 MB/s", "20 MB/s", "20 MB/s", "unlimited"])
    return Job("players", seed, draw_size(rng, rate, 60, least=6_000_000), rate, skips)


def run(trial: Run) -> None:
    trial.crowd().run(trial.jobs(_draw), 10, trial.until)


TRIAL = Trial("Media players that skip forward by 0.1 to 2 MB, two to eight times, and at times back.", run, 45, 300)
