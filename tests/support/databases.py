"""Migrated databases in no time: each kind is migrated once, and every test gets a copy."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.support.postgres import PostgresServer
from tests.support.tools import clean_environment

KINDS = ("sqlite", "postgres")
_TEMPLATE = "ftpgate_template"


class Databases:
    """Fresh databases of both kinds.

    Args:
        folder: for the SQLite files.
        server: gives the PostgreSQL server when it is first needed.
    """

    def __init__(self, folder: Path, server: Callable[[], PostgresServer]) -> None:
        self._folder = folder
        self._server = server
        self._migrated: set[str] = set()
        self._made = 0

    def empty(self, kind: str) -> str:
        """The address of a new database without tables."""
        return self._sqlite_url() if kind == "sqlite" else self._server().create_database()

    def migrated(self, kind: str) -> str:
        """The address of a new database with the tables and rows that the migrations make."""
        self._migrate_template(kind)
        if kind == "postgres":
            return self._server().create_database(_TEMPLATE)
        url = self._sqlite_url()
        shutil.copyfile(self._template_file, url.removeprefix("sqlite:///"))
        return url

    @property
    def _template_file(self) -> Path:
        return self._folder / "template.sqlite3"

    def _sqlite_url(self) -> str:
        self._made += 1
        return f"sqlite:///{self._folder / f'{self._made}.sqlite3'}"

    def _migrate_template(self, kind: str) -> None:
        if kind in self._migrated:
            return
        if kind == "postgres":
            self._server().execute(f"CREATE DATABASE {_TEMPLATE}")
            url = self._server().url(_TEMPLATE)
        else:
            url = f"sqlite:///{self._template_file}"
        environ = clean_environment(self._folder) | {
            "FTPGATE_STATE_DIR": str(self._folder / "state"),
            "FTPGATE_DATABASE_URL": url,
        }
        done = subprocess.run(
            [sys.executable, "-m", "django", "migrate", "--settings=webportal.config.settings", "--no-input", "--verbosity=0"],
            env=environ,
            cwd=self._folder,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode:
            raise RuntimeError(f"migrating {kind} failed: {done.stderr[-2000:]}")
        self._migrated.add(kind)
