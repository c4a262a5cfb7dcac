"""Two gates on one PostgreSQL that tells them of changes: a revocation, a tier, a connection that breaks, a gate that dies."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from xml.etree import ElementTree

import pytest

from tests.support.postgres import PostgresServer
from tests.support.site import Gate, Grant, Site
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.databases("postgres")]

SIZE = 20_000_000


@pytest.fixture
def sites(make_site: Callable[..., Site], database_url: str) -> Iterator[tuple[Site, Site]]:
    """Two machines with a gate each that hears what the database tells."""
    first = make_site(database_url)
    second = make_site(database_url, {"FTPGATE_MEDIA_ROOT": str(first.media_root)})
    for site in (first, second):
        site.start()
    for site in (first, second):
        wait_for(site, "ftpgate_push_working")
    yield first, second
    for site in (first, second):
        assert "Traceback" not in site.gate_log()


def running(site: Site) -> Gate:
    assert site.gate is not None
    return site.gate


def figure(site: Site, name: str) -> float:
    """One figure of a gate's `/metrics`; `name` may have labels."""
    host, port = running(site).admin
    with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=20) as answer:
        found = re.search(rf"^{re.escape(name)} (\S+)$", answer.read().decode(), re.MULTILINE)
    assert found, name
    return float(found[1])


def wait_for(site: Site, name: str) -> None:
    """Wait until one figure of a gate is not 0."""
    wait_until(lambda: figure(site, name) > 0, 30, f"{name} of {running(site).pid}")


class Download:
    """A download that is under way, slow enough not to end by itself."""

    def __init__(self, site: Site, grant: Grant, stack: ExitStack) -> None:
        self.socket = stack.enter_context(socket.create_connection(running(site).http, timeout=60))
        self.socket.sendall(f"GET /d/{grant.token}/Album/track.ogg HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert self.socket.recv(4_096).startswith(b"HTTP/1.1 200")

    def is_reset(self) -> bool:
        """Read on until it ends; has the gate cut it?"""
        try:
            while self.socket.recv(65_536):
                pass
        except ConnectionResetError:
            return True
        return False


def slow_grant(site: Site) -> Grant:
    user = site.add_user("slow", site.set_tier("slow", "100k"))
    return site.issue(user, site.album({"track.ogg": SIZE})["id"])


def test_a_revocation_reaches_both_gates_by_a_notice(sites: tuple[Site, Site]) -> None:
    grant = slow_grant(sites[0])
    with ExitStack() as stack:
        downloads = [Download(site, grant, stack) for site in sites]
        before = [figure(site, "ftpgate_status_pushed_total") for site in sites]
        sites[0].json("grant", "revoke", grant.id)
        assert all(download.is_reset() for download in downloads)
    for site, pushed in zip(sites, before, strict=True):
        assert figure(site, 'ftpgate_push_notices_total{kind="grant"}') >= 1
        assert figure(site, "ftpgate_status_pushed_total") > pushed
        assert figure(site, "ftpgate_push_reconnects_total") == 0


def test_another_tier_and_another_rate_reach_both_gates_by_a_notice(sites: tuple[Site, Site]) -> None:
    grant = slow_grant(sites[0])
    with ExitStack() as stack:
        for site in sites:
            Download(site, grant, stack)
        sites[0].set_tier("slow", "200k")
        for site in sites:
            wait_for(site, 'ftpgate_push_notices_total{kind="tier"}')
            wait_for(site, "ftpgate_status_pushed_total")


def test_after_a_broken_connection_what_was_missed_is_found_and_notices_come_again(
    sites: tuple[Site, Site], postgres: PostgresServer, database_url: str
) -> None:
    first, second = sites
    missed = slow_grant(first)
    later = first.issue("slow", first.grant_show(missed)["items"][0]["id"])
    with ExitStack() as stack:
        download = Download(second, missed, stack)
        os.kill(running(second).pid, signal.SIGSTOP)
        try:
            cut_listeners(postgres, database_url)
            first.json("grant", "revoke", missed.id)
        finally:
            os.kill(running(second).pid, signal.SIGCONT)
        assert download.is_reset()
        for site in sites:
            wait_for(site, "ftpgate_push_reconnects_total")
            wait_for(site, "ftpgate_push_working")
            assert figure(site, 'ftpgate_push_notices_total{kind="everything"}') == 2
        before = figure(second, "ftpgate_status_pushed_total")
        another = Download(second, later, stack)
        first.json("grant", "revoke", later.id)
        assert another.is_reset()
        assert figure(second, "ftpgate_status_pushed_total") > before


def cut_listeners(postgres: PostgresServer, database_url: str) -> None:
    """End the connections that wait for notices, and see them gone."""
    name = database_url.rpartition("/")[2]
    ask = "FROM pg_stat_activity WHERE datname = %s AND query LIKE 'LISTEN%%'"
    assert len(postgres.execute(f"SELECT pg_terminate_backend(pid, 5000) {ask}", (name,))) == 2


def test_links_and_metalinks_name_both_gates_and_no_longer_one_that_drains_or_died(sites: tuple[Site, Site]) -> None:
    first, second = sites
    grant = slow_grant(first)
    addresses = {f"{host}:{port}": site for site in sites for host, port in [running(site).http]}
    wait_until(lambda: figure(first, "ftpgate_gates") == figure(second, "ftpgate_gates") == 2, 20, "that they know each other")
    listed = metalink(first, grant)
    assert {address for address, _ in listed if address in addresses} == set(addresses)
    assert sorted(priority for _, priority in listed) == list(range(1, 5))
    assert metalink(second, grant) == listed
    best = listed[0][0]
    assert best in grant.links["http"]
    assert first.json("grant", "token", grant.id)["links"]["http"].startswith(f"http://{best}/")
    addresses.pop(best).kill()
    ((other, site),) = addresses.items()
    assert site.json("grant", "token", grant.id)["links"]["http"].startswith(f"http://{other}/")
    wait_until(lambda: figure(site, "ftpgate_gates") == 1, 20, "that the other one is missed")
    assert metalink(site, grant)[0][0] == other


def test_a_gate_that_drains_gets_no_new_links_and_goes_on_with_what_it_has(sites: tuple[Site, Site]) -> None:
    grant = slow_grant(sites[0])
    leaving = next(site for site in sites if "{}:{}".format(*running(site).http) in grant.links["http"])
    (staying,) = (site for site in sites if site is not leaving)
    with ExitStack() as stack:
        download = Download(leaving, grant, stack)
        running(leaving).process.terminate()
        wait_until(lambda: states(staying)[running(leaving).ready["http"]] == "draining", 20, "that it drains")
        host, port = running(staying).http
        assert f"http://{host}:{port}/" in staying.json("grant", "token", grant.id)["links"]["http"]
        assert download.socket.recv(1)
    leaving.stop()
    assert states(staying) == {running(staying).ready["http"]: "running"}


def states(site: Site) -> dict[str, str]:
    """What the gates are said to do, by their HTTP address."""
    document = site.json("status")
    return {gate["http"]: gate["state"] for gate in (*document["gates"], *document.get("silent", ()))}


def metalink(site: Site, grant: Grant) -> list[tuple[str, int]]:
    """The addresses in the grant's Metalink, by priority."""
    host, port = running(site).http
    with urllib.request.urlopen(f"http://{host}:{port}/d/{grant.token}/downloads.meta4", timeout=20) as answer:
        root = ElementTree.fromstring(answer.read())
    urls = [(url.text or "", int(url.attrib["priority"])) for url in root.iter("{urn:ietf:params:xml:ns:metalink}url")]
    return sorted(((text.split("/")[2].rpartition("@")[2], priority) for text, priority in urls), key=lambda entry: entry[1])


def test_status_shows_both_and_one_that_stands_still(sites: tuple[Site, Site]) -> None:
    first, second = sites
    shown = {gate["id"]: gate for gate in first.json("status")["gates"]}
    assert len(shown) == 2
    assert {gate["state"] for gate in shown.values()} == {"running"}
    assert {gate["push"] for gate in shown.values()} == {"works"}
    assert {gate["host"] for gate in shown.values()} == {socket.gethostname()}
    os.kill(running(second).pid, signal.SIGSTOP)
    try:
        document = first.json("status")
        assert len(document["gates"]) == len(document["silent"]) == 1
        assert document["silent"][0]["http"] == running(second).ready["http"]
        assert "does not answer" in first.run("status").stdout
        assert json.dumps(document)
    finally:
        os.kill(running(second).pid, signal.SIGCONT)
