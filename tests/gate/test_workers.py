"""Several workers under one parent: one gate for clients, and for whoever runs it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import urllib.error
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

import psutil
import pytest

from ftpgate.process.channel import Order
from ftpgate.process.serve import _share
from ftpgate.settings import load
from tests.support.clients import curl
from tests.support.databases import Databases
from tests.support.ports import free_range
from tests.support.rawftp import RawFtp
from tests.support.site import Site
from tests.support.tools import ROOT
from tests.support.waiting import wait_until
from tests.support.workers import addresses_of, admin, connect, worker_of, workers

PORTS = 20


@pytest.fixture(scope="module")
def site(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A shop whose gate has two workers."""
    ports = free_range(PORTS)
    environ = {"FTPGATE_WORKERS": "2", "FTPGATE_PASSIVE_PORTS": f"{ports[0]}-{ports[-1]}"}
    site = Site(tmp_path_factory.mktemp("workers") / "site", databases.migrated("sqlite"), environ)
    site.with_parent = True
    site.start()
    yield site
    site.close()


def one_of_each(site: Site) -> list[str]:
    """An address of each worker's, in their order."""
    return [next(addresses_of(site, pid)) for pid in workers(site)]


def test_the_workers_of_one_gate_complete_what_each_has_delivered_in_part(site: Site, tmp_path: Path) -> None:
    assert site.gate is not None
    assert site.gate.ready["workers"] == workers(site)
    assert site.gate.ready["pid"] not in workers(site)
    names = [f"{number}.ogg" for number in range(4)]
    grant = site.issue(site.add_user(), site.album(dict.fromkeys(names, 100_000))["id"])
    ways = [(grant.url(protocol, f"Album/{name}"), name) for protocol, name in zip(("http", "ftp") * 2, names, strict=True)]
    for source, part in zip(one_of_each(site), (ways[:2], ways[2:]), strict=True):
        for url, name in part:
            curl(url, tmp_path / name, "--interface", source)
    site.wait_for_grant(grant)


def test_all_connections_of_an_address_go_to_one_worker(site: Site) -> None:
    assert site.gate is not None
    used = set()
    with ExitStack() as stack:
        for number in range(2, 14):
            found = set()
            for to in (site.gate.ftp, site.gate.http) * 3:
                sock = stack.enter_context(connect(to, f"127.0.0.{number}"))
                sock.sendall(b"HEAD / HTTP/1.1\r\nHost: gate\r\n\r\n")
                assert sock.recv(100)  # by now it has been accepted
                found.add(worker_of(sock, workers(site)))
            assert len(found) == 1, number
            used |= found
    assert used == set(workers(site))


def test_each_worker_has_passive_ports_of_its_own(site: Site) -> None:
    assert site.gate is not None
    item = site.album({"one.ogg": 1_000}, title="Ports")
    grant = site.issue(site.add_user("ports"), item["id"])
    first = int(site.environ["FTPGATE_PASSIVE_PORTS"].partition("-")[0])
    for half, source in enumerate(one_of_each(site)):
        with RawFtp(site.gate.ftp, source=source) as session:
            session.login(grant.token)
            found = {session.passive()[1] - first for _ in range(8)}
            assert found <= set(range(half * PORTS // 2, (half + 1) * PORTS // 2))


def test_workers_divide_what_there_is_once() -> None:
    settings = load({"FTPGATE_PASSIVE_PORTS": "40000-40009", "FTPGATE_TOTAL_RATE": "1000", "FTPGATE_WORKERS": "3"})
    shares = [_share(settings, Order(number, 3, {}, {}, 0)) for number in range(3)]
    assert [share.passive_ports for share in shares] == [range(40000, 40003), range(40003, 40006), range(40006, 40010)]
    assert [share.total_rate for share in shares] == [334] * 3
    assert _share(load({}), Order(0, 1, {}, {}, 0)) == load({})


def test_the_admin_address_answers_for_all(site: Site) -> None:
    assert site.gate is not None
    item = site.album({"one.ogg": 20_000_000}, title="Slow")
    grant = site.issue(site.add_user("slow", site.set_tier("slow", "100k")), item["id"])
    with ExitStack() as stack:
        for source in one_of_each(site):
            sock = stack.enter_context(connect(site.gate.http, source))
            sock.sendall(f"GET /d/{grant.token}/Slow/one.ogg HTTP/1.1\r\nHost: gate\r\n\r\n".encode())
            assert sock.recv(10_000)
        document = json.loads(admin(site, "/status"))
        metrics = admin(site, "/metrics")
        shown = site.json("status")
    assert [gate["transfers"] for gate in document["gates"]] == [1, 1]
    assert document["total"]["transfers"] == len(document["transfers"]) == 2
    assert document["total"]["rss_bytes"] == sum(gate["rss_bytes"] for gate in document["gates"])
    assert re.findall(r"^ftpgate_transfers\{worker=\"(\d)\"\} 1\.0$", metrics, re.MULTILINE) == ["0", "1"]
    assert re.findall(r"^ftpgate_transfers_ended_total\{outcome=\"done\",worker=\"(\d)\"\}", metrics, re.MULTILINE) == ["0", "1"]
    assert metrics.count("# TYPE ftpgate_loop_lag_seconds histogram") == 1
    assert sorted(gate["id"] for gate in shown["gates"]) == sorted(gate["id"] for gate in document["gates"])
    assert len(shown["transfers"]) == 2


def test_a_worker_that_hangs_is_named_and_hides_no_other(site: Site) -> None:
    os.kill(workers(site)[1], signal.SIGSTOP)
    try:
        with pytest.raises(urllib.error.HTTPError) as refused:
            admin(site, "/health")
        assert (refused.value.code, refused.value.read()) == (503, b"worker 1: does not answer\n")
        assert len(json.loads(admin(site, "/status"))["gates"]) == 1
    finally:
        os.kill(workers(site)[1], signal.SIGCONT)


def test_a_signal_reaches_all_workers(site: Site) -> None:
    assert site.gate is not None
    os.kill(site.gate.ready["pid"], signal.SIGHUP)
    wait_until(lambda: site.gate_log().count("told to reload, but there is no certificate") == 2, 20, "both")


def test_a_gate_of_the_same_user_does_not_join_in_at_its_address(site: Site, tmp_path: Path, databases: Databases) -> None:
    assert site.gate is not None
    second = Site(tmp_path / "second", databases.migrated("sqlite"), {"FTPGATE_HTTP": site.gate.ready["http"]})
    done = second.run("serve", check=False)
    second.close()
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(
        f"ftpgate: FTPGATE_HTTP={site.gate.ready['http']} cannot be listened on (Address already in use)"
    )


def test_a_worker_that_is_killed_is_replaced_and_nobody_is_turned_away(site: Site) -> None:
    assert site.gate is not None
    before = workers(site)
    sources = list(islice(addresses_of(site, before[0]), 3))
    os.kill(before[0], signal.SIGKILL)
    for source in sources:
        for to in (site.gate.ftp, site.gate.http):
            with connect(to, source) as sock:
                sock.sendall(b"HEAD / HTTP/1.1\r\nHost: gate\r\n\r\n")
                assert sock.recv(10).startswith((b"220", b"HTTP/1.1"))
    wait_until(lambda: workers(site)[0] != before[0] and workers(site)[1] == before[1], 20, "another worker in its place")
    assert len(json.loads(admin(site, "/status"))["gates"]) == 2
    assert admin(site, "/health") == "ok\n"


def test_sigterm_ends_all(site: Site) -> None:
    assert site.gate is not None
    processes = [psutil.Process(pid) for pid in workers(site)]
    assert site.stop() == 0
    assert not [process for process in processes if process.is_running()]
    assert not list((site.state_dir / "run").iterdir())
    site.start()
    with socket.create_connection(site.gate.ftp, 20) as sock:
        assert sock.recv(10).startswith(b"220")


@pytest.mark.slow
def test_a_parent_whose_workers_cannot_start_any_more_gives_up(tmp_path: Path) -> None:
    module = tmp_path / "lost_bridge.py"
    module.write_text("from tests.gate.example_bridge import *\n")
    environ = {"FTPGATE_BRIDGE": "lost_bridge", "PYTHONPATH": f"{ROOT}:{tmp_path}", "PYTHONDONTWRITEBYTECODE": "1"}
    site = Site(tmp_path / "site", "", environ)
    site.with_parent = True
    try:
        gate = site.start()
        module.unlink()
        os.kill(gate.pid, signal.SIGKILL)
        assert gate.process.wait(60) == 1
        last = site.gate_log().splitlines()[-1]
        cause = "FTPGATE_BRIDGE=lost_bridge cannot be imported (No module named 'lost_bridge')"
        assert last == f"ftpgate: no worker runs, and 5 in a row could not start ({cause}): name an installed module"
    finally:
        site.close()
