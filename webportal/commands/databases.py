"""The database as a file of a backup, and back. Without Django: what is restored into has no tables, and makes no key."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2.extensions import make_dsn

from ftpgate import private
from ftpgate.commands.shop import Document
from ftpgate.errors import UserError
from ftpgate.settings import Settings, database_file
from ftpgate.translatable import os_reason
from webportal.config import database

_SQLITE, _POSTGRES = "sqlite", "postgresql"
_NAMES = {_SQLITE: "SQLite", _POSTGRES: "PostgreSQL"}
_FILES = {_SQLITE: "database.sqlite3", _POSTGRES: "database.pgdump"}
_BUSY_SECONDS = 15
_NOTHING = "there is nothing to save: run ftpgate manage migrate first"
_DJANGOS_OWN = ("isolation_level", "server_side_binding", "assume_role", "pool")
"""Options of a database address that libpq does not know."""
# A row of the gates that ran, elsewhere and before: nobody answers at their addresses here.
_STOP_GATES = "UPDATE grants_gate SET stopped_at = CURRENT_TIMESTAMP WHERE stopped_at IS NULL"
_RELATIONS = """
    SELECT count(*) FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND nspname <> 'information_schema' AND nspname NOT LIKE 'pg\\_%'
"""


def save(settings: Settings, folder: Path) -> Document:
    """Write what the database holds at one moment to a file in `folder`, while others read and write it.

    Returns: `{"kind", "file", "version"}`: the version of SQLite, or of the program that reads the file.

    Raises:
        UserError: the database is away or has no tables, or PostgreSQL's programs are missing or too old for the server.
    """
    kind = _kind(settings)
    file = _FILES[kind]
    version = _save_sqlite(settings, folder / file) if kind == _SQLITE else _save_postgres(settings, folder / file)
    return {"kind": kind, "file": file, "version": version}


def check(settings: Settings, folder: Path, saved: Document) -> None:
    """Can what `save` has made be loaded into the database of these settings? Changes nothing.

    Raises:
        UserError: that database is of another kind, is away or has tables, or the file cannot be read.
    """
    kind = _kind(settings)
    if saved.get("kind") != kind or saved.get("file") != _FILES[kind]:
        of = _NAMES.get(str(saved.get("kind")), "no known database")
        cause = f"the backup is of {of}, FTPGATE_DATABASE_URL names {_NAMES[kind]}"
        raise UserError(cause, "set FTPGATE_DATABASE_URL to an empty database of the backup's kind")
    file = folder / _FILES[kind]
    tables = _check_sqlite(settings, file) if kind == _SQLITE else _check_postgres(settings, file, str(saved.get("version")))
    if tables:
        hint = "restore into an empty one: set FTPGATE_DATABASE_URL, or remove it first"
        raise UserError("the database has tables already", hint)


def load(settings: Settings, folder: Path) -> None:
    """Fill the empty database of these settings from `folder`, whole or not at all.

    Raises:
        UserError: it does not take it.
    """
    kind = _kind(settings)
    (_load_sqlite if kind == _SQLITE else _load_postgres)(settings, folder / _FILES[kind])


def _kind(settings: Settings) -> str:
    if settings.database_url.startswith("sqlite:///"):
        if database_file(settings.database_url) is None:
            raise UserError("FTPGATE_DATABASE_URL is a database in memory", "name a file, or a server")
        return _SQLITE
    database.configuration(settings.database_url)  # which refuses what is neither
    return _POSTGRES


# ------------------------------------------------------------------------------------------ SQLite


@contextlib.contextmanager
def _sqlite(path: Path, *, only_read: bool = False) -> Iterator[sqlite3.Connection]:
    """
    Raises:
        UserError: it cannot be opened or used, or is broken.
    """
    try:
        # Immutable: nothing is made beside the file of a backup.
        address = f"{path.absolute().as_uri()}?{'immutable=1&mode=ro' if only_read else 'mode=rw'}"
        with contextlib.closing(sqlite3.connect(address, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)) as opened:
            yield opened
    except sqlite3.Error as error:
        cause = f"the database {str(path)!r} cannot be used ({error})"
        raise UserError(cause, "see that it is whole, and that the disk has room") from error


def _sqlite_file(settings: Settings) -> Path:
    path = database_file(settings.database_url)
    assert path is not None
    return path


def _tables(opened: sqlite3.Connection) -> int:
    return int(opened.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])


def _save_sqlite(settings: Settings, to: Path) -> str:
    path = _sqlite_file(settings)
    if not path.exists():
        raise UserError(f"there is no database {str(path)!r}", "correct FTPGATE_STATE_DIR or FTPGATE_DATABASE_URL")
    with _sqlite(path) as opened:
        if not _tables(opened):
            raise UserError(f"the database {str(path)!r} has no tables", _NOTHING)
        # One transaction that only reads: in WAL mode nobody waits for it. It reads every page, so a broken one is found now.
        opened.execute("VACUUM INTO ?", (str(to),))
    return sqlite3.sqlite_version


def _check_sqlite(settings: Settings, file: Path) -> int:
    with _sqlite(file, only_read=True) as saved:
        found = saved.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise UserError(f"the backup's database is broken ({found})", "use another backup")
    path = _sqlite_file(settings)
    if not path.exists() or not path.stat().st_size:
        return 0
    with _sqlite(path) as there:
        return _tables(there)


def _load_sqlite(settings: Settings, file: Path) -> None:
    path = _sqlite_file(settings)
    aside = path.with_name(f".{path.name}.restoring")
    try:
        aside.unlink(missing_ok=True)
        private.make_file(aside)
        private.give_to_owner(aside, path.parent)
        shutil.copyfile(file, aside)
        with _sqlite(aside) as opened:
            opened.execute(_STOP_GATES)
        with aside.open("rb") as written:
            os.fsync(written.fileno())
        for beside in private.database_files(path):
            beside.unlink()
        aside.rename(path)
    except OSError as error:
        cause = f"the database {str(path)!r} cannot be written ({os_reason(error)})"
        raise UserError(cause, "make room, or correct its folder") from None
    finally:
        with contextlib.suppress(OSError):
            aside.unlink()


# ------------------------------------------------------------------------------------------ PostgreSQL


def _save_postgres(settings: Settings, to: Path) -> str:
    with _postgres(settings) as connection:
        if not _first(connection, _RELATIONS):
            raise UserError("the database has no tables", _NOTHING)
        server = connection.server_version // 10_000
    program = _version("pg_dump")
    if program < server:
        raise UserError(f"pg_dump is of PostgreSQL {program}, the server of {server}", _install(server))
    _run(settings, "pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--file={to}")
    return str(program)


def _check_postgres(settings: Settings, file: Path, version: str) -> int:
    needed = int(version) if version.isdecimal() else 0
    program = _version("pg_restore")
    if program < needed:
        raise UserError(f"pg_restore is of PostgreSQL {program}, the backup of {needed}", _install(needed))
    _run(None, "pg_restore", "--list", str(file))
    with _postgres(settings) as connection:
        return _first(connection, _RELATIONS)


def _load_postgres(settings: Settings, file: Path) -> None:
    # Objects belong to who restores, with the rights that are its defaults: names of roles are another machine's.
    quiet = ("--no-owner", "--no-privileges", "--no-comments", "--no-tablespaces")
    _run(settings, "pg_restore", "--single-transaction", "--exit-on-error", *quiet, str(file))
    with _postgres(settings) as connection, connection.cursor() as cursor:
        cursor.execute(_STOP_GATES)
        connection.commit()


@contextlib.contextmanager
def _postgres(settings: Settings) -> Iterator[Any]:
    """
    Raises:
        UserError: the server is away or refuses.
    """
    given, password = _address(settings)
    try:
        with contextlib.closing(psycopg2.connect(make_dsn(given, **({"password": password} if password else {})))) as connection:
            yield connection
    except psycopg2.Error as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"the database does not do as asked ({first})", "see that it runs, or correct FTPGATE_DATABASE_URL"
        ) from error


def _first(connection: Any, statement: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return int(cursor.fetchone()[0])


def _address(settings: Settings) -> tuple[str, str]:
    """How libpq finds the database, without the password; and that, which other users must not see among the processes."""
    found = database.configuration(settings.database_url)
    names = {"dbname": found["NAME"], "user": found["USER"], "host": found["HOST"], "port": found["PORT"]}
    options = {name: option for name, option in found["OPTIONS"].items() if name not in _DJANGOS_OWN}
    password = str(found["PASSWORD"] or options.pop("password", ""))
    return make_dsn(**{name: str(given) for name, given in (names | options).items() if given not in ("", None)}), password


def _run(settings: Settings | None, program: str, *arguments: str) -> None:
    """Run one of PostgreSQL's programs, on the database of `settings` if they are given.

    Raises:
        UserError: it is not there, or says that it has failed.
    """
    environ, command = dict(os.environ), [program, *arguments]
    if settings is not None:
        given, password = _address(settings)
        command[1:1] = [f"--dbname={given}", "--no-password"]
        environ |= {"PGPASSWORD": password} if password else {}
    try:
        done = subprocess.run(
            command,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    except OSError as error:
        raise _missing(program, error) from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"{program} ended with {done.returncode}"]
        said = next((line for line in lines if "error:" in line), lines[0])
        raise UserError(f"{said.strip()[:500]}", f"see what {program} needs; the database is as it was")


def _version(program: str) -> int:
    """The major version of one of PostgreSQL's programs."""
    try:
        done = subprocess.run([program, "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    except OSError as error:
        raise _missing(program, error) from None
    found = re.search(r"\(PostgreSQL\) (\d+)", done.stdout)
    if done.returncode or found is None:
        raise UserError(f"{program} does not tell its version", "install the client of PostgreSQL (postgresql-client)")
    return int(found[1])


def _missing(program: str, error: OSError) -> UserError:
    return UserError(f"{program} cannot be run ({os_reason(error)})", "install the client of PostgreSQL (postgresql-client)")


def _install(version: int) -> str:
    return f"install the client of PostgreSQL {version} (postgresql-client-{version}), or put its programs first in PATH"
