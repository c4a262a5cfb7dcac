"""The demo's catalogue and users: made once, with music and covers of its own."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from ftpgate.errors import UserError
from ftpgate.settings import Settings
from ftpgate.tokens import ALPHABET
from webportal.demo.artwork import Colour, cover
from webportal.demo.music import Piece, render, tagged_wave

_FAST, _SLOW = 8_000_000, 512_000
_MINOR, _MAJOR = (0, 2, 3, 5, 7, 10, 12, 14, 15), (0, 2, 4, 7, 9, 12, 14, 16)


class _Album(NamedTuple):
    artist: str
    title: str
    year: int
    colours: tuple[Colour, Colour, Colour]
    tracks: dict[str, Piece]
    booklet: str


_ALBUMS = (
    _Album(
        "The Paper Ferries",
        "Slow Harbour",
        2019,
        ((24, 58, 92), (240, 170, 110), (16, 32, 48)),
        {
            "Low Tide": Piece(11, 84, 57, ((0, 3, 7), (8, 12, 15), (3, 7, 10), (10, 14, 17)), _MINOR, "string", 5),
            "Rope & Lantern": Piece(12, 96, 55, ((0, 4, 7), (9, 12, 16), (5, 9, 12), (7, 11, 14)), _MAJOR, "string", 6),
            "Home [before rain]": Piece(13, 76, 60, ((0, 4, 7), (7, 11, 14), (9, 12, 16), (5, 9, 12)), _MAJOR, "string", 4),
        },
        "Three songs for a small harbour, played on strings that were never there.\n",
    ),
    _Album(
        "Кедровый двор",
        "Снег на крыше",
        2021,
        ((52, 60, 110), (214, 190, 226), (44, 40, 74)),
        {
            "Первый лёд": Piece(21, 72, 62, ((0, 3, 7), (5, 8, 12), (8, 12, 15), (7, 10, 14)), _MINOR, "bell", 4),
            "Ёлка у окна": Piece(22, 88, 60, ((0, 4, 7), (5, 9, 12), (9, 12, 16), (7, 11, 14)), _MAJOR, "bell", 5),
            "Дорога домой": Piece(23, 80, 57, ((0, 3, 7), (8, 12, 15), (10, 14, 17), (7, 10, 14)), _MINOR, "bell", 5),
        },
        "Три короткие пьесы о тихой зиме.\n",
    ),
    _Album(
        "Night Signal Box",
        "Window Seat, 100% Moon",
        2023,
        ((12, 18, 40), (96, 120, 170), (8, 12, 24)),
        {
            "Departure #4": Piece(31, 66, 55, ((0, 3, 7, 10), (5, 8, 12, 15), (3, 7, 10, 14), (7, 10, 14, 17)), _MINOR, "pad", 4),
            "Signals": Piece(32, 74, 52, ((0, 4, 7, 11), (9, 12, 16, 19), (5, 9, 12, 16), (7, 11, 14, 17)), _MAJOR, "pad", 4),
            "Last Stop": Piece(33, 60, 57, ((0, 3, 7, 10), (8, 12, 15, 19), (5, 8, 12, 15), (0, 3, 7, 10)), _MINOR, "pad", 4),
        },
        "Recorded between two stations, by nobody, at night.\n",
    ),
)
_USERS = (
    ("anna", "fast", "a customer at 8 MB/s"),
    ("boris", "slow", "a customer at 512 kB/s"),
    ("admin", "default", "staff; the admin is at /admin/"),
)


def make_demo(settings: Settings) -> dict[str, Any]:
    """Make what is not there yet; returns `{"users": [{"name", "password", "about"}], "items": [{"id", "title"}]}`.

    Raises:
        UserError: the folders cannot be written.
    """
    try:
        return {"items": [_item(album, settings) for album in _ALBUMS], "users": _users(settings)}
    except OSError as error:
        raise UserError(f"the demo cannot be made ({error})", "choose another folder with --state-dir") from None


def _item(album: _Album, settings: Settings) -> dict[str, str]:
    from webportal.catalogue.importing import import_item

    folder = settings.media_root / "demo" / album.title
    if not folder.exists():
        _write_album(album, folder)
    item = import_item(folder, settings.media_root).item
    return {"id": item.public_id, "title": str(item)}


def _write_album(album: _Album, folder: Path) -> None:
    """Written aside first: a folder of that name is always a whole album."""
    unfinished = folder.with_name(f".{folder.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    (unfinished / "cover.jpg").write_bytes(cover(album.year, *album.colours))
    (unfinished / "booklet.txt").write_text(album.booklet, encoding="utf-8")
    for number, (title, piece) in enumerate(album.tracks.items(), 1):
        tags = {
            "TIT2": title,
            "TPE1": album.artist,
            "TPE2": album.artist,
            "TALB": album.title,
            "TRCK": f"{number}/{len(album.tracks)}",
            "TDRC": str(album.year),
        }
        (unfinished / f"{number:02} {title}.wav").write_bytes(tagged_wave(render(piece), tags))
    unfinished.rename(folder)


def _users(settings: Settings) -> list[dict[str, str]]:
    from webportal.accounts.models import DEFAULT_TIER, Tier, User
    from webportal.accounts.services import add_user, set_tier

    for tier, rate in (("fast", _FAST), ("slow", _SLOW), (DEFAULT_TIER, 0)):
        if not Tier.objects.filter(name=tier).exists():
            set_tier(tier, rate=rate)
    passwords = _passwords(settings.state_dir / "demo-passwords.json")
    for name, tier, _ in _USERS:
        if not User.objects.filter(username=name).exists():
            user = add_user(name, tier=tier, password=passwords[name], email=f"{name}@demo.invalid")
            user.is_staff = user.is_superuser = name == "admin"
            user.save()
    return [{"name": name, "password": passwords[name], "about": about} for name, _, about in _USERS]


def _passwords(path: Path) -> dict[str, str]:
    """The demo's passwords, made at first and kept for this user's eyes, since every start prints them."""
    if not path.exists():
        made = {name: "-".join("".join(secrets.choice(ALPHABET) for _ in range(4)) for _ in range(3)) for name, _, _ in _USERS}
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(made, file)
    found: dict[str, str] = json.loads(path.read_text())
    return found
