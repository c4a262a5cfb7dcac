"""The journal's file: opened, checked, and set aside when it is broken.

SQLite in WAL mode with `synchronous=NORMAL`: a commit is a write into the page cache, which a process that is killed leaves
intact, and waits for no disk. `sync` brings what is committed to the disk; called once a second, a loss of power costs no more
than that.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_log = logging.getLogger(__name__)

NAME: Final = "journal.sqlite3"
LIVE: Final = "live"
"""The folder with the tables of running transfers (`live_table`), a file for each gate."""
BYTES = 256 << 20
"""The most that the file may take. Ended transfers are given up first: 20,000 are 10 MB, up to 40 with the longest paths."""
BUSY = 5.0
"""Seconds to wait for another gate's transaction; one of 5,000 rows takes some 50 ms."""
SET_ASIDE = 8
"""Broken files that are kept beside the journal; no further one is made when they are there."""

_APPLICATION, _VERSION = 0x66747067, 1
_SCHEMA = f"""
    CREATE TABLE entries (
        gate TEXT NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL, since REAL NOT NULL, value TEXT NOT NULL,
        PRIMARY KEY (gate, kind, key)
    ) WITHOUT ROWID;
    CREATE TABLE taken (gate TEXT PRIMARY KEY) WITHOUT ROWID;
    PRAGMA application_id = {_APPLICATION};
    PRAGMA user_version = {_VERSION};
"""
_BROKEN = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_SCHEMA}
"""What SQLite says of a file that is no journal, or none any more."""


class JournalError(Exception):
    """The journal takes nothing just now; `str()` says why.

    Attributes:
        full: there is no room, on the disk or within `BYTES`.
        set_aside: the file was broken and has made room for another one, which is to be tried at once.
    """

    def __init__(self, text: str, *, full: bool = False, set_aside: bool = False) -> None:
        super().__init__(text)
        self.full = full
        self.set_aside = set_aside


class JournalFile:
    """One gate's way to the file that all gates of a state folder share. Every method may block; one thread at a time."""

    def __init__(self, folder: Path, gate: str) -> None:
        self.path = folder / NAME
        self.bytes = 0
        """Used at the last transaction, by all gates."""
        self.set_aside = 0
        """How often a broken file had to be set aside."""
        self._folder = folder
        self._gate = gate
        self._database: sqlite3.Connection | None = None
        self._file: os.stat_result | None = None

    def sync(self) -> None:
        """Bring to the disk what was committed. May be called while another thread writes.

        Raises:
            JournalError: the disk does not take it.
        """
        try:
            # No lock of SQLite's is on this file, so that none is lost when it is closed.
            fd = os.open(f"{self.path}-wal", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        except OSError as error:
            raise JournalError(f"{self.path}-wal: {error.strerror}") from error
        try:
            os.fdatasync(fd)
        except OSError as error:
            raise JournalError(f"{self.path}-wal: {error.strerror}") from error
        finally:
            os.close(fd)

    def moved(self) -> bool:
        """Is what stands at the path another file than the one in use? Another gate may have set it aside.

        Then it is closed, and all that the gate had in it has to be written `anew`.
        """
        if self._file is None:
            return False
        with contextlib.suppress(OSError):
            if os.path.samestat(os.stat(self.path), self._file):
                return False
        self.close()
        return True

    def close(self) -> None:
        database, self._database, self._file = self._database, None, None
        if database is not None:
            with contextlib.suppress(sqlite3.Error):
                database.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            database = self._database or self._open()
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
                database.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    database.execute("ROLLBACK")
                raise
            self.bytes = _used(database)
        except sqlite3.Error as error:
            raise self._failed(error) from error
        except OSError as error:
            raise JournalError(f"{error.filename or self.path}: {error.strerror}") from error

    def _open(self) -> sqlite3.Connection:
        if not self.path.exists():
            with contextlib.suppress(FileExistsError):
                os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        elif self.path.stat().st_mode & 0o077:
            self.path.chmod(0o600)
        self._file = os.stat(self.path)
        database = sqlite3.connect(self.path, timeout=BUSY, isolation_level=None, check_same_thread=False)
        self._database = database
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA temp_store = MEMORY")  # a gate cannot make files in /var/tmp (process/confinement.py)
        database.execute("PRAGMA synchronous = NORMAL")
        database.execute(f"PRAGMA journal_size_limit = {16 << 20}")
        database.execute(f"PRAGMA max_page_count = {BYTES // _pragma(database, 'page_size')}")
        self._check(database)
        return database

    def _check(self, database: sqlite3.Connection) -> None:
        """Make the tables of a new file. Raises `sqlite3.DatabaseError` when this is not ours, or broken."""
        if _pragmas(database) == (0, 0):
            database.execute("BEGIN IMMEDIATE")
            if _pragmas(database) == (0, 0):  # another gate may have been quicker
                for statement in _SCHEMA.split(";"):
                    database.execute(statement)
            database.execute("COMMIT")
        _check_whole(database)

    def _failed(self, error: sqlite3.Error) -> JournalError:
        """What becomes of the file after an error; a broken one makes room for another."""
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        aside = None
        if code in _BROKEN or str(error).startswith("no such "):  # table or column
            try:
                aside = self._set_aside()
            except OSError as failed:
                return JournalError(f"{self.path} is broken ({error}) and cannot be set aside ({failed.strerror})")
        self.close()
        if aside is None:
            return JournalError(f"{self.path}: {error}", full=code == sqlite3.SQLITE_FULL)
        self.set_aside += 1
        _log.error("%s is broken (%s); it was set aside as %s, and another one is made", self.path, error, aside.name)
        return JournalError(f"{self.path} was broken ({error}); it is now {aside.name}", set_aside=True)

    def _set_aside(self) -> Path | None:
        """Rename the file that is in use; None when that was done by another gate.

        Raises:
            OSError: it cannot be renamed.
        """
        with _folder_locked(self._folder):
            if self._file is None or not os.path.samestat(os.stat(self.path), self._file):
                return None
            if len(broken(self._folder)) >= SET_ASIDE:
                raise OSError(0, f"{SET_ASIDE} others are there already")
            self.close()
            stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
            aside = self.path.with_name(f"{NAME}.broken-{stamp}-{self._gate}-{self.set_aside}")
            for suffix in ("-wal", "-shm", ""):  # the file itself last: as long as it is there this can be done again
                with contextlib.suppress(FileNotFoundError):
                    os.rename(f"{self.path}{suffix}", f"{aside}{suffix}")
            return aside


def broken(folder: Path) -> list[Path]:
    """Files that were set aside."""
    asides = [*folder.glob(f"{NAME}.broken-*"), *(folder / LIVE).glob("*.broken")]
    return sorted(path for path in asides if not path.name.endswith(("-wal", "-shm")))


@contextlib.contextmanager
def reading(folder: Path) -> Iterator[sqlite3.Connection | None]:
    """The file of a state folder, for whoever only looks into it; None when there is none, or nothing in it. May block.

    Raises:
        JournalError: it cannot be read.
    """
    path = folder / NAME
    if not path.exists():
        yield None
        return
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=BUSY, isolation_level=None)) as database:
            if _pragmas(database) == (0, 0):
                yield None
            else:
                _check_whole(database)
                yield database
    except sqlite3.Error as error:
        raise JournalError(f"{path}: {error}") from error


def save(folder: Path, to: Path) -> bool:
    """Copy what the journal of a state folder holds at one moment to a new file; False when there is nothing. May block.

    Raises:
        JournalError: it cannot be read, or the file not be written.
    """
    with reading(folder) as database:
        if database is None:
            return False
        database.execute("VACUUM INTO ?", (str(to),))  # with its application_id and user_version
    return True


def _check_whole(database: sqlite3.Connection) -> None:
    """Raises `sqlite3.DatabaseError` when this is no journal, or broken."""
    if _pragmas(database) != (_APPLICATION, _VERSION):
        raise _broken("it is not a journal as this version writes it")
    found = database.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise _broken(found)


def _pragmas(database: sqlite3.Connection) -> tuple[int, int]:
    return _pragma(database, "application_id"), _pragma(database, "user_version")


def _pragma(database: sqlite3.Connection, name: str) -> int:
    return int(database.execute(f"PRAGMA {name}").fetchone()[0])


def _used(database: sqlite3.Connection) -> int:
    """Bytes of the file that hold something."""
    pages, free, size = (_pragma(database, name) for name in ("page_count", "freelist_count", "page_size"))
    return (pages - free) * size


def _broken(text: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(text)
    error.sqlite_errorcode = sqlite3.SQLITE_NOTADB
    return error


@contextlib.contextmanager
def _folder_locked(folder: Path) -> Iterator[None]:
    """Against other gates that set the same file aside."""
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
