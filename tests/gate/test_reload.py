"""New workers take the place of those that run, on the same sockets; and sockets that somebody else has opened."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from tests.support.clients import curl, start
from tests.support.databases import Databases
from tests.support.site import Grant, Site, free_address
from tests.support.waiting import wait_until
from tests.support.workers import admin, reloads, workers

NEWCOMERS = 60
SIZE = 4_000_000


@pytest.fixture
def shop(databases: Databases, tmp_path: Path) -> Iterator[Site]:
    """A shop with one worker, which is what a gate has unless it is told otherwise."""
    site = Site(tmp_path / "site", databases.migrated("sqlite"))
    site.with_parent = True
    site.start()
    yield site
    site.close()


def some_album(site: Site, *names: str, size: int = SIZE, rate: str = "0") -> Grant:
    item = site.album(dict.fromkeys(names, size))
    return site.issue(site.add_user("alice", site.set_tier("tier", rate)), item["id"])


def newcomers(url: str, ended: threading.Event) -> list[int]:
    """Fetch something on new connections, until nobody wants more; the status of each."""
    found: list[int] = []
    while not ended.is_set() or len(found) < NEWCOMERS:
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                found.append(answer.status if len(answer.read()) == 1_000 else 0)
        except OSError as error:
            found.append(getattr(error, "code", -1))
    return found


def fetched(folder: Path, grant: Grant, protocol: str, *names: str) -> list[str]:
    return [text for name in names for text in ("-o", str(folder / name), grant.url(protocol, f"Album/{name}"))]


def test_a_reload_cuts_nobody_and_refuses_nobody(shop: Site, tmp_path: Path) -> None:
    assert shop.gate is not None
    grant = some_album(shop, *(f"{number}.ogg" for number in range(4)), rate="1M")
    small = shop.issue(shop.add_user("bob"), shop.album({"small.ogg": 1_000}, title="Small")["id"])
    before = workers(shop)
    statuses: list[int] = []
    ended = threading.Event()
    url = small.http_url("Small/small.ogg")
    thread = threading.Thread(target=lambda: statuses.extend(newcomers(url, ended)))
    downloads = [
        # One after the other on one connection: whoever is there already may ask for more.
        start("curl", ["-q", "-sS", *fetched(tmp_path, grant, protocol, *names)])
        for protocol, names in (("http", ("0.ogg", "1.ogg")), ("ftp", ("2.ogg", "3.ogg")))
    ]
    try:
        wait_until(lambda: len(json.loads(admin(shop, "/status"))["transfers"]) == 2, 20, "the downloads")
        thread.start()
        shop.run("reload")
        now = workers(shop)
        assert len(now) == 1
        assert now != before
        assert len(json.loads(admin(shop, "/status"))["gates"]) == 2, "the old one is shown until it ends"
    finally:
        ended.set()
        for download in downloads:
            download.communicate(timeout=60)
        thread.join(60)
    assert [download.returncode for download in downloads] == [0, 0]
    assert statuses == [200] * len(statuses)
    shop.wait_for_grant(grant)
    wait_until(lambda: not psutil.pid_exists(before[0]), 30, "the end of the old worker")
    assert len(json.loads(admin(shop, "/status"))["gates"]) == 1


def test_what_waits_to_be_accepted_is_not_lost(shop: Site) -> None:
    """The worker of before is stopped, so that what connects stays in the queue."""
    assert shop.gate is not None
    before = workers(shop)
    os.kill(before[0], signal.SIGSTOP)
    try:
        with socket.create_connection(shop.gate.ftp, 20) as sock:
            shop.run("reload")
            assert sock.recv(100).startswith(b"220")
    finally:
        os.kill(before[0], signal.SIGCONT)
    assert shop.stop() == 0


def test_new_workers_that_cannot_start_change_nothing(shop: Site, tmp_path: Path) -> None:
    grant = some_album(shop, "1.ogg", size=1_000)
    before = workers(shop)
    env_file = shop.root / ".env"
    env_file.write_text("FTPGATE_BRIDGE=no.such.module\n")
    done = shop.run("reload", check=False)
    cause = "FTPGATE_BRIDGE=no.such.module cannot be imported (No module named 'no'): name an installed module"
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith(f" goes on as it was, for its new workers cannot start: {cause}\n")
    assert "the reload has failed" in shop.gate_log()
    assert workers(shop) == before
    curl(grant.http_url("Album/1.ogg"), tmp_path / "1.ogg")
    env_file.write_text("FTPGATE_WORKERS=2\n")
    document = shop.json("reload")
    assert document == {"gates": [{"pid": shop.gate.ready["pid"] if shop.gate else 0, "workers": workers(shop)}]}
    assert len(workers(shop)) == 2
    env_file.unlink()
    shop.run("reload")
    assert len(workers(shop)) == 1
    shop.wait_for_grant(grant)


def test_a_reload_by_signal_and_with_settings_of_another_environment(shop: Site) -> None:
    assert shop.gate is not None
    before = workers(shop)
    os.kill(shop.gate.ready["pid"], signal.SIGUSR2)
    wait_until(lambda: reloads(shop) == 1, 30, "the reload")
    assert workers(shop) != before
    here = {**shop.environ, "FTPGATE_FTP": free_address()}
    host, port = here["FTPGATE_FTP"].split(":")
    shop.environ["FTPGATE_FTP"] = here["FTPGATE_FTP"]
    shop.run("reload")  # the gate keeps the environment that it was started with
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), 20).close()
    shop.run("reload", "--environment")
    with socket.create_connection((host, int(port)), 20) as sock:
        assert sock.recv(3) == b"220"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(shop.gate.ftp, 20).close()
    assert [path.suffix for path in (shop.state_dir / "run").iterdir()] == [".json"]


@pytest.mark.databases("sqlite")
def test_without_a_gate_there_is_nothing_to_reload(site: Site) -> None:
    folder = site.state_dir / "run"
    folder.mkdir(mode=0o700)
    stale = folder / f"{os.getpid()}.json"
    stale.write_text(json.dumps({"pid": os.getpid(), "started": 1, "reloads": 0}))  # this process, but an earlier one
    done = site.run("reload", check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"ftpgate: no gate runs with the state folder {site.state_dir}: ")
    assert not stale.exists()


HAND_OVER = """
import os, sys
for to, fd in enumerate(map(int, sys.argv[1].split(",")), 3):
    os.dup2(fd, to)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.executable, [sys.executable, "-m", "ftpgate", "serve"])
"""
"""What a service manager does for a unit with sockets (sd_listen_fds(3)); its numbers have to be free."""


def test_sockets_of_the_service_manager_are_served_and_kept_over_a_reload(site_with_sockets: Site) -> None:
    site = site_with_sockets
    grant = some_album(site, "1.ogg", size=1_000)
    for _ in range(2):
        curl(grant.http_url("Album/1.ogg"), site.root / "http.ogg")
        curl(grant.ftp_url("Album/1.ogg"), site.root / "ftp.ogg")
        site.run("reload")
    site.wait_for_grant(grant)


@pytest.fixture
def site_with_sockets(databases: Databases, tmp_path: Path) -> Iterator[Site]:
    """A shop whose gate was handed its sockets: that of FTP known by its name, that of HTTP by its port."""
    site = Site(tmp_path / "site", databases.migrated("sqlite"))
    with ExitStack() as stack:
        ftp, http = (stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2))
        for name, sock in (("FTP", ftp), ("HTTP", http)):
            site.environ[f"FTPGATE_{name}"] = "{}:{}".format(*sock.getsockname())
        passed = [fcntl.fcntl(sock, fcntl.F_DUPFD, 10) for sock in (ftp, http)]  # 3 and 4 are where they have to come to
        stack.callback(lambda: [os.close(fd) for fd in passed])
        environ = {**site.environ, "FTPGATE_WORKERS": "2", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "ftp:ftpgate-gate.socket"}
        with site.gate_log_file.open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", HAND_OVER, ",".join(map(str, passed))],
                env=environ, cwd=site.root, pass_fds=passed, stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip
        try:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline())
            assert (ready["ftp"], ready["http"]) == (site.environ["FTPGATE_FTP"], site.environ["FTPGATE_HTTP"])
            yield site
            process.terminate()
            assert process.wait(60) == 0, site.gate_log()
        finally:
            process.kill()
            process.communicate()
            site.close()
