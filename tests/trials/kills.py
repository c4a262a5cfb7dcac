"""`kill -9` of the gate under some thirty clients, and a new gate: honest managers resume; others do not, or elsewhere."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from itertools import count, islice

from tests.trials.crowd import Behaviour, Crowd, Job, Talk
from tests.trials.lab import Lab, Target
from tests.trials.managers import draw_manager
from tests.trials.trial import BYTES_PER_SECOND, Run, Trial, draw_size
from tests.trials.wire import Connector, Stream, draw_connector

CLIENTS = 30
JUMPS = (1_000_000, 3_000_000)
"""Bytes further on at which some reopen."""
LONGEST_WAIT = 40.0
"""Seconds for which a client tries to reach the gate again."""


def resumes(target: Target, rng: random.Random, talk: Talk) -> None:
    """A manager; whatever breaks is tried again from what it holds."""
    manager = draw_manager(target, rng, talk)
    manager.session()
    manager.end(talk)


def jumps(target: Target, rng: random.Random, talk: Talk) -> None:
    """One stream, and after the break another, further on, read to the end."""
    connector = draw_connector(rng, target, talk.story)
    stream = _again(connector, 0)
    if stream.read_to(target.size):
        stream.say_goodbye()
        talk.holds_all()
        return
    stream.leave()
    to = stream.position + rng.randrange(*JUMPS)
    if to < target.size:
        talk.story.skipped.append((stream.position, to))
        _read_on(_again(connector, to), target.size)


def leaves_one(target: Target, rng: random.Random, talk: Talk) -> None:
    """Two segments; the first is not taken up again."""
    connector = draw_connector(rng, target, talk.story)
    middle = int(target.size * rng.uniform(0.4, 0.6))
    streams = [_again(connector, 0), _again(connector, middle)]
    ends = [middle, target.size]
    threads = [threading.Thread(target=stream.read_to, args=(end,)) for stream, end in zip(streams, ends, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first, second = streams
    for stream in streams:
        stream.leave()
    if first.position >= middle and second.whole:
        talk.holds_all()
    if not second.whole:
        _read_on(_again(connector, second.position), target.size)
        if first.position >= middle:
            talk.holds_all()


def _again(connector: Connector, start: int) -> Stream:
    until = time.monotonic() + LONGEST_WAIT
    while True:
        with suppress(OSError, AssertionError):
            return connector.get(start)
        if time.monotonic() > until:
            raise TimeoutError("the gate did not come back")
        time.sleep(0.3)


def _read_on(stream: Stream, end: int) -> None:
    if not stream.read_to(end):
        raise ConnectionError("the connection broke again")
    stream.say_goodbye()


KINDS: dict[str, Behaviour] = {"managers resume": resumes, "reopen further on": jumps, "one of two resumes": leaves_one}
_WEIGHTS = (18, 6, 6)


def _draw(rng: random.Random, seed: str) -> Job:
    what = rng.choices(list(KINDS), _WEIGHTS)[0]
    rate = rng.choices(["1 MB/s", "5 MB/s", "20 MB/s", "unlimited"], (3, 3, 3, 1))[0]
    size = draw_size(rng, rate, 8, least=int(BYTES_PER_SECOND[rate] * 2.5) if rate != "unlimited" else 60_000_000)
    return Job(what, seed, size, rate, KINDS[what], seconds=90)


def _round(lab: Lab, crowd: Crowd, jobs: Iterable[Job], rng: random.Random) -> None:
    """The gate is killed under some thirty clients; those without a limit begin last, or they would be done."""
    ready = [(job, crowd.prepare(job)) for job in jobs]
    for unlimited, seconds in ((False, rng.uniform(0.3, 3.0)), (True, rng.uniform(0.0, 0.1))):
        for job, begin in ready:
            if (job.rate == "unlimited") is unlimited:
                begin()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            crowd.step(0.01)
    lab.site.kill()
    crowd.forget_ended()
    crowd.look_at_all()
    lab.start()
    crowd.finish()


def run(trial: Run) -> None:
    jobs = trial.jobs(_draw)
    for half, (kind, name) in enumerate({"sqlite": "SQLite", "postgres": "PostgreSQL"}.items()):
        lab = trial.labs.make(kind)
        lab.start()
        crowd = Crowd(lab, trial.rows)
        until = trial.began + trial.seconds * (half + 1) / 2
        for number in count():
            chosen = [replace(job, row=f"killed ({name}): {job.row}") for job in islice(jobs, CLIENTS)]
            _round(lab, crowd, chosen, random.Random(f"{trial.seed} {kind} {number}"))
            if time.monotonic() >= until or trial.only:
                break
        lab.close()


TRIAL = Trial("`kill -9` of the gate under 30 clients, and a new gate; on SQLite and on PostgreSQL.", run, 80, 600)
