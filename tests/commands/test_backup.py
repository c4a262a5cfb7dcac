"""`backup` while everything runs, `restore` elsewhere: nothing is lost, nothing counts twice, links open and receipts verify."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import stat
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from ftpgate.commands import manifest
from ftpgate.delivery import journal_file
from tests.commands.test_commands import refused
from tests.support import clients
from tests.support.databases import Databases
from tests.support.postgres import PostgresServer
from tests.support.site import Site
from tests.support.waiting import wait_until

FILES = {"a.ogg": 300_000, "b.ogg": 2_000_000}
RECEIPT = """
import sys
from ftpgate import receipts
from webportal.history.models import Completion
from webportal.history.receipts import receipt_key, receipt_of
sys.stdout.buffer.write(receipts.sign(receipt_of(Completion.objects.order_by("pk").first()), receipt_key()))
"""


@pytest.fixture
def with_programs(request: pytest.FixtureRequest, database_kind: str) -> dict[str, str]:
    """The environment in which PostgreSQL's own programs are found, where they are needed."""
    if database_kind == "sqlite":
        return {}
    server: PostgresServer = request.getfixturevalue("postgres")
    return {"PATH": f"{server.programs}:{os.environ['PATH']}"}


@pytest.fixture
def here(make_site: Callable[..., Site], database_url: str, with_programs: dict[str, str]) -> Site:
    return make_site(database_url, with_programs)


@pytest.fixture
def elsewhere(make_site: Callable[..., Site], databases: Databases, database_kind: str, with_programs: dict[str, str]) -> Site:
    """Another machine: an empty database, an empty state folder."""
    return make_site(databases.empty(database_kind), with_programs)


@contextlib.contextmanager
def nobody_can_write(site: Site) -> Iterator[None]:
    """The database can only be read meanwhile: what is delivered stands in the journal alone."""
    url = site.environ["FTPGATE_DATABASE_URL"]
    if url.startswith("sqlite"):
        with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None, timeout=30)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            yield
            holder.execute("ROLLBACK")
        return
    with contextlib.closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("LOCK TABLE grants_grant, grants_coverage, history_transfer IN SHARE ROW EXCLUSIVE MODE")
        yield
        connection.rollback()


def count(site: Site, *tables: str) -> list[int]:
    url = site.environ["FTPGATE_DATABASE_URL"]
    opened: Any = (
        sqlite3.connect(url.removeprefix("sqlite:///"), timeout=30) if url.startswith("sqlite") else psycopg2.connect(url)
    )
    with contextlib.closing(opened) as connection:
        cursor = connection.cursor()
        found = []
        for table in tables:
            cursor.execute(f"SELECT count(*) FROM {table}")
            found.append(int(cursor.fetchone()[0]))
        return found


def in_journal(folder: Path) -> int:
    """Rows."""
    if not (folder / journal_file.NAME).exists():
        return 0
    with contextlib.closing(sqlite3.connect(folder / journal_file.NAME, timeout=30)) as rows:
        return int(rows.execute("SELECT count(*) FROM entries").fetchone()[0])


def everything_in(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(("-shm", "-wal"))
    }


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def cover(site: Site) -> Path:
    path = site.state_dir / "covers" / "items" / "cover.jpg"
    for folder in (path.parent.parent, path.parent):
        folder.mkdir(mode=0o700)
    path.write_bytes(b"a picture")
    for private in (site.state_dir, path):
        private.chmod(0o700 if private.is_dir() else 0o600)
    return path


@pytest.mark.slow
def test_all_of_it_comes_back_elsewhere(here: Site, elsewhere: Site, tmp_path: Path) -> None:
    item = here.album(FILES)["id"]
    user = here.add_user()
    here.start()
    cover(here)
    whole, half = here.issue(user, item), here.issue(user, item)
    for name in FILES:
        clients.curl(whole.http_url(f"Album/{name}"), tmp_path / name)
    here.wait_for_grant(whole)
    receipt = tmp_path / "receipt.json"
    receipt.write_text(here.run("manage", "shell", "--no-imports", "-c", RECEIPT).stdout)
    clients.curl(half.http_url("Album/a.ogg"), tmp_path / "a.ogg")
    wait_until(lambda: count(here, "history_transfer") == [3], 20, "the record of what was delivered")
    with here.portal() as address, nobody_can_write(here):
        clients.curl(half.ftp_url("Album/b.ogg"), tmp_path / "b.ogg")
        wait_until(lambda: in_journal(here.state_dir) >= 2, 20, "the delivery in the journal")
        made = here.json("backup", str(tmp_path / "saved" / "today"))
        assert count(here, "history_completion", "history_transfer") == [1, 3]
        elsewhere.environ["FTPGATE_PORTAL"] = address.removeprefix("http://")
        assert "a portal runs at" in refused(elsewhere, "restore", made["backup"])
    saved = tmp_path / "saved" / "today"
    assert (made["backup"], made["journal"], made["covers"]) == (str(saved), True, 1)
    assert [path.name for path in saved.parent.iterdir()] == ["today"]
    assert {mode(path) for path in (saved, *saved.rglob("*"))} == {0o700, 0o600}
    assert mode(saved) == 0o700
    here.wait_for_grant(half, timeout=40)

    restored = elsewhere.json("restore", str(saved))
    assert restored["made_at"] == made["made_at"]
    assert "ftpgate manage migrate" in restored["next"]
    assert (elsewhere.state_dir / "covers/items/cover.jpg").read_bytes() == b"a picture"
    assert {mode(path) & 0o077 for path in elsewhere.state_dir.rglob("*")} == {0}
    assert elsewhere.json("status")["gates"] == []
    shutil.copytree(here.media_root, elsewhere.media_root, dirs_exist_ok=True)
    elsewhere.run("manage", "migrate", "--verbosity=0")
    elsewhere.json("item", "verify")
    assert elsewhere.json("receipt", "verify", str(receipt))["valid"] is True
    assert elsewhere.json("grant", "show", half.id)["state"] == "open"
    gate = elsewhere.start()
    document = elsewhere.wait_for_grant(half, timeout=30)
    assert [file["covered"] for file in document["items"][0]["files"]] == [[[0, size]] for size in FILES.values()]
    wait_until(lambda: not in_journal(elsewhere.state_dir), 20, "an empty journal")
    counts = [count(site, "history_completion", "history_transfer") for site in (here, elsewhere)]
    assert counts == [[2, 4], [2, 4]]
    host, port = gate.http
    with urllib.request.urlopen(f"http://{host}:{port}/d/{half.token}/Album/a.ogg", timeout=20) as answer:
        assert answer.read() == (here.media_root / "Album/a.ogg").read_bytes()


def test_a_restore_into_what_holds_something_changes_nothing(here: Site, elsewhere: Site, tmp_path: Path) -> None:
    saved = str(tmp_path / "saved")
    here.add_user()
    picture = cover(here)
    here.run("backup", saved)
    assert "is there already" in refused(here, "backup", saved)
    assert "the state folder is not empty" in refused(here, "restore", saved)
    shutil.rmtree(picture.parent)
    before = everything_in(here.state_dir)
    assert "has tables already" in refused(here, "restore", saved)
    assert everything_in(here.state_dir) == before
    picture = cover(elsewhere)
    assert "the state folder is not empty" in refused(elsewhere, "restore", saved)
    shutil.rmtree(picture.parent)
    assert everything_in(elsewhere.state_dir) == {}
    elsewhere.run("restore", saved)
    assert [user["user"] for user in elsewhere.json("user", "list")["users"]] == ["alice"]


@pytest.fixture
def saved(here: Site, tmp_path: Path) -> Path:
    """A backup of a shop with one user."""
    here.add_user()
    cover(here)
    here.run("backup", str(tmp_path / "saved"))
    return tmp_path / "saved"


@pytest.mark.databases("sqlite")
def test_a_broken_backup_is_refused_before_anything_is_changed(elsewhere: Site, saved: Path) -> None:
    def told(words: str) -> None:
        assert words in refused(elsewhere, "restore", str(saved))
        assert everything_in(elsewhere.state_dir) == {}
        assert not Path(elsewhere.environ["FTPGATE_DATABASE_URL"].removeprefix("sqlite:///")).exists()

    whole = everything_in(saved)

    def damaged(name: str, content: bytes | None) -> None:
        for path, before in whole.items():
            (saved / path).write_bytes(before)
        (saved / name).unlink() if content is None else (saved / name).write_bytes(content)

    damaged("covers/items/cover.jpg", b"A picture")
    told("'covers/items/cover.jpg' of the backup is not as it was written")
    damaged("database.sqlite3", None)
    told("lacks 'database.sqlite3'")
    damaged("secret_key", whole["secret_key"] + b"x")
    told("'secret_key' of the backup")
    damaged(manifest.NAME, None)
    told("is not a backup")
    damaged(manifest.NAME, whole[manifest.NAME][:-20])
    told("is damaged")
    document = json.loads(whole[manifest.NAME])
    for change, words in (
        ({"format": 2}, "has the format '2'"),
        ({"ftpgate": "99.0"}, "made by ftpgate 99.0"),
        ({"files": document["files"] | {"../evil": [0, ""]}}, "names a file outside the backup"),
        ({"files": None}, "is damaged"),
        ({"database": document["database"] | {"kind": "postgresql"}}, "the backup is of PostgreSQL"),
    ):
        damaged(manifest.NAME, json.dumps(document | change).encode())
        told(words)


@pytest.mark.databases("sqlite")
def test_a_restore_while_a_gate_runs_is_refused(elsewhere: Site, saved: Path, here: Site) -> None:
    here.start()
    here.environ["FTPGATE_DATABASE_URL"] = elsewhere.environ["FTPGATE_DATABASE_URL"]
    assert f"runs in '{here.state_dir}': stop it first" in refused(here, "restore", str(saved))
    here.kill()
    assert "the state folder is not empty" in refused(here, "restore", str(saved))


@pytest.mark.databases("sqlite")
def test_another_secret_key_is_refused(elsewhere: Site, saved: Path) -> None:
    elsewhere.environ["FTPGATE_SECRET_KEY"] = "k8Zq3vN1xW7tB5yR2mD9sL4hG6pJ0cFa"
    assert "FTPGATE_SECRET_KEY is not the backup's" in refused(elsewhere, "restore", str(saved))
    elsewhere.environ["FTPGATE_SECRET_KEY"] = (saved / "secret_key").read_text()
    elsewhere.run("restore", str(saved))
    assert not (elsewhere.state_dir / "secret_key").exists()


@pytest.mark.databases("sqlite")
def test_keys_of_the_settings_are_saved(here: Site, elsewhere: Site, tmp_path: Path) -> None:
    now, before = "k8Zq3vN1xW7tB5yR2mD9sL4hG6pJ0cFa", "p2Wq8vN3xZ7tB5yR1mD9sL4hG6kJ0cFe"
    here.environ |= {"FTPGATE_SECRET_KEY": now, "FTPGATE_SECRET_KEY_FALLBACKS": before}
    here.add_user()
    here.run("backup", str(tmp_path / "saved"))
    assert (tmp_path / "saved/secret_key").read_text() == now
    steps = elsewhere.json("restore", str(tmp_path / "saved"))["next"]
    assert steps[0].startswith("set FTPGATE_SECRET_KEY_FALLBACKS")
    assert (elsewhere.state_dir / "secret_key").read_text() == now


@pytest.mark.databases("sqlite")
def test_what_fails_half_way_leaves_nothing(here: Site, elsewhere: Site, saved: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    elsewhere.environ["FTPGATE_DATABASE_URL"] = f"sqlite:///{tmp_path}/file/database.sqlite3"
    assert "cannot be written" in refused(elsewhere, "restore", str(saved))
    assert everything_in(elsewhere.state_dir) == {}
    Path(here.environ["FTPGATE_DATABASE_URL"].removeprefix("sqlite:///")).write_bytes(b"no database" * 1000)
    assert "cannot be used" in refused(here, "backup", str(tmp_path / "again" / "today"))
    assert list((tmp_path / "again").iterdir()) == []


@pytest.mark.databases("postgres")
def test_programs_that_are_missing_or_too_old_are_named(here: Site, tmp_path: Path) -> None:
    path = here.environ["PATH"]
    here.environ["PATH"] = str(tmp_path)
    said = refused(here, "backup", str(tmp_path / "saved"))
    assert "pg_dump cannot be run (No such file or directory): install the client" in said
    program = tmp_path / "pg_dump"
    program.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 9.6.24 (Debian)'\n")
    program.chmod(0o755)
    assert "pg_dump is of PostgreSQL 9, the server of" in refused(here, "backup", str(tmp_path / "saved"))
    assert not (tmp_path / "saved").exists()
    here.environ["PATH"] = path
    here.run("backup", str(tmp_path / "saved"))


@pytest.mark.databases("postgres")
def test_what_postgresql_does_not_take_leaves_nothing(elsewhere: Site, saved: Path, postgres: PostgresServer) -> None:
    """A role that may make no tables."""
    database = elsewhere.environ["FTPGATE_DATABASE_URL"].rpartition("/")[2]
    postgres.execute("DROP ROLE IF EXISTS reader")
    postgres.execute("CREATE ROLE reader LOGIN PASSWORD 'reader'")
    elsewhere.environ["FTPGATE_DATABASE_URL"] = f"postgres://reader:reader@127.0.0.1:{postgres.port}/{database}"
    assert "permission denied" in refused(elsewhere, "restore", str(saved))
    assert everything_in(elsewhere.state_dir) == {}
