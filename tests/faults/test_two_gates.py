"""Two gates serve one grant at the same time; one of them may be killed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import clients
from tests.support.media import sha256
from tests.support.rawhttp import RawClient
from tests.support.site import Gate, Grant, Site
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

SIZE, PIECE = 6_000_000, 250_000


@pytest.fixture
def gates(make_site: Callable[..., Site], database_url: str) -> tuple[Site, Site]:
    """Two installations of one shop, each with a gate that runs."""
    first = make_site(database_url)
    second = make_site(database_url, {"FTPGATE_MEDIA_ROOT": str(first.media_root), "FTPGATE_STATE_DIR": str(first.state_dir)})
    return first, second


def fetch(gate: Gate, grant: Grant, starts: list[int], errors: list[BaseException]) -> None:
    """The pieces that begin at `starts`, each in a connection of its own that ends in order."""
    try:
        for start in starts:
            with RawClient(gate.http) as client:
                reply = client.ask(f"/d/{grant.token}/Album/track.ogg", f"Range: bytes={start}-{start + PIECE - 1}").reply()
                assert reply.status == 206
                assert len(reply.body) == PIECE
    except BaseException as error:
        errors.append(error)


def test_each_brings_every_other_piece(gates: tuple[Site, Site]) -> None:
    """Neither loses the other's ranges, and the item is complete once."""
    first, second = gates
    item = first.album({"track.ogg": SIZE})
    user = first.add_user()
    running = [site.start() for site in gates]
    grant = first.issue(user, item["id"])
    starts = list(range(0, SIZE, PIECE))
    errors: list[BaseException] = []
    threads = [
        threading.Thread(target=fetch, args=(running[number % 2], grant, starts[number::4], errors)) for number in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not errors
    (shown,) = first.wait_for_grant(grant)["items"]
    assert shown["files"] == [{"path": "track.ogg", "bytes": SIZE, "covered": [[0, SIZE]], "unconfirmed": []}]
    receipts = second.grant_show(grant)
    assert receipts["completed_at"] == shown["completed_at"]
    assert len(first.json("status")["gates"]) == 2


def test_when_one_is_killed_the_other_carries_on(gates: tuple[Site, Site], tmp_path: Path) -> None:
    """The same token, the rest of the same file; of what the first one delivered a second is lost at the most."""
    first, second = gates
    user = first.add_user("slow", first.set_tier("slow", "2M"))
    item = first.album({"track.ogg": SIZE})
    one = first.start()
    other = second.start()
    grant = first.issue(user, item["id"])
    to = tmp_path / "track.ogg"
    address = f"http://{one.http[0]}:{one.http[1]}/d/{grant.token}/Album/track.ogg"
    curl = clients.start("curl", ["-q", "-s", "--globoff", "-o", str(to), address])
    wait_until(lambda: to.exists() and to.stat().st_size > SIZE // 2, 20, "half of the file")
    first.kill()
    curl.communicate(timeout=20)
    got = to.stat().st_size
    covered: dict[str, Any] = first.grant_show(grant)["items"][0]
    assert covered["delivered"] <= got
    host, port = other.http
    clients.curl(f"http://{host}:{port}/d/{grant.token}/Album/track.ogg", to, "-C", "-")
    assert sha256(to) == item["files"][0]["sha256"]
    second.wait_for_all(grant)
