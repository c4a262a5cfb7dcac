"""Leases in a SQLite file: for several gates of one machine. The rules run in Python, one call at a time."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from ftpgate import private
from ftpgate.errors import Unavailable
from ftpgate.leases import LeaseExchange, LeaseLeave, LeaseReport
from ftpgate.shaping.leases.rules import Account, Member, State, ended_gates, excused, leave, settle

_BUSY_SECONDS = 1.0
# Nothing here outlives its gates by more than seconds: a power failure may take all of it, and no call waits for the disk.
_TABLES = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = OFF;
PRAGMA temp_store = MEMORY;
CREATE TABLE IF NOT EXISTS gate (gate TEXT PRIMARY KEY, seen REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS account (customer TEXT PRIMARY KEY, debt REAL NOT NULL, at REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS member (
    customer TEXT, gate TEXT, sent INTEGER, use INTEGER, hungry INTEGER, used INTEGER, wanted INTEGER, bound INTEGER,
    given REAL, seen REAL, state INTEGER, PRIMARY KEY (customer, gate)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS member_by_gate ON member (gate, state);
"""
_EMPTY = "DELETE FROM account WHERE NOT EXISTS (SELECT 1 FROM member WHERE member.customer = account.customer)"


class SqliteLeases:
    """`LeaseStore` over a file of its own on a disk of the machine itself.

    Its time is the machine's monotonic clock, which all its processes share. What is from before a start of the machine
    lies in the future, or is long over: either way its gates have ended.
    """

    name = "sqlite"

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._database: sqlite3.Connection | None = None

    def exchange(
        self, gate: str, reports: Sequence[LeaseReport] = (), leaving: Sequence[LeaseLeave] = (), ended: Sequence[str] = ()
    ) -> LeaseExchange:
        with self._transaction() as database:
            now = self._clock()
            _drop(database, ended)
            if gate in ended:
                return LeaseExchange((), (), known=True)
            known = _heard(database, gate, now)
            left = [each.customer for each in leaving]
            accounts = _load(database, [*left, *(report.customer for report in reports)])
            for each in leaving:
                leave(accounts[each.customer], gate, each, now)
            answers = [settle(accounts[report.customer], gate, report, now) for report in reports]
            _store(database, accounts, gate, left)
            called = database.execute("SELECT customer FROM member WHERE gate = ? AND state = ?", (gate, State.CALLED))
            return LeaseExchange(answers, [name for (name,) in called], known)

    def close(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            with suppress(sqlite3.Error):
                database.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            database = self._database or self._open()
            database.execute("BEGIN IMMEDIATE")
            yield database
            database.execute("COMMIT")
        except BaseException as error:
            self.close()  # and with it whatever was begun
            if isinstance(error, sqlite3.Error | OSError):
                raise Unavailable from error
            raise

    def _open(self) -> sqlite3.Connection:
        private.make_file(self._path)
        self._database = sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None)
        self._database.executescript(_TABLES)
        return self._database


def _heard(database: sqlite3.Connection, gate: str, now: float) -> bool:
    """Note that a gate has called, and drop those that have ended. Was it known?"""
    gates = dict(database.execute("SELECT gate, seen FROM gate"))
    seen = gates.get(gate)
    _drop(database, ended_gates(gates, gate, now))
    if excused(seen, now):
        database.execute("UPDATE gate SET seen = ?", (now,))
    database.execute("INSERT OR REPLACE INTO gate VALUES (?, ?)", (gate, now))
    return seen is not None


def _drop(database: sqlite3.Connection, gates: Sequence[str]) -> None:
    for gate in gates:
        database.execute("DELETE FROM gate WHERE gate = ?", (gate,))
        database.execute("DELETE FROM member WHERE gate = ?", (gate,))
    if gates:
        database.execute(_EMPTY)


def _load(database: sqlite3.Connection, customers: Iterable[str]) -> dict[str, Account]:
    """The accounts of these customers, new ones where there are none."""
    accounts = {customer: Account() for customer in customers}
    for customer, account in accounts.items():
        for debt, at in database.execute("SELECT debt, at FROM account WHERE customer = ?", (customer,)):
            account.debt, account.at = debt, at
        for _, gate, *figures in database.execute("SELECT * FROM member WHERE customer = ?", (customer,)):
            account.members[gate] = member = Member(*figures)
            member.state = State(member.state)
    return accounts


def _store(database: sqlite3.Connection, accounts: dict[str, Account], gate: str, left: Iterable[str]) -> None:
    database.executemany("DELETE FROM member WHERE customer = ? AND gate = ?", [(customer, gate) for customer in left])
    members = (
        (customer, name, m.sent, m.use, m.hungry, m.used, m.wanted, m.bound, m.given, m.seen, m.state)
        for customer, account in accounts.items()
        for name, m in account.members.items()
        if name == gate or m.state is State.CALLED
    )
    database.executemany("INSERT OR REPLACE INTO member VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", members)
    there = [(customer, account.debt, account.at) for customer, account in accounts.items() if account.members]
    database.executemany("INSERT OR REPLACE INTO account VALUES (?, ?, ?)", there)
    gone = [(customer,) for customer, account in accounts.items() if not account.members]
    database.executemany("DELETE FROM account WHERE customer = ?", gone)
