"""Two gates and one customer: his connections are counted over both, through each kind of store."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.support.databases import Databases
from tests.support.rawftp import RawFtp
from tests.support.rawhttp import RawClient
from tests.support.site import Gate, Grant, Site
from tests.support.valkey import ValkeyServer
from tests.support.waiting import wait_until

SIZE, CONNECTIONS = 8_000_000, 4


class Customer:
    """Clients of one customer, whose downloads do not end while the test runs; a context manager that closes them."""

    def __init__(self, grant: Grant) -> None:
        self.grant = grant
        self._stack = ExitStack()

    def http(self, gate: Gate) -> RawClient | None:
        """A download; None when it was refused."""
        client = RawClient(gate.http)
        status, headers = client.ask(f"/d/{self.grant.token}/Album/track.bin").head()
        if status == 200:
            self._stack.callback(client.close)
            return client
        assert (status, headers["retry-after"]) == (503, "5")
        client.close()
        return None

    def ftp(self, gate: Gate) -> bool:
        """A session; False when it was refused."""
        client = self._stack.enter_context(RawFtp(gate.ftp))
        client.do("USER x", "331")
        client.send(f"PASS {self.grant.token}")
        reply = client.reply()
        assert reply[:3] in ("230", "421")
        return reply.startswith("230")

    def __enter__(self) -> Customer:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


@pytest.fixture(params=["sqlite", "postgresql", "valkey"])
def store(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def sites(store: str, make_site: Callable[..., Site], databases: Databases) -> Iterator[list[Site]]:
    """Two installations of one shop that have this store of leases."""
    with ExitStack() as stack:
        url = databases.migrated("postgres" if store == "postgresql" else "sqlite")
        environ = {"FTPGATE_LEASES": stack.enter_context(ValkeyServer()).url} if store == "valkey" else {}
        first = make_site(url, environ)
        shared = {"FTPGATE_MEDIA_ROOT": str(first.media_root), "FTPGATE_STATE_DIR": str(first.state_dir)}
        yield [first, make_site(url, environ | shared)]


def issue(site: Site, *others: str) -> list[Grant]:
    """Grants of customers whose downloads take long."""
    item = site.album({"track.bin": SIZE})
    tier = site.set_tier("slow", "50k", connections=CONNECTIONS)
    return [site.issue(site.add_user(name, tier), item["id"]) for name in ("anna", *others)]


def status(gate: Gate) -> Any:
    with RawClient(gate.admin) as admin:
        return json.loads(admin.ask("/status").reply().body)["gates"][0]["leases"]


def test_connections_are_counted_over_both_gates(sites: list[Site], store: str) -> None:
    one, two = (site.start() for site in sites)
    with Customer(issue(sites[0])[0]) as customer:
        first = [customer.http(one) for _ in range(3)]
        assert all(first)
        assert customer.ftp(two)
        assert not customer.ftp(two)
        assert customer.http(two) is None
        assert customer.http(one) is None
        assert status(one) == {"store": store, "up": True, "shared": 1, "alone": 0}
        assert first[0] is not None
        first[0].close()
        wait_until(lambda: customer.http(two), 10, "the connection that the first gate has free")
        assert customer.http(one) is None


def test_a_gate_that_is_killed_holds_nothing(sites: list[Site]) -> None:
    one, two = (site.start() for site in sites)
    with Customer(issue(sites[0])[0]) as customer:
        assert all(customer.http(one) for _ in range(CONNECTIONS))
        assert customer.http(two) is None
        sites[0].kill()
        for _ in range(CONNECTIONS):
            wait_until(lambda: customer.http(two), 10, "the connections of the gate that is gone")
        assert customer.http(two) is None


@pytest.mark.parametrize("store", ["valkey"], indirect=True)
def test_nobody_is_turned_away_for_want_of_the_store(make_site: Callable[..., Site], databases: Databases, store: str) -> None:
    url = databases.migrated("sqlite")
    with ValkeyServer() as server:
        site = make_site(url, {"FTPGATE_LEASES": server.url})
        gate = site.start()
        grants = issue(site, "bert")
        with Customer(grants[0]) as customer, Customer(grants[1]) as newcomer:
            assert customer.http(gate)
            wait_until(lambda: status(gate)["alone"] == 1, 10, "the store's answer")
            server.stop()
            wait_until(lambda: not status(gate)["up"], 10, "that the gate misses its store")
            assert customer.http(gate)  # it was this gate's alone
            assert newcomer.http(gate)
            server.start()
            wait_until(lambda: status(gate)["up"], 10, "that the gate has its store again")
            wait_until(lambda: status(gate)["alone"] == 2, 10, "that the store knows both customers again")
        assert site.gate_log().count("the store of leases (valkey) is away") == 1
        assert "the store of leases (valkey) answers again" in site.gate_log()


def test_a_store_that_never_answers_stops_nobody(make_site: Callable[..., Site], databases: Databases) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        site = make_site(databases.migrated("sqlite"), {"FTPGATE_LEASES": f"valkey://127.0.0.1:{silent.getsockname()[1]}"})
        gate = site.start()
        with Customer(issue(site)[0]) as customer:
            assert customer.http(gate)
            assert customer.http(gate)
