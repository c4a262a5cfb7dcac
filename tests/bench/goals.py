"""What the gate is to reach, each goal judged by the figures of one run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tests.bench.rounds import Results


class Row(NamedTuple):
    """One line of the table. `reached` is None where it was not measured."""

    name: str
    goal: str
    figure: str
    beside: str
    ratio: str
    reached: bool | None


def rows(results: Results) -> list[Row]:
    """Every goal, in order."""
    return [*_speed(results), *_tls(results), *_crowd(results), *_customers(results), *_lag(results)]


def _speed(results: Results) -> Iterator[Row]:
    for scenario, peer, costs in (("http", "nginx", (1, 40, 200)), ("ftp", "vsftpd", (1, 40))):
        for connections in (1, 40, 200):
            case = str(connections)
            name = f"{scenario.upper()}, {connections} connection{'s'[: connections > 1]}"
            least = 2.0 if (scenario, connections) == ("http", 200) else 1.0
            yield _beside(results, name, scenario, case, "ftpgate", peer, "MB/s", least=least)
            if connections in costs:
                yield _beside(results, name, scenario, case, "ftpgate", peer, "CPU s/GB", most=1.0)
    for scenario in ("http", "ftp"):
        for connections in (1, 40, 200):
            name = f"zip over {scenario.upper()}, {connections}"
            yield _beside(results, name, scenario, str(connections), "ftpgate, zip", "ftpgate", "MB/s", least=0.9)


def _tls(results: Results) -> Iterator[Row]:
    for connections in (1, 4):
        name, case = f"HTTPS, {connections}", str(connections)
        yield _beside(results, name, "tls", case, "ftpgate", "nginx", "MB/s", least=1.0)
        yield _beside(results, name, "tls", case, "ftpgate", "nginx", "CPU s/GB", most=1.0)


def _crowd(results: Results) -> Iterator[Row]:
    name, case = "9,000 at 8 kB/s", "9000"
    yield _beside(results, name, "crowd", case, "ftpgate", "nginx", "PSS MB", most=0.8)
    yield _beside(results, name, "crowd", case, "ftpgate", "nginx", "server CPU %", most=2.5)
    yield _below(results, name, "crowd", case, "worst off %", 3.0, "each within 3 % of its rate")


def _customers(results: Results) -> Iterator[Row]:
    for connections in (1, 4, 40):
        name, case = f"customer at 2 MB/s, {connections}", str(connections)
        yield _below(results, name, "customer", case, "off %", 2.0, "within 2 % over 10 s")
        yield _below(results, name, "customer", case, "worst second", 1.25, "below 1.25x in any second")
        yield _below(results, name, "customer", case, "spread %", 5.0, "connections share within 5 %")
    yield _below(results, "total limit, 40 beside 1", "fair", "40 beside 1", "apart %", 3.0, "the same within 3 %")


def _lag(results: Results) -> Iterator[Row]:
    exact = results.median("lag", "1000 + 50/s", "ftpgate", "lag p99.9 ms") is not None
    figure = "lag p99.9 ms" if exact else "largest lag ms"
    yield _below(results, "loop lag", "lag", "1000 + 50/s", figure, 10.0, "p99.9 below 10 ms")


def _beside(
    results: Results, name: str, scenario: str, case: str, one: str, other: str, figure: str, *,
    least: float | None = None, most: float | None = None,
) -> Row:  # fmt: skip
    goal = f"{figure} at {f'least {least:g}x' if least is not None else f'most {most:g}x'} of {other}"
    mine, its = (results.median(scenario, case, contestant, figure) for contestant in (one, other))
    ratio = results.ratio(scenario, case, one, other, figure)
    if ratio is None:
        return Row(name, goal, _shown(mine), _shown(its), "–", None)
    reached = ratio >= least if least is not None else ratio <= (most or 0.0)
    return Row(name, goal, _shown(mine), _shown(its), f"{ratio:.2f}", reached)


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:,.3g}" if value < 100 else f"{value:,.0f}"


def _below(results: Results, name: str, scenario: str, case: str, figure: str, limit: float, goal: str) -> Row:
    value = results.median(scenario, case, "ftpgate", figure)
    if value is None:
        return Row(name, goal, "–", "", "", None)
    return Row(name, goal, f"{value:.3g} ({figure})", "", "", value <= limit)
