"""Stores of leases that need no shop, held to the reference. That of PostgreSQL: tests/webportal/gateway/test_leases.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ftpgate.leases import LeaseReport
from ftpgate.shaping.leases.sqlite import SqliteLeases
from ftpgate.shaping.leases.valkey import ValkeyLeases
from tests.support.lease_calls import Clock, compare
from tests.support.valkey import ValkeyServer

REPORT = LeaseReport("anna", 2_000_000, 4, 0, 0, 1, 0, 1, 0)


@pytest.fixture(scope="module")
def valkey() -> Iterator[ValkeyServer]:
    with ValkeyServer() as server:
        yield server


@pytest.mark.parametrize("seed", range(25))
def test_sqlite_answers_as_the_reference_does(tmp_path: Path, seed: int) -> None:
    clock = Clock()
    store = SqliteLeases(tmp_path, clock)
    compare(store, clock, seed)
    store.close()


@pytest.mark.parametrize("seed", range(25))
def test_valkey_answers_as_the_reference_does(valkey: ValkeyServer, seed: int) -> None:
    valkey.clear()
    clock = Clock()
    store = ValkeyLeases(valkey.url, clock)
    compare(store, clock, seed)
    store.close()
