"""What breaks while customers download: the gate is killed or told to stop, files change, grants are revoked.

What becomes of them when the database breaks is in `tests/faults/test_database.py`.
"""

from __future__ import annotations

import ftplib
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import clients
from tests.support.media import sha256
from tests.support.rawhttp import RawClient
from tests.support.site import Site
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow


def _covered(site: Site, grant: object) -> int:
    document = site.grant_show(grant)  # type: ignore[arg-type]
    return sum(item["delivered"] for item in document["items"])


@pytest.mark.parametrize("protocol", ["http", "ftp"])
def test_kill_9_in_the_middle(site: Site, tmp_path: Path, protocol: str) -> None:
    """Nothing is credited that has not arrived, the same token carries on, and the resumed download leaves nothing out."""
    user = site.add_user("slow", site.set_tier("slow", "2M"))
    item = site.album({"track.ogg": 12_000_000})
    site.start()
    grant = site.issue(user, item["id"])
    to = tmp_path / "track.ogg"
    url = grant.url(protocol, "Album/track.ogg")
    curl = clients.start("curl", ["-q", "-s", "--globoff", "-o", str(to), url])
    wait_until(lambda: to.exists() and to.stat().st_size > 6_000_000, 20, "half of the file")
    site.kill()
    curl.communicate(timeout=20)
    got = to.stat().st_size
    assert _covered(site, grant) <= got
    site.start()
    clients.curl(url, to, "-C", "-")
    assert sha256(to) == item["files"][0]["sha256"]
    site.wait_for_all(grant)


def test_kill_9_never_loses_a_completion(site: Site, tmp_path: Path) -> None:
    user = site.add_user()
    item = site.album({"track.ogg": 1_000_000})
    site.start()
    grant = site.issue(user, item["id"])
    clients.curl(grant.http_url("Album/track.ogg"), tmp_path / "track.ogg")
    before = site.wait_for_grant(grant)
    site.kill()
    site.start()
    assert site.grant_show(grant)["completed_at"] == before["completed_at"]


def test_sigterm_lets_transfers_finish(site: Site, tmp_path: Path) -> None:
    user = site.add_user("slow", site.set_tier("slow", "2M"))
    item = site.album({"track.ogg": 4_000_000})
    site.with_parent = True
    gate = site.start()
    grant = site.issue(user, item["id"])
    to = tmp_path / "track.ogg"
    curl = clients.start("curl", ["-q", "-sS", "--globoff", "-o", str(to), grant.http_url("Album/track.ogg")])
    wait_until(lambda: to.exists() and to.stat().st_size > 500_000, 20, "some of the file")
    gate.process.terminate()
    assert clients.run("curl", ["-q", "-s", grant.links["http"]], check=False).status == 7, "it must not accept any more"
    curl.communicate(timeout=30)
    assert curl.returncode == 0
    assert site.stop() == 0
    assert site.grant_show(grant)["state"] == "complete"


def write_over(path: Path) -> None:
    path.write_bytes(b"x" * path.stat().st_size)


def swap(path: Path) -> None:
    """Another file, with the size and time of the old one."""
    before, new = path.stat(), path.with_name("new")
    new.write_bytes(b"x" * before.st_size)
    os.utime(new, ns=(before.st_atime_ns, before.st_mtime_ns))
    new.rename(path)


def link_out(path: Path) -> None:
    """A link in its place, to the very same file outside of the media folder."""
    outside = path.parents[2] / "outside.ogg"
    path.rename(outside)
    path.symlink_to(outside)


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize("change", [write_over, swap, link_out])
def test_a_changed_file_is_refused(site: Site, tmp_path: Path, change: Callable[[Path], None]) -> None:
    user = site.add_user()
    item = site.album({"a.ogg": 100_000, "b.ogg": 100_000})
    site.start()
    grant = site.issue(user, item["id"])
    change(site.media_root / "Album" / "a.ogg")
    for url, status in [
        (grant.http_url("Album/a.ogg"), 22), (grant.http_url("Album.zip"), 22), (grant.http_url("Album/b.ogg"), 0),
        (grant.ftp_url("Album/a.ogg"), 78), (grant.ftp_url("Album.zip"), 78), (grant.ftp_url("Album/b.ogg"), 0),
    ]:  # fmt: skip
        assert clients.curl(url, tmp_path / "file", check=False).status == status, url
    verified = site.run("item", "verify", check=False)
    assert verified.returncode == 1
    assert "a.ogg" in verified.stdout + verified.stderr


@pytest.mark.databases("sqlite")
def test_a_restored_file_is_served_to_who_is_here_within_two_seconds_of_its_verifying(site: Site, tmp_path: Path) -> None:
    user = site.add_user()
    item = site.album({"a.ogg": 100_000})
    host, _, port = site.start().ready["ftp"].rpartition(":")
    grant = site.issue(user, item["id"])
    with ftplib.FTP(encoding="utf-8") as session:
        session.connect(host, int(port), timeout=20)
        session.login(grant.token, "x")
        assert clients.curl(grant.http_url("Album/a.ogg"), tmp_path / "file").status == 0
        restored = site.media_root / "Album" / "restored"
        shutil.copyfile(site.media_root / "Album" / "a.ogg", restored)
        os.utime(restored, ns=(10**18, 10**18))
        restored.rename(site.media_root / "Album" / "a.ogg")
        wait_until(
            lambda: clients.curl(grant.http_url("Album/a.ogg"), tmp_path / "no", check=False).status == 22, 5, "the refusal"
        )
        site.run("item", "verify", item["id"])
        time.sleep(2)
        for url in (grant.http_url("Album/a.ogg"), grant.http_url("Album.zip"), grant.ftp_url("Album/a.ogg")):
            assert clients.curl(url, tmp_path / "again", check=False).status == 0, url
        assert session.sendcmd("MDTM Album/a.ogg") == "213 20010909014640"
        received: list[bytes] = []
        session.retrbinary("RETR Album/a.ogg", received.append)
        assert b"".join(received) == (tmp_path / "file").read_bytes()
    assert site.grant_show(grant)["state"] == "complete"


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize("name", ["track.ogg", ".zip"])
def test_a_file_that_shrinks_is_cut_not_padded(site: Site, tmp_path: Path, name: str) -> None:
    user = site.add_user("slow", site.set_tier("slow", "1M"))
    site.album({"track.ogg": 4_000_000})
    item = site.add_item(site.media_root / "Album")
    site.start()
    grant = site.issue(user, item["id"])
    to = tmp_path / "file"
    path = "Album/track.ogg" if name == "track.ogg" else "Album.zip"
    curl = clients.start("curl", ["-q", "-s", "--globoff", "-o", str(to), grant.http_url(path)])
    wait_until(lambda: to.exists() and to.stat().st_size > 500_000, 20, "some of the file")
    os.truncate(site.media_root / "Album" / "track.ogg", 1_500_000)
    curl.communicate(timeout=20)
    assert curl.returncode == 18 or curl.returncode == 56
    assert to.stat().st_size <= 1_500_000 + 200
    assert _covered(site, grant) <= 1_500_000


def test_revoking_ends_what_runs_by_a_reset(site: Site) -> None:
    user = site.add_user("slow", site.set_tier("slow", "500k"))
    item = site.album({"track.ogg": 10_000_000})
    gate = site.start()
    grant = site.issue(user, item["id"])
    ended: list[str] = []

    def read_to_the_reset(name: str, data: socket.socket) -> None:
        try:
            while data.recv(65_536):
                pass
        except ConnectionResetError:
            ended.append(name)

    with RawClient(gate.http) as http, ftplib.FTP(timeout=20) as ftp:
        http.ask(f"/d/{grant.token}/Album/track.ogg")
        ftp.connect(*gate.ftp)
        ftp.login(grant.token, "x")
        streams = {"http": http.socket, "ftp": ftp.transfercmd("RETR Album/track.ogg")}
        for data in streams.values():
            assert data.recv(1)
        threads = [threading.Thread(target=read_to_the_reset, args=stream) for stream in streams.items()]
        for thread in threads:
            thread.start()
        site.json("grant", "revoke", grant.id)
        for thread in threads:
            thread.join(20)
        streams["ftp"].close()
        assert set(ended) == set(streams)
        with pytest.raises(ftplib.error_temp, match=r"^426 "):
            ftp.getresp()
        with pytest.raises(ftplib.error_perm, match=r"^530 "):
            ftp.sendcmd("RETR Album/track.ogg")
        assert ftp.voidcmd("NOOP").startswith("200"), "the session stays"
    with RawClient(gate.http) as http:
        assert http.ask(f"/d/{grant.token}/").reply().status == 410
    with ftplib.FTP(timeout=20) as ftp:
        ftp.connect(*gate.ftp)
        with pytest.raises(ftplib.error_perm, match=r"^530 "):
            ftp.login(grant.token, "x")
