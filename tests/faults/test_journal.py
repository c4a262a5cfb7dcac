"""The database is away while customers download, and the gate ends: nothing delivered is lost, nothing is counted twice."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import psycopg2
import pytest

from ftpgate.delivery.journal_file import LIVE, NAME
from ftpgate.delivery.journal_rows import CREDIT, TRANSFER
from ftpgate.proof.coverage import SpanSet
from tests.support import clients
from tests.support.databases import Databases
from tests.support.postgres import PostgresServer
from tests.support.site import Gate, Site
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

FILES = {"a.ogg": 300_000, "b.ogg": 2_000_000, "c.ogg": 2_000_000}
TABLES = ("history_transfer", "history_completion")


class Database(Protocol):
    url: str

    def leave(self) -> None:
        """Take nothing from now on."""
        ...

    def come_back(self) -> None: ...

    def count(self, table: str) -> int: ...


class Postgres:
    def __init__(self, server: PostgresServer, url: str) -> None:
        self._server, self.url = server, url

    def leave(self) -> None:
        self._server.stop(immediately=True)

    def come_back(self) -> None:
        self._server.start()

    def count(self, table: str) -> int:
        with psycopg2.connect(self.url) as database, database.cursor() as cursor:
            cursor.execute(f"SELECT count(*) FROM {table}")
            return int(cursor.fetchone()[0])  # type: ignore[index]


class Sqlite:
    """Somebody holds its write lock."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._holder = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None, timeout=30)

    def leave(self) -> None:
        self._holder.execute("BEGIN IMMEDIATE")

    def come_back(self) -> None:
        self._holder.execute("ROLLBACK")

    def count(self, table: str) -> int:
        return int(self._holder.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


@pytest.fixture
def database(request: pytest.FixtureRequest, database_kind: str, databases: Databases, tmp_path: Path) -> Database:
    if database_kind == "sqlite":
        return Sqlite(databases.migrated("sqlite"))
    server: PostgresServer = request.getfixturevalue("own_postgres")
    return Postgres(server, Databases(tmp_path, lambda: server).migrated("postgres"))


class Shop:
    """A gate with one customer, who fetches the first file while all is well."""

    def __init__(self, site: Site, database: Database, folder: Path) -> None:
        self.site, self.database, self.folder = site, database, folder
        item = site.album(FILES)
        self.user = site.add_user()
        site.start()
        self.grant = site.issue(self.user, item["id"])
        self.fetch("http", "a.ogg")
        wait_until(lambda: self.transfers == 1, 20, "the first transfer's record")

    def fetch(self, protocol: str, name: str) -> None:
        clients.curl(self.grant.url(protocol, f"Album/{name}"), self.folder / name)

    def fetch_without_a_database(self) -> None:
        """The other files; afterwards the journal alone has them."""
        self.database.leave()
        self.fetch("http", "b.ogg")
        self.fetch("ftp", "c.ogg")
        wait_until(lambda: self.in_journal() == (4_000_000, 2), 20, "the deliveries in the journal")

    def in_journal(self) -> tuple[int, int]:
        """Delivered bytes and ended transfers."""
        rows = journal(self.site.state_dir)
        delivered = [SpanSet((start, end) for start, end in value) for kind, value in rows if kind == CREDIT]
        return sum(spans.size for spans in delivered), sum(kind == TRANSFER for kind, _ in rows)

    @property
    def transfers(self) -> int:
        return self.database.count("history_transfer")

    def assert_recorded_once(self) -> None:
        self.site.wait_for_grant(self.grant, timeout=30)
        wait_until(lambda: not journal(self.site.state_dir), 20, "an empty journal")
        assert [self.database.count(table) for table in TABLES] == [3, 1]
        assert self.check("journal") == (True, "nothing waits")

    def check(self, name: str) -> tuple[bool, str]:
        """What the doctor says."""
        done = self.site.run("doctor", "--json", check=False)
        (found,) = [check for check in json.loads(done.stdout)["checks"] if check["name"] == name]
        return found["ok"], found["found"]


@pytest.fixture
def shop(make_site: Callable[..., Site], database: Database, tmp_path: Path) -> Shop:
    return Shop(make_site(database.url), database, tmp_path)


def journal(state_dir: Path) -> list[tuple[str, Any]]:
    """Kind and value of what stands in it."""
    with contextlib.closing(sqlite3.connect(state_dir / NAME, timeout=30)) as rows:
        return [(kind, json.loads(value)) for kind, value in rows.execute("SELECT kind, value FROM entries")]


def health(gate: Gate) -> tuple[int, str]:
    host, port = gate.admin
    try:
        with urllib.request.urlopen(f"http://{host}:{port}/health", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_killed_without_a_database(shop: Shop) -> None:
    shop.fetch_without_a_database()
    shop.site.kill()
    shop.database.come_back()
    assert shop.transfers == 1
    ok, found = shop.check("journal")
    assert not ok
    assert "of gates that have ended wait to be recorded" in found
    shop.site.start()
    shop.assert_recorded_once()
    assert "taken over what gates that have ended left" in shop.site.gate_log()
    assert len(list((shop.site.state_dir / LIVE).iterdir())) == 1


def test_stopped_without_a_database(shop: Shop) -> None:
    """It ends in order, says what it could not record and where that is."""
    shop.fetch_without_a_database()
    assert shop.site.stop() == 0
    shop.database.come_back()
    assert shop.transfers == 1
    assert "the database did not take 4000000 delivered bytes of 2 files, 2 ended transfers: kept in" in shop.site.gate_log()
    assert not list((shop.site.state_dir / LIVE).iterdir())
    shop.site.start()
    shop.assert_recorded_once()


@pytest.mark.databases("postgres")
def test_killed_again_and_again(shop: Shop) -> None:
    """While the database is away each gate takes over from the one before; the last one records it all."""
    shop.fetch_without_a_database()
    for _ in range(3):
        shop.site.kill()
        shop.site.start()
        assert shop.in_journal() == (4_000_000, 2)
    shop.database.come_back()
    shop.assert_recorded_once()


def test_what_the_database_had_already_counts_once(shop: Shop) -> None:
    """The gate was killed after the database had taken a batch, and before the journal heard of it."""
    shop.fetch_without_a_database()
    with (
        contextlib.closing(sqlite3.connect(shop.site.state_dir / NAME)) as current,
        contextlib.closing(sqlite3.connect(shop.folder / "before")) as before,
    ):
        current.backup(before)
    shop.database.come_back()
    shop.assert_recorded_once()
    shop.site.kill()
    for path in shop.site.state_dir.glob(f"{NAME}*"):
        path.unlink()
    (shop.folder / "before").rename(shop.site.state_dir / NAME)
    assert shop.in_journal() == (4_000_000, 2)
    shop.site.start()
    shop.assert_recorded_once()


def test_a_gate_that_runs_takes_over_from_one_that_stops(shop: Shop, make_site: Callable[..., Site], database: Database) -> None:
    """As when a new one is started while the old one drains."""
    site = shop.site
    shared = {"FTPGATE_MEDIA_ROOT": str(site.media_root), "FTPGATE_STATE_DIR": str(site.state_dir)}
    make_site(database.url, shared).start()
    shop.fetch_without_a_database()
    assert site.stop() == 0
    shop.database.come_back()
    shop.assert_recorded_once()


@pytest.mark.databases("postgres")
def test_a_journal_that_breaks_stops_no_download_and_what_is_lost_is_named(shop: Shop) -> None:
    """A folder stands where it was."""
    site, slow = shop.site, shop.site.add_user("slow", shop.site.set_tier("slow", "1M"))
    other = site.issue(slow, site.album({"d.ogg": 4_000_000}, title="Other")["id"])
    to = shop.folder / "d.ogg"
    running = clients.start("curl", ["-q", "-sS", "-o", str(to), other.http_url("Other/d.ogg")])
    wait_until(lambda: to.exists() and to.stat().st_size > 500_000, 20, "the beginning of the file")
    shop.database.leave()
    shop.fetch("http", "b.ogg")
    shop.fetch("ftp", "c.ogg")
    wait_until(lambda: shop.in_journal()[1] == 2, 20, "the transfers in the journal")
    for path in site.state_dir.glob(f"{NAME}*"):
        path.unlink()
    (site.state_dir / NAME).mkdir()
    running.communicate(timeout=30)
    assert running.returncode == 0
    wait_until(lambda: "the journal takes nothing" in site.gate_log(), 20, "the news of the journal")
    assert site.gate is not None
    assert health(site.gate)[0] == 503
    assert site.stop() == 1
    (said,) = [line for line in site.gate_log().splitlines() if "LOST" in line]
    assert "delivered bytes of 3 files, 3 ended transfers" in said
    assert str(site.state_dir / NAME) in said


@pytest.mark.databases("sqlite")
def test_a_broken_journal_is_set_aside_and_told(shop: Shop) -> None:
    site = shop.site
    assert site.stop() == 0
    for path in site.state_dir.glob(f"{NAME}-*"):
        path.unlink()  # SQLite would take the pages of a write-ahead log instead
    (site.state_dir / NAME).write_bytes(b"no journal" * 1_000)
    ok, found = shop.check("journal")
    assert not ok
    assert NAME in found
    gate = site.start()
    assert "is broken" in site.gate_log()
    wait_until(lambda: health(gate) == (200, "ok\n"), 20, "a journal that works")
    ok, found = shop.check("journal")
    assert not ok
    assert f"{NAME}.broken-" in found
    shop.fetch("http", "b.ogg")
    shop.fetch("ftp", "c.ogg")
    site.wait_for_grant(shop.grant)


@pytest.mark.databases("postgres")
def test_status_and_metrics_show_what_waits(shop: Shop) -> None:
    shop.fetch_without_a_database()
    gate = shop.site.gate
    assert gate is not None
    host, port = gate.admin

    def shown(page: str) -> str:
        with urllib.request.urlopen(f"http://{host}:{port}/{page}", timeout=10) as answer:
            return str(answer.read().decode())

    document = json.loads(shown("status"))["gates"][0]["journal"]
    assert document["rows"] >= 4
    assert document["bytes"] > 0
    assert document["since"] is not None
    assert document["problem"] is None
    assert f"ftpgate_journal_rows {float(document['rows'])}" in shown("metrics")
    ok, found = shop.check("journal")
    assert ok
    assert "are on their way to the database" in found
    shop.database.come_back()
    wait_until(lambda: json.loads(shown("status"))["gates"][0]["journal"]["rows"] == 0, 30, "an empty journal")
    assert json.loads(shown("status"))["gates"][0]["journal"]["since"] is None
