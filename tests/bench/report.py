"""The page of results: a table of the goals, charts, and every figure; and the same as JSON."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.bench import charts
from tests.bench.goals import Row, rows
from tests.bench.rounds import Figures, Results

FOLDER = Path(__file__).parent / "results"
CHARTS = (
    ("http", "MB/s", "One 512 MB file over HTTP, by connections", "more"),
    ("http", "CPU s/GB", "The same: processor seconds per GB, server and client", "less"),
    ("ftp", "MB/s", "One 512 MB file over FTP, by connections", "more"),
    ("ftp", "CPU s/GB", "The same: processor seconds per GB, server and client", "less"),
    ("tls", "MB/s", "One 512 MB file through TLS, by connections", "more"),
    ("tls", "CPU s/GB", "The same: processor seconds per GB, server and client", "less"),
    ("crowd", "PSS MB", "9,000 downloads at 8 kB/s: memory", "less"),
    ("crowd", "server CPU %", "9,000 downloads at 8 kB/s: processor", "less"),
    ("logins", "per s", "Log-ins", "more"),
    ("small", "per s", "Files of 4 kB, 16 connections", "more"),
)
_SIGNS = {True: "yes", False: "**no**", None: "not measured"}


def table(found: Sequence[Row]) -> str:
    """The goals as a Markdown table, its columns aligned for a terminal too."""
    lines = [("what", "goal", "ftpgate", "beside", "ratio", "reached")]
    lines += [(*row[:5], _SIGNS[row.reached]) for row in found]
    widths = [max(len(line[column]) for line in lines) for column in range(6)]
    shown = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines]
    shown.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(shown)


def write(results: Results, how: str, folder: Path, *, whole: bool) -> str:
    """Write RESULTS.md, results.json and the charts; return the table of the goals.

    Args:
        how: rounds and seconds, in a sentence.
        whole: name the goals too that were not measured.
    """
    folder.mkdir(parents=True, exist_ok=True)
    goals = table([row for row in rows(results) if whole or row.reached is not None])
    page = [_INTRODUCTION.format(machine=_machine(), how=how), goals, ""]
    if results.notes:
        page += ["## What was not as it should be", "", *(f"- {' '.join(note.split())}" for note in results.notes), ""]
    page += ["## In pictures", "", *_pictures(results, folder), "", "## All figures", "", _EXPLANATION, "", *_figures(results)]
    notes = folder / "NOTES.md"
    if notes.exists():
        page += ["", notes.read_text().strip()]
    (folder / "RESULTS.md").write_text("\n".join(page).rstrip() + "\n")
    document = {
        "machine": _machine(),
        "how": how,
        "turns": [
            {"scenario": scenario, "case": case, "contestant": contestant, "rounds": turns}
            for (scenario, case), contestants in results.turns.items()
            for contestant, turns in contestants.items()
        ],
        "goals": [row._asdict() for row in rows(results)],
        "notes": results.notes,
    }
    (folder / "results.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    return goals


def _pictures(results: Results, folder: Path) -> Iterator[str]:
    for scenario, figure, title, better in CHARTS:
        cases: dict[str, Mapping[str, float]] = {}
        for (name, case), contestants in results.turns.items():
            values = {contestant: results.median(name, case, contestant, figure) for contestant in contestants}
            if name == scenario and (known := {key: value for key, value in values.items() if value is not None}):
                cases[case] = known
        if cases:
            path = folder / f"{scenario}-{'-'.join(figure.replace('%', 'percent').replace('/', ' ').split())}.svg".lower()
            path.write_text(charts.bars(title, cases, unit=figure, better=better))
            yield f"![{title}]({path.name})"
            yield ""


def _figures(results: Results) -> Iterator[str]:
    for (scenario, case), contestants in results.turns.items():
        names = list(dict.fromkeys(name for turns in contestants.values() for turn in turns for name in turn))
        yield f"### {scenario}: {case}"
        yield ""
        yield f"| | {' | '.join(names)} |"
        yield f"|---|{'---|' * len(names)}"
        for contestant, turns in contestants.items():
            yield f"| {contestant} | {' | '.join(_spread(turns, name) for name in names)} |"
        yield ""


def _spread(turns: Sequence[Figures], name: str) -> str:
    found = [turn[name] for turn in turns if name in turn]
    if not found:
        return "–"
    low, middle, high = min(found), statistics.median(found), max(found)
    return f"{middle:.4g}" if low == high else f"{middle:.4g} ({low:.4g}–{high:.4g})"


def _machine() -> str:
    model = platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{os.cpu_count()} x {model}, Linux {platform.release()}, Python {platform.python_version()}"


_INTRODUCTION = """# Side by side

Made by `make bench` in one run on one machine, over loopback; every contestant in turn, round by round. Absolute figures are
this machine's; the ratios are what to keep (the median of the ratios within each round).

{machine}. {how}
"""
_EXPLANATION = """Medians, with the least and the largest of the rounds. `CPU s/GB` is that of server and client together, since
on loopback the kernel books part of a sender's work on the receiver. Memory is PSS of all of a server's processes. The
client throws bodies away inside its kernel, and does not decrypt them. `others' CPU %` is the share of the machine that
neither server nor client used: where it is large, something else ran beside."""
