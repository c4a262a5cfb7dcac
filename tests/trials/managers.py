"""Honest download managers, stopped at random moments and resumed from exactly what they hold, until they hold everything."""

from __future__ import annotations

import random

from tests.trials.crowd import Job, Talk
from tests.trials.lab import Target
from tests.trials.manager import Manager, Stop, draw_manner
from tests.trials.trial import Run, Trial, draw_rate, draw_size, paced
from tests.trials.wire import draw_connector


def draw_manager(target: Target, rng: random.Random, talk: Talk) -> Manager:
    """A manager with a manner and a protocol; both are told in the story."""
    connector = draw_connector(rng, target, talk.story)
    manner = draw_manner(rng)
    talk.story.manner = f"{connector.protocol} {manner}"
    return Manager(connector, talk.story, manner)


def draw_stop(rng: random.Random, size: int) -> Stop:
    """After a part of the file, or after some time, whatever has come by then."""
    reset = rng.random() < 0.3
    if rng.random() < 0.2:
        return Stop(seconds=rng.uniform(0.0, 0.5), reset=reset)
    return Stop(bytes=rng.uniform(0.02, 0.98) * size, reset=reset)


def resumes(target: Target, rng: random.Random, talk: Talk) -> None:
    """Stopped up to three times."""
    manager = draw_manager(target, rng, talk)
    for _ in range(rng.choice([0, 1, 1, 1, 2, 3])):
        if manager.session(draw_stop(rng, target.size)):
            break
        talk.pause(rng.choice([0.0, 0.05, 0.3, 1.0, 2.0, 4.0]) * rng.random())
    else:
        manager.session()
    manager.end(talk)


def _draw(rng: random.Random, seed: str) -> Job:
    rate = draw_rate(rng)
    return Job(f"managers, {paced(rate)}", seed, draw_size(rng, rate, 4), rate, resumes)


def run(trial: Run) -> None:
    trial.crowd().run(trial.jobs(_draw), 8, trial.until)


TRIAL = Trial(
    "Managers with 2 to 16 connections, stopped up to three times at random and resumed from what they hold.", run, 75, 500
)
