"""`deploy/postgresql.sql`: the owner migrates, the services work, and neither can do the other's."""

from __future__ import annotations

import os
from collections.abc import Callable

import psycopg2
import pytest

from tests.support.postgres import PostgresServer
from tests.support.site import Site
from tests.support.tools import ROOT


def test_the_two_roles_suffice_and_are_kept_apart(own_postgres: PostgresServer, make_site: Callable[..., Site]) -> None:
    passwords = {"FTPGATE_OWNER_PASSWORD": 'it\'s "owned"', "FTPGATE_PASSWORD": "daily"}
    script = str(ROOT / "deploy" / "postgresql.sql")
    done = own_postgres.psql("-v", "ON_ERROR_STOP=1", "-f", script, environ={**os.environ, **passwords})
    assert done.returncode == 0, done.stderr

    owner = f"postgres://ftpgate_owner:it%27s%20%22owned%22@127.0.0.1:{own_postgres.port}/ftpgate"
    daily = f"postgres://ftpgate:daily@127.0.0.1:{own_postgres.port}/ftpgate"
    make_site(owner).run("manage", "migrate", "--no-input")
    site = make_site(daily)
    site.set_tier("slow", "1M")
    site.add_user("alice", tier="slow")
    grant = site.issue("alice", site.album({"01.ogg": 1000})["id"])
    assert site.grant_show(grant)["state"] == "open"
    connection = psycopg2.connect(daily)
    with connection.cursor() as cursor, pytest.raises(psycopg2.errors.InsufficientPrivilege):
        cursor.execute("CREATE TABLE forbidden (name text)")
    connection.close()
