"""`ftpgate portal` as a process."""

from __future__ import annotations

import http.client
import json
import re
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.databases import Databases
from tests.support.site import Site
from tests.support.waiting import wait_until


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port: int = listener.getsockname()[1]
        return port


def test_the_portal_serves_until_it_is_told_to_stop(site: Site) -> None:
    address = f"127.0.0.1:{free_port()}"
    log = site.root / "portal.log"
    environ = {**site.environ, "FTPGATE_PORTAL": address, "FTPGATE_LOG": "json"}
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "ftpgate", "portal"], env=environ, cwd=site.root, stdout=output, stderr=output
        )
    try:

        def page() -> str | None:
            try:
                with urllib.request.urlopen(f"http://{address}/", timeout=10) as answer:
                    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
                    return str(answer.read().decode())
            except OSError:
                assert process.poll() is None, log.read_text()
                return None

        assert "<html" in wait_until(page, 60, "the portal's page")
        with closing(http.client.HTTPConnection(address, timeout=10)) as connection:
            for _ in range(2):  # too much is refused with an answer, and the connection that was promised to last lasts
                connection.request("POST", "/api/v1/grants", b" " * 300_000, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                assert (answer.status, json.load(answer)["status"]) == (413, 413)
                assert answer.headers["Connection"] != "close"
                assert connection.sock is not None
    finally:
        process.terminate()
        assert process.wait(30) == 0
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert lines
    assert not [line for line in lines if line["level"] in ("error", "ERROR")]
    assert not list(Path(environ["HOME"]).glob(".*")), "nothing belongs into the home folder"


def test_a_database_without_its_tables_is_refused(
    make_site: Callable[..., Site], databases: Databases, database_kind: str
) -> None:
    site = make_site(databases.empty(database_kind))
    done = site.run("portal", check=False)
    assert done.returncode == 1
    assert re.fullmatch(r"ftpgate: the database lacks \d+ migrations: run: ftpgate manage migrate\n", done.stderr)


@pytest.mark.databases("sqlite")
def test_a_busy_port_is_named(site: Site) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        site.environ["FTPGATE_PORTAL"] = address = f"127.0.0.1:{listener.getsockname()[1]}"
        done = site.run("portal", check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"ftpgate: FTPGATE_PORTAL={address} cannot be listened on (Address already in use): ")
    assert done.stderr.count("\n") == 1
