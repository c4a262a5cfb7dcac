"""What is measured: for each scenario its cases, and for each case the contestants that take their turns in every round."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

from tests.bench.generator import SAMPLE_EVERY, Group
from tests.bench.rounds import Bench, Figures, Measurement, cost
from tests.bench.servers import Server
from tests.bench.shop import MIDDLE, SLOW

PACED_WARM = 3.0
"""Seconds until every paced connection is in its stride."""
LAG_WARM = 5.0
"""Seconds until a thousand of them are, with their opening: that burst has a figure of its own (`opened in s`), and as the
one of their end it is no part of the steady state that is measured."""


def _fetch(bench: Bench, server: Server, protocol: str, what: str, connections: int) -> Figures | None:
    """Files one after the other, each on a connection of its own; over FTP in one session, whose process is counted then."""
    target = server.target(protocol, what)
    if target is None:
        bench.results.note(f"{server.name} has no {what} over {protocol.upper()}: not measured")
        return None
    group = Group(f"{what} over {protocol}", protocol, target.address, target.jobs, connections, keep=protocol in ("ftp", "ftps"))
    return cost(bench.load(server, [group]))


def _whole_file(bench: Bench, scenario: str, peers: Sequence[str], protocol: str) -> None:
    for connections in (1, 40, 200):
        contestants: dict[str, Measurement] = {
            "ftpgate": partial(_fetch, bench, bench.gate, protocol, "big", connections),
            "ftpgate, zip": partial(_fetch, bench, bench.gate, protocol, "zip", connections),
        }
        for name in peers:
            if name in bench.peers:
                contestants[name] = partial(_fetch, bench, bench.peers[name], protocol, "big", connections)
        bench.turns(scenario, str(connections), contestants)


def http(bench: Bench) -> None:
    """One 512 MB file, and the same inside a zip, over HTTP."""
    _whole_file(bench, "http", ["nginx"], "http")


def ftp(bench: Bench) -> None:
    """The same over FTP."""
    _whole_file(bench, "ftp", ["vsftpd", "pyftpdlib"], "ftp")


def tls(bench: Bench) -> None:
    """One 512 MB file through TLS."""
    for connections in (1, 4):
        contestants: dict[str, Measurement] = {
            "ftpgate": partial(_fetch, bench, bench.gate, "https", "big", connections),
            "ftpgate, FTPS": partial(_fetch, bench, bench.gate, "ftps", "big", connections),
        }
        if "nginx" in bench.peers:
            contestants["nginx"] = partial(_fetch, bench, bench.peers["nginx"], "https", "big", connections)
        bench.turns("tls", str(connections), contestants)


def _paced(bench: Bench, server: Server, customers: str, connections: int, rate: int, seconds: float) -> Figures | None:
    target = server.target("http", "big", customers)
    if target is None:
        return None
    load = bench.load(
        server, [Group(customers, "http", target.address, target.jobs, connections, keep=True)], seconds, PACED_WARM
    )
    off = sorted(abs(received / load["seconds"] / rate - 1) for received in load["groups"][0]["received"])
    return {
        **cost(load), "opened in s": load["opened_s"],
        "worst off %": 100 * off[-1], "99th off %": 100 * off[int(0.99 * (len(off) - 1))],
    }  # fmt: skip


def _many(bench: Bench, scenario: str, customers: str, connections: int, rate: int, seconds: float) -> None:
    servers: list[Server] = [bench.gate, *(peer for name, peer in bench.peers.items() if name == "nginx")]
    bench.turns(
        scenario,
        str(connections),
        {server.name: partial(_paced, bench, server, customers, connections, rate, seconds) for server in servers},
    )


def thousand(bench: Bench) -> None:
    """1,000 downloads at 64 kB/s each: ten customers of a hundred connections."""
    _many(bench, "thousand", "middle", 100 * MIDDLE, 64_000, bench.long / 4)


def crowd(bench: Bench) -> None:
    """9,000 downloads at 8 kB/s each: ninety customers of a hundred connections."""
    bench.rounds, rounds = min(bench.rounds, 2), bench.rounds
    _many(bench, "crowd", "slow", 100 * SLOW, 8_000, bench.long)
    bench.rounds = rounds


def logins(bench: Bench) -> None:
    """Log-ins per second: tokens that the gate knows already, and tokens that it has to look up."""

    def log_in(server: Server, customers: str) -> Figures | None:
        target = server.target("login", "small", customers)
        if target is None:
            return None
        load = bench.load(server, [Group("log-ins", "login", target.address, target.jobs, 16)])
        done = load["groups"][0]["finished"] / load["seconds"]
        return {"per s": done, "server CPU ms each": 1000 * load["server_cpu_s"] / load["seconds"] / max(done, 1e-9),
                "errors": load["groups"][0]["errors"]}  # fmt: skip

    contestants: dict[str, Measurement] = {"ftpgate": partial(log_in, bench.gate, "small")}
    for name in ("vsftpd", "pyftpdlib"):
        if name in bench.peers:
            contestants[name] = partial(log_in, bench.peers[name], "small")
    bench.turns("logins", "16 at once", contestants)
    visits = bench.gate.target("login", "small", "visitors")
    assert visits is not None
    strangers = Group("new tokens", "login", visits.address, visits.jobs, 16, per_second=200)
    bench.gate = bench.shop.start()  # it knows none of them
    strangers.address = bench.gate.target("login", "small", "visitors").address  # type: ignore[union-attr]
    load = bench.load(bench.gate, [strangers], 3)
    waits = sorted(load["groups"][0]["latencies"])
    figures: Figures = {
        "per s": load["groups"][0]["finished"] / load["seconds"], "errors": load["groups"][0]["errors"],
        "median wait ms": 1000 * statistics.median(waits), "99th wait ms": 1000 * waits[int(0.99 * (len(waits) - 1))],
    }  # fmt: skip
    bench.results.add("logins", "200 new tokens a second", "ftpgate", figures)


def small(bench: Bench) -> None:
    """Files of 4 kB per second, over connections that are kept."""

    def fetch(server: Server, protocol: str) -> Figures | None:
        target = server.target(protocol, "small", "small")
        if target is None:
            return None
        load = bench.load(server, [Group("small files", protocol, target.address, target.jobs, 16, keep=True)])
        done = load["groups"][0]["finished"] / load["seconds"]
        return {"per s": done, "server CPU ms each": 1000 * load["server_cpu_s"] / load["seconds"] / max(done, 1e-9),
                "errors": load["groups"][0]["errors"]}  # fmt: skip

    for protocol in ("http", "ftp"):
        servers = [bench.gate, *bench.peers.values()]
        contestants: dict[str, Measurement] = {
            server.name: partial(fetch, server, protocol)
            for server in servers
            if server.target(protocol, "small", "small") is not None
        }
        bench.turns("small", protocol, contestants)


def fair(bench: Bench) -> None:
    """Under a limit of 40 MB/s for the whole gate: a customer with 40 connections beside one with 1."""
    total = 40_000_000
    bench.gate = bench.shop.start(total_rate=total)

    def both() -> Figures | None:
        groups = []
        for name, connections in (("many", 40), ("one", 1)):
            target = bench.gate.target("http", "big", name)
            assert target is not None
            groups.append(Group(name, "http", target.address, target.jobs, connections, keep=True))
        load = bench.load(bench.gate, groups, max(bench.seconds, 5), PACED_WARM)
        many, one = (sum(group["received"]) / load["seconds"] for group in load["groups"])
        return {"40 connections MB/s": many / 1e6, "1 connection MB/s": one / 1e6, "apart %": 100 * abs(many / one - 1),
                "total off %": 100 * abs((many + one) / total - 1), "errors": cost(load)["errors"]}  # fmt: skip

    bench.turns("fair", "40 beside 1", {"ftpgate": both})
    bench.gate = bench.shop.start()


def customer(bench: Bench) -> None:
    """One customer at 2 MB/s with 1, 4 and 40 connections, dealt out over HTTP, FTP and TLS."""
    rate = 2_000_000

    def fetch(connections: int) -> Figures | None:
        protocols = [name for name in ("http", "ftp", "https") if name in bench.gate.listens]
        groups = []
        for number, protocol in enumerate(protocols[:connections]):
            target = bench.gate.target(protocol, "big", "two")
            assert target is not None
            count = len(range(number, connections, len(protocols)))
            groups.append(Group(protocol, protocol, target.address, target.jobs, count, keep=True))
        load = bench.load(bench.gate, groups, 10, PACED_WARM)
        each = [received for group in load["groups"] for received in group["received"]]
        sums = [sum(at) for at in zip(*(group["samples"] for group in load["groups"]), strict=False)]
        window = round(1 / SAMPLE_EVERY)
        seconds = [later - earlier for earlier, later in zip(sums, sums[window:], strict=False)]
        mean = sum(each) / len(each)
        return {
            "off %": 100 * abs(sum(each) / load["seconds"] / rate - 1), "worst second": max(seconds) / rate,
            "spread %": 100 * max(abs(one / mean - 1) for one in each), "errors": cost(load)["errors"],
        }  # fmt: skip

    for connections in (1, 4, 40):
        bench.turns("customer", str(connections), {"ftpgate": partial(fetch, connections)})


def lag(bench: Bench) -> None:
    """The loop's lag with 1,000 downloads at 64 kB/s, 50 log-ins a second with new tokens, and the ledger on PostgreSQL."""

    def measure() -> Figures | None:
        bench.gate = bench.shop.start()  # none of the tokens is known, nothing of the past is in its figures
        downloads = bench.gate.target("http", "big", "middle")
        visits = bench.gate.target("login", "small", "visitors")
        assert downloads is not None
        assert visits is not None
        groups = [
            Group("downloads", "http", downloads.address, downloads.jobs, 100 * MIDDLE, keep=True),
            Group("log-ins", "login", visits.address, visits.jobs, 50, per_second=50),
        ]
        before = bench.gate.metric("ftpgate_ledger_transactions_total")
        began = time.monotonic()
        seconds = max(bench.long, 8)
        shown: list[str] = []
        timers = [threading.Timer(at, lambda: shown.append(bench.gate.metrics())) for at in (LAG_WARM, PACED_WARM + seconds - 1)]
        for timer in timers:
            timer.start()
        load = bench.load(bench.gate, groups, seconds, PACED_WARM)
        for timer in timers:
            timer.join()
        transactions = bench.gate.metric("ftpgate_ledger_transactions_total") - before
        return {
            **lags(shown[1], shown[0]), "log-ins per s": load["groups"][1]["finished"] / load["seconds"],
            "ledger transactions per s": transactions / (time.monotonic() - began),
            "server CPU %": cost(load)["server CPU %"], "errors": cost(load)["errors"],
        }  # fmt: skip

    bench.turns("lag", "1000 + 50/s", {"ftpgate": measure})


def lags(metrics: str, before: str = "") -> Figures:
    """The loop's lag in ms: the 99.9th percentile of what came after `before`, and the largest of late."""
    buckets = []
    largest = 0.0
    earlier = dict(line.rsplit(" ", 1) for line in before.splitlines() if line.startswith("ftpgate_loop_lag_seconds_bucket"))
    for line in metrics.splitlines():
        name, _, value = line.rpartition(" ")
        if name.startswith("ftpgate_loop_lag_seconds_bucket{le="):
            buckets.append((float(name.split('"')[1]), float(value) - float(earlier.get(name, 0))))
        elif name == "ftpgate_loop_lag_worst_seconds":
            largest = float(value)
    figures: Figures = {"largest lag ms": 1000 * largest} if largest else {}
    if buckets and buckets[-1][1]:
        figures["lag p99.9 ms"] = 1000 * next(edge for edge, count in buckets if count >= 0.999 * buckets[-1][1])
    return figures


SCENARIOS: dict[str, Callable[[Bench], None]] = {
    scenario.__name__: scenario
    for scenario in (http, ftp, tls, thousand, crowd, logins, small, fair, customer, lag)
}  # fmt: skip
