"""Clients that leave the end of a file unread for some seconds, and then close."""

from __future__ import annotations

import random
import time

from tests.trials.crowd import Job, Talk
from tests.trials.lab import Target
from tests.trials.trial import Run, Trial, draw_rate, draw_size
from tests.trials.wire import draw_connector

TAILS = (30_000, 1_200_000)
"""Bytes left unread."""
SMALL = (60_000, 100_000)
"""Bytes of files of which a part, or nothing, is read."""
IDLE = 3.0
"""Seconds for which they lie."""


def leaves_the_end(target: Target, rng: random.Random, talk: Talk) -> None:
    """Closes with data unread, which is a reset on Linux; or ends its sending early, before it reads or before it waits."""
    connector = draw_connector(rng, target, talk.story)
    tail = min(rng.randrange(*TAILS), target.size)  # of a small file, all of it
    half_closes = rng.choice(["never", "never", "at once", "before it waits"])
    step, reset = rng.choice([4_096, 65_536, 262_144]), rng.random() < 0.2
    talk.story.manner = f"{connector.protocol}, {tail} bytes unread, half-closes {half_closes}, reads {step}"
    stream = connector.get(0)
    if half_closes == "at once":
        stream.end_sending()
    stream.read_to(target.size - tail, step)
    if half_closes == "before it waits":
        stream.end_sending()
    time.sleep(IDLE)
    talk.story.cuts += 1
    stream.leave(reset=reset, control_first=rng.random() < 0.5)


def _draw(rng: random.Random, seed: str) -> Job:
    rate = draw_rate(rng)
    if rng.random() < 0.25:
        return Job("unread small files", seed, rng.choice(SMALL), rate, leaves_the_end)
    return Job("unread tails", seed, draw_size(rng, rate, 4), rate, leaves_the_end)


def run(trial: Run) -> None:
    trial.crowd().run(trial.jobs(_draw), 24, trial.until)


TRIAL = Trial("Clients that leave the last 30 kB to 1.2 MB unread for 3 s and then close, some half-closed before.", run, 40, 250)
