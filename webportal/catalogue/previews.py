"""The beginning of a track, to listen to before choosing. Nothing that is heard here counts as delivered."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from django.conf import settings

from ftpgate.ondisk import difference, open_below
from ftpgate.settings import Settings
from webportal.catalogue.models import File

SECONDS = 30
"""Of a track that anybody may hear."""
LARGEST = 4_000_000
"""Bytes: half a minute of what is not compressed. Of a file with a rate that changes it may be more or less."""
_TYPES = {
    ".ogg": "audio/ogg",
    ".oga": "audio/ogg",
    ".opus": "audio/ogg",
    ".mp3": "audio/mpeg",
    ".flac": "audio/flac",
    ".wav": "audio/wav",
}
"""Formats that play without their end."""
_HEAD = 64 * 1024
"""Tags and covers stand before the sound."""


class Preview(NamedTuple):
    content: bytes
    content_type: str


def has_preview(file: File) -> bool:
    """Can a beginning of this file be played?"""
    return bool(file.duration) and Path(file.path).suffix.lower() in _TYPES


def preview(file: File) -> Preview:
    """The beginning of a track: `SECONDS` of it, and a third at most, by bytes as well as by time.

    Raises:
        FileNotFoundError: it cannot be played, is gone, or is not as it was when it was imported.
    """
    if not has_preview(file):
        raise FileNotFoundError(file.path)
    of: Settings = settings.FTPGATE
    assert file.duration
    wanted = min(file.size // 3, LARGEST, _HEAD + round(file.size * SECONDS / file.duration))
    try:
        opened = os.fdopen(open_below(str(of.media_root), file.media), "rb")
    except OSError as error:
        raise FileNotFoundError(file.path) from error
    with opened:
        if difference(file, os.fstat(opened.fileno()), opened.fileno()) is not None:
            raise FileNotFoundError(file.path)
        return Preview(opened.read(wanted), _TYPES[Path(file.path).suffix.lower()])
