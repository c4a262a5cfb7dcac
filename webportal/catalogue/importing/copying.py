"""Bringing a folder under the media root, whole or not at all."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings

from ftpgate import private
from ftpgate.translatable import os_reason
from webportal.catalogue.importing.walking import Found
from webportal.core.errors import ImportRefused
from webportal.core.texts import Text

_UNFINISHED = ".ftpgate-import"
_LOCK = ".ftpgate-import.lock"


@contextmanager
def copied(files: Sequence[Found], media_root: Path) -> Iterator[Path]:
    """A hidden folder under the media root with copies of files; removed afterwards, unless it was renamed by then.

    One at a time: what an import that was killed left behind is removed by the next.

    Raises:
        ImportRefused: something cannot be read or written.
    """
    unfinished = media_root / _UNFINISHED
    try:
        media_root.mkdir(parents=True, exist_ok=True)
        with (media_root / _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            try:
                for file in files:
                    _copy(file, unfinished)
                yield unfinished
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
    except OSError as error:
        raise ImportRefused(Text.FOLDER_NOT_COPIED(media=str(media_root), reason=os_reason(error))) from None


@contextmanager
def umask_of(media_root: Path) -> Iterator[None]:
    """Meanwhile, what is made gets the permissions that the media folder's readers need: in the state folder none but this
    user's own, elsewhere those that the user's umask gives."""
    state: Path = settings.FTPGATE.state_dir
    if media_root.resolve().is_relative_to(state.resolve()) and not private.is_shared(state):
        yield
        return
    with private.inherited_umask():
        yield


def _copy(file: Found, folder: Path) -> None:
    target = folder / file.path
    target.parent.mkdir(parents=True, exist_ok=True)
    before = file.real.stat()
    try:
        shutil.copyfile(file.real, target)
    except OSError as error:
        raise ImportRefused(Text.FILE_NOT_COPIED(file=file.path, reason=os_reason(error))) from None
    after = file.real.stat()
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise ImportRefused(Text.FILE_CHANGED_AT_COPYING(file=file.path))
    os.utime(target, ns=(before.st_atime_ns, before.st_mtime_ns))
