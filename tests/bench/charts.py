"""Bar and line charts as SVG, readable on light and on dark pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, ROW, GAP, LEFT, RIGHT, TOP = 720, 18, 14, 190, 80, 46
PANEL = 130
COLOURS = ("#2f7ed8", "#7cb5ec", "#e08214", "#8c6bb1", "#666666")


def bars(title: str, cases: Mapping[str, Mapping[str, float]], *, unit: str, better: str) -> str:
    """A chart with a group of horizontal bars for each case.

    Args:
        cases: case -> contestant -> value.
        better: `more` or `less`, said under the title.
    """
    names = list(dict.fromkeys(name for values in cases.values() for name in values))
    largest = max((value for values in cases.values() for value in values.values()), default=0.0) or 1.0
    parts: list[str] = []
    y = TOP
    for case, values in cases.items():
        middle = y + ROW * len(values) / 2
        parts.append(_text(8, middle + 4, case, bold=True))
        for name in (name for name in names if name in values):
            length = max((WIDTH - LEFT - RIGHT) * values[name] / largest, 1)
            colour = COLOURS[names.index(name) % len(COLOURS)]
            parts.append(_text(LEFT - 6, y + 13, name, anchor="end"))
            parts.append(f'<rect x="{LEFT}" y="{y + 2}" width="{length:.1f}" height="{ROW - 4}" rx="2" fill="{colour}"/>')
            parts.append(_text(LEFT + length + 6, y + 13, _number(values[name])))
            y += ROW
        y += GAP
    head = [_text(8, 18, title, bold=True), _text(8, 35, f"{unit}; {better} is better")]
    return _page(y, [*head, *parts])


@dataclass(frozen=True, slots=True)
class Line:
    """One quantity over time; it has a panel of its own in a chart."""

    name: str
    values: Sequence[float]


def lines(title: str, at: Sequence[float], unit: str, of: Sequence[Line]) -> str:
    """A chart with a panel for each line, one below the other.

    Args:
        at: where the values are, ascending; `unit`: what that is.
    """
    begin, end = at[0], max(at[-1], at[0] + 1e-9)
    parts = [_text(8, 18, title, bold=True)]
    y = float(TOP)
    for number, line in enumerate(of):
        parts += _panel(y, [(where - begin) / (end - begin) for where in at], line, COLOURS[number % len(COLOURS)])
        y += PANEL + GAP
    ends = [_text(LEFT, y, f"{begin:.0f}"), _text(WIDTH - RIGHT, y, f"{end:.0f} {unit}", anchor="end")]
    return _page(y + GAP, [*parts, *ends])


def _panel(y: float, along: Sequence[float], line: Line, colour: str) -> list[str]:
    """One line with its bounds; `along`: 0 to 1."""
    low, high = min(line.values), max(line.values)
    height, width = PANEL - GAP, WIDTH - LEFT - RIGHT
    shares = [(value - low) / ((high - low) or 1.0) for value in line.values]
    points = (f"{LEFT + width * x:.1f},{y + height * (1 - share):.1f}" for x, share in zip(along, shares, strict=True))
    return [
        _text(LEFT - 6, y + 10, _number(high), anchor="end"),
        _text(8, y + height / 2, line.name),
        _text(LEFT - 6, y + height, _number(low), anchor="end"),
        _text(WIDTH - RIGHT + 6, y + height * (1 - shares[-1]) + 4, _number(line.values[-1])),
        f'<path d="M{LEFT} {y}v{height}h{width}" fill="none" stroke="#999999"/>',
        f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" stroke-width="1.5"/>',
    ]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _text(x: float, y: float, text: str, *, anchor: str = "start", bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{weight}>{escape(text)}</text>'


def _page(height: float, parts: Sequence[str]) -> str:
    style = "text{font:12px system-ui,sans-serif;fill:#222}@media(prefers-color-scheme:dark){text{fill:#ddd}}"
    size = f'width="{WIDTH}" height="{height:.0f}" viewBox="0 0 {WIDTH} {height:.0f}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img"><style>{style}</style>{"".join(parts)}</svg>\n'
