"""Covers in the sizes that pages show: made when a cover is stored, or when a page first asks for one that is lacking."""

from __future__ import annotations

import logging
import os
import re
import tempfile
from hashlib import sha256
from pathlib import Path

from django.conf import settings

from ftpgate import private
from webportal.catalogue.pictures import MOST_BYTES, Refused, jpeg_of

_log = logging.getLogger(__name__)
SIDE = 400
"""Pixels a side on a card: 200 on a screen of double density."""
LARGE = 1_000
"""Pixels a side on an item's page."""
_MADE_HERE = re.compile(r"(?:cover|[a-z0-9]{8})-[0-9a-f]{12}(?:_\w+)?\.jpg")
"""Names of covers that `cover_name` gave; others are uploads of versions that kept them as they came."""


def cover_name(made: bytes, owner: str = "cover") -> str:
    """The file name of a cover that `jpeg_of` made, of an item's public id or of one that is just being uploaded."""
    return f"{owner}-{sha256(made).hexdigest()[:12]}.jpg"


def thumbnail(cover: Path, *, large: bool = False) -> Path:
    """A cover as a JPEG that was made here: square and small, or large.

    Raises:
        FileNotFoundError: there is no cover.
        pictures.Refused: it is no picture that is shown.
    """
    if large and _MADE_HERE.fullmatch(cover.name):
        return cover
    small = Path(settings.MEDIA_ROOT) / "thumbnails" / f"{cover.stem}{'-large' if large else ''}.jpg"
    changed = cover.stat().st_mtime
    try:
        if small.stat().st_mtime >= changed:
            return small
    except OSError:
        pass  # there is none yet
    with cover.open("rb") as file:
        data = file.read(MOST_BYTES + 1)
    made = jpeg_of(data, LARGE) if large else jpeg_of(data, SIDE, square=True)
    _write(small, made)
    return small


def make_thumbnail(cover: Path) -> None:
    """Make the small one of a cover that was just stored, so that no page has to wait for it. A page may still make it later."""
    try:
        thumbnail(cover)
    except (OSError, Refused) as error:
        _log.warning("no small cover could be made of %s: %s", cover.name, error)


def _write(small: Path, made: bytes) -> None:
    """Written aside: another thread must not send half of it."""
    private.make_folder(small.parent)
    descriptor, name = tempfile.mkstemp(dir=small.parent, suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(made)
        Path(name).replace(small)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
