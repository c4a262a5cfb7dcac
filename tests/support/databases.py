"""Migrated databases in no time: each kind is migrated once in a run of the tests, and every test gets a copy."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.support.postgres import PostgresServer
from tests.support.tools import clean_environment

KINDS = ("sqlite", "postgres")
_TEMPLATE = "ftpgate_template"


class Templates:
    """A migrated database of each kind, made when it is first needed.

    Args:
        folder: where they are kept; processes that give the same one share them.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def sqlite(self) -> Path:
        """The file of an SQLite database."""
        return self._made("template.sqlite3", lambda path: _migrate(f"sqlite:///{path}", self._folder))

    def postgres(self) -> Path:
        """A saved `PostgresServer` with a database for `Databases.migrated`."""

        def make(path: Path) -> None:
            with PostgresServer() as server:
                _migrate_in(server, self._folder)
                server.save(path)

        return self._made("template-postgres", make)

    def _made(self, name: str, make: Callable[[Path], None]) -> Path:
        path, unfinished = self._folder / name, self._folder / f"unfinished-{name}"
        with (self._folder / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists():
                make(unfinished)
                unfinished.rename(path)
        return path


class Databases:
    """Fresh databases of both kinds.

    Args:
        folder: for the SQLite files.
        server: gives the PostgreSQL server when it is first needed.
        templates: what is copied; for SQLite, since a PostgreSQL server can copy only what it has itself.
    """

    def __init__(self, folder: Path, server: Callable[[], PostgresServer], templates: Templates | None = None) -> None:
        self._folder = folder
        self._server = server
        self._templates = templates or Templates(folder)
        self._made = 0

    def empty(self, kind: str) -> str:
        """The address of a new database without tables."""
        return self._sqlite_url() if kind == "sqlite" else self._server().create_database()

    def migrated(self, kind: str) -> str:
        """The address of a new database with the tables and rows that the migrations make."""
        if kind == "postgres":
            _migrate_in(self._server(), self._folder)
            return self._server().create_database(_TEMPLATE)
        url = self._sqlite_url()
        shutil.copyfile(self._templates.sqlite(), url.removeprefix("sqlite:///"))
        return url

    def _sqlite_url(self) -> str:
        self._made += 1
        return f"sqlite:///{self._folder / f'{self._made}.sqlite3'}"


def _migrate_in(server: PostgresServer, folder: Path) -> None:
    """Make the template in a server that has none."""
    if not server.execute("SELECT 1 FROM pg_database WHERE datname = %s", (_TEMPLATE,)):
        server.execute(f"CREATE DATABASE {_TEMPLATE}")
        _migrate(server.url(_TEMPLATE), folder)


def _migrate(url: str, folder: Path) -> None:
    environ = clean_environment(folder) | {"FTPGATE_STATE_DIR": str(folder / "state"), "FTPGATE_DATABASE_URL": url}
    done = subprocess.run(
        [sys.executable, "-m", "django", "migrate", "--settings=webportal.config.settings", "--no-input", "--verbosity=0"],
        env=environ,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        raise RuntimeError(f"migrating failed: {done.stderr[-2000:]}")
