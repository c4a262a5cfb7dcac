"""What tells a whole backup from a broken one: `manifest.json`, with every file's size and SHA-256; written last."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ftpgate.errors import UserError
from ftpgate.translatable import os_reason

NAME = "manifest.json"
FORMAT = 1
_LARGEST = 256 << 20
"""Bytes of a manifest that is read: a million covers."""
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Manifest:
    """What was saved, when, and by which version."""

    ftpgate: str
    made_at: str
    """RFC 3339, UTC."""
    database: Mapping[str, Any]
    """As `Shop.save_database` has told it."""
    files: Mapping[str, tuple[int, str]]
    """Size and SHA-256 of each file, by its path in the backup."""
    format: int = FORMAT

    def write(self, folder: Path) -> None:
        """Write it for good.

        Raises:
            OSError: the disk does not take it.
        """
        with (folder / NAME).open("x", encoding="utf-8") as file:
            json.dump(asdict(self), file, ensure_ascii=False, indent=1)
            file.flush()
            os.fsync(file.fileno())


def read(folder: Path) -> Manifest:
    """The manifest of a backup.

    Raises:
        UserError: there is none, or it is not one that this version understands.
    """
    path = folder / NAME
    try:
        with path.open("rb") as file:
            document = json.loads(file.read(_LARGEST))
    except FileNotFoundError:
        cause = f"{str(folder)!r} is not a backup: it has no {NAME}"
        raise UserError(cause, "name a folder that ftpgate backup has made") from None
    except (OSError, ValueError) as error:
        reason = os_reason(error) if isinstance(error, OSError) else "it is damaged"
        raise UserError(f"{str(path)!r} cannot be read ({reason})", "use another backup") from None
    if isinstance(document, dict) and document.get("format") != FORMAT:
        raise UserError(
            f"the backup has the format {str(document.get('format'))[:20]!r}, and this version reads {FORMAT}",
            f"restore it with the version that made it ({str(document.get('ftpgate'))[:40]})",
        )
    try:
        files = {str(name): (int(size), str(digest)) for name, (size, digest) in document["files"].items()}
        made = Manifest(str(document["ftpgate"]), str(document["made_at"]), dict(document["database"]), files)
    except (TypeError, KeyError, ValueError, AttributeError):
        raise UserError(f"{str(path)!r} is damaged", "use another backup") from None
    for name in made.files:
        plain = PurePosixPath(name)
        if plain.is_absolute() or ".." in plain.parts or plain.as_posix() != name or name == NAME:
            raise UserError(f"{str(path)!r} names a file outside the backup", "use another backup")
    return made


def check(folder: Path, manifest: Manifest) -> None:
    """Read every file again.

    Raises:
        UserError: one is missing or not as it was written.
    """
    for name, written in manifest.files.items():
        path = folder / name
        try:
            found = examined(path) if not path.is_symlink() else None
        except FileNotFoundError:
            raise UserError(f"the backup lacks {name!r}", "use another backup") from None
        except OSError as error:
            raise UserError(f"{str(path)!r} cannot be read ({os_reason(error)})", "correct its permissions") from None
        if found != written:
            raise UserError(f"{name!r} of the backup is not as it was written", "use another backup")


def examined(path: Path) -> tuple[int, str]:
    """The size and the SHA-256 of a file, in hexadecimal digits.

    Raises:
        OSError: it cannot be read.
    """
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
            size += len(piece)
    return size, digest.hexdigest()
