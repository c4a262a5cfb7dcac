"""`DATABASES["default"]` from a database address."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dj_database_url

from ftpgate import private
from ftpgate.errors import UserError
from ftpgate.settings import database_file
from ftpgate.translatable import os_reason

_CONNECT_SECONDS = 5
"""libpq's connect_timeout: a host that is gone says nothing."""
_SQLITE_BUSY_SECONDS = 15
"""That a write waits for another one to end: SQLite has one writer at a time."""
_LOCK_SECONDS = 15
"""PostgreSQL's lock_timeout: as long as SQLite waits."""
_KEEPALIVE = {"keepalives_idle": 15, "keepalives_interval": 5, "keepalives_count": 3}
"""A host that is gone while we wait for its answer is found out in 30 s; with Linux's own values it would be 11 minutes."""


_LEAN_PRAGMAS = "; PRAGMA temp_store=MEMORY; PRAGMA cache_size=-512"
"""SQLite in a gate: it can make no files in /var/tmp (`ftpgate.process.confinement`), and each of its threads has a connection,
which would hold 2 MB of pages."""
_LIBPQ_FILES = {
    "sslrootcert": "PGSSLROOTCERT", "sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY", "sslcrl": "PGSSLCRL",
    "sslcrldir": "PGSSLCRLDIR", "passfile": "PGPASSFILE", "servicefile": "PGSERVICEFILE",
}  # fmt: skip
"""libpq's parameters that name files, each with the variable of the environment that does so too."""
_LIBPQ_OWN_FILES = (".postgresql", ".pgpass", ".pg_service.conf")
"""Where it looks for them without, in the home folder."""


def configuration(url: str, *, statement_seconds: int = 0, lean: bool = False) -> dict[str, Any]:
    """Django's configuration of the database at `url`.

    Args:
        url: `sqlite:///PATH` (three slashes, then the path as it is) or `postgres://…`.
        statement_seconds: end a statement that takes longer; 0 for never (migrations, reports).
        lean: for a gate, which shares its settings with the commands, and not for the portal.

    Raises:
        UserError: the address is not of that form, or a SQLite file cannot be made.
    """
    common = {"CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": True}
    if url.startswith("sqlite:///"):
        path = database_file(url)
        try:
            if path is not None:
                private.make_file(path)  # SQLite would make it readable for everybody, as far as the umask lets it
        except OSError as error:
            raise UserError(
                f"FTPGATE_DATABASE_URL: {str(path)!r} cannot be made ({os_reason(error)})",
                "make its folder, or correct the value",
            ) from None
        return common | {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": str(path or ":memory:"),
            # IMMEDIATE: a transaction that reads and then writes would otherwise fail at once, without waiting, when another
            # one wrote in between. WAL: pages are read while coverage is written.
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "timeout": _SQLITE_BUSY_SECONDS,
                "init_command": "PRAGMA journal_mode=WAL" + (_LEAN_PRAGMAS if lean else ""),
            },
        }
    if not url.startswith(("postgres://", "postgresql://")):
        raise UserError("FTPGATE_DATABASE_URL is neither sqlite:///PATH nor postgres://…", "correct the value")
    try:
        parsed: dict[str, Any] = {**dj_database_url.parse(url)}
    except (ValueError, KeyError) as error:
        raise UserError(f"FTPGATE_DATABASE_URL cannot be understood ({type(error).__name__})", "correct the value") from None
    # A server that is gone without a word must not hang a thread: connecting, waiting for a lock, a statement and an
    # unacknowledged packet all have an end.
    timeouts = f"-c statement_timeout={statement_seconds}s -c lock_timeout={_LOCK_SECONDS}s"
    if statement_seconds:
        timeouts += f" -c idle_in_transaction_session_timeout={2 * statement_seconds}s"
    given: dict[str, Any] = parsed.get("OPTIONS") or {}
    options = {"connect_timeout": _CONNECT_SECONDS, "tcp_user_timeout": 15_000} | _KEEPALIVE | given
    options["options"] = f"{timeouts} {given.get('options', '')}".strip()
    return {**parsed, **common, "OPTIONS": options}


def check_migrated() -> None:
    """Have all migrations of Django's apps been applied?

    Raises:
        UserError: some are lacking.
        django.db.Error: the database is away.
    """
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connection)
    if missing := len(executor.migration_plan(executor.loader.graph.leaf_nodes())):
        raise UserError(f"the database lacks {missing} migration{'' if missing == 1 else 's'}", "run: ftpgate manage migrate")


def client_files(url: str, environ: Mapping[str, str] = os.environ) -> Iterator[Path]:
    """Files and folders that libpq reads with each connection to `url`; nothing for another database.

    A certificate or key stands for its folder, since a renewed one is another file.
    """
    if not url.startswith(("postgres://", "postgresql://")):
        return
    given: dict[str, Any] = dj_database_url.parse(url).get("OPTIONS") or {}
    for parameter, variable in _LIBPQ_FILES.items():
        named = str(given.get(parameter) or environ.get(variable) or "")
        if "/" in named:  # sslrootcert=system names none
            path = Path(os.path.abspath(named))
            yield path if path.is_dir() else path.parent
            yield Path(os.path.realpath(path)).parent
    yield from (Path(os.path.expanduser(f"~/{name}")) for name in _LIBPQ_OWN_FILES)
