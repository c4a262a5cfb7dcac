"""The journal: what the database has not confirmed yet, in a SQLite file in the state folder, for the gate that comes after.

All gates of a machine that have the same state folder share it; each row names the gate that answers for it.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ftpgate.delivery import live_table
from ftpgate.delivery.journal_file import LIVE, JournalFile, reading
from ftpgate.delivery.journal_rows import CREDIT, LEFT, Changes, Recovered, encode, parts, to_json
from ftpgate.proof.segments import Evidence

_log = logging.getLogger(__name__)

UNREADABLE = "unreadable"
"""The gate that rows are given to which nobody can read."""
_PUT = """
    INSERT INTO entries SELECT ?1, json_extract(value, '$[0]'), json_extract(value, '$[1]'), ?2, json_extract(value, '$[2]')
    FROM json_each(?3) WHERE true ON CONFLICT DO UPDATE SET value = excluded.value
"""
_DROP = """
    DELETE FROM entries WHERE gate = ?1 AND (kind, key) IN
    (SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?2))
"""


class Journal:
    """One gate's way to the file. Every method may block; one thread at a time.

    Args:
        folder: the state folder, which exists.
        gate: this gate's id.
    """

    def __init__(self, folder: Path, gate: str) -> None:
        self.gate = gate
        self.file = JournalFile(folder, gate)
        self._folder = folder

    def write(self, changes: Changes, *, anew: bool = False) -> None:
        """Write and delete rows of this gate, all or none.

        Args:
            anew: those that it had go first.

        Raises:
            JournalError: nothing was written.
        """
        encoded = [(kind, key, encode(kind, value)) for kind, key, value in changes.put]
        with self.file.transaction() as database:
            if anew:
                database.execute("DELETE FROM entries WHERE gate = ?", (self.gate,))
            for rows in parts(encoded):
                database.execute(_PUT, (self.gate, time.time(), to_json(rows)))
            for names in parts(changes.drop):
                database.execute(_DROP, (self.gate, to_json(names)))

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
        with self.file.transaction() as database:
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
            with self.file.transaction() as database:
                database.executemany("DELETE FROM taken WHERE gate = ?", [(gate,) for gate in gone])

    def _take(self, gate: str, running: Iterable[Evidence], recovered: Recovered) -> None:
        """Of one gate; killed in the middle of it, or after it, it can be done again."""
        found, unreadable = Recovered(), []
        with self.file.transaction() as database:
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
        self.file.sync()

    def _merge(self, database: sqlite3.Connection, found: Recovered) -> None:
        """Write under this gate's id what is more than another name for the same rows."""
        merged = []
        for (grant, file), spans in found.credits.items():
            key = f"{grant}/{file}"
            own = database.execute("SELECT value FROM entries WHERE gate = ? AND kind = ? AND key = ?", (self.gate, CREDIT, key))
            for (value,) in own:
                spans.update((start, end) for start, end in json.loads(value))
            merged.append((CREDIT, key, encode(CREDIT, spans)))
        merged += [(LEFT, key, encode(LEFT, each)) for key, each in found.left.items()]
        for rows in parts(merged):
            database.execute(_PUT, (self.gate, time.time(), to_json(rows)))


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
    found: dict[str, tuple[int, int, float]] = {}
    with reading(folder) as database:
        if database is not None:
            counted = "SELECT gate, count(*), sum(length(value)), min(since) FROM entries GROUP BY gate"
            found = {gate: (rows, size, since) for gate, rows, size, since in database.execute(counted)}
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


def running(folder: Path) -> list[str]:
    """The gates that run in a state folder."""
    found = []
    for gate, table in _tables(folder).items():
        if (fd := _lock(table)) is None:
            found.append(gate)
        else:
            os.close(fd)
    return found


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
