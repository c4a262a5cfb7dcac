"""Folders and files that other users of the machine cannot read: the state folder, the database, keys, logs.

`make_folder` and `make_file` make them, whatever the umask; `keep_private` makes that the rule for everything that a process
makes; `close` tightens an installation that was made before. A folder that is closed to others but open to a group other than its
owner's own was shared on purpose, as for a gate and a portal that run as two users, and stays so.
"""

from __future__ import annotations

import os
import pwd
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_GROUP_AND_OTHERS, _OTHERS = 0o077, 0o007
_OURS = re.compile(
    r"(?:ftpgate|journal|leases)\.sqlite3(?:-leases)?(?:-wal|-shm|-journal)?|\.?secret_key(?:\..*)?|covers|static|media|demo-[a-z]+\.(?:log|json)"
)
"""What ftpgate makes in its state folder. Anything else there is left alone."""
_LEASES = ("-leases", "-leases-wal", "-leases-shm")
"""What gates that share a SQLite database keep beside it."""
_WALKED = ("covers", "static")
"""Folders whose whole content is ours. Not the media: a change of mode changes the ctime, and imported files must not change."""
_inherited: int | None = None


def keep_private() -> None:
    """From now on, what this process makes is for its user alone."""
    global _inherited
    _inherited = os.umask(_GROUP_AND_OTHERS)


@contextmanager
def inherited_umask() -> Iterator[None]:
    """The umask of before `keep_private`, for what others may read. It holds for the whole process: not beside other threads."""
    if _inherited is None:
        yield
        return
    before = os.umask(_inherited)
    try:
        yield
    finally:
        os.umask(before)


def make_folder(path: Path) -> Path:
    """Make a folder, and its parents, that only this user may enter. An empty one that is there is closed, when it is ours.

    Raises:
        OSError: it cannot be made, or a file has its name.
    """
    try:
        path.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        if not path.is_dir():
            raise
        if _may_be_closed(path) and not any(path.iterdir()):
            _remove_access(path, _mask(path))
    return path


def make_file(path: Path) -> Path:
    """Make an empty file that only this user may read, in a folder by `make_folder`. One that is there stays as it is.

    For what a library opens by itself, such as a SQLite database, whose `-wal` and `-shm` get its mode. In a folder that is
    shared with a group on purpose, the group may do with the file what it may do with the folder.

    Raises:
        OSError: it cannot be made.
    """
    make_folder(path.parent)
    with suppress(FileExistsError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            folder = path.parent.stat()
            os.fchmod(descriptor, 0o600 | (folder.st_mode & 0o060 if _is_shared(folder) else 0))
        finally:
            os.close(descriptor)
    return path


def write_new(path: Path, text: str) -> None:
    """Write a file that only this user may read.

    Raises:
        OSError: it is there already, or cannot be written.
    """
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def give_to_owner(path: Path, folder: Path) -> None:
    """Have what root has made for a folder belong to whom the folder belongs, or services could not read it.

    Raises:
        OSError: it is gone.
    """
    if os.geteuid() == 0:
        owner = folder.stat()
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def close(folder: Path, database: Path | None = None) -> list[Path]:
    """Take the access from other users, as far as this user owns it and nobody else keeps anything there.

    Args:
        folder: the state folder: itself, and what ftpgate has made in it.
        database: a SQLite database, wherever it is.

    Returns: what others could read until now.
    """
    before = readable(folder, database)
    with suppress(OSError):  # not to be entered or not there
        mask, found = _mask(folder), _made_in(folder)
        found += [inner for path in found if path.name in _WALKED and _mode(path) & mask for inner in _below(path)]
        for path in (folder, *found):
            if _mode(path) & mask and (path.is_file() or _may_be_closed(path)):
                _remove_access(path, mask)
    for path in database_files(database):
        _remove_access(path, _mask(path.parent))
    after = readable(folder, database)
    return [path for path in before if path not in after]


def readable(folder: Path, database: Path | None = None) -> list[Path]:
    """What other users of the machine can read of the state folder, itself first, and of the database."""
    found: list[Path] = []
    with suppress(OSError):
        mask, made = _mask(folder), _made_in(folder)
        if _mode(folder) & mask and any(folder.iterdir()):
            found = [folder, *(path for path in made if _mode(path) & mask)]
    beside = [path for path in database_files(database) if path.parent != folder and _mode(path.parent) & 0o011]
    return found + [path for path in beside if _mode(path) & _mask(path.parent)]


def is_shared(folder: Path) -> bool:
    """Was this folder opened to a group on purpose?"""
    try:
        return _is_shared(folder.stat())
    except OSError:
        return False


def database_files(database: Path | None) -> list[Path]:
    """A SQLite database and what lies beside it, as far as they are there."""
    names = () if database is None else (f"{database}{suffix}" for suffix in ("", "-wal", "-shm", "-journal", *_LEASES))
    return [Path(name) for name in names if os.path.isfile(name)]


def _is_shared(folder: os.stat_result) -> bool:
    if folder.st_mode & _OTHERS or not folder.st_mode & 0o070:
        return False
    try:
        return folder.st_gid != pwd.getpwuid(folder.st_uid).pw_gid
    except KeyError:  # a user without a name, as in a container
        return False


def _mask(folder: Path) -> int:
    """The access that nobody but the owner is to have to what is in this folder."""
    return _OTHERS if is_shared(folder) else _GROUP_AND_OTHERS


def _mode(path: Path) -> int:
    """The permissions; none of what is gone."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return 0


def _may_be_closed(folder: Path) -> bool:
    """Is this folder ours, and does nobody else keep anything in it or in its media?

    Root owns the machine's folders, too: not one that is open for all (`/tmp`), nor one at the top with anything but ours.
    """
    status, us = folder.stat(), os.geteuid()
    if status.st_uid != us or status.st_mode & stat.S_ISVTX:
        return False
    if folder.resolve().parent == Path(folder.resolve().anchor) and not all(map(_OURS.fullmatch, os.listdir(folder))):
        return False
    return {*_owners(folder), *_owners(folder / "media")} <= {us, 0}


def _owners(folder: Path) -> set[int]:
    """To whom belongs what is in a folder; nobody where there is none."""
    owners = set()
    for path in folder.iterdir() if folder.is_dir() else ():
        with suppress(FileNotFoundError):  # other processes work here
            owners.add(path.lstat().st_uid)
    return owners


def _made_in(folder: Path) -> list[Path]:
    """What ftpgate has made in its state folder."""
    return [path for path in sorted(folder.iterdir()) if _OURS.fullmatch(path.name) and not path.is_symlink()]


def _below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if not path.is_symlink()]


def _remove_access(path: Path, mask: int) -> None:
    with suppress(OSError):  # gone meanwhile, or on a disk that cannot be written
        status = path.stat()
        if status.st_uid == os.geteuid() and status.st_mode & mask:
            path.chmod(stat.S_IMODE(status.st_mode) & ~mask)
