"""What audio files say of themselves, and what an album is called by it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tinytag import TinyTag, TinyTagException

T = TypeVar("T")

_LONGEST = 500
"""Characters; the width of the columns."""
_ASCII = "".join(map(chr, range(0x20, 0x7F)))
_FEW_MARKS, _MARKED_SHARE = 3, 0.6
_DISC_FOLDER = re.compile(r"(?:cd|dis[ck]|диск)[ ._-]*([0-9]{1,3})\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Tags:
    """Of one file; empty or None where it says nothing. `duration` is seconds. `unreadable`: it looks like audio, but broken.

    `doubtful`: the first of its texts that looks like one decoded by the wrong encoding.
    """

    title: str = ""
    artist: str = ""
    album: str = ""
    album_artist: str = ""
    year: int | None = None
    disc: int | None = None
    track: int | None = None
    duration: float | None = None
    unreadable: bool = False
    doubtful: str = ""


@dataclass(frozen=True, slots=True)
class AlbumTags:
    title: str
    artist: str
    year: int | None


def is_audio(path: str | Path) -> bool:
    """Is this, by its name, a kind of file that may have tags?"""
    return TinyTag.is_supported(str(path))


def read_tags(path: Path, encoding: str | None = None) -> Tags:
    """The tags of a file; of one without tags, or that is no audio at all, an empty set. Never raises for its content.

    Args:
        encoding: of tags that do not tell theirs or say Latin-1 (ID3), and of others that look wrongly decoded.
    """
    if not is_audio(path):
        return Tags()
    try:
        tag = TinyTag.get(path, encoding=encoding)
    except (TinyTagException, OSError, ValueError, LookupError, ArithmeticError):
        # LookupError and the like: a parser of a binary format that met a file made to break it.
        return Tags(unreadable=True)
    title, artist, album, album_artist = (
        _decoded(text or "", encoding) for text in (tag.title, tag.artist, tag.album, tag.albumartist)
    )
    return Tags(
        title=_text(title),
        artist=_text(artist),
        album=_text(album),
        album_artist=_text(album_artist),
        doubtful=next((_text(text) for text in (title, artist, album, album_artist) if looks_wrong(text)), ""),
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


def parse_encoding(text: str) -> str:
    """An encoding of tags, by a name that Python knows (`cp1251`, `koi8-r`, `shift_jis`). Raises ValueError."""
    try:
        kept = _ASCII.encode().decode(text) == _ASCII
    except (LookupError, UnicodeError, ValueError):
        kept = False
    if not kept:
        raise ValueError("no encoding of tags such as cp1251, koi8-r or shift_jis")
    return text


def looks_wrong(text: str) -> bool:
    """Does text look as if it had been decoded as Latin-1 and is of another encoding (`Ïåñíÿ` for `Песня`)?

    Words of Western languages have few letters with marks in a row and no control characters, and are hardly ever valid UTF-8.
    """
    raw = _as_latin(text)
    if raw is None or raw.isascii():
        return False
    if any(0x80 <= ord(letter) < 0xA0 for letter in text):
        return True
    with suppress(UnicodeDecodeError):
        raw.decode()
        return True
    return any(
        len(set(run[0])) >= _FEW_MARKS and _MARKED_SHARE * len(word) <= sum(letter >= "\xa0" for letter in word)
        for word in text.split(" ")
        for run in re.finditer(r"[^\x00-\x9f]{3,}", word)
    )


def _decoded(text: str, encoding: str | None) -> str:
    """Text as it was meant, if it looks wrong and the encoding fits."""
    raw = _as_latin(text) if encoding is not None and looks_wrong(text) else None
    if raw is not None and encoding is not None:
        with suppress(UnicodeDecodeError):
            return raw.decode(encoding)
    return text


def _as_latin(text: str) -> bytes | None:
    """The bytes that were taken for Latin-1, or for what Windows takes for it; None for text that never was either."""
    for encoding in ("latin-1", "cp1252"):
        with suppress(UnicodeEncodeError):
            return text.encode(encoding)
    return None


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
