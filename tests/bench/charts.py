"""Bar charts as SVG, readable on light and on dark pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

WIDTH, ROW, GAP, LEFT, RIGHT, TOP = 720, 18, 14, 190, 80, 46
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


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _text(x: float, y: float, text: str, *, anchor: str = "start", bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{weight}>{escape(text)}</text>'


def _page(height: float, parts: Sequence[str]) -> str:
    style = "text{font:12px system-ui,sans-serif;fill:#222}@media(prefers-color-scheme:dark){text{fill:#ddd}}"
    size = f'width="{WIDTH}" height="{height:.0f}" viewBox="0 0 {WIDTH} {height:.0f}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img"><style>{style}</style>{"".join(parts)}</svg>\n'
