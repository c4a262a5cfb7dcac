"""Run the trials: python -m tests.trials [--only NAME …] [--seed N] [--long] [--out FILE]"""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.bench.accounting import Bill, machine_seconds
from tests.trials import lab, registry, report
from tests.trials.crowd import WRONG
from tests.trials.trial import Run, Skipped, Trial


def main() -> int:
    options = _arguments()
    trials = registry.trials()
    WRONG.unlink(missing_ok=True)
    with lab.opened() as labs:
        for name in options.only or [name for name, trial in trials.items() if not trial.apart]:
            seconds = options.seconds or (trials[name].long if options.long else trials[name].short)
            run = Run(labs, name, options.seed, seconds, options.long, frozenset(options.client), options.out.parent / "results")
            found = _measure(run, trials[name])
            if not options.client:
                report.keep(name, found, options.state, options.out)
    if not options.client:
        print(report.write(options.out))
    return 0


def _measure(run: Run, trial: Trial) -> dict[str, Any]:
    """Run one trial and tell its counts; what breaks it off is a note, and the other trials go on."""
    print(f"{run.name}: {trial.about}", file=sys.stderr, flush=True)
    ours, began, busy = Bill([os.getpid()]), time.monotonic(), machine_seconds()
    ours_before = ours.seconds()
    try:
        trial.run(run)
    except Skipped as reason:
        run.notes.append(f"Left out: {reason}.")
    except Exception as error:
        traceback.print_exc()
        run.notes.append(f"Broke off: {type(error).__name__}: {error}")
    took = time.monotonic() - began
    others = (machine_seconds() - busy) - (ours.seconds() - ours_before)
    share = max(others, 0.0) / (took * (os.cpu_count() or 1))
    for row in run.rows.values():
        print(f"  {row.line()}", flush=True)
    notes = "".join(f"; {note}" for note in run.notes)
    print(f"  {run.name}: {took:.0f} s, others took {share:.0%} of the processors{notes}", flush=True)
    return report.measured(run, took, share)


def _arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.trials", description="Storms of clients that know what they have read."
    )
    names = list(registry.trials())
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--seed", default="1", help="of everything that is drawn (1)")
    parser.add_argument("--long", action="store_true", help="about two hours instead of a quarter of one")
    parser.add_argument("--seconds", type=float, help="in which each trial may start clients, instead of its own")
    parser.add_argument("--client", action="append", type=int, default=[], metavar="N", help="only the clients of these numbers")
    parser.add_argument("--state", default="now", help="what the code is called in the tables (now)")
    parser.add_argument("--out", type=Path, default=report.PAGE, help="the page; the figures are kept in results/ beside it")
    return parser.parse_args(given)


if __name__ == "__main__":
    sys.exit(main())
