"""An item's cover, found beside its tracks or in them, made small and safe to show."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from webportal.catalogue.importing.tags import embedded_cover
from webportal.catalogue.importing.walking import Found

LONGEST_SIDE = 1_000
_MOST_BYTES = 50 << 20
_MOST_PIXELS = 64_000_000  # 256 MB decoded; what claims more is no cover
_NAMES = ("cover", "folder", "front", "albumart", "album")
_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif")


def find_cover(files: Sequence[Found]) -> bytes | None:
    """The cover as a JPEG of at most `LONGEST_SIDE` a side, or None when there is none that can be read.

    An image called like a cover comes before one within a track.
    """
    named = [file for file in files if _rank(file.path) is not None]
    for file in sorted(named, key=lambda file: (file.path.count("/"), _rank(file.path), file.path)):
        if file.real.stat().st_size <= _MOST_BYTES and (cover := _jpeg(file.real.read_bytes())):
            return cover
    for file in files[:5]:
        embedded = embedded_cover(file.real)
        if embedded and len(embedded) <= _MOST_BYTES and (cover := _jpeg(embedded)):
            return cover
    return None


def _rank(path: str) -> int | None:
    name = Path(path.lower())
    return _NAMES.index(name.stem) if name.stem in _NAMES and name.suffix in _SUFFIXES else None


def _jpeg(data: bytes) -> bytes | None:
    """The picture anew, without its metadata; None when it is broken or too large."""
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP", "GIF")) as image:
            if image.width * image.height > _MOST_PIXELS:
                return None
            image.draft("RGB", (LONGEST_SIDE, LONGEST_SIDE))
            picture = ImageOps.exif_transpose(image).convert("RGBA")
            picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
            opaque = Image.new("RGB", picture.size, "white")
            opaque.paste(picture, mask=picture.getchannel("A"))
            made = io.BytesIO()
            opaque.save(made, "JPEG", quality=88, optimize=True, progressive=True)
            return made.getvalue()
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError, EOFError):
        return None
