"""A picture for an item that brings none: rings and a colour that are always the same for the same name. Pure."""

from __future__ import annotations

from hashlib import sha256
from xml.sax.saxutils import escape

_RINGS = 5
"""Circles of a placeholder."""


def placeholder(title: str, artist: str) -> str:
    """An SVG document, square."""
    seed = sha256(f"{artist}\0{title}".encode()).digest()
    hue, x, y = seed[0] * 360 // 256, 60 + seed[1] * 280 // 256, 60 + seed[2] * 280 // 256
    rings = "".join(
        f'<circle cx="{x}" cy="{y}" r="{40 + ring * (34 + seed[3] % 30)}" fill="none" stroke="hsl({hue} 45% 72%)" '
        f'stroke-opacity="{0.5 - ring * 0.08:.2f}" stroke-width="{2 + seed[4 + ring] % 9}"/>'
        for ring in range(_RINGS)
    )
    initials = escape("".join(word[0] for word in (artist or title).split()[:2] if word).upper())
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 400 400" width="400" height="400">'
        f'<rect width="400" height="400" fill="hsl({hue} 32% 30%)"/>{rings}'
        f'<text x="28" y="368" font-family="system-ui, sans-serif" font-size="64" font-weight="600" fill="hsl({hue} 60% 92%)">'
        f"{initials}</text></svg>"
    )
