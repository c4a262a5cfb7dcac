"""The page of results and the figures behind it: one file for each state of the code, the first and the newest side by side."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.support.tools import ROOT
from tests.trials import registry
from tests.trials.counting import Row
from tests.trials.goals import GOALS, Outcome, Rows, share
from tests.trials.trial import Run

PAGE = Path(__file__).parent / "RESULTS.md"
BEFORE = "0.1.0"
"""The state of the code that later ones are compared with."""
_SIGNS = {True: "yes", False: "**no**", None: "–"}
_HEAD = (
    "clients", "run", "hold all", "complete within 2 s", "complete", "missed", "false completions", "over-credited",
    "by more than a record a cut", "bytes at the most", "bytes in all", "failed",
)  # fmt: skip


def measured(run: Run, took: float, others: float) -> dict[str, Any]:
    """What is kept of a trial's run. `others`: the share of the processors that everything else on the machine took."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(), "machine": machine(), "seed": run.seed, "long": run.long, "seconds": round(took),
        "others": round(others, 2),
        "rows": [asdict(row) for row in run.rows.values()], "notes": run.notes, "charts": run.charts,
    }  # fmt: skip


def keep(name: str, found: Mapping[str, Any], state: str, page: Path) -> None:
    """Put what a trial gave beside the page, in place of what it gave for this state of the code before."""
    path = page.parent / "results" / f"{state}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    document: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"state": state, "trials": {}}
    document["trials"][name] = found
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def write(page: Path) -> str:
    """Write the page from all that is kept beside it; returns the table of the goals."""
    states = _states(page.parent / "results")
    goals = _goals(states)
    parts = [_INTRODUCTION, "## What is to be reached", "", goals, "", *_not_reached(states)]
    parts += ["## Class by class", "", *_side_by_side(states), ""]
    for state, document in reversed(states.items()):
        parts += [f"## All figures: {state}", "", *_figures(document), ""]
    page.write_text("\n".join(parts).rstrip() + "\n")
    return goals


def machine() -> str:
    model = platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return f"{os.cpu_count()} x {model}, Linux {platform.release()}, Python {platform.python_version()}"


def _commit() -> str:
    """The commit that last changed the product, and whether it has been changed since."""
    product = ["ftpgate", "webportal"]
    last = subprocess.run(
        ["git", "log", "-1", "--format=%h", "--", *product], cwd=ROOT, capture_output=True, text=True, check=False
    )
    changed = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", *product], cwd=ROOT, capture_output=True, check=False)
    return (last.stdout.strip() or "unknown") + (" and changes" if changed.returncode == 1 else "")


def _states(folder: Path) -> dict[str, dict[str, Any]]:
    """The state before and the one measured last, those of them that are there."""
    found = {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}
    newest = sorted(found, key=lambda state: max(trial["at"] for trial in found[state]["trials"].values()))
    names = [BEFORE] * (BEFORE in found) + [state for state in newest if state != BEFORE][-1:]
    return {name: found[name] for name in names}


def _rows(document: Mapping[str, Any]) -> Rows:
    return {name: [Row(**row) for row in trial["rows"]] for name, trial in document["trials"].items()}


def _goals(states: Mapping[str, Mapping[str, Any]]) -> str:
    lines = [("figure", "goal", *states, "reached")]
    rows = [_rows(document) for document in states.values()]
    for goal in GOALS:
        outcomes = [goal.judge(each) for each in rows]
        lines.append((goal.figure, goal.goal, *(outcome.shown for outcome in outcomes), _reached(outcomes[-1])))
    return _table(lines)


def _not_reached(states: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """In words, of the state measured last."""
    for state, document in list(states.items())[-1:]:
        judged = [(goal, goal.judge(_rows(document))) for goal in GOALS]
        yield f"### Not reached by {state}"
        yield ""
        for goal, outcome in judged:
            if outcome.reached is not True:
                yield f"- {goal.figure}: {outcome.shown}; to be {goal.goal}."
            elif outcome.remark:
                yield f"- {goal.figure}: reached by the figure, {outcome.shown}, but {outcome.remark}; to be {goal.goal}."
        yield ""


def _reached(outcome: Outcome) -> str:
    return _SIGNS[outcome.reached] + (f" ({outcome.remark})" if outcome.remark else "")


def _side_by_side(states: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Every class in one line: what was not as it should be, of every state."""
    found: dict[str, dict[str, Row]] = {}
    for state, document in states.items():
        for rows in _ordered(_rows(document)).values():
            for row in rows:
                if row.clients:
                    found.setdefault(row.name, {})[state] = row
    figures = ("missed, of those that hold all", "false completions", "over-credited", "bytes in all")
    lines = [("clients", *(f"{figure}: {state}" for figure in figures for state in states))]
    for name, of in found.items():
        cells = [_cell(of.get(state), figure) for figure in figures for state in states]
        lines.append((name, *cells))
    yield _table(lines)


def _cell(row: Row | None, figure: str) -> str:
    if row is None:
        return "–"
    return {
        "missed, of those that hold all": f"{row.missed} of {row.held}",
        "false completions": f"{row.false} of {row.clients}",
        "over-credited": f"{row.over} of {row.clients}",
        "bytes in all": f"{row.over_sum:,}",
    }[figure]


def _ordered(rows: Rows) -> dict[str, Sequence[Row]]:
    return {name: rows[name] for name in registry.NAMES if name in rows}


def _figures(document: Mapping[str, Any]) -> Iterator[str]:
    trials, known = document["trials"], registry.trials()
    for name, rows in _ordered(_rows(document)).items():
        trial = trials[name]
        yield f"### {name}"
        yield ""
        about = f"{known[name].about} " if name in known else ""
        how = f"--only {name} --seed {trial['seed']}{' --long' if trial['long'] else ''}"
        when = f"{trial['seconds']} s, commit {trial['commit']}, {trial['at'][:10]}; {trial['machine']}"
        when += f"; others took {trial['others']:.0%} of the processors"
        yield f"{about}`python -m tests.trials {how}`, {when}."
        yield ""
        if counted := [row for row in rows if row.clients]:
            yield _table([_HEAD, *(_line(row) for row in counted)])
            yield ""
        for row in rows:
            if row.more or row.confirmable:
                shown = {
                    **({"missed, all that lacks shown as unconfirmed": row.confirmable} if row.confirmable else {}),
                    **row.more,
                }
                yield f"- {row.name}: " + "; ".join(f"{key}: {_number(value)}" for key, value in shown.items())
        for note in trial["notes"]:
            yield f"- {' '.join(note.split())}"
        for chart in trial.get("charts", ()):
            yield f"\n![{name}](results/{chart})"
        yield ""


def _line(row: Row) -> tuple[str, ...]:
    return (
        row.name, str(row.clients), str(row.held), share(row.prompt, row.held), share(row.complete, row.held),
        str(row.missed), share(row.false, row.clients), share(row.over, row.clients),
        share(row.over_more, row.clients), f"{row.over_most:,}", f"{row.over_sum:,}", str(row.failed),
    )  # fmt: skip


def _rare(row: Row) -> dict[str, int]:
    return {
        "missed, and all that lacks is shown as unconfirmed": row.confirmable,
        "complete while only bytes that its TLS library had read were lacking": row.nearly,
    }


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def _table(lines: Sequence[Sequence[str]]) -> str:
    """Markdown, its columns aligned for a terminal too."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    shown = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines]
    shown.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(shown)


_INTRODUCTION = """# Trials

Made by `make trials` (minutes) or `make trials LONG=1` (an hour). Clients that know which bytes they have read from their
sockets are compared with what `ftpgate grant show GRANT --json` says: while they pause, after they have gone, up to ten
seconds after the last has read its last byte. Shares are given with their exact 95 % bounds (Clopper and Pearson), as if
the clients were independent of each other.

- *hold all*: the union of what the client's connections have read is the whole file. *Complete*: its item was, by the last
  look; *missed*: it was not.
- *False completion*: the item was complete while the client lacked bytes; those apart that lay in a record that its TLS
  library had read already, since that cannot be seen from outside.
- *Over-credited*: `covered` had bytes, at some look, that no connection of the client had read. A TLS library reads a record
  ahead of its client; so 16,384 bytes a connection that was cut are counted apart.
- *Failed*: the client did not end in time, or met an error that its like does not survive; nothing else is counted of it.
"""
