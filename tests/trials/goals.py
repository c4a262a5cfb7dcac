"""What the gate is to reach, and what a run of the trials says of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tests.trials.counting import Row, bounds

Rows = Mapping[str, Sequence[Row]]
"""Name of the trial -> its rows."""
STORMS = 5_000
"""Clients among which there is to be no false completion."""
INPUTS = 1_000_000
"""Generated inputs among which there is to be no fault."""
SOAK = 3_600
"""Seconds for which customers come and go."""
RELOADS = 20
"""Reloads in which nobody is to be refused or cut."""
TOLERANCE = 512 * 1024
"""Bytes by which the place where a client resumes may differ from what its window showed, at the most."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """`shown`: the figure with its bounds; `reached` is None where nothing was measured."""

    shown: str
    reached: bool | None
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Goal:
    """`judge` has the rows of a run."""

    figure: str
    goal: str
    judge: Callable[[Rows], Outcome]


NOT_MEASURED = Outcome("not measured", None)


def share(count: int, of: int) -> str:
    """`3 of 40 = 7.5 % (1.6–20.4)`: the figure and its 95 % bounds."""
    if not of:
        return "–"
    low, high = bounds(count, of)
    return f"{count} of {of} = {_percent(count / of)} % ({_percent(low)}–{_percent(high)})"


def _percent(value: float) -> str:
    percent = 100 * value
    return f"{percent:.2f}".rstrip("0").rstrip(".") if percent < 1 or percent > 99 else f"{percent:.1f}".removesuffix(".0")


def _chosen(rows: Rows, trials: Iterable[str], part: str = "") -> list[Row]:
    return [row for trial in trials for row in rows.get(trial, ()) if part in row.name]


def _false(rows: Rows) -> Outcome:
    found = _chosen(rows, rows)
    clients, false = sum(row.clients for row in found), sum(row.false for row in found)
    if not clients:
        return NOT_MEASURED
    few = "" if clients >= STORMS else f"fewer than {STORMS:,} clients"
    return Outcome(share(false, clients), false == 0 and not few, few)


def _over(rows: Rows) -> Outcome:
    found = _chosen(rows, rows)
    clients, over = sum(row.clients for row in found), sum(row.over_more for row in found)
    if not clients:
        return NOT_MEASURED
    most = max(row.over_most for row in found)
    sure = bounds(over, clients)[1] < 0.001
    reached = over / clients < 0.001 and most <= TOLERANCE
    return Outcome(f"{share(over, clients)}; {most:,} bytes at the most", reached, "" if sure or not reached else _TOO_FEW)


def _completes(least: float, trials: Sequence[str], part: str = "", *, prompt: bool = False) -> Callable[[Rows], Outcome]:
    def judge(rows: Rows) -> Outcome:
        found = _chosen(rows, trials, part)
        held = sum(row.held for row in found)
        good = sum(row.prompt if prompt else row.complete for row in found)
        if not held:
            return NOT_MEASURED
        reached = good / held >= least
        return Outcome(share(good, held), reached, "" if not reached or bounds(good, held)[0] >= least else _TOO_FEW)

    return judge


def _lost(rows: Rows) -> Outcome:
    found = _chosen(rows, ["database"])
    if not found:
        return NOT_MEASURED
    lost, credited = (sum(row.more.get(name, 0) for row in found) for name in ("bytes lost", "bytes credited meanwhile"))
    return Outcome(f"{lost:,} of {credited:,} = {_percent(lost / max(credited, 1))} %", lost == 0 and credited > 0)


def _faults(rows: Rows) -> Outcome:
    found = _chosen(rows, ["odd_input"])
    if not found:
        return NOT_MEASURED
    inputs, faults = (sum(row.more[name] for row in found) for name in ("inputs", "faults"))
    few = "" if inputs >= INPUTS else f"fewer than {INPUTS:,} inputs"
    return Outcome(f"{faults:,} in {inputs:,}", not faults and not few, few)


def _growth(rows: Rows) -> Outcome:
    found = _chosen(rows, ["soak"])
    if not found:
        return NOT_MEASURED
    more = found[0].more
    grown, seconds = more["bytes of growth after the warm time"], more["seconds"]
    left = more["descriptors at rest, after"] - more["descriptors at rest, before"]
    few = "" if seconds >= SOAK else f"{seconds / 60:.0f} of {SOAK / 60:.0f} minutes"
    return Outcome(f"{grown / 1e6:.2f} MB, {left} descriptors", grown < 1e6 and left <= 0 and not few, few)


def _reloads(rows: Rows) -> Outcome:
    found = _chosen(rows, ["reload"])
    if not found:
        return NOT_MEASURED
    more = found[0].more
    refused, cut, failed = more["refused"], more["cut"], more["failed reloads"]
    shown = f"{refused} of {more['new connections']:,} refused, {cut} of {more['downloads']:,} cut in {more['reloads']} reloads"
    few = "" if more["reloads"] >= RELOADS else f"fewer than {RELOADS} reloads"
    return Outcome(shown, not (refused or cut or failed or few), few)


_TOO_FEW = "the bounds still allow worse"
GOALS = (
    Goal("false completions, all trials together", f"0 in {STORMS:,} clients or more", _false),
    Goal(
        "clients over-credited by more than one TLS record a cut", f"below 0.1 %, never by more than {TOLERANCE:,} bytes", _over
    ),
    Goal("real clients complete within 2 s", "at least 99.5 %", _completes(0.995, ["real_clients"], prompt=True)),
    Goal("managers stopped and resumed, paced: complete", "at least 97 %", _completes(0.97, ["managers"], "paced")),
    Goal("managers stopped and resumed, unlimited: complete", "at least 90 %", _completes(0.9, ["managers"], "unlimited")),
    Goal("gate killed once, honest managers: complete", "at least 98 %", _completes(0.98, ["kills"], "managers resume")),
    Goal("database away, gate ended: credited bytes lost", "0", _lost),
    Goal("crashes, answers 5xx, memory or descriptors left by generated inputs", f"0 in {INPUTS:,} inputs or more", _faults),
    Goal("500 customers for an hour: growth of memory after ten minutes, descriptors left", "below 1 MB, 0", _growth),
    Goal("reloads under 200 downloads and 50 new connections a second", f"0 refused, 0 cut in {RELOADS}", _reloads),
)
