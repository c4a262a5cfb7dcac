"""What a trial is, and what it is given."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.trials.counting import Row
from tests.trials.crowd import Crowd, Job
from tests.trials.lab import RATES, SIZES, Labs

RESULTS = Path(__file__).parent / "results"
BYTES_PER_SECOND = {"1 MB/s": 1e6, "5 MB/s": 5e6, "20 MB/s": 20e6, "unlimited": 1e9}


class Skipped(Exception):
    """The trial cannot run here; the text says why."""


@dataclass(slots=True)
class Run:
    """One run of one trial.

    Attributes:
        labs: where installations come from.
        seed: of everything that is drawn.
        seconds: in which clients may be started; what was started is waited for.
        long: the long run; some trials last longer in themselves.
        only: numbers of the clients to be run; empty for all.
        results: the folder of what is drawn.
        rows: the counts, by name.
        notes: what the reader of the figures should know.
        charts: names of what was drawn.
    """

    labs: Labs
    name: str
    seed: str
    seconds: float
    long: bool
    only: frozenset[int] = frozenset()
    results: Path = RESULTS
    rows: dict[str, Row] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    charts: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    @property
    def until(self) -> float:
        return self.began + self.seconds

    def crowd(self) -> Crowd:
        """At the lab that all share; the time begins now."""
        lab = self.labs.shared()
        self.began = time.monotonic()
        return Crowd(lab, self.rows)

    def jobs(self, draw: Callable[[random.Random, str], Job]) -> Iterator[Job]:
        """Endless clients, each drawn from a seed of its own: the run's, the trial's name, the client's number."""
        for number in sorted(self.only) or _numbers():
            seed = f"{self.seed} {self.name} {number}"
            yield draw(random.Random(f"{seed} job"), seed)

    def draw(self, name: str, chart: str) -> None:
        """Keep an SVG beside the figures; the page shows it."""
        self.results.mkdir(parents=True, exist_ok=True)
        (self.results / name).write_text(chart)
        self.charts.append(name)

    def say(self, text: str) -> None:
        print(f"  {self.name}: {text}", file=sys.stderr, flush=True)


@dataclass(frozen=True, slots=True)
class Trial:
    """One class of clients.

    Attributes:
        about: what its clients do, a sentence for the page.
        run: fills `Run.rows`; raises `Skipped` where it cannot.
        short, long: seconds in which clients are started, in either mode.
        apart: it runs only when it is asked for by its name.
    """

    about: str
    run: Callable[[Run], None]
    short: float
    long: float
    apart: bool = False


def _numbers() -> Iterator[int]:
    number = 0
    while True:
        yield number
        number += 1


def draw_size(rng: random.Random, rate: str, seconds: float, *, least: int = 0) -> int:
    """A size that such a customer has within about so many seconds."""
    return rng.choice([size for size in SIZES if least <= size <= BYTES_PER_SECOND[rate] * seconds] or [SIZES[0]])


def draw_rate(rng: random.Random) -> str:
    return rng.choice(list(RATES))


def paced(rate: str) -> str:
    """For the names of rows."""
    return "unlimited" if rate == "unlimited" else "paced"
