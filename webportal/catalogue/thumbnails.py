"""Small covers for lists, made from the large ones when they are first asked for."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path

from django.conf import settings
from PIL import Image, ImageOps

from ftpgate import private

_log = logging.getLogger(__name__)

SIDE = 400
_QUALITY = 80


def thumbnail(cover: Path) -> Path:
    """The small one of a cover; the cover itself when none can be made of it."""
    small = Path(settings.MEDIA_ROOT) / "thumbnails" / f"{cover.stem}.jpg"
    try:
        if small.stat().st_mtime >= cover.stat().st_mtime:
            return small
    except OSError:
        pass  # there is none yet
    try:
        return _made(cover, small)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        _log.warning("no small cover can be made of %s: %s", cover.name, error)
        return cover


def _made(cover: Path, small: Path) -> Path:
    private.make_folder(small.parent)
    with Image.open(cover) as image:
        image.draft("RGB", (SIDE, SIDE))
        fitted = ImageOps.fit(image.convert("RGB"), (SIDE, SIDE), Image.Resampling.LANCZOS)
    # Written aside: another thread must not send half of it.
    descriptor, name = tempfile.mkstemp(dir=small.parent, suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as file:
            fitted.save(file, "JPEG", quality=_QUALITY, optimize=True, progressive=True)
        Path(name).replace(small)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return small
