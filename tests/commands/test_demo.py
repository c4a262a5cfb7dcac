"""`ftpgate demo` on a fresh machine: everything up, tokens work, one Ctrl-C ends all."""

from __future__ import annotations

import io
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
import wave
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import pytest

from tests.support.databases import Databases
from tests.support.disk import open_to_others
from tests.support.media import write_album
from tests.support.site import Site
from tests.support.waiting import wait_until

pytestmark = pytest.mark.databases("sqlite")


@pytest.fixture
def machine(make_site: Callable[..., Site], databases: Databases) -> Site:
    """A folder and an environment without any settings."""
    site = make_site(databases.empty("sqlite"))
    for name in [name for name in site.environ if name.startswith("FTPGATE_")]:
        del site.environ[name]
    return site


ANY_PORTS = ("--portal", "127.0.0.1:0", "--ftp", "127.0.0.1:0", "--http", "127.0.0.1:0")


@contextmanager
def demo(machine: Site, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The running demo and what it has written by the time that it is up."""
    process = subprocess.Popen(
        [sys.executable, "-m", "ftpgate", "demo", *arguments],
        env=machine.environ, cwd=machine.root, umask=0, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored, where the tests run in the background
    )  # fmt: skip
    try:
        assert process.stdout is not None
        written = ""
        for line in process.stdout:
            written += line
            if "Ctrl-C" in line:
                break
        yield process, written
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match, text
    return match[1]


def test_the_demo_serves_albums_until_ctrl_c(machine: Site) -> None:
    state = machine.root / "state"
    state.chmod(0o777)
    machine.environ["FTPGATE_EMAIL_URL"] = "smtp://127.0.0.1:1"  # a real shop's: the demo writes to nobody
    with demo(machine, "--state-dir", "state", *ANY_PORTS) as (process, written):
        del machine.environ["FTPGATE_EMAIL_URL"]
        portal = found(r"(http://127\.0\.0\.1:\d+/)\n", written)
        with urllib.request.urlopen(portal, timeout=20) as page:
            assert page.status == 200
        passwords = dict(re.findall(r"^ +(anna|boris|admin) +(\S+)", written, re.MULTILINE))
        assert len(passwords) == 3
        machine.environ["FTPGATE_STATE_DIR"] = str(machine.root / "state")
        machine.environ["FTPGATE_FTP"] = machine.environ["FTPGATE_HTTP"] = "127.0.0.1:0"
        items = machine.json("item", "verify")["items"]
        assert [item["files"] for item in items] == [5, 5, 5]
        assert not any(item["problems"] for item in items)
        assert any("Снег" in item["title"] for item in items)
        links = machine.json("grant", "issue", "--user", "boris", "--item", items[1]["id"])["links"]
        assert links["http"].startswith(found(r"(http://\S+)/ and ftp", written))
        with urllib.request.urlopen(links["metalink"], timeout=20) as answer:
            address = found(r"<url[^>]*>(http://[^<]*01%20[^<]*\.wav)<", answer.read().decode())
        with urllib.request.urlopen(address, timeout=60) as answer, wave.open(io.BytesIO(answer.read())) as music:
            assert music.getnframes() / music.getframerate() > 10
        with urllib.request.urlopen(links["metalink"], timeout=20) as answer:
            for address in re.findall(r"<url[^>]*>(http://[^<]*)<", answer.read().decode()):
                with urllib.request.urlopen(address, timeout=60) as file:
                    file.read()
        files = {path.relative_to(state).as_posix() for path in state.rglob("*") if path.is_file()}
        assert files >= {"ftpgate.sqlite3-wal", "ftpgate.sqlite3-shm", "secret_key", "demo-gate.log", "demo-portal.log"}
        assert {"media", "covers", "static"} <= {path.partition("/")[0] for path in files}
        assert open_to_others(state) == []
        log = state / "demo-portal.log"
        wait_until(lambda: "To: boris@demo.invalid" in log.read_text(), 40, "the mail that tells of it", interval=0.5)
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) == 3  # the portal, the gate and its worker
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        psutil.wait_procs(children, 10)
        assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]

    before = machine.json("item", "verify")
    state.chmod(0o755)
    (state / "ftpgate.sqlite3").chmod(0o644)
    with demo(machine, "--state-dir", "state", *ANY_PORTS) as (process, again):
        assert open_to_others(state) == []
        assert re.findall(r"^ +(anna|boris|admin) +(\S+)", again, re.MULTILINE) == list(passwords.items())
        assert machine.json("item", "verify") == before
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()  # not even this leaves anything running
        wait_until(
            lambda: not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE],
            30,
            "the end of the demo's processes",
        )


def test_only_for_this_machine(machine: Site) -> None:
    for option in ("--portal", "--ftp", "--http"):
        done = machine.run("demo", "--state-dir", "fresh", *ANY_PORTS, option, "0.0.0.0:0", check=False)
        assert done.returncode == 1
        assert "not a loopback address" in done.stderr
    assert not (machine.root / "fresh").exists()


def test_a_busy_port_is_named(machine: Site) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        done = machine.run("demo", "--state-dir", "fresh", *ANY_PORTS, "--ftp", address, check=False)
    assert done.returncode == 1
    assert f"{address} cannot be listened on (Address already in use): " in done.stderr
    assert "--ftp" in done.stderr
    assert done.stderr.count("\n") == 1


def test_it_never_touches_a_real_shop(machine: Site, tmp_path: Path) -> None:
    (machine.root / ".env").write_text(
        f"FTPGATE_DATABASE_URL=sqlite:///{tmp_path}/real.sqlite3\nFTPGATE_MEDIA_ROOT={tmp_path}/real\n"
    )
    albums = machine.root / "state" / "media" / "demo"
    for title in ("Slow Harbour", "Снег на крыше"):  # there already: the third one shows where it goes
        write_album(albums / title, {"1.wav": 10})
    with demo(machine, "--state-dir", "state", *ANY_PORTS):
        pass
    assert len(list(albums.glob("Window Seat*/*.wav"))) == 3
    assert not (tmp_path / "real.sqlite3").exists()
    assert not (tmp_path / "real").exists()
    assert os.listdir(machine.root / "state" / "media") == ["demo"]
