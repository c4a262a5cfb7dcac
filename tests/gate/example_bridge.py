"""A bridge without Django: `python example_bridge.py CUSTOMER FOLDER` sells a folder of the media root and prints the link."""

import hashlib
import json
import sqlite3
import sys
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from ftpgate import settings
from ftpgate.errors import Unavailable
from ftpgate.gates import Told
from ftpgate.grants import (
    Batch,
    File,
    GateAddress,
    GateLoad,
    GateState,
    Grant,
    GrantState,
    GrantStatus,
    Heartbeat,
    Item,
    Tier,
)
from ftpgate.naming import folder_name
from ftpgate.proof.coverage import SpanSet
from ftpgate.tokens import Token, new_grant_id

TABLES = """
CREATE TABLE IF NOT EXISTS file (
    id INTEGER PRIMARY KEY, folder TEXT, path TEXT, size INTEGER, mtime_ns INTEGER, sha256 BLOB, crc32 INTEGER,
    UNIQUE (folder, path));
CREATE TABLE IF NOT EXISTS sold (
    id TEXT PRIMARY KEY, digest BLOB UNIQUE, customer TEXT, folder TEXT, issued_at REAL, expires_at REAL, completed_at REAL);
CREATE TABLE IF NOT EXISTS coverage (sold TEXT, file INTEGER, size INTEGER, spans TEXT, PRIMARY KEY (sold, file));
"""
TIER = Tier("everybody", rate=2_000_000, connections=16)


class ExampleBridge:
    """`ftpgate.grants.Bridge` over three tables of SQLite. Every call opens a connection, so that threads share nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with closing(sqlite3.connect(path)) as database:
            database.executescript(TABLES)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self._path, timeout=10, isolation_level=None)) as database:
                database.execute("BEGIN IMMEDIATE")  # two gates that merge coverage of one file take turns
                yield database
                database.execute("COMMIT")
        except sqlite3.OperationalError as error:
            raise Unavailable(f"The database does not answer ({error}).") from error

    def look_up(self, token: Token) -> Grant | None:
        return self._grant("digest", token.digest())

    def look_up_grant(self, grant: str) -> Grant | None:
        return self._grant("id", grant)

    def refresh(self, grants: Sequence[str]) -> Sequence[GrantStatus]:
        with self.transaction() as database:
            return [status for grant in grants for status in _statuses(database, grant)]

    def record(self, gate: str, batch: Batch) -> Sequence[GrantStatus]:
        """Segments without proof are not kept: after a restart of the gate, their bytes have to be fetched again."""
        with self.transaction() as database:
            for new in batch.delivered:
                row = database.execute("SELECT spans FROM coverage WHERE sold = ? AND file = ?", (new.grant, new.file)).fetchone()
                spans = SpanSet(json.loads(row[0]) if row else ())
                spans.update(new.spans)
                database.execute(
                    "INSERT OR REPLACE INTO coverage VALUES (?, ?, ?, ?)",
                    (new.grant, new.file, spans.size, json.dumps(list(spans))),
                )
            touched = sorted({new.grant for new in batch.delivered})
            return [status for grant in touched if _completed_now(database, grant) for status in _statuses(database, grant)]

    def exchange(self, told: Told) -> None:
        """One gate is enough for this shop."""

    def report_changed(self, files: Mapping[int, str]) -> None:
        print(f"not as they were sold: {files}", file=sys.stderr)

    def gate_started(self, gate: GateAddress) -> None: ...

    def heartbeat(self, gate: GateAddress, state: GateState, load: GateLoad) -> Heartbeat:
        return Heartbeat()  # one gate is all there is

    def gate_stopped(self, gate: str) -> None: ...

    def wait_for_changes(self, timeout: float) -> None:
        """SQLite cannot push: the gate asks every second."""

    def release(self) -> None:
        """No connection outlives its call."""

    def sell(self, customer: str, folder: Path) -> Token:
        """A grant of everything in a folder, for a week."""
        token, now = Token.new(new_grant_id()), time.time()
        with self.transaction() as database:
            for path in sorted(each for each in folder.rglob("*") if each.is_file()):
                name, stat, data = path.relative_to(folder).as_posix(), path.stat(), path.read_bytes()
                hashes = hashlib.sha256(data).digest(), zlib.crc32(data)
                database.execute(
                    "INSERT OR IGNORE INTO file (folder, path, size, mtime_ns, sha256, crc32) VALUES (?, ?, ?, ?, ?, ?)",
                    (folder.name, name, stat.st_size, stat.st_mtime_ns, *hashes),
                )
            row = (token.grant, token.digest(), customer, folder.name, now, now + 7 * 86_400, None)
            database.execute("INSERT INTO sold VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        return token

    def _grant(self, column: str, value: str | bytes) -> Grant | None:
        with self.transaction() as database:
            row = database.execute(f"SELECT id, folder, issued_at FROM sold WHERE {column} = ?", (value,)).fetchone()
            if row is None:
                return None
            grant, folder, issued_at = row
            columns = "id, path, ? || '/' || path, size, mtime_ns, sha256, crc32"
            files = database.execute(f"SELECT {columns} FROM file WHERE folder = ? ORDER BY path", (folder, folder))
            item = Item(folder, folder, "", None, folder_name(folder), tuple(File(*file) for file in files))
            covered = dict(database.execute("SELECT file, spans FROM coverage WHERE sold = ?", (grant,)))
            (status,) = _statuses(database, grant)
            return Grant(status, issued_at, (item,), {file: [*SpanSet(json.loads(spans))] for file, spans in covered.items()})


def _statuses(database: sqlite3.Connection, grant: str) -> list[GrantStatus]:
    """The status of a grant, or nothing."""
    row = database.execute("SELECT digest, customer, expires_at, completed_at FROM sold WHERE id = ?", (grant,)).fetchone()
    if row is None:
        return []
    digest, customer, expires_at, completed_at = row
    expired = GrantState.EXPIRED if expires_at <= time.time() else GrantState.OPEN
    state = expired if completed_at is None else GrantState.COMPLETE
    return [GrantStatus(grant, state, expires_at, completed_at, customer, TIER, frozenset({digest}))]


def _completed_now(database: sqlite3.Connection, grant: str) -> bool:
    """Complete a grant that was not, if every file of it is covered. The condition on `completed_at` makes it once."""
    lacking = """SELECT 1 FROM sold JOIN file USING (folder) LEFT JOIN coverage ON sold.id = sold AND file.id = file
                 WHERE sold.id = ? AND coalesce(coverage.size, 0) < file.size"""
    if database.execute(lacking, (grant,)).fetchone():
        return False
    update = "UPDATE sold SET completed_at = ? WHERE id = ? AND completed_at IS NULL"
    return database.execute(update, (time.time(), grant)).rowcount == 1


def make_bridge(settings: settings.Settings) -> ExampleBridge:
    return ExampleBridge(settings.state_dir / "example.sqlite3")


if __name__ == "__main__":
    given = settings.load()
    print(f"http://{given.http}/d/{make_bridge(given).sell(sys.argv[1], given.media_root / sys.argv[2]).reveal()}/")
