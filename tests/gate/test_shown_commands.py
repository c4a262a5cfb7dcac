"""The commands that the portal and the gate show for aria2 and rclone, run by a shell, with names that trip programs."""

from __future__ import annotations

import html
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ftpgate.aria2 import LIST
from tests.gate import tlsgate
from tests.support.clients import curl
from tests.support.inprocess import InProcessGate
from tests.support.media import NASTY_NAMES, hashes, write_album
from tests.support.tools import clean_environment, require_tool
from tests.support.waiting import wait_until
from webportal.site import clients

FOLDER = "Tom & Jerry's 100%25 [live] #1 $HOME `id`"
NAMES = (*NASTY_NAMES, "06 A & B &amp; C.ogg", "07 $HOME `id`; %20.ogg", "CD 1 & 2/01 &#38;.ogg", "-c.ogg", "08 ~a+b@c!.ogg")


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessGate]:
    media = tmp_path_factory.mktemp("commands") / "media"
    write_album(media / FOLDER, dict.fromkeys(NAMES, 20_000))
    write_album(media / "Plain", {"01.ogg": 2_500_000})
    with InProcessGate(media, {"http": tlsgate.LISTEN["http"], "ftp": tlsgate.LISTEN["ftp"]}) as gate:
        yield gate


class Customer:
    """One grant of both albums, as its page shows it."""

    def __init__(self, gate: InProcessGate) -> None:
        self.gate = gate
        self.albums = [gate.item(FOLDER), gate.item("Plain")]
        self.token = gate.shop.issue(self.albums)
        secret, http, ftp = self.token.reveal(), *(gate.gate.addresses[name] for name in ("http", "ftp"))
        self.root = f"http://{http}/d/{secret}/"
        self.at = clients.Addresses(self.root, f"ftp://{secret}:x@{ftp}/", f"{self.root}downloads.meta4")
        self.items = [clients.Item(folder, folder) for folder in (FOLDER, "Plain")]
        self.wanted = {f"{folder}/{name}": digest for folder in (FOLDER, "Plain")
                       for name, digest in hashes(gate.media / folder).items()}  # fmt: skip

    def complete(self) -> None:
        wait_until(lambda: self.token.grant in self.gate.shop.completed, 10, "completion")

    def accounted_for(self) -> None:
        """All that is there, when a program has used several connections: `InProcessGate.accounts_for`."""
        for file in (file for album in self.albums for file in album.files):
            self.gate.accounts_for(self.token, file)


@pytest.fixture
def customer(gate: InProcessGate) -> Customer:
    return Customer(gate)


def _run(command: str, folder: Path) -> None:
    require_tool(command.split()[0])
    folder.mkdir(exist_ok=True)
    environment = clean_environment(folder / "home") | {"RCLONE_CONFIG": "/dev/null"}
    ended = subprocess.run(["sh", "-c", command], cwd=folder, env=environment, timeout=120, capture_output=True, text=True)
    assert ended.returncode == 0, f"{command}\n{ended.stdout[-2000:]}{ended.stderr[-2000:]}"


def _found(folder: Path) -> dict[str, str]:
    return {name: digest for name, digest in hashes(folder).items() if name != LIST}


def test_aria2_keeps_every_name(customer: Customer, tmp_path: Path) -> None:
    everything = clients.aria2(customer.at, customer.items)[0]
    assert everything.title == ""
    _run(everything.text, tmp_path)
    assert _found(tmp_path) == customer.wanted
    customer.accounted_for()


def test_aria2_goes_on_where_it_stopped(customer: Customer, tmp_path: Path) -> None:
    command = clients.aria2(customer.at, customer.items)[0].text
    _run(command, tmp_path)
    (tmp_path / FOLDER / NAMES[0]).unlink()
    (tmp_path / LIST).write_text("an old list")
    _run(command, tmp_path)
    assert _found(tmp_path) == customer.wanted


def test_aria2_checks_the_hashes_of_the_list(customer: Customer, tmp_path: Path) -> None:
    curl(customer.root + LIST, tmp_path / "list")
    listed = (tmp_path / "list").read_text()
    assert listed.count("  checksum=sha-256=") == len(customer.wanted)
    (tmp_path / "list").write_text(re.sub(r"(sha-256=)[0-9a-f]{64}", rf"\g<1>{'0' * 64}", listed, count=1))
    ended = subprocess.run(
        [require_tool("aria2c"), "--no-conf=true", "-q", "-c", "-i", "list"], cwd=tmp_path, timeout=60, check=False
    )
    assert ended.returncode == 32, "checksum validation failed"


def test_aria2_fetches_a_zip(customer: Customer, tmp_path: Path) -> None:
    for command in clients.aria2(customer.at, customer.items)[1:]:
        _run(command.text, tmp_path)
    assert set(hashes(tmp_path)) == {f"{FOLDER}.zip", "Plain.zip"}
    customer.accounted_for()


def test_the_gates_own_page_shows_the_same_command(customer: Customer, tmp_path: Path) -> None:
    curl(customer.root, tmp_path / "page", "-A", "Mozilla/5.0")
    found = re.search(r"<dt>aria2</dt><dd><code>(.*?)</code>", (tmp_path / "page").read_text())
    assert found
    _run(html.unescape(found[1]), tmp_path / "got")
    assert _found(tmp_path / "got") == customer.wanted


@pytest.mark.parametrize("protocol", ["HTTP", "FTP"])
def test_rclone_fetches_everything(customer: Customer, tmp_path: Path, protocol: str) -> None:
    (command,) = (each for each in clients.rclone(customer.at, customer.items) if each.title == protocol)
    for _ in range(2):  # the same command again finds nothing left to do
        _run(command.text, tmp_path)
        assert hashes(tmp_path) == customer.wanted
    customer.complete()


def test_rclone_fetches_an_item(customer: Customer, tmp_path: Path) -> None:
    for command in clients.rclone(customer.at, customer.items)[2:]:
        _run(command.text, tmp_path)
    assert hashes(tmp_path) == customer.wanted
    customer.complete()


def test_rclone_reveals_the_password() -> None:
    words = clients.rclone(clients.Addresses("http://h:80/d/x/", "ftps://x:x@h:21/", ""), [])[1].text.split()
    assert "--ftp-tls" in words
    obscured = words[words.index("--ftp-pass") + 1]
    shown = subprocess.run([require_tool("rclone"), "reveal", obscured], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "x"
