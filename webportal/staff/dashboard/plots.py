"""Bar charts as SVG, made here: no script, nothing from elsewhere, clean under a strict policy. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

WIDTH = 480
"""Units of the drawing's own coordinates, as those below; pages scale it."""
HEIGHT = 170
_LEFT = 56
_BOTTOM = 22
_TOP = 8


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: its place in the drawing and what it says when pointed at."""

    x: float
    y: float
    width: float
    height: float
    title: str


@dataclass(frozen=True, slots=True)
class Label:
    x: float
    y: float
    text: str


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawing of `WIDTH` x `HEIGHT` units for `staff/_plot.html`. `lines` are heights of the scale's lines."""

    bars: tuple[Bar, ...]
    lines: tuple[Label, ...]
    days: tuple[Label, ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT


def bars(values: Sequence[float], names: Sequence[str], shown: Callable[[float], str]) -> Plot:
    """A bar for each value, with about five of the names below.

    Args:
        shown: a value as people read it.
    """
    top = nice_top(max(values, default=0))
    room = HEIGHT - _TOP - _BOTTOM
    step = (WIDTH - _LEFT) / max(len(values), 1)
    drawn = tuple(
        Bar(
            round(_LEFT + at * step + step * 0.12, 2),
            round(_TOP + room * (1 - value / top), 2),
            round(step * 0.76, 2),
            round(room * value / top, 2),
            f"{name}: {shown(value)}",
        )
        for at, (value, name) in enumerate(zip(values, names, strict=True))
    )
    lines = tuple(Label(_LEFT - 8, round(_TOP + room * (1 - part), 2), shown(top * part)) for part in (0, 0.5, 1))
    every = max(1, math.ceil(len(names) / 6))
    days = tuple(
        Label(round(_LEFT + at * step + step / 2, 2), HEIGHT - 5, name)
        for at, name in enumerate(names)
        if (len(names) - 1 - at) % every == 0 and at > 0
    )
    return Plot(drawn, lines, days)


def nice_top(largest: float) -> float:
    """The least of 1, 2, 5, 10, 20, … that is not below `largest`; 1 for nothing at all."""
    if largest <= 1:
        return 1
    power = 10.0 ** math.floor(math.log10(largest))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= largest)
