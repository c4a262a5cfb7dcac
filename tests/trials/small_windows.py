"""Clients with little room for what comes, that read slowly, or much at once and then nothing."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

from tests.trials.crowd import Job, Talk
from tests.trials.lab import Target
from tests.trials.trial import Run, Trial, draw_rate, draw_size
from tests.trials.wire import Stream, draw_connector

BUFFERS = (4_096, 65_536)
"""Bytes of SO_RCVBUF."""


@dataclass(frozen=True, slots=True)
class _Manner:
    """`pace`: bytes a second, 0 for all that comes; `burst`: bytes that it reads in one go before it waits."""

    pace: int
    burst: int
    step: int


def _read(stream: Stream, upto: int, manner: _Manner) -> bool:
    while stream.position < upto:
        now = time.monotonic()
        if not stream.read_to(min(stream.position + manner.burst, upto), manner.step):
            return False
        if manner.pace:
            time.sleep(max(now + manner.burst / manner.pace - time.monotonic(), 0))
    return True


def _begins(target: Target, rng: random.Random, talk: Talk) -> tuple[Stream, _Manner]:
    buffer = int(2 ** rng.uniform(12, 16))
    connector = draw_connector(rng, target, talk.story, receive_buffer=buffer)
    pace = rng.choice([0, 0, target.size // 6, target.size // 3, target.size])
    manner = _Manner(pace, rng.choice([4_096, 16_384, 100_000, 500_000]), rng.choice([1_000, 4_096, 65_536]))
    talk.story.manner = f"{connector.protocol}, SO_RCVBUF {buffer}, {manner}"
    return connector.get(0), manner


def reads_all(target: Target, rng: random.Random, talk: Talk) -> None:
    """And ends in order, at once or after a while."""
    stream, manner = _begins(target, rng, talk)
    if not _read(stream, target.size, manner):
        raise ConnectionError(f"the connection broke at {stream.position} of {target.size}")
    talk.holds_all(rng.choice([0, 0, 2.5]))
    stream.say_goodbye()


def stops(target: Target, rng: random.Random, talk: Talk) -> None:
    """Somewhere, after a pause or not."""
    stream, manner = _begins(target, rng, talk)
    _read(stream, rng.randrange(target.size), manner)
    time.sleep(rng.choice([0, 0.3, 2.0]))
    talk.story.cuts += 1
    stream.leave(reset=rng.random() < 0.3)


def _draw(rng: random.Random, seed: str) -> Job:
    rate = draw_rate(rng)
    row, behaviour = rng.choice([("small windows, read to the end", reads_all), ("small windows, stopped", stops)])
    return Job(row, seed, min(draw_size(rng, rate, 4), 3_000_000), rate, behaviour)


def run(trial: Run) -> None:
    trial.crowd().run(trial.jobs(_draw), 12, trial.until)


TRIAL = Trial("Receive buffers of 4 to 64 KiB, slow readers and readers in bursts, to the end or to somewhere.", run, 25, 200)
