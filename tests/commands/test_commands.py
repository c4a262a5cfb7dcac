"""Every command as a process: documents, exit statuses, and one line for an error.

Where `new_interpreters` is set, a Python is started for each, as a shell does; else they are forked (`support/fork_server.py`).
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import termios
import tomllib
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ftpgate.process import landlock
from tests.support.certificates import Certificate
from tests.support.databases import Databases
from tests.support.media import sha256, write_album
from tests.support.site import Site
from tests.support.tools import ROOT

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
TOKEN = re.compile(r"[2-9a-hj-km-np-z]{10}-[2-9a-hj-km-np-z]{26}")


def refused(site: Site, *arguments: str, status: int = 1, stdin: str = "") -> str:
    """The one line that a command wrote when it failed."""
    done = site.run(*arguments, stdin=stdin, check=False)
    assert done.returncode == status, done
    assert done.stdout == ""
    if status == 1:
        assert done.stderr.count("\n") == 1, done.stderr
        assert done.stderr.startswith("ftpgate: ")
    return done.stderr


def test_the_documents_of_the_contract(site: Site, database_kind: str) -> None:
    site.new_interpreters = database_kind == "sqlite"
    assert site.json("tier", "set", "slow", "--rate", "512Ki", "--connections", "3") == {
        "tier": "slow",
        "rate": 524_288,
        "connections": 3,
    }
    assert site.json("user", "add", "anna", "--tier", "slow") == {"user": "anna", "tier": "slow"}
    assert site.json("user", "add", "boris", "--password-stdin", stdin="secret words\n") == {"user": "boris", "tier": "default"}

    folder = write_album(site.media_root / "Ёлка", {"CD1/1 песня.ogg": 1000, "empty.txt": 0})
    item = site.json("item", "add", str(folder), "--title", "T", "--artist", "A", "--year", "2001")
    assert set(item) == {"id", "title", "files", "left_out"}
    assert item["left_out"] == []
    assert item["title"] == "T"
    assert item["files"] == [
        {"path": path, "bytes": (folder / path).stat().st_size, "sha256": sha256(folder / path)}
        for path in ("CD1/1 песня.ogg", "empty.txt")
    ]
    assert site.json("item", "add", str(folder)) == item

    grant = site.json("grant", "issue", "--user", "anna", "--item", item["id"], "--item", item["id"], "--expires", "2d")
    assert set(grant) == {"grant", "token", "expires_at", "links"}
    assert TOKEN.fullmatch(grant["token"])
    assert grant["token"].startswith(grant["grant"] + "-")
    assert TIME.fullmatch(grant["expires_at"])

    shown = site.json("grant", "show", grant["grant"])
    assert TIME.fullmatch(shown.pop("issued_at"))
    assert shown == {
        "grant": grant["grant"],
        "user": "anna",
        "state": "open",
        "expires_at": grant["expires_at"],
        "completed_at": None,
        "items": [
            {
                "id": item["id"],
                "title": "T",
                "folder": "A - T (2001)",
                "bytes": 1000,
                "delivered": 0,
                "complete": False,
                "completed_at": None,
                "proof": None,
                "files": [
                    {"path": "CD1/1 песня.ogg", "bytes": 1000, "covered": [], "unconfirmed": []},
                    {"path": "empty.txt", "bytes": 0, "covered": [], "unconfirmed": []},
                ],
            }
        ],
    }
    another = site.json("grant", "token", grant["grant"])
    assert another["token"] != grant["token"]
    assert (another["grant"], another["expires_at"]) == (grant["grant"], grant["expires_at"])
    renewed = site.json("grant", "renew", grant["grant"], "--expires", "9d")
    assert renewed["state"] == "open"
    assert renewed["expires_at"] > grant["expires_at"]
    assert site.json("grant", "revoke", grant["grant"]) == {"grant": grant["grant"], "state": "revoked"}
    assert site.json("grant", "show", grant["grant"])["state"] == "revoked"
    assert site.json("status") == {"gates": [], "transfers": []}
    assert site.json("item", "verify", item["id"])["items"][0]["problems"] == []


def test_links_are_for_the_public(make_site: Any, databases: Databases) -> None:
    site = make_site(
        databases.migrated("sqlite"),
        {"FTPGATE_PUBLIC_HOST": "shop.example", "FTPGATE_HTTP": "[::1]:8081", "FTPGATE_FTP": "0.0.0.0:2122"},
    )
    site.add_user()
    grant = site.issue("alice", site.album({"a": 1})["id"])
    assert grant.links == {
        "http": f"http://shop.example:8081/d/{grant.token}/",
        "ftp": f"ftp://{grant.token}:x@shop.example:2122/",
        "metalink": f"http://shop.example:8081/d/{grant.token}/downloads.meta4",
    }
    del site.environ["FTPGATE_PUBLIC_HOST"]
    links = site.json("grant", "token", grant.id)["links"]
    assert links["http"].startswith("http://[::1]:8081/d/")
    assert "@127.0.0.1:2122/" in links["ftp"]


@pytest.mark.databases("sqlite")
def test_links_name_the_ports_of_the_running_gate(site: Site) -> None:
    site.add_user()
    item = site.album({"a": 1})["id"]
    environ = dict(site.environ)
    gate = site.start()
    site.environ.update({name: environ[name] for name in ("FTPGATE_FTP", "FTPGATE_HTTP")})  # port 0 still
    links = site.issue("alice", item).links
    assert f":{gate.http[1]}/d/" in links["http"]
    assert f":{gate.ftp[1]}/" in links["ftp"]


@pytest.mark.databases("sqlite")
def test_status_asks_the_gates_that_answer(site: Site) -> None:
    gate = site.start()
    document = site.json("status")
    (shown,) = document["gates"]
    assert set(shown) >= {
        "id",
        "started_at",
        "ftp",
        "http",
        "connections",
        "transfers",
        "bytes_per_s",
        "rss_bytes",
        "loop_lag_ms",
    }
    assert shown["http"] == gate.ready["http"]
    assert document["transfers"] == []
    assert site.run("status").stdout.startswith("gate ")
    site.kill()
    assert site.json("status")["gates"] == []


def test_errors_are_one_line_that_names_cause_and_mend(site: Site, database_kind: str) -> None:
    site.new_interpreters = database_kind == "sqlite"
    site.add_user("anna")
    for arguments, words in (
        (("user", "add", "anna"), "'anna' already"),
        (("user", "add", "boris", "--tier", "gold"), "no tier 'gold'"),
        (("user", "add", "boris", "--password-stdin"), "no password"),
        (("item", "add", "nowhere"), "'nowhere' is no folder"),
        (("item", "verify", "abcdefgh"), "no item 'abcdefgh'"),
        (("grant", "issue", "--user", "nobody", "--item", "x"), "no user 'nobody'"),
        (("grant", "issue", "--user", "anna", "--item", "x"), "no item 'x'"),
        (("grant", "show", "2222222222"), "no grant '2222222222'"),
    ):
        assert words in refused(site, *arguments, "--json")


@pytest.mark.databases("sqlite")
def test_the_version_is_that_of_the_package(site: Site) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert site.run("--version").stdout == f"ftpgate {project['version']}\n"


def test_wrong_usage_is_2(site: Site) -> None:
    site.new_interpreters = True
    for arguments in (
        (),
        ("grant",),
        ("rubbish",),
        ("tier", "set", "slow", "--rate", "fast"),
        ("tier", "set", "slow"),
        ("grant", "renew", "2222222222", "--expires", "0"),
        ("grant", "issue", "--user", "anna"),
        ("serve", "--ftp", "nowhere"),
        ("user", "add", "anna", "--pass"),
    ):
        assert "usage:" in refused(site, *arguments, status=2)


@pytest.mark.databases("sqlite")
def test_a_bad_setting_stops_every_command(site: Site) -> None:
    site.environ["FTPGATE_BRIGDE"] = "x"
    for arguments in (("status",), ("grant", "show", "x"), ("serve",), ("manage", "check"), ("demo",)):
        assert "FTPGATE_BRIGDE" in refused(site, *arguments)


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FTPGATE_EMAIL_URL", "mail.example"),
        ("FTPGATE_EMAIL_URL", "smtp://:25"),
        ("FTPGATE_DATABASE_URL", "mysql://db/shop"),
        ("FTPGATE_DATABASE_URL", "sqlite:////proc/nowhere/shop.sqlite3"),
    ],
)
def test_a_value_that_only_the_shop_understands_stops_every_start(site: Site, name: str, value: str) -> None:
    site.environ[name] = value
    for arguments in (("serve",), ("portal",), ("status",), ("manage", "check")):
        assert f"ftpgate: {name}" in refused(site, *arguments)


@pytest.mark.databases("sqlite")
def test_a_secret_key_that_can_be_guessed_stops_every_start(site: Site) -> None:
    site.environ["FTPGATE_SECRET_KEY"] = "CHANGE-ME"
    for arguments in (("serve",), ("portal",), ("status",), ("manage", "check"), ("demo",)):
        assert "FTPGATE_SECRET_KEY=… is too short" in refused(site, *arguments)
    done = site.run("doctor", check=False)
    assert done.returncode == 1
    assert "FTPGATE_SECRET_KEY" in done.stdout


@pytest.mark.databases("sqlite")
def test_a_port_that_the_gate_cannot_have_is_named(site: Site) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        said = refused(site, "serve", "--ftp", address, "--http", "127.0.0.1:0")
    assert said.startswith(f"ftpgate: FTPGATE_FTP={address} cannot be listened on (Address already in use): ")


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize("name", ["FTPGATE_TLS_CERT", "FTPGATE_TLS_KEY"])
def test_a_certificate_that_is_not_there_is_named(site: Site, tmp_path: Path, name: str) -> None:
    certificate = Certificate(tmp_path / "tls")
    missing = tmp_path / "missing.pem"
    site.environ |= {
        "FTPGATE_TLS": "allow",
        "FTPGATE_TLS_CERT": str(certificate.chain),
        "FTPGATE_TLS_KEY": str(certificate.key),
        name: str(missing),
    }
    assert refused(site, "serve").startswith(f"ftpgate: {name}={missing} cannot be read (No such file or directory): ")


@pytest.mark.databases("sqlite")
def test_a_shop_of_another_make_has_commands_of_its_own(site: Site) -> None:
    site.environ["FTPGATE_BRIDGE"] = "othershop.gate"
    assert "othershop.gate cannot be imported (No module named 'othershop')" in refused(site, "user", "add", "anna")
    (site.root / "othershop").mkdir()
    module = site.root / "othershop/gate.py"
    module.write_text("def make_bridge(settings): ...\n")
    assert "othershop.gate comes without commands (make_commands)" in refused(site, "user", "add", "anna")
    module.write_text(
        "class Commands:\n"
        "    def user_add(self, name, tier, password): return {'user': name, 'tier': 'of another make'}\n"
        "def make_commands(settings): return Commands()\n"
    )
    assert site.json("user", "add", "anna") == {"user": "anna", "tier": "of another make"}
    assert "othershop.gate does not know this command (user_list)" in refused(site, "user", "list")


def test_a_database_without_tables_is_explained(make_site: Any, databases: Databases, database_kind: str) -> None:
    site = make_site(databases.empty(database_kind))
    assert "ftpgate manage migrate" in refused(site, "user", "add", "anna")
    assert site.run("manage", "migrate", "--verbosity=0").stdout == ""
    site.add_user("anna")


@pytest.mark.databases("sqlite")
def test_a_database_that_is_away_is_explained(site: Site) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
    site.environ["FTPGATE_DATABASE_URL"] = f"postgres://u:verysecret@127.0.0.1:{port}/d"
    for arguments in (("user", "add", "anna"), ("status",), ("manage", "migrate")):
        line = refused(site, *arguments)
        assert "FTPGATE_DATABASE_URL" in line
        assert "verysecret" not in line


def test_verify_is_1_when_something_is_wrong(site: Site) -> None:
    item = site.album({"1.ogg": 10, "2.ogg": 10})
    (site.media_root / "Album" / "2.ogg").unlink()
    done = site.run("item", "verify", "--json", check=False)
    assert done.returncode == 1
    assert json.loads(done.stdout) == {
        "items": [{"id": item["id"], "title": "Album", "files": 2, "problems": [{"path": "2.ogg", "problem": "is missing"}]}]
    }
    assert "2.ogg is missing" in site.run("item", "verify", check=False).stdout


@pytest.mark.databases("sqlite")
def test_a_broken_import_names_the_file_and_leaves_nothing(site: Site, tmp_path: Path) -> None:
    folder = write_album(tmp_path / "Album", {"1.ogg": 10})
    (folder / "2.ogg").symlink_to("/etc/passwd")
    assert "'2.ogg' leads out" in refused(site, "item", "add", str(folder), "--copy")
    assert [path.name for path in site.media_root.iterdir() if not path.name.startswith(".")] == []
    assert site.json("item", "verify") == {"items": []}


@pytest.mark.databases("sqlite")
def test_what_is_left_out_is_named(site: Site) -> None:
    folder = write_album(site.media_root / "A", {"...So.mp3": 10, ".45.flac": 10, "@eaDir/x": 1, "Icon\r": 1, ".x": 1})
    item = site.json("item", "add", str(folder))
    assert [file["path"] for file in item["files"]] == [".45.flac", "...So.mp3"]
    assert item["left_out"] == [
        {"path": ".x", "reason": "hidden, and no audio"},
        {"path": "@eaDir", "reason": "left by a NAS"},
        {"path": "Icon\r", "reason": "left by a desktop system"},
    ]
    shown = site.run("item", "add", str(folder)).stdout
    assert "left out  @eaDir: left by a NAS" in shown
    assert "left out  'Icon\\r': left by a desktop system" in shown
    assert "no encoding of tags" in refused(site, "item", "add", str(folder), "--tag-encoding", "morse")


@pytest.mark.databases("sqlite")
def test_no_progress_bar_without_a_terminal(site: Site) -> None:
    folder = write_album(site.media_root / "A", {"1.txt": 10})
    assert site.run("item", "add", str(folder), "--json").stderr == ""


@pytest.mark.databases("sqlite")
def test_a_progress_bar_on_a_terminal(site: Site) -> None:
    folder = write_album(site.media_root / "A", {"1.txt": 3_000_000})
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, 80))  # in one without a size there is no room for a bar
    os.set_blocking(ours, False)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "ftpgate", "item", "add", str(folder), "--json"],
            env=site.environ, cwd=site.root, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=theirs, check=True,
        )  # fmt: skip
        shown = os.read(ours, 65_536).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert "hashing:" in shown
    assert "3.00M" in shown
    assert json.loads(done.stdout)["files"][0]["bytes"] == 3_000_000


def test_the_doctor_says_what_is_wrong(site: Site) -> None:
    well = site.json("doctor")
    assert well["ok"]
    assert {check["name"] for check in well["checks"]} >= {
        "settings",
        "media folder",
        "file descriptors",
        "database",
        "tables",
        "clock",
        "port of FTP",
    }
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        site.environ["FTPGATE_FTP"] = f"127.0.0.1:{listener.getsockname()[1]}"
        site.environ["FTPGATE_MEDIA_ROOT"] = str(site.root / "gone")
        done = site.run("doctor", "--json", check=False)
    assert done.returncode == 1
    bad = {check["name"]: check for check in json.loads(done.stdout)["checks"] if not check["ok"]}
    assert set(bad) == {"media folder", "port of FTP"}
    assert "FTPGATE_MEDIA_ROOT" in bad["media folder"]["hint"]
    site.environ["FTPGATE_TLS"] = "maybe"
    done = site.run("doctor", check=False)
    assert done.returncode == 1
    assert "FTPGATE_TLS" in done.stdout
    assert done.stderr == ""


@pytest.mark.databases("sqlite")
def test_the_doctor_finds_a_running_installation_well(site: Site, tmp_path: Path) -> None:
    certificate = Certificate(tmp_path / "certificate")
    site.start(
        FTPGATE_TLS_CERT=str(certificate.chain), FTPGATE_TLS_KEY=str(certificate.key),
        FTPGATE_FTPS="127.0.0.1:0", FTPGATE_HTTPS="127.0.0.1:0",
    )  # fmt: skip
    with site.portal() as address:
        site.environ["FTPGATE_PORTAL"] = address.removeprefix("http://")
        found = {check["name"]: check["found"] for check in site.json("doctor")["checks"]}
        (gate,) = site.json("status")["gates"]
        shown = site.run("status").stdout
    try:
        words = f"Landlock, version {landlock.version()}"
    except landlock.NotRestricted as absent:
        words = str(absent)
    assert found["confinement"].endswith(words)
    assert found[f"confinement of the gate {gate['id']}"].endswith(words)
    assert "confined to its files" in shown
    for name in ("FTP", "HTTP", "FTPS", "HTTPS", "ADMIN"):
        assert "is held by the gate" in found[f"port of {name}"]
    assert "is held by the portal" in found["port of PORTAL"]


@pytest.mark.databases("sqlite")
def test_people_are_answered_in_lines(site: Site) -> None:
    assert site.run("user", "add", "anna").stdout == "user anna in the tier default\n"
    assert site.run("tier", "set", "slow", "--rate", "512k").stdout == "tier slow: 512 kB/s, 64 connections\n"
    item = site.album({"1.ogg": 1000})["id"]
    lines = site.run("grant", "issue", "--user", "anna", "--item", item).stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["grant", "token", "http", "ftp", "metalink"]
    shown = site.run("grant", "show", lines[0].split()[1]).stdout
    assert "of anna: open" in shown
    assert "0 B of 1.0 kB" in shown


@pytest.mark.databases("sqlite")
def test_help_needs_no_settings(site: Site) -> None:
    site.environ["FTPGATE_RUBBISH"] = "1"
    assert "COMMAND" in site.run("--help").stdout
    assert "--copy" in site.run("item", "add", "--help").stdout
    assert os.listdir(site.state_dir) == []
