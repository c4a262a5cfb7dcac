"""The journal: what the database has not confirmed yet, in a SQLite file in the state folder, for the gate that comes after.

All gates of a machine that have the same state folder share it; each row names the gate that answers for it. SQLite in WAL mode
with `synchronous=NORMAL`: a commit is a write into the page cache, which a process that is killed leaves intact, and waits for no
disk. `sync` brings what is committed to the disk; called once a second, a loss of power costs no more than that.

Rows come to SQLite as one JSON text for each statement, because `executemany` takes and gives back the GIL for every row. One
costs 3 to 5 µs under the GIL, with all that `Backlog` does for it, and about as much outside.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

from ftpgate.delivery import live_table
from ftpgate.grants import TransferRecord
from ftpgate.proof.coverage import SpanSet
from ftpgate.proof.segments import Evidence

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

CREDIT: Final = "credit"
"""Key `GRANT/FILE`; ranges of the file that were delivered."""
TRANSFER: Final = "transfer"
"""Key `GATE/NUMBER` with the gate that it ran on, under which it is recorded; a `TransferRecord`."""
USE: Final = "use"
"""Key: the digest of a token; when it was last used."""
SEGMENT: Final = "segment"
"""Key: `Evidence.id`; the `Evidence`, or null when it is settled."""
LEFT: Final = "left"
"""Key: `Evidence.id`; the `Evidence` of a transfer that ran when its gate ended, as nobody has judged it yet."""

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
_PUT = """
    INSERT INTO entries SELECT ?1, json_extract(value, '$[0]'), json_extract(value, '$[1]'), ?2, json_extract(value, '$[2]')
    FROM json_each(?3) WHERE true ON CONFLICT DO UPDATE SET value = excluded.value
"""
_DROP = """
    DELETE FROM entries WHERE gate = ?1 AND (kind, key) IN
    (SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?2))
"""
_AT_ONCE = 500
"""Rows in a statement: making their JSON text holds the GIL for about a millisecond."""
_BROKEN = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_SCHEMA}
"""What SQLite says of a file that is no journal, or none any more."""
_json = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
_EVIDENCE = tuple(each.name for each in fields(Evidence))
_evidence_values = attrgetter(*_EVIDENCE)
_record_values = attrgetter(*(each.name for each in fields(TransferRecord)))
"""`dataclasses.astuple` copies every value, which makes a row five times as dear."""
UNREADABLE = "unreadable"
"""The gate that rows are given to which nobody can read."""


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


@dataclass(frozen=True, slots=True)
class Changes:
    """Rows to write (kind, key, and what the kind's comment says) and to delete (kind, key)."""

    put: Sequence[tuple[str, str, Any]] = ()
    drop: Sequence[tuple[str, str]] = ()


@dataclass(slots=True)
class Recovered:
    """What gates that have ended left. It stands in the journal under this gate's own id already."""

    credits: dict[tuple[str, int], SpanSet] = field(default_factory=dict)
    """By grant and `File.id`."""
    transfers: dict[str, TransferRecord] = field(default_factory=dict)
    """By their keys."""
    uses: dict[bytes, float] = field(default_factory=dict)
    segments: dict[str, Evidence | None] = field(default_factory=dict)
    """By id; None: it is settled."""
    left: dict[str, Evidence] = field(default_factory=dict)
    """By id."""
    gates: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.gates)

    def update(self, gate: str, others: Recovered) -> None:
        """Add what one gate left."""
        self.gates.append(gate)
        self.transfers |= others.transfers
        self.uses |= others.uses
        self.segments |= others.segments
        self.left |= others.left
        for key, spans in others.credits.items():
            self.credits.setdefault(key, SpanSet()).update(spans)

    def add(self, kind: str, key: str, value: Any) -> None:
        """Raises ValueError, TypeError, KeyError or AttributeError when `value` is not what a row of that kind holds."""
        if kind == CREDIT:
            grant, _, file = key.rpartition("/")
            spans = SpanSet((int(start), int(end)) for start, end in value)
            self.credits.setdefault((grant, int(file)), SpanSet()).update(spans)
        elif kind == TRANSFER:
            self.transfers[key] = _transfer(value)
        elif kind == USE:
            self.uses[bytes.fromhex(key)] = float(value)
        elif kind == SEGMENT:
            self.segments[key] = None if value is None else _evidence(value)
        elif kind == LEFT:
            self.left[key] = _evidence(value)
        else:
            raise ValueError(f"no kind of row: {kind}")


class Journal:
    """One gate's way to the file. Every method may block; one thread at a time.

    Args:
        folder: the state folder, which exists.
        gate: this gate's id.
    """

    def __init__(self, folder: Path, gate: str) -> None:
        self.path = folder / NAME
        self.gate = gate
        self.bytes = 0
        """Used in the file at the last writing, by all gates."""
        self.set_aside = 0
        """How often a broken file had to be set aside."""
        self._folder = folder
        self._database: sqlite3.Connection | None = None
        self._file: os.stat_result | None = None

    def write(self, changes: Changes, *, anew: bool = False) -> None:
        """Write and delete rows of this gate, all or none.

        Args:
            anew: those that it had go first.

        Raises:
            JournalError: nothing was written.
        """
        encoded = [(kind, key, _encode(kind, value)) for kind, key, value in changes.put]
        with self._transaction() as database:
            if anew:
                database.execute("DELETE FROM entries WHERE gate = ?", (self.gate,))
            for rows in _parts(encoded):
                database.execute(_PUT, (self.gate, time.time(), _json(rows)))
            for names in _parts(changes.drop):
                database.execute(_DROP, (self.gate, _json(names)))

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

    def has_ended_gates(self) -> bool:
        """Is there a table of running transfers that its gate holds no longer? Costs 20 µs a gate, and no look into the file."""
        for gate, path in _tables(self._folder).items():
            if gate != self.gate and (fd := _lock(path)) is not None:
                os.close(fd)
                return True
        return False

    def take_over(self, recovered: Recovered) -> None:
        """Make the rows of gates that have ended, and what their tables of running transfers hold, this gate's own, and add
        them to `recovered`.

        Raises:
            JournalError: the journal takes nothing just now; what was not added stays as it is.
        """
        with self._transaction() as database:
            # Before the folder is looked into: a gate has its file there before it has rows here.
            named = {gate for (gate,) in database.execute("SELECT DISTINCT gate FROM entries")} - {self.gate, UNREADABLE}
            noted = {gate for (gate,) in database.execute("SELECT gate FROM taken")}
        tables = _tables(self._folder)
        for gate, path in tables.items():
            if gate != self.gate and (fd := _lock(path)) is not None:
                try:
                    self._take(gate, () if gate in noted else _running(path), recovered)
                    path.unlink(missing_ok=True)
                finally:
                    os.close(fd)
        for gate in sorted(named - tables.keys()):
            self._take(gate, (), recovered)
        gone = (noted | set(recovered.gates)) - _tables(self._folder).keys()
        if gone:
            with self._transaction() as database:
                database.executemany("DELETE FROM taken WHERE gate = ?", [(gate,) for gate in gone])

    def close(self) -> None:
        database, self._database, self._file = self._database, None, None
        if database is not None:
            with contextlib.suppress(sqlite3.Error):
                database.close()

    def _take(self, gate: str, running: Iterable[Evidence], recovered: Recovered) -> None:
        """Of one gate; killed in the middle of it, or after it, it can be done again."""
        found, unreadable = Recovered(), []
        with self._transaction() as database:
            rows = database.execute("SELECT kind, key, value FROM entries WHERE gate = ?", (gate,)).fetchall()
            for kind, key, value in rows:
                try:
                    found.add(kind, key, json.loads(value))
                except (ValueError, TypeError, KeyError, AttributeError):
                    unreadable.append((UNREADABLE, gate, kind, key))
            found.left.update((each.id, each) for each in running if each.id not in found.segments)
            if unreadable:
                _log.error("the journal has %d rows of gate %s that cannot be read; they are kept in it", len(unreadable), gate)
                given_to = "UPDATE OR REPLACE entries SET gate = ? WHERE gate = ? AND kind = ? AND key = ?"
                database.executemany(given_to, unreadable)
            self._merge(database, found)
            database.execute("UPDATE OR IGNORE entries SET gate = ? WHERE gate = ?", (self.gate, gate))
            database.execute("DELETE FROM entries WHERE gate = ?", (gate,))
            database.execute("INSERT OR IGNORE INTO taken VALUES (?)", (gate,))
        recovered.update(gate, found)
        self.sync()

    def _merge(self, database: sqlite3.Connection, found: Recovered) -> None:
        """Write under this gate's id what is more than another name for the same rows."""
        merged = []
        for (grant, file), spans in found.credits.items():
            key = f"{grant}/{file}"
            own = database.execute("SELECT value FROM entries WHERE gate = ? AND kind = ? AND key = ?", (self.gate, CREDIT, key))
            for (value,) in own:
                spans.update((start, end) for start, end in json.loads(value))
            merged.append((CREDIT, key, _encode(CREDIT, spans)))
        merged += [(LEFT, key, _encode(LEFT, each)) for key, each in found.left.items()]
        for rows in _parts(merged):
            database.execute(_PUT, (self.gate, time.time(), _json(rows)))

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
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
        if _pragmas(database) != (_APPLICATION, _VERSION):
            raise _broken("it is not a journal as this version writes it")
        found = database.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise _broken(found)

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
            aside = self.path.with_name(f"{NAME}.broken-{stamp}-{self.gate}-{self.set_aside}")
            for suffix in ("-wal", "-shm", ""):  # the file itself last: as long as it is there this can be done again
                with contextlib.suppress(FileNotFoundError):
                    os.rename(f"{self.path}{suffix}", f"{aside}{suffix}")
            return aside


@dataclass(frozen=True, slots=True)
class Waiting:
    """Rows of one gate that the database has not confirmed."""

    gate: str
    rows: int
    bytes: int
    since: float
    """Unix time of the oldest."""
    running: bool
    """Does the gate run? Rows of one that has ended are taken over by any that runs, within seconds."""


def waiting(folder: Path) -> list[Waiting]:
    """What stands in the journal of a state folder, and in the tables of gates that have ended; for a person. May block.

    Raises:
        JournalError: it cannot be read.
    """
    path = folder / NAME
    found: dict[str, tuple[int, int, float]] = {}
    if path.exists():
        try:
            with contextlib.closing(sqlite3.connect(path, timeout=BUSY, isolation_level=None)) as database:
                if _pragmas(database) not in ((_APPLICATION, _VERSION), (0, 0)):
                    raise _broken("it is not a journal as this version writes it")
                if _pragmas(database) != (0, 0):
                    checked = database.execute("PRAGMA quick_check(1)").fetchone()[0]
                    if checked != "ok":
                        raise _broken(checked)
                    counted = "SELECT gate, count(*), sum(length(value)), min(since) FROM entries GROUP BY gate"
                    found = {gate: (rows, size, since) for gate, rows, size, since in database.execute(counted)}
        except sqlite3.Error as error:
            raise JournalError(f"{path}: {error}") from error
    running = set()
    for gate, table in _tables(folder).items():
        if (fd := _lock(table)) is None:
            running.add(gate)
            continue
        left = len(_running(table, quietly=True))
        os.close(fd)
        if left:
            rows, size, since = found.get(gate, (0, 0, table.stat().st_mtime))
            found[gate] = rows + left, size, since
    return [Waiting(gate, *figures, gate in running) for gate, figures in found.items()]


def broken(folder: Path) -> list[Path]:
    """Files that were set aside."""
    asides = [*folder.glob(f"{NAME}.broken-*"), *(folder / LIVE).glob("*.broken")]
    return sorted(path for path in asides if not path.name.endswith(("-wal", "-shm")))


def _transfer(value: Sequence[Any]) -> TransferRecord:
    """Of a row, type by type: what the database refuses would keep everything else from being recorded, again and again."""
    grant, item, path, protocol, peer, client, start, end, delivered, started_at, ended_at, outcome = value
    return TransferRecord(
        str(grant), str(item), str(path), str(protocol), str(peer), str(client), int(start), int(end), int(delivered),
        float(started_at), float(ended_at), str(outcome),
    )  # fmt: skip


def _evidence(value: Mapping[str, Any]) -> Evidence:
    """Of a row, in the same way. What a later version writes beside what this one knows is left out."""
    unconfirmed = {
        int(file): tuple((int(start), int(end)) for start, end in spans) for file, spans in value["unconfirmed"].items()
    }
    return Evidence(
        id=str(value["id"]), grant=str(value["grant"]), resource=str(value["resource"]), start=int(value["start"]),
        end=int(value["end"]), sent=int(value["sent"]), acknowledged=int(value["acknowledged"]), shown=int(value["shown"]),
        concealed=int(value["concealed"]), credited=int(value["credited"]), paced=bool(value["paced"]),
        exact=bool(value["exact"]), unconfirmed=unconfirmed,
    )  # fmt: skip


def _encode(kind: str, value: Any) -> str:
    if isinstance(value, TransferRecord):
        value = _record_values(value)
    elif isinstance(value, Evidence):
        value = dict(zip(_EVIDENCE, _evidence_values(value), strict=True))
        value["unconfirmed"] = {str(file): tuple(spans) for file, spans in value["unconfirmed"].items()}
    elif kind == CREDIT:
        value = tuple(value)
    return _json(value)


def _parts(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (rows[at : at + _AT_ONCE] for at in range(0, len(rows), _AT_ONCE))


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


def _tables(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in sorted((folder / LIVE).glob("*.bin"))}


def _lock(path: Path) -> int | None:
    try:
        return live_table.lock(path)
    except OSError as error:
        _log.error("%s cannot be opened (%s)", path, error.strerror)
        return None


def _running(path: Path, *, quietly: bool = False) -> Sequence[Evidence]:
    """What a table holds; one that cannot be read is set aside."""
    try:
        return live_table.read(path)
    except (OSError, ValueError) as error:
        if not quietly:
            _log.error("the transfers that ran when gate %s ended are not known (%s)", path.stem, error)
            os.rename(path, path.with_suffix(".broken"))
        return ()


@contextlib.contextmanager
def _folder_locked(folder: Path) -> Iterator[None]:
    """Against other gates that set the same file aside."""
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
