"""Run the trials: python -m tests.trials [--only NAME …] [--seed N] [--long] [--out FILE]"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.trials import lab, registry, report
from tests.trials.trial import Run, Skipped


def main() -> int:
    options = _arguments()
    trials = registry.trials()
    found = {}
    with lab.opened() as labs:
        for name in options.only or trials:
            trial = trials[name]
            print(f"{name}: {trial.about}", file=sys.stderr, flush=True)
            seconds = options.seconds or (trial.long if options.long else trial.short)
            run = Run(labs, name, options.seed, seconds, options.long, frozenset(options.client))
            try:
                trial.run(run)
            except Skipped as reason:
                run.notes.append(f"Left out: {reason}.")
            except Exception as error:  # the other trials go on
                run.notes.append(f"Broke off: {type(error).__name__}: {error}")
                run.say(run.notes[-1])
            took = time.monotonic() - run.began
            for row in run.rows.values():
                print(f"  {row.line()}", flush=True)
            print(f"  {name}: {took:.0f} s{''.join(f'; {note}' for note in run.notes)}", flush=True)
            found[name] = report.measured(run, took)
    report.keep(found, options.state, options.out)
    print(report.write(options.out))
    return 0


def _arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.trials", description="Storms of clients that know what they have read."
    )
    names = list(registry.trials())
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--seed", default="1", help="of everything that is drawn (1)")
    parser.add_argument("--long", action="store_true", help="about an hour instead of about twelve minutes")
    parser.add_argument("--seconds", type=float, help="in which each trial may start clients, instead of its own")
    parser.add_argument("--client", action="append", type=int, default=[], metavar="N", help="only the clients of these numbers")
    parser.add_argument("--state", default="now", help="what the code is called in the tables (now)")
    parser.add_argument("--out", type=Path, default=report.PAGE, help="the page; the figures are kept in results/ beside it")
    return parser.parse_args(given)


if __name__ == "__main__":
    sys.exit(main())
