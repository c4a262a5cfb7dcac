"""Download managers that are stopped, perhaps resumed and stopped again, and never come back."""

from __future__ import annotations

import random

from tests.trials.crowd import Job, Talk
from tests.trials.lab import Target
from tests.trials.managers import draw_manager, draw_stop
from tests.trials.trial import Run, Trial, draw_rate, draw_size


def gives_up(target: Target, rng: random.Random, talk: Talk) -> None:
    manager = draw_manager(target, rng, talk)
    for left in reversed(range(rng.choice([1, 1, 2]))):
        if manager.session(draw_stop(rng, target.size)):
            manager.end(talk)
            break
        if left:
            talk.pause(rng.choice([0.1, 1.0, 3.0]) * rng.random())


def _draw(rng: random.Random, seed: str) -> Job:
    rate = draw_rate(rng)
    return Job("cancelled, never resumed", seed, draw_size(rng, rate, 4), rate, gives_up)


def run(trial: Run) -> None:
    trial.crowd().run(trial.jobs(_draw), 8, trial.until)


TRIAL = Trial("The same managers, cancelled for good: nothing is complete, nothing that was not read is credited.", run, 40, 300)
