"""A real album of 41 Ogg files, from its import to the end of its grace time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support import clients
from tests.support.media import hashes
from tests.support.site import Site
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow


@pytest.mark.databases("postgres")
def test_a_real_album(site: Site, real_album: Path, tmp_path: Path) -> None:
    user = site.add_user()
    item = site.json("item", "add", str(real_album), "--copy")
    assert len(item["files"]) == 41
    assert site.json("item", "add", str(real_album), "--copy") == item
    originals = hashes(real_album)
    assert sorted(file["sha256"] for file in item["files"]) == sorted(originals.values())
    site.start(FTPGATE_GRACE="2s")
    for number, fetch in enumerate((_by_lftp, _by_aria2, _by_wget, _by_curl_zip)):
        grant = site.issue(user, item["id"])
        folder = site.grant_show(grant)["items"][0]["folder"]
        to = tmp_path / str(number)
        fetch(grant.links, folder, to)  # type: ignore[arg-type]
        if fetch is not _by_curl_zip:
            assert sorted(hashes(to / folder).values()) == sorted(originals.values())
        document = site.wait_for_grant(grant)
        assert document["items"][0]["complete"]
        wait_until(lambda link=grant.links["http"]: _status(link) == "410", 15, "the end of the grace time", interval=0.3)  # type: ignore[misc]
        login = clients.run("curl", ["-q", "-s", "-v", "--list-only", grant.links["ftp"]], check=False)
        assert "< 530" in login.output


@pytest.mark.databases("sqlite")
def test_tracks_whose_names_begin_with_dots_are_delivered(site: Site, tmp_path: Path) -> None:
    site.start()
    item = site.album({"...Ready.mp3": 3_000, ".5 A Minute.flac": 4_000, "..wav": 500}, "Dots")
    user = site.add_user()
    for number, fetch in enumerate((_by_lftp, _by_aria2, _by_wget)):
        grant = site.issue(user, item["id"])
        fetch(grant.links, "Dots", tmp_path / str(number))  # type: ignore[arg-type]
        assert hashes(tmp_path / str(number) / "Dots") == {file["path"]: file["sha256"] for file in item["files"]}
        site.wait_for_grant(grant)


def _by_lftp(links: dict[str, str], folder: str, to: Path) -> None:
    clients.lftp_mirror(links["ftp"], to)


def _by_aria2(links: dict[str, str], folder: str, to: Path) -> None:
    arguments = ["--no-conf=true", "--no-netrc=true", "--console-log-level=warn", "--summary-interval=0"]
    clients.run("aria2c", [*arguments, "--follow-metalink=mem", "-x4", f"--dir={to}", links["metalink"]])


def _by_wget(links: dict[str, str], folder: str, to: Path) -> None:
    # Without the zip: it would complete the grant, whose grace time may then end before wget has come to the last file.
    arguments = ["--no-config", "--no-verbose", "--no-hsts", "--recursive", "--no-parent", "--no-host-directories"]
    clients.run("wget", [*arguments, "--cut-dirs=2", "--reject=index.html*,*.zip", f"--directory-prefix={to}", links["http"]])


def _by_curl_zip(links: dict[str, str], folder: str, to: Path) -> None:
    from urllib.parse import quote

    to.mkdir()
    clients.curl(links["http"] + quote(f"{folder}.zip"), to / "album.zip")


def _status(link: str) -> str:
    return clients.run("curl", ["-q", "-s", "-o", os.devnull, "-w", "%{http_code}", link], check=False).output
