"""`ftpgate backup`: all that cannot be made again, but for the media, while everything runs."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from ftpgate import __version__, private
from ftpgate.commands import manifest
from ftpgate.commands.manifest import Manifest
from ftpgate.commands.shop import Document, Shop
from ftpgate.delivery import journal_file
from ftpgate.delivery.journal_file import JournalError
from ftpgate.errors import UserError
from ftpgate.settings import Settings, secret_keys
from ftpgate.translatable import os_reason

KEY, EARLIER_KEYS, COVERS = "secret_key", "secret_key_fallbacks", "covers"


def backup(to: Path, settings: Settings, shop: Shop, gate_state: Path | None = None) -> Document:
    """Save database, covers, keys and journal in a new folder that only this user can enter.

    Everything is written beside it and renamed at the end: a folder of this name is whole.

    Args:
        gate_state: the state folder of a gate that has one of its own, for the journal.

    Raises:
        UserError: the folder is there already, something cannot be read, or there is no room.
    """
    to = Path(os.path.abspath(to))
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise UserError(f"{str(to)!r} is there already", "name a new folder, such as one with the date")
    made_at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    try:
        with _beside(to) as folder:
            # The journal comes first. What leaves it while the database is saved has been recorded by then; the other way
            # round it could be in neither. What is in both is merged by the gate that replays it: ranges are a union.
            _save_journal(gate_state or settings.state_dir, folder)
            saved = shop.save_database(folder)
            # Pictures are written before the rows that name them, and never changed.
            _save_covers(settings.state_dir / COVERS, folder / COVERS)
            key, *earlier = secret_keys(settings)
            private.write_new(folder / KEY, key)
            if earlier:
                private.write_new(folder / EARLIER_KEYS, "\n".join(earlier))
            files = {path.relative_to(folder).as_posix(): _kept(path) for path in sorted(folder.rglob("*")) if path.is_file()}
            Manifest(__version__, made_at, saved, files).write(folder)
    except OSError as error:
        raise UserError(
            f"the backup cannot be written to {str(to.parent)!r} ({os_reason(error)})", "make room, or correct the folder"
        ) from None
    size = sum(bytes_ for bytes_, _ in files.values())
    return {
        "backup": str(to), "made_at": made_at, "database": dict(saved), "journal": journal_file.NAME in files,
        "covers": sum(name.startswith(f"{COVERS}/") for name in files), "bytes": size,
    }  # fmt: skip


@contextmanager
def _beside(to: Path) -> Iterator[Path]:
    """A new folder, which gets the name `to` if nothing goes wrong, and goes if something does."""
    private.make_folder(to.parent)
    folder = to.with_name(f".{to.name}.unfinished-{secrets.token_hex(4)}")
    folder.mkdir(mode=0o700)
    try:
        yield folder
        for path in (*(path for path in folder.rglob("*") if path.is_dir()), folder):
            _sync(path)
        folder.rename(to)  # onto nothing, or onto an empty folder
        _sync(to.parent)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _save_journal(state_dir: Path, folder: Path) -> None:
    try:
        journal_file.save(state_dir, folder / journal_file.NAME)
    except JournalError as error:
        raise UserError(str(error), "start the gate: it sets a broken journal aside and makes another one") from None


def _save_covers(covers: Path, to: Path) -> None:
    for path in sorted(covers.rglob("*")):
        if path.is_file() and not path.is_symlink():
            copy = to / path.relative_to(covers)
            copy.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with suppress(FileNotFoundError):  # removed meanwhile
                shutil.copy2(path, copy)


def _kept(path: Path) -> tuple[int, str]:
    """Closed to others, on the disk, and what it holds."""
    path.chmod(0o600)
    _sync(path)
    return manifest.examined(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
