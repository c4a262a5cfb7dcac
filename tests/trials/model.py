"""Generated histories of a model of TCP and of clients, which drive the proof of delivery: no socket, no clock.

    python -m tests.trials.model [--count N] [--first SEED] [--gates N] [--processes N]

Prints the counts of each kind of client and every seed whose history broke a promise: `tests.support.delivery_model`. It is
no storm of real clients, so it is not among those that `make trials` runs.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Iterable
from functools import partial

from tests.support.delivery_model import Outcome, play
from tests.trials.counting import Row, Verdict

SHOWN = 20
"""Seeds of broken histories that are printed."""


def count(outcomes: Iterable[Outcome], rows: dict[str, Row]) -> list[tuple[int, Outcome]]:
    """Add the outcomes to their rows, by name; returns the broken ones and which they were, from 0."""
    broken = []
    for number, outcome in enumerate(outcomes):
        name = f"{outcome.kind}, {'paced' if outcome.paced else 'unlimited'}"
        row = rows.setdefault(name, Row(name))
        verdict = Verdict(
            held=outcome.held, complete=outcome.complete, prompt=outcome.complete, over=outcome.over, cuts=outcome.cuts
        )
        verdict.false = outcome.complete and not outcome.held
        verdict.confirmable = outcome.held and not outcome.complete and outcome.confirmable
        verdict.failed = outcome.broken
        row.add(verdict)
        if outcome.broken:
            broken.append((number, outcome))
    return broken


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.trials.model", description="Generated clients against the proof of delivery."
    )
    parser.add_argument("--count", type=int, default=10_000, help="histories (10000)")
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="the first one's seed; the others follow (0)")
    parser.add_argument("--gates", type=int, default=1, help="that each client's connections fall on (1)")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    began, rows = time.monotonic(), dict[str, Row]()
    seeds = range(options.first, options.first + options.count)
    with multiprocessing.Pool(options.processes) as pool:
        broken = count(pool.imap(partial(play, gates=options.gates), seeds, chunksize=200), rows)
    for name in sorted(rows):
        print(rows[name].line())
    for number, outcome in broken[:SHOWN]:
        print(f"seed {seeds[number]}: {outcome.kind}: {outcome.broken}")
    print(f"{options.count:,} histories, {len(broken)} broken, {time.monotonic() - began:.0f} s")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
