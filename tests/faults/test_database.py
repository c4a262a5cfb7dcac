"""What the gate does when its database is away, hangs, or cuts its connections, and how few of them it takes."""

from __future__ import annotations

import os
import re
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

import psycopg2
import pytest

from tests.support import clients
from tests.support.databases import Databases
from tests.support.postgres import PostgresServer
from tests.support.site import Grant, Site
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.databases("postgres")]

MOST_CONNECTIONS = 5
PASSWORD = "correct horse battery"
GATE = "the gate"
"""The gate's `application_name`, by which its connections are told from those of portal and commands."""


class Server:
    """A PostgreSQL server of this test's own, and a site on it."""

    def __init__(self, postgres: PostgresServer, make_site: Callable[..., Site], folder: Path) -> None:
        self.postgres = postgres
        self.site = make_site(Databases(folder, lambda: postgres).migrated("postgres"))

    def start_gate(self) -> None:
        """Only the gate has the name: the site's commands go on with the address as it was."""
        url = self.site.environ["FTPGATE_DATABASE_URL"]
        self.site.start(FTPGATE_DATABASE_URL=f"{url}?application_name={GATE.replace(' ', '%20')}")
        self.site.environ["FTPGATE_DATABASE_URL"] = url

    def connections(self) -> list[int]:
        """The processes of the server that serve the gate just now."""
        rows = self.postgres.execute("SELECT pid FROM pg_stat_activity WHERE application_name = %s", (GATE,))
        return [pid for (pid,) in rows]


@pytest.fixture
def server(own_postgres: PostgresServer, make_site: Callable[..., Site], tmp_path: Path) -> Server:
    return Server(own_postgres, make_site, tmp_path)


def start_curl(url: str, to: Path) -> subprocess.Popen[str]:
    """A download that has begun."""
    curl = clients.start("curl", ["-q", "-sS", "--globoff", "-o", str(to), url])
    wait_until(lambda: to.exists() and to.stat().st_size > 100_000, 20, "the beginning of the file")
    return curl


def signed_in(portal: str, user: str) -> urllib.request.OpenerDirector:
    """A visitor of the portal who has signed in."""
    visitor = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    with visitor.open(f"{portal}/", timeout=20) as page:
        form = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.read().decode())
        address = page.url
    assert form is not None
    fields = {"csrfmiddlewaretoken": form[1], "username": user, "password": PASSWORD}
    with visitor.open(address, urllib.parse.urlencode(fields).encode(), timeout=20) as page:
        assert "/sign-out/" in page.read().decode()
    return visitor


def assert_asked_to_come_again(grant: Grant) -> None:
    """Over both protocols, with a token that the gate has not seen yet."""
    asked = {
        "http": clients.start("curl", ["-q", "-s", "-m", "60", "-D", "-", "-o", os.devnull, grant.links["http"]]),
        "ftp": clients.start("curl", ["-q", "-sv", "-m", "60", "--list-only", grant.links["ftp"]]),
    }
    said = {name: process.communicate(timeout=90)[0].lower() for name, process in asked.items()}
    assert said["http"].startswith("http/1.1 503"), said["http"]
    assert "retry-after:" in said["http"]
    assert "< 421" in said["ftp"], said["ftp"]


@pytest.mark.parametrize("hangs", [False, True], ids=["stopped", "hanging"])
def test_the_database_goes_and_comes_back(server: Server, tmp_path: Path, hangs: bool) -> None:
    """Running downloads go on, new tokens are asked to come again, and what was delivered meanwhile is written."""
    site = server.site
    user = site.add_user("slow", site.set_tier("slow", "1M"))
    first, second = (site.album({"a.ogg": 6_000_000, "b.ogg": 6_000_000}, title=title) for title in ("First", "Second"))
    server.start_gate()
    running, other = site.issue(user, first["id"]), site.issue(user, second["id"])
    downloads = [
        start_curl(running.http_url("First/a.ogg"), tmp_path / "a.ogg"),
        start_curl(running.ftp_url("First/b.ogg"), tmp_path / "b.ogg"),
    ]
    if hangs:
        server.postgres.suspend()
    else:
        server.postgres.stop(immediately=True)
    assert_asked_to_come_again(other)
    clients.curl(running.http_url("First/a.ogg"), tmp_path / "known", "-r", "0-99")  # a token that is in use opens more
    for download in downloads:
        download.communicate(timeout=60)
        assert download.returncode == 0
    if hangs:
        server.postgres.resume()
    else:
        server.postgres.start()
    site.wait_for_grant(running, timeout=30)
    clients.curl(other.http_url("Second.zip"), tmp_path / "Second.zip")
    site.wait_for_grant(other)
    assert len(server.connections()) <= MOST_CONNECTIONS
    assert "Traceback" not in site.gate_log()


def test_connections_that_break_are_given_back(server: Server, tmp_path: Path) -> None:
    """The server cuts all of them, again and again, while customers come and download."""
    site = server.site
    user = site.add_user("slow", site.set_tier("slow", "1M"))
    item = site.album({"track.ogg": 5_000_000})
    server.start_gate()
    grant = site.issue(user, item["id"])
    download = start_curl(grant.http_url("Album/track.ogg"), tmp_path / "track.ogg")
    cut: set[int] = set()
    while download.poll() is None:
        for pid in server.connections():
            cut.add(pid)
            server.postgres.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
        assert len(server.connections()) <= MOST_CONNECTIONS
        time.sleep(0.3)
    assert download.communicate()[0] == ""
    assert download.returncode == 0
    assert len(cut) > MOST_CONNECTIONS, "none was opened anew"
    site.wait_for_grant(grant)
    later = site.issue(user, item["id"])
    clients.curl(later.http_url("Album/track.ogg"), tmp_path / "again", "-r", "0-99")
    assert not set(server.connections()) & cut
    assert len(server.connections()) <= MOST_CONNECTIONS


def test_five_connections_carry_200_downloads_while_the_portal_answers(server: Server, tmp_path: Path) -> None:
    site = server.site
    user = site.add_user("slow", site.set_tier("slow", "8M", connections=300), password=PASSWORD)
    item = site.album({"track.ogg": 20_000_000})
    server.start_gate()
    grants = [site.issue(user, item["id"]) for _ in range(20)]
    urls = [grants[number % 20].http_url("Album/track.ogg") for number in range(200)]
    (tmp_path / "urls").write_text("".join(f'url = "{url}"\noutput = "{os.devnull}"\n' for url in urls))
    options = ["--parallel", "--parallel-immediate", "--parallel-max", "200", "-K", str(tmp_path / "urls")]
    with site.portal() as portal:
        visitor = signed_in(portal, user)
        load = clients.start("curl", ["-q", "-s", "--globoff", *options])
        try:

            def running() -> int:
                return len(site.json("status")["transfers"])

            wait_until(lambda: running() == 200, 30, "200 transfers", interval=0.2)
            most = 0
            for number in range(40):
                with visitor.open(f"{portal}{('/', '/downloads/')[number % 2]}", timeout=10) as page:
                    assert ("Album", grants[0].id)[number % 2] in page.read().decode()
                most = max(most, len(server.connections()))
            assert running() == 200
            assert 1 <= most <= MOST_CONNECTIONS
        finally:
            load.kill()
            load.communicate()


def test_a_gate_starts_without_its_database(server: Server, tmp_path: Path) -> None:
    """It accepts, asks everybody to come again, and needs nobody's help when the database is there."""
    site = server.site
    item = site.album({"track.ogg": 1_000_000})
    grant = site.issue(site.add_user(), item["id"])
    server.postgres.stop()
    server.start_gate()
    assert site.gate is not None
    (http_host, http_port), (ftp_host, ftp_port) = site.gate.http, site.gate.ftp
    links = {"http": f"http://{http_host}:{http_port}/d/{grant.token}/", "ftp": f"ftp://{grant.token}:x@{ftp_host}:{ftp_port}/"}
    grant = Grant(grant.id, grant.token, grant.expires_at, links)
    assert_asked_to_come_again(grant)
    server.postgres.start()

    def entered() -> bool:
        with psycopg2.connect(site.environ["FTPGATE_DATABASE_URL"]) as database, database.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM grants_gate WHERE stopped_at IS NULL")
            return bool(cursor.fetchone() == (1,))

    wait_until(entered, 15, "the gate in the list of those that run", interval=0.2)
    clients.curl(grant.http_url("Album/track.ogg"), tmp_path / "track.ogg")
    site.wait_for_grant(grant)
