"""Stores of leases that need no shop, held to the reference. That of PostgreSQL: tests/webportal/gateway/test_leases.py."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from ftpgate.errors import Unavailable
from ftpgate.leases import LeaseReport
from ftpgate.settings import load
from ftpgate.shaping.leases.opening import open_store
from ftpgate.shaping.leases.sqlite import SqliteLeases
from ftpgate.shaping.leases.valkey import ValkeyLeases
from tests.support.inprocess import MemoryShop
from tests.support.lease_calls import Clock, compare
from tests.support.valkey import ValkeyServer

FILE = "some.sqlite3"
REPORT = LeaseReport("anna", 2_000_000, 4, 0, 0, 1, 0, 1, 0)


@pytest.fixture(scope="module")
def valkey() -> Iterator[ValkeyServer]:
    with ValkeyServer() as server:
        yield server


@pytest.mark.parametrize("seed", range(25))
def test_sqlite_answers_as_the_reference_does(tmp_path: Path, seed: int) -> None:
    clock = Clock()
    store = SqliteLeases(tmp_path / FILE, clock)
    compare(store, clock, seed)
    store.close()


@pytest.mark.parametrize("seed", range(25))
def test_valkey_answers_as_the_reference_does(valkey: ValkeyServer, seed: int) -> None:
    valkey.clear()
    clock = Clock()
    store = ValkeyLeases(valkey.url, clock)
    compare(store, clock, seed)
    store.close()


def test_the_file_is_its_users_alone_and_the_folder_too(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    store = SqliteLeases(folder / FILE)
    store.exchange("one", [REPORT])
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.glob(f"{FILE}*")} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    store.close()


def test_gates_of_one_folder_know_each_other_and_a_file_that_is_gone_is_made_anew(tmp_path: Path) -> None:
    one, two = SqliteLeases(tmp_path / FILE), SqliteLeases(tmp_path / FILE)
    assert one.exchange("one", [REPORT]).answers[0].alone
    assert two.exchange("two", [REPORT]).answers[0].gates == 2
    for store in (one, two):
        store.close()
    for path in tmp_path.glob(f"{FILE}*"):
        path.unlink()
    assert not one.exchange("one").known
    one.close()


def test_a_file_that_is_no_database_is_a_store_that_is_away(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("no database, and longer than the head of one would be" * 100)
    with pytest.raises(Unavailable):
        SqliteLeases(tmp_path / FILE).exchange("one", [REPORT])


def test_a_server_that_is_gone_is_away_and_one_that_is_back_has_forgotten(valkey: ValkeyServer) -> None:
    store = ValkeyLeases(valkey.url)
    store.exchange("one", [REPORT])
    assert store.exchange("one").known
    valkey.stop()
    with pytest.raises(Unavailable):
        store.exchange("one")
    valkey.start()
    assert not store.exchange("one").known
    store.close()


def test_the_servers_time_counts(valkey: ValkeyServer) -> None:
    valkey.clear()
    store = ValkeyLeases(valkey.url)
    store.exchange("one", [REPORT])
    (answer,) = store.exchange("two", [REPORT]).answers
    assert (answer.gates, answer.awaited) == (2, True)
    store.close()


def test_a_gate_uses_what_is_named_or_else_a_file_beside_its_database(tmp_path: Path) -> None:
    class Lonely(MemoryShop):
        """A bridge that has no store."""

    class Shared(MemoryShop):
        def lease_store(self) -> SqliteLeases:
            return offered

    offered = SqliteLeases(tmp_path / "other.sqlite3")
    given = {"FTPGATE_STATE_DIR": str(tmp_path / "state"), "FTPGATE_DATABASE_URL": f"sqlite:///{tmp_path}/shop/db.sqlite3"}
    assert open_store(load(given, directory=tmp_path), Shared()) is offered
    beside = open_store(load(given, directory=tmp_path), Lonely())
    beside.exchange("one")
    beside.close()
    assert (tmp_path / "shop" / "db.sqlite3-leases").is_file()
    named = open_store(load({**given, "FTPGATE_LEASES": "redis://127.0.0.1:1"}, directory=tmp_path), Shared())
    assert named.name == "valkey"
    named.close()
