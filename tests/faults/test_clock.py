"""A database whose clock is set a week ahead under a running gate and portal: nobody's grant ends."""

from __future__ import annotations

import http.client
import json
from pathlib import Path

import psycopg2
import pytest

from tests.support import clients
from tests.support.site import Gate, Grant, Site
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.databases("postgres")]

OURS_FIRST = """
    DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = public, pg_catalog', current_database()); END $$
"""  # what the catalogue has is looked for last
AHEAD = """
    CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS
    $$ SELECT pg_catalog.clock_timestamp() + interval '7 days' $$
"""


def execute(site: Site, statement: str) -> None:
    connection = psycopg2.connect(site.environ["FTPGATE_DATABASE_URL"])
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
    finally:
        connection.close()


def health(gate: Gate) -> str:
    connection = http.client.HTTPConnection(*gate.admin, timeout=20)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def wrong(site: Site) -> dict[str, str]:
    """What the doctor finds wrong with clocks."""
    checks = json.loads(site.run("doctor", "--json", check=False).stdout)["checks"]
    return {check["name"]: check["found"] for check in checks if not check["ok"] and "clock" in check["name"]}


def test_nobody_is_shut_out_and_everybody_is_told(site: Site, tmp_path: Path) -> None:
    execute(site, OURS_FIRST)
    item = site.album({"track.ogg": 100_000, "more.ogg": 100_000})
    gate = site.start()
    grant = site.issue(site.add_user(), item["id"], expires="1d")

    def fetch(start: int, of: Grant = grant) -> None:
        clients.curl(of.http_url("Album/track.ogg"), tmp_path / "part", "--fail", "-r", f"{start}-{start + 9_999}")

    with site.portal():
        fetch(0)
        assert (health(gate), wrong(site)) == ("ok\n", {})
        execute(site, AHEAD)
        wait_until(lambda: "behind the database's" in health(gate), 20, "the news")
        fetch(10_000)
        found = wrong(site)
        assert set(found) == {"clock", f"clock of the gate {site.json('status')['gates'][0]['id']}"}
        assert all("nothing expires" in text for text in found.values())
        wait_until(lambda: "nothing expires" in (site.root / "portal.log").read_text(), 20, "the portal's line")
        assert site.grant_show(grant)["state"] == "open"
        execute(site, "DROP FUNCTION public.clock_timestamp()")
        wait_until(lambda: health(gate) == "ok\n", 20, "the agreement")
    fetch(20_000)
    assert site.grant_show(grant)["state"] == "open"
    assert site.gate_log().count("nothing expires") == 1
