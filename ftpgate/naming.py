"""Names that every client's disk can keep: legal on Windows, macOS and Linux, NFC, at most 255 bytes of UTF-8. Pure.

Every function here gives back unchanged what it made itself, so a name may pass through twice. What is shown in a
grant comes from `unique_folders` and `shown_paths`, wherever it is shown.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

NAME_LIMIT = 255
"""Bytes of a name: the limit of ext4, APFS and (in UTF-16 units, of which no name has more than bytes) NTFS."""

ZIP_SUFFIX = ".zip"

FOLDER_LIMIT = NAME_LIMIT - len(ZIP_SUFFIX)
"""Bytes of an item's folder: its zip has the same name and `.zip`."""

HTTP_NAMES = frozenset({"downloads.meta4", "progress"})
"""What HTTP serves beside the items of a grant; no item's folder is called so."""

_NUMBER_ROOM = len(" (999999999)")
_EXTENSION_LIMIT = 16  # bytes with the dot; what is longer ("Vol. 1 of the collected works") is no extension

# Win32 (learn.microsoft.com, "Naming Files, Paths, and Namespaces"): <>:"/\|?* and controls. To these: C1 controls, line and
# paragraph separators (they break listings), lone surrogates (no UTF-8), the two non-characters that XML, and so a
# Metalink, cannot hold, and the bidirectional overrides and isolates, which make `exe.gpj` look like `jpg.exe`.
_FORBIDDEN = re.compile('[<>:"/\\\\|?*\\x00-\\x1f\\x7f-\\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]')
# Win32 device names, reserved with any extension and with spaces before it; the superscript digits count as digits.
_DEVICE = re.compile(
    r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9\u00b9\u00b2\u00b3]) *(?:\.|\Z)", re.IGNORECASE | re.ASCII
)
_EXTENSION = re.compile(r"\.[^.\s]+\Z")
_SPACES = " \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"  # category Zs


def normal(text: str) -> str:
    """NFC, for comparing what a client asked for (macOS sends NFD) with what exists."""
    return unicodedata.normalize("NFC", text)


def legal_name(name: str, *, limit: int = NAME_LIMIT) -> str:
    """One component of a path made legal: never empty, `.` or `..`, at most `limit` (20 or more) bytes of UTF-8.

    A character that some system forbids becomes `_`; spaces around the name and dots behind it go, since Windows drops
    them; a device's name gets a `_` in front. What is too long is cut between characters, before the extension.
    """
    name = _clean(name) or "_"
    if _DEVICE.match(name):
        name = "_" + name
    if _fits(name, limit):
        return name
    stem, extension = _split(name)
    return _cut(stem, limit - _bytes(extension)) + extension


def folder_name(title: str, artist: str = "", year: int | None = None) -> str:
    """`Artist - Title (Year)`, parts left out when missing, with room for ` (999)` and `.zip` behind it.

    Too long an artist gives way to the title, down to half of the room; the year is always kept.
    """
    title, artist = (_clean(" ".join(part.split())) for part in (title, artist))
    joint = " - " if title and artist else ""
    tail = f" ({year})" if year else ""
    room = FOLDER_LIMIT - len(" (999)") - len(tail)
    artist = _cut(artist, max(room // 2, room - len(joint) - _bytes(title)))
    name = artist + joint + title or "Untitled"
    if _DEVICE.match(name + tail):
        name = "_" + name  # as `legal_name` would, but within the room
    return legal_name(_cut(name, room) + tail, limit=FOLDER_LIMIT)


def unique_folders(folders: Iterable[str]) -> list[str]:
    """The names of items' folders at the top of a grant, such that neither they nor their zips meet any other name there."""
    taken = _Names()
    unique = []
    for folder in folders:
        name = legal_name(folder, limit=FOLDER_LIMIT)
        if name in HTTP_NAMES:
            name = "_" + name
        unique.append(taken.take(name, file=False, limit=FOLDER_LIMIT, also=ZIP_SUFFIX))
    return unique


def shown_paths(paths: Iterable[str]) -> list[str]:
    """The paths of an item's files as they are shown in its folder and its zip: each component legal, unique in its folder.

    Two folders that differ in case only stay two folders.
    """
    folders: dict[str, tuple[str, _Names]] = {"": ("", _Names())}  # as given → (as shown, with a slash behind it; its names)
    shown = []
    for path in paths:
        given, (place, names) = "", folders[""]
        *above, last = path.split("/")
        for part in above:
            given += part + "/"
            if given not in folders:
                folders[given] = f"{place}{names.take(legal_name(part), file=False)}/", _Names()
            place, names = folders[given]
        name = place + names.take(legal_name(last), file=True)
        shown.append(path if name == path else name)  # the same object: a grant of many files keeps each path once
    return shown


class _Names:
    """The names taken in one folder."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._numbers: dict[str, int] = {}

    def take(self, name: str, *, file: bool, limit: int = NAME_LIMIT, also: str = "") -> str:
        """`name`, or `name` with the first number that is free. With `also`, the name and that behind it must be free too."""
        if self._free(name, also):
            return name
        stem, extension = _split(name) if file else (name, "")
        # Cut for the longest number at once, and counted on per stem: a thousand equal names must not cost a million tries.
        stem = _cut(stem, limit - _bytes(extension) - _NUMBER_ROOM)
        counted = _folded(stem + extension)
        number = self._numbers.get(counted, 1)
        while True:
            number += 1
            numbered = f"{stem} ({number}){extension}"
            if self._free(numbered, also):
                self._numbers[counted] = number
                return numbered

    def _free(self, name: str, also: str) -> bool:
        wanted = {_folded(name), _folded(name + also)} if also else {_folded(name)}
        if not wanted.isdisjoint(self._taken):
            return False
        self._taken |= wanted
        return True


def _folded(name: str) -> str:
    """The same for names that are equal but for case and form: canonical caseless matching (Unicode 3.13, D145)."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())


def _clean(name: str) -> str:
    """NFC, without what is forbidden; may be empty."""
    name = _FORBIDDEN.sub("_", normal(name).strip())  # stripped first: a line end behind a tag is no `_`
    return name.lstrip(_SPACES).rstrip(_SPACES + ".")


def _split(name: str) -> tuple[str, str]:
    """Stem and extension (with its dot, or empty); the stem is never empty."""
    match = _EXTENSION.search(name)
    if not match or not match.start() or _bytes(match[0]) > _EXTENSION_LIMIT:
        return name, ""
    return name[: match.start()], match[0]


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _fits(text: str, room: int) -> bool:
    return 4 * len(text) <= room or _bytes(text) <= room


def _cut(text: str, room: int) -> str:
    """At most `room` bytes of UTF-8 of `text`, cut before a base character, without spaces or dots at the cut."""
    if _fits(text, room):
        return text
    kept = text.encode()[:room].decode(errors="ignore")
    whole = len(kept)
    while whole and unicodedata.category(text[whole]).startswith("M"):
        whole -= 1  # marks stay with the letter that they stand on
    return (kept[:whole] or kept).rstrip(_SPACES + ".") or "_"
