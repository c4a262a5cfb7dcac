"""What one entry of a lease costs, gate and store together: python -m tests.bench.lease_cost

A thousand customers of four gates each are reported again and again: by the real keeper, through each kind of store.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import psutil

from ftpgate import settings
from ftpgate.grants import Tier
from ftpgate.leases import LeaseReport, LeaseStore
from ftpgate.shaping.customer import Customer
from ftpgate.shaping.leases.keeper import BATCH, LeaseKeeper
from ftpgate.shaping.leases.sqlite import SqliteLeases
from ftpgate.shaping.leases.valkey import ValkeyLeases
from tests.support.databases import Databases
from tests.support.postgres import PostgresServer
from tests.support.valkey import ValkeyServer

CUSTOMERS, GATES, ROUNDS = 1_000, 4, 20
GOAL = 40.0
"""Microseconds of processor time for an entry."""
TIER = Tier("t", 1_000_000, 64)


class Thread:
    """An executor that does the work at once; the answers wait for `deliver`."""

    def __init__(self) -> None:
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def submit(self, work: Callable[[], object], done: Callable[..., None]) -> None:
        done(work(), None)

    def call_later(self, seconds: float, call: Callable[[], None]) -> None:
        self.timers.append((time.monotonic() + seconds, call))

    def run_until(self, enough: Callable[[], bool]) -> None:
        while not enough():
            time.sleep(max(min(due for due, _ in self.timers) - time.monotonic(), 0.0))
            now, timers, self.timers = time.monotonic(), self.timers, []
            for due, call in timers:
                if due <= now:
                    call()
                else:
                    self.timers.append((due, call))


def measure(store: LeaseStore, server: psutil.Process | None) -> str:
    """The figures of one store, in a line."""
    names = [f"customer{n}" for n in range(CUSTOMERS)]
    for gate in (*range(GATES - 1), 0):  # the first one was alone, and has been called
        store.exchange(f"other{gate}", [LeaseReport(name, TIER.rate, TIER.connections, 0, 0, 4, 1, 0, 8) for name in names])
    thread = Thread()
    keeper = LeaseKeeper(store, thread, thread.call_later, gate="measured", gates=lambda: GATES)
    for name in names:
        keeper.join(Customer(name, TIER, thread.call_later))
    thread.run_until(lambda: keeper.shared == CUSTOMERS)
    ours, theirs, began, calls = time.process_time(), _seconds(server), keeper.calls.seconds, keeper.calls.count
    thread.run_until(lambda: keeper.calls.count - calls >= ROUNDS * CUSTOMERS / BATCH)
    entries = ROUNDS * CUSTOMERS
    ours, theirs = (time.process_time() - ours) / entries * 1e6, (_seconds(server) - theirs) / entries * 1e6
    took = (keeper.calls.seconds - began) / max(keeper.calls.count - calls, 1) * 1e3
    verdict = "reached" if ours + theirs <= GOAL else "NOT reached"
    return (
        f"{store.name}: gate {ours:.1f} us, store {theirs:.1f} us of processor time an entry, {ours + theirs:.1f} us together "
        f"(goal {GOAL:g}: {verdict}); {took:.1f} ms a call"
    )


def _still() -> float:
    """The stores' clock: no gate ends for want of a call."""
    return 1_000.0


def _seconds(server: psutil.Process | None) -> float:
    """Processor time of a server and the processes that it has started."""
    if server is None:
        return 0.0
    return sum(sum(process.cpu_times()[:2]) for process in (server, *server.children(recursive=True)))


def main() -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        print(measure(SqliteLeases(folder / "leases.sqlite3", _still), None), flush=True)
        valkey = stack.enter_context(ValkeyServer())
        print(measure(ValkeyLeases(valkey.url, _still), valkey.process()), flush=True)
        postgres = stack.enter_context(PostgresServer())
        url = Databases(folder, lambda: postgres).migrated("postgres")
        given = {"FTPGATE_DATABASE_URL": url, "FTPGATE_STATE_DIR": str(folder / "state")}
        from webportal.bridge import make_bridge
        from webportal.gateway.leases import PostgresLeases

        make_bridge(settings.load(given, directory=folder))
        print(measure(PostgresLeases(_still), postgres.process()), flush=True)


if __name__ == "__main__":
    main()
