"""What audio files say of themselves, and what an album is called by it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tinytag import TinyTag, TinyTagException

T = TypeVar("T")

_LONGEST = 500
_DISC_FOLDER = re.compile(r"(?:cd|dis[ck]|диск)[ ._-]*([0-9]{1,3})\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Tags:
    """Of one file; empty or None where it says nothing. `duration` is seconds. `unreadable`: it looks like audio, but broken."""

    title: str = ""
    artist: str = ""
    album: str = ""
    album_artist: str = ""
    year: int | None = None
    disc: int | None = None
    track: int | None = None
    duration: float | None = None
    unreadable: bool = False


@dataclass(frozen=True, slots=True)
class AlbumTags:
    title: str
    artist: str
    year: int | None


def is_audio(path: str | Path) -> bool:
    """Is this, by its name, a kind of file that may have tags?"""
    return TinyTag.is_supported(str(path))


def read_tags(path: Path) -> Tags:
    """The tags of a file; of one without tags, or that is no audio at all, an empty set. Never raises for its content."""
    if not is_audio(path):
        return Tags()
    try:
        tag = TinyTag.get(path)
    except (TinyTagException, OSError, ValueError, LookupError, ArithmeticError):
        # LookupError and the like: a parser of a binary format that met a file made to break it.
        return Tags(unreadable=True)
    return Tags(
        title=_text(tag.title),
        artist=_text(tag.artist),
        album=_text(tag.album),
        album_artist=_text(tag.albumartist),
        year=_year(tag.year),
        disc=_number(tag.disc),
        track=_number(tag.track),
        duration=tag.duration if tag.duration and 0 < tag.duration < 1e7 else None,
    )


def album_tags(tags: Sequence[Tags], folder: str) -> AlbumTags:
    """What most files agree on. Without an album in any of them the title is the folder's name."""
    artists = {tag.artist for tag in tags if tag.artist}
    return AlbumTags(
        title=_most(tag.album for tag in tags) or folder[:_LONGEST],
        artist=_most(tag.album_artist for tag in tags) or (artists.pop() if len(artists) == 1 else ""),
        year=_most(tag.year for tag in tags),
    )


def disc_of(path: str, tags: Tags) -> int | None:
    """The disc by its tag or, as many albums come, by its folder (`CD1`, `Disc 2`)."""
    if tags.disc is not None:
        return tags.disc
    return disc_folder(path.rpartition("/")[0].rpartition("/")[2])


def disc_folder(name: str) -> int | None:
    """Which disc of an album a folder of this name holds; None when it is none of the kind."""
    disc = _DISC_FOLDER.match(name)
    return int(disc[1]) if disc else None


def embedded_cover(path: Path) -> bytes | None:
    """The picture in an audio file, if there is one."""
    if not is_audio(path):
        return None
    try:
        image = TinyTag.get(path, tags=True, duration=False, image=True).images.any
    except (TinyTagException, OSError, ValueError, LookupError, ArithmeticError):
        return None
    return image.data if image is not None else None


def _most(values: Iterable[T]) -> T | None:
    counted = Counter(value for value in values if value)
    return counted.most_common(1)[0][0] if counted else None


def _text(value: str | None) -> str:
    """One line of printable text, without lone surrogates."""
    text = (value or "").encode(errors="replace").decode()
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:_LONGEST]


def _number(value: int | None) -> int | None:
    return value if value is not None and 0 < value < 100_000 else None


def _year(value: str | None) -> int | None:
    match = re.search(r"(?<![0-9])([0-9]{4})(?![0-9])", value or "")
    return int(match[1]) if match and int(match[1]) else None
