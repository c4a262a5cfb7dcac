"""Managers and real programs over a link with delay, loss and a bottleneck of 20 MB/s."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Iterator
from functools import partial

from tests.support.far_link import SERVER, FarLink, NotAllowed
from tests.support.tools import PATH
from tests.trials import managers, real_clients
from tests.trials.crowd import Behaviour, Crowd, Job, Talk
from tests.trials.lab import Lab, Target
from tests.trials.trial import Run, Skipped, Trial, draw_rate

LINKS = {"20 ms": (20, 0.0), "20 ms, 1 % loss": (20, 0.01), "100 ms": (100, 0.0), "100 ms, 1 % loss": (100, 0.01)}
"""Round trip in milliseconds, share of lost packets."""
BOTTLENECK, QUEUE = 20_000_000, 256_000
SIZES = {0.0: (1_500_007, 6_000_011, 20_000_003), 0.01: (300_001, 1_500_007, 3_000_000)}
"""Of the files, by loss: a connection with one packet in a hundred lost brings little."""
PROGRAMS = (
    "curl, http", "wget, ftp", "aria2c x16, http", "aria2c x16, ftp", "lftp pget -n 8, http", "lftp pget -n 8, ftp",
    "axel -n 8, http", "axel -n 8, ftp",
)  # fmt: skip
"""Of `real_clients.KINDS`, those over plain protocols: the certificate is one for the loopback."""
AT_ONCE = 2


def _over(link: FarLink, behaviour: Behaviour) -> Behaviour:
    def far(target: Target, rng: random.Random, talk: Talk) -> None:
        with link.on_client():
            behaviour(target, rng, talk)

    return far


def _draw(link: FarLink, name: str, rng: random.Random, seed: str) -> Job:
    """Managers and programs by turns."""
    rate = draw_rate(rng)
    size = rng.choice([size for size in SIZES[LINKS[name][1]] if rate != "1 MB/s" or size < 5_000_000])
    if rng.random() < 0.5:
        return Job(f"{name}: managers, stopped and resumed", seed, size, rate, _over(link, managers.resumes), 120)
    program = rng.choice([program for program in PROGRAMS if shutil.which(real_clients.KINDS[program][0], path=PATH)])
    return Job(f"{name}: real programs", seed, size, rate, _over(link, real_clients.behaviour(program)), 120)


def _storm(trial: Run, lab: Lab, link: FarLink, name: str, jobs: Iterator[Job], until: float) -> None:
    rtt, loss = LINKS[name]
    link.set(rtt=rtt, loss=loss, rate=BOTTLENECK, queue=QUEUE)
    crowd = Crowd(lab, trial.rows)
    crowd.run(jobs, AT_ONCE, until)


def run(trial: Run) -> None:
    try:
        link = FarLink()
    except NotAllowed as reason:
        raise Skipped(f"no network namespaces here ({reason})") from None
    with link:
        fronts = {f"FTPGATE_{name}": f"{SERVER}:0" for name in ("FTP", "HTTP", "FTPS", "HTTPS")}
        lab = trial.labs.make("sqlite", fronts)
        lab.site.new_interpreters = True  # the server that forks is in the network of this process
        with link.on_server():
            lab.start(*SIZES[0.0], *SIZES[0.01])
        trial.began = time.monotonic()
        for number, name in enumerate(LINKS, 1):
            jobs = trial.jobs(partial(_draw, link, name))
            _storm(trial, lab, link, name, jobs, trial.began + trial.seconds * number / len(LINKS))
        lab.close()


TRIAL = Trial(
    "Managers and programs over 20 and 100 ms, without and with 1 % of loss, and 20 MB/s with 256 kB of queue.", run, 60, 400
)
