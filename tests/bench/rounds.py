"""Taking turns: what a load gives, and the results of all rounds."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.bench.generator import Group
from tests.bench.servers import Server
from tests.bench.shop import Gate, Shop
from tests.support.tools import ROOT

OPENING = 30.0
"""Seconds that all connections of a load have to come in."""
WARM = 0.3
"""Seconds between the opening and the measuring."""

Figures = dict[str, float]
"""What one turn gave: name -> value. `errors` is always among them."""


Measurement = Callable[[], Figures | None]
"""One contestant's turn; None when it cannot take part."""


@dataclass(slots=True)
class Results:
    """All turns: (scenario, case) -> contestant -> figures of each round; and what could not be measured."""

    turns: dict[tuple[str, str], dict[str, list[Figures]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, scenario: str, case: str, contestant: str, figures: Figures) -> None:
        self.turns.setdefault((scenario, case), {}).setdefault(contestant, []).append(figures)
        shown = "  ".join(f"{figure} {value:.4g}" for figure, value in figures.items())
        print(f"{scenario} {case}, {contestant}: {shown}", file=sys.stderr, flush=True)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def median(self, scenario: str, case: str, contestant: str, figure: str) -> float | None:
        found = [turn[figure] for turn in self.turns.get((scenario, case), {}).get(contestant, ()) if figure in turn]
        return statistics.median(found) if found else None

    def worst(self, scenario: str, case: str, contestant: str, figure: str) -> float | None:
        found = [turn[figure] for turn in self.turns.get((scenario, case), {}).get(contestant, ()) if figure in turn]
        return max(found) if found else None

    def ratio(self, scenario: str, case: str, one: str, other: str, figure: str) -> float | None:
        """The median, over the rounds, of `one`'s figure by `other`'s of the same round."""
        found = self.turns.get((scenario, case), {})
        pairs = zip(found.get(one, ()), found.get(other, ()), strict=False)
        ratios = [mine[figure] / its[figure] for mine, its in pairs if its.get(figure) and figure in mine]
        return statistics.median(ratios) if ratios else None


@dataclass(slots=True)
class Bench:
    """What the scenarios work with.

    Attributes:
        shop: the gate's.
        gate: as it runs now; `restarted` gives another one.
        peers: name -> server.
        rounds, seconds: of an ordinary turn.
        long: seconds of a turn whose rate is measured.
    """

    shop: Shop
    gate: Gate
    peers: Mapping[str, Server]
    rounds: int
    seconds: float
    long: float
    results: Results

    def load(self, server: Server, groups: Sequence[Group], seconds: float | None = None, warm: float = WARM) -> dict[str, Any]:
        """Put a load on `server` and return what the generator measured (`generator.Load`)."""
        work = {"groups": [asdict(group) for group in groups], "pids": server.pids, "opening": OPENING, "warm": warm}
        done = subprocess.run(
            [sys.executable, "-m", "tests.bench.generator"],
            input=json.dumps({**work, "seconds": seconds or self.seconds}),
            capture_output=True, text=True, check=True, cwd=ROOT, timeout=OPENING + 600,
        )  # fmt: skip
        server.settle()
        load: dict[str, Any] = json.loads(done.stdout)
        for group in load["groups"]:
            for text in group["texts"]:
                self.results.note(f"{server.name}, {group['name']}: {text}")
        return load

    def turns(self, scenario: str, case: str, contestants: Mapping[str, Measurement]) -> None:
        """Every contestant in turn, round by round, a different one first each time."""
        names = list(contestants)
        for number in range(self.rounds):
            for name in names[number % len(names) :] + names[: number % len(names)]:
                figures = contestants[name]()
                if figures is None:
                    continue
                if figures.get("MB/s") == 0:
                    self.results.note(f"{scenario} {case}: {name} delivered nothing")
                else:
                    self.results.add(scenario, case, name, figures)


def cost(load: Mapping[str, Any]) -> Figures:
    """The figures that every load has."""
    total = sum(sum(group["received"]) for group in load["groups"])
    seconds, server, client = load["seconds"], load["server_cpu_s"], load["client_cpu_s"]
    return {
        "MB/s": total / seconds / 1e6,
        "server CPU s/GB": server / max(total, 1) * 1e9,
        "CPU s/GB": (server + client) / max(total, 1) * 1e9,
        "server CPU %": 100 * server / seconds,
        "PSS MB": load["pss"] / 1e6,
        "others' CPU %": 100 * load["others_cpu_s"] / seconds / (os.cpu_count() or 1),
        "errors": sum(group["errors"] for group in load["groups"]) + load["late"],
    }
