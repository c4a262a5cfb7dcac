"""Importing folders for staff who sit at a browser: each in a thread of the portal, its progress in the database."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Collection, Iterator, Sequence
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.utils import timezone

from ftpgate.settings import Settings
from ftpgate.translatable import TranslatableText
from webportal.accounts.models import User
from webportal.catalogue.importing import Imported, import_item
from webportal.catalogue.importing.litter import why_left_out
from webportal.catalogue.importing.tags import disc_folder
from webportal.catalogue.importing.walking import LONGEST_PATH, find_files
from webportal.catalogue.models import ImportJob, Item
from webportal.core.errors import ImportRefused
from webportal.core.texts import Text
from webportal.core.translatable import stored

_log = logging.getLogger(__name__)

MOST_FOLDERS = 500
"""Folders that are offered; others can be named."""
DEAD_AFTER = timedelta(seconds=60)
"""A running job that gave no sign of life for so long went down with its process."""
_MOST_LEFT_OUT = 20
"""Files that are named; there may be thousands."""
_LONGEST_SHOWN = 100
"""Characters of a folder's name in an error."""
_DEEPEST = 2
"""Levels below the media folder at which albums are looked for: artist, album, disc."""
_TELL_EVERY = 0.5
"""Seconds between two writes of how far an import has got."""


def folders_to_import() -> list[str]:
    """Folders under the media folder that hold files and are no item yet, relative to it, in order; `MOST_FOLDERS` at most.

    Those at the top, and those in folders at the top that hold no files themselves (an artist's, a kind's). Discs of an album
    in folders of their own are not albums.
    """
    root = _media_root()
    known = set(Item.objects.filter(withdrawn_at=None).values_list("source", flat=True))
    albums = (album for folder in _folders(root) for album in _albums(folder, root, known))
    return list(islice(albums, MOST_FOLDERS))


def start_import(folder: str, user: User) -> ImportJob:
    """Begin to import a folder, named relative to the media folder.

    Raises:
        ImportRefused: it is no folder there, or is just being imported.
    """
    root = _media_root()
    path = _folder_in(root, folder)
    if path is None:
        raise ImportRefused(Text.NO_FOLDER_IN_MEDIA(folder=folder[:_LONGEST_SHOWN]))
    now = timezone.now()
    end_dead_jobs()
    try:
        with transaction.atomic():
            job = ImportJob.objects.create(folder=path.relative_to(root).as_posix(), user=user, started_at=now, heard_at=now)
    except IntegrityError:
        raise ImportRefused(Text.BEING_IMPORTED(folder=folder)) from None
    transaction.on_commit(lambda: threading.Thread(target=_work, args=(job.pk, path), name="import", daemon=True).start())
    return job


def _folder_in(root: Path, name: str) -> Path | None:
    """The folder of this name, links resolved; None when there is none in `root` or its name cannot be one."""
    try:
        path = (root / name).resolve()
        if name and path.is_dir() and path.is_relative_to(root) and path != root:
            return path if len(path.relative_to(root).as_posix().encode()) <= LONGEST_PATH else None
    except (OSError, ValueError, RuntimeError):  # too long, a NUL, a lone surrogate, links that lead in a circle
        pass
    return None


def end_dead_jobs() -> None:
    """Write down that jobs ended which nobody works on any more."""
    dead = ImportJob.objects.filter(state=ImportJob.State.RUNNING, heard_at__lt=timezone.now() - DEAD_AFTER)
    dead.update(state=ImportJob.State.FAILED, notes=[stored(Text.IMPORT_STOPPED())])


def _work(job: int, folder: Path) -> None:
    count = _Count()
    over = threading.Event()
    teller = threading.Thread(target=_tell, args=(job, count, over), name="import progress", daemon=True)
    teller.start()
    try:
        outcome = _import(folder, count)
        over.set()
        teller.join()
        ImportJob.objects.filter(pk=job).update(read=count.bytes, total=count.total, heard_at=timezone.now(), **outcome)
    except Exception:
        _log.exception("how the import of %s ended cannot be written down", folder)
    finally:
        over.set()
        connection.close()


def _import(folder: Path, count: _Count) -> dict[str, Any]:
    """What is to be written down of the job in the end."""
    failed = ImportJob.State.FAILED
    try:
        count.total = sum(found.real.stat().st_size for found in find_files(folder).files)
        imported = import_item(folder, _media_root(), read=count.add)
    except ImportRefused as error:
        return {"state": failed, "notes": [stored(error.text)]}
    except Exception:
        _log.exception("the import of %s met an error", folder)
        return {"state": failed, "notes": [stored(Text.INTERNAL_ERROR())]}
    return {"state": ImportJob.State.DONE, "item": imported.item, "notes": [stored(note) for note in _notes(imported)]}


def _notes(imported: Imported) -> Sequence[TranslatableText]:
    """What whoever imported it should know: warnings, and what was left out."""
    if not imported.left_out:
        return imported.warnings
    shown = imported.left_out[:_MOST_LEFT_OUT]
    names = [Text.PATH_AND_REASON(path=left.path, reason=left.reason) for left in shown]
    more = len(imported.left_out) - len(shown)
    left_out = Text.LEFT_OUT_AND_MORE(names=names, more=more) if more else Text.LEFT_OUT(names=names)
    return [*imported.warnings, left_out]


class _Count:
    """Bytes read so far, of all; written by the threads that read, one after the other."""

    def __init__(self) -> None:
        self.bytes = 0
        self.total = 0

    def add(self, count: int) -> None:
        self.bytes += count


def _tell(job: int, count: _Count, over: threading.Event) -> None:
    """Write down how far it has got, on a thread of its own: those that read must not wait for a database."""
    while not over.wait(_TELL_EVERY):
        try:
            ImportJob.objects.filter(pk=job).update(read=count.bytes, total=count.total, heard_at=timezone.now())
        except DatabaseError as error:
            _log.warning("the progress of an import cannot be written down: %s", error)
            connection.close()
    connection.close()


def _media_root() -> Path:
    of: Settings = settings.FTPGATE
    return of.media_root.resolve()


def _albums(folder: Path, root: Path, known: Collection[str], *, depth: int = 0) -> Iterator[str]:
    """This folder, when it is an album and not known, or else those in it."""
    name = folder.relative_to(root).as_posix()
    if name in known:
        return
    inner = list(_folders(folder))
    discs = any(disc_folder(path.name) for path in inner)
    if _holds_files(folder) or (discs and not any(f"{name}/{path.name}" in known for path in inner)) or not (inner or depth):
        yield name
    elif depth < _DEEPEST:
        for path in inner:
            yield from _albums(path, root, known, depth=depth + 1)


def _folders(folder: Path) -> Iterator[Path]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name.casefold())
    except OSError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False) and _may_be_an_album(entry):
            yield Path(entry.path)


def _may_be_an_album(folder: os.DirEntry[str]) -> bool:
    """A hidden folder may be one, of a title that begins with dots: if there is sound in it."""
    if why_left_out(folder.name, folder=True) is not None or folder.name.startswith(".ftpgate-"):
        return False
    return not folder.name.startswith(".") or _holds_files(Path(folder.path), hidden=True)


def _holds_files(folder: Path, *, hidden: bool = False) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(entry.is_file() and why_left_out(entry.name, folder=False, hidden=hidden) is None for entry in entries)
    except OSError:
        return False
