"""Covers for the demo: a sky, a sun, hills, from three colours."""

from __future__ import annotations

import io
import math
import random

from PIL import Image, ImageDraw, ImageFilter

_SIDE = 800
"""Pixels."""
Colour = tuple[int, int, int]


def cover(seed: int, sky: Colour, sun: Colour, land: Colour) -> bytes:
    """A JPEG, the same every time for the same arguments."""
    chance = random.Random(seed)  # noqa: S311 (a picture, not a secret)
    picture = Image.new("RGB", (1, 256))
    picture.putdata([_between(sky, sun, row / 255) for row in range(256)])
    picture = picture.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
    glow = Image.new("L", (_SIDE, _SIDE))
    x, y, radius = chance.randint(220, 580), chance.randint(220, 380), chance.randint(80, 130)
    ImageDraw.Draw(glow).ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    light = _between(sun, (255, 255, 255), 0.6)
    picture.paste(light, mask=glow.filter(ImageFilter.GaussianBlur(60)))
    picture.paste(light, mask=glow.filter(ImageFilter.GaussianBlur(2)))
    draw = ImageDraw.Draw(picture)
    for ridge in range(4):
        waves = [(chance.uniform(10, 60) / (n + 1), chance.uniform(0, 6.3), (n + 1) * chance.uniform(1.2, 2.4)) for n in range(3)]
        base = 430 + 100 * ridge
        points = [
            (at, base + sum(height * math.sin(phase + turns * 6.28 * at / _SIDE) for height, phase, turns in waves))
            for at in range(0, _SIDE + 8, 8)
        ]
        draw.polygon([(0, _SIDE), *points, (_SIDE, _SIDE)], fill=_between(sun, land, 0.4 + 0.2 * ridge))
    made = io.BytesIO()
    picture.save(made, "JPEG", quality=88)
    return made.getvalue()


def _between(one: Colour, other: Colour, share: float) -> Colour:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue
