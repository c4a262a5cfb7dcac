"""An item's cover, found beside its tracks or in them, made small and safe to show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ftpgate.translatable import TranslatableText
from webportal.catalogue.importing.tags import embedded_cover
from webportal.catalogue.importing.walking import Found
from webportal.catalogue.pictures import MOST_BYTES, Refused, jpeg_of
from webportal.catalogue.thumbnails import LARGE
from webportal.core.texts import Text

_NAMES = ("cover", "folder", "front", "albumart", "album")
_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".svg", ".avif", ".heic", ".jxl", ".jp2"}
)
"""Of pictures; which of them are taken their content says."""


class Cover(NamedTuple):
    """A JPEG of at most `LARGE` pixels a side, None where there is none that can be shown; and why others were not taken."""

    picture: bytes | None
    refused: Sequence[TranslatableText] = ()


def find_cover(files: Sequence[Found]) -> Cover:
    """An image called like a cover comes before one within a track."""
    refused: list[TranslatableText] = []
    named = [file for file in files if _rank(file.path) is not None]
    for file in sorted(named, key=lambda file: (file.path.count("/"), _rank(file.path), file.path)):
        with file.real.open("rb") as opened:
            data = opened.read(MOST_BYTES + 1)
        try:
            return Cover(jpeg_of(data, LARGE), refused)
        except Refused as error:
            cause = Text.COVER_NOT_SHOWN(file=file.path, reason=error.text)
            refused.append(cause)
    for file in files[:5]:
        embedded = embedded_cover(file.real)
        if not embedded:
            continue
        try:
            return Cover(jpeg_of(embedded, LARGE), refused)
        except Refused as error:
            cause = Text.EMBEDDED_COVER_NOT_SHOWN(file=file.path, reason=error.text)
            refused.append(cause)
    return Cover(None, refused)


def _rank(path: str) -> int | None:
    name = Path(path.lower())
    return _NAMES.index(name.stem) if name.stem in _NAMES and name.suffix in _SUFFIXES else None
