"""The database goes away, clients finish, the gate is killed or stopped, both come back: what was credited must be there."""

from __future__ import annotations

import json
import random
import time
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from itertools import count, cycle, islice
from urllib.error import HTTPError

from tests.support.postgres import PostgresServer
from tests.trials.counting import Row
from tests.trials.crowd import Behaviour, Crowd, Job, Talk
from tests.trials.kills import resumes
from tests.trials.lab import SIZES, Lab, Labs, Target
from tests.trials.trial import Run, Trial, draw_size
from tests.trials.wire import draw_connector

CLIENTS = 30
SETTLES = 2.5
"""Seconds after which what a client has brought to its end is credited, if it ever is."""


def one_stream(target: Target, rng: random.Random, talk: Talk) -> None:
    """Like curl."""
    stream = draw_connector(rng, target, talk.story).get(0)
    if not stream.read_to(target.size):
        raise ConnectionError(f"the connection broke at {stream.position} of {target.size}")
    stream.say_goodbye()
    talk.holds_all()


BEHAVIOURS: tuple[Behaviour, ...] = (one_stream, resumes)


def _draw(rng: random.Random, seed: str) -> Job:
    rate = rng.choice(["1 MB/s", "5 MB/s", "5 MB/s", "20 MB/s", "20 MB/s"])
    return Job("", seed, draw_size(rng, rate, 6, least=3_000_000), rate, rng.choice(BEHAVIOURS))


@dataclass(slots=True)
class _Site:
    """A lab with a server of its own."""

    lab: Lab
    server: PostgresServer


def _round(site: _Site, crowd: Crowd, row: Row, jobs: Iterable[Job], away: float, ending: str) -> None:
    """One loss of the database and of the gate."""
    ready = [crowd.prepare(replace(job, row=row.name)) for job in jobs]
    for begin in ready:
        begin()
    _pass(crowd, 0.7)
    targets = crowd.targets()
    crowd.blind = True
    site.lab.desk.close()
    site.server.stop()
    until = time.monotonic() + away
    while crowd.running or time.monotonic() < until:
        crowd.step()
    _pass(crowd, SETTLES)
    credited = {target.grant: _credited(target) for target in targets}
    if ending == "kill -9":
        site.lab.site.kill()
    else:
        _add(row, {"exit statuses": f" {site.lab.site.stop(timeout=90)}"})
    site.server.start()
    recorded = {target.grant: _recorded(site.lab, target) for target in targets}
    site.lab.start()
    _pass(crowd, SETTLES)
    crowd.see_again()
    crowd.finish()
    after = {target.grant: _recorded(site.lab, target) for target in targets}
    _add(row, _lost(recorded, credited, after))


def _lost(recorded: Mapping[str, int], credited: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """Of what was credited while the database was away; `recorded` is what it had when it went."""
    return {
        "bytes credited meanwhile": sum(max(credited[grant] - recorded[grant], 0) for grant in credited),
        "bytes lost": sum(max(credited[grant] - after[grant], 0) for grant in credited),
    }


def _recorded(lab: Lab, target: Target) -> int:
    delivered: int = lab.show(target.grant)["items"][0]["delivered"]
    return delivered


def _credited(target: Target) -> int:
    """What the gate itself says, by the grant's progress; nothing of a client that came only when the database was away."""
    request = urllib.request.Request(target.url("http", "progress"), headers={"Accept": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            delivered: int = json.load(answer)["items"][0]["delivered"]
    except HTTPError as error:
        if error.code != HTTPStatus.SERVICE_UNAVAILABLE:
            raise
        return 0
    return delivered


def _pass(crowd: Crowd, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        crowd.step()


def _add(row: Row, figures: Mapping[str, int | str]) -> None:
    for name, value in figures.items():
        row.more[name] = row.more.get(name, type(value)()) + value


def _site(labs: Labs) -> _Site:
    server = labs.own_postgres()
    lab = labs.make("postgres", server=server)
    lab.start(*SIZES)
    return _Site(lab, server)


def run(trial: Run) -> None:
    site = _site(trial.labs)
    crowd = Crowd(site.lab, trial.rows)
    jobs = trial.jobs(_draw)
    for number, ending in zip(count(), cycle(["kill -9", "SIGTERM"])):
        name = f"database away, then {ending}"
        row = trial.rows.setdefault(name, Row(name))
        _round(site, crowd, row, islice(jobs, CLIENTS), 60 if trial.long else 8, ending)
        if number and time.monotonic() >= trial.until:
            break
    site.lab.close()
    site.server.close()


TRIAL = Trial(
    "PostgreSQL is stopped for 8 s (long: 60 s) while 30 clients finish; the gate is killed or stopped; both come back.",
    run, 30, 250,
)  # fmt: skip
