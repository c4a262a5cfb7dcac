"""How soon a gate notices that a client's link is dead, and that a client which pauses is not.

A gate in a network namespace of its own, and clients in two others. The link to the first is cut without a word: downloads in
motion and paused ones, over HTTP and FTP, and a session without any have to end within a minute. The second holds a client
that has paused for longer all the time: it has to get the rest of its file. Needs root and Linux; takes four minutes.

    python -m tests.trials.dead_link
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from ftpgate.net.silence import SILENCE
from tests.support.databases import Databases
from tests.support.rawftp import RawFtp
from tests.support.rawhttp import RawClient
from tests.support.site import Grant, Site
from tests.support.waiting import wait_until
from tests.trials import trial as trials

T = TypeVar("T")
PAUSE = 130.0
"""Seconds that clients pause before the link is cut: the kernel probes a shut window only every two minutes by then, if let."""
WITHIN = 60.0
LOOKED_FOR = 120.0
"""Seconds after the cut; the client that pauses may do so for 300."""
LONG, SHORT = 60_000_000, 3_000_000
_CLONE_NEWNET = 0x40000000


class Networks:
    """A gate's namespace and two clients', each joined to it by a link of its own; a context manager that removes them."""

    def __init__(self) -> None:
        self._names = {role: f"dead-{os.getpid()}-{role}" for role in ("gate", "lost", "live")}

    def __enter__(self) -> Networks:
        for name in self._names.values():
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
        for number, role in enumerate(("lost", "live")):
            near, far = f"near{number}", f"far{number}"
            gate, client = self._names["gate"], self._names[role]
            _ip("link", "add", near, "netns", gate, "type", "veth", "peer", "name", far, "netns", client)
            for name, device, host in ((gate, near, 1), (client, far, 2)):
                _ip("-n", name, "address", "add", f"10.79.{number}.{host}/24", "dev", device)
                _ip("-n", name, "link", "set", device, "up")
        return self

    def __exit__(self, *_: object) -> None:
        for name in self._names.values():
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)

    def within(self, role: str, call: Callable[[], T]) -> T:
        """Call something there; sockets and processes that it makes stay there."""
        found: list[T] = []
        failed: list[BaseException] = []

        def run() -> None:
            try:
                with open(f"/run/netns/{self._names[role]}") as namespace:
                    if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _CLONE_NEWNET):
                        raise OSError(ctypes.get_errno(), "setns")
                found.append(call())
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        if failed:
            raise failed[0]
        return found[0]

    def cut(self) -> None:
        """Whatever is sent to the lost client from now on arrives nowhere, and the gate's machine does not learn why."""
        _ip("-n", self._names["lost"], "link", "set", "far0", "address", "02:00:00:00:00:01")


class Trial:
    """Clients of one gate, each a customer of his own."""

    def __init__(self, networks: Networks, site: Site) -> None:
        self.networks = networks
        self.site = site
        site.environ |= {"FTPGATE_FTP": "0.0.0.0:0", "FTPGATE_HTTP": "0.0.0.0:0", "FTPGATE_PUBLIC_HOST": "127.0.0.1"}
        site.set_tier("steady", "500k")
        self._item = site.album({"long.ogg": LONG, "short.ogg": SHORT})["id"]
        self.gate = networks.within("gate", site.start)
        self._users = 0

    def grant(self) -> Grant:
        self._users += 1
        return self.site.issue(self.site.add_user(f"user{self._users}", tier="steady"), self._item)

    def http(self, role: str, file: str) -> RawClient:
        """A download that has begun, and of which nothing is read."""
        grant = self.grant()
        number = 0 if role == "lost" else 1

        def begin() -> RawClient:
            client = RawClient((f"10.79.{number}.1", self.gate.http[1]), receive_buffer=65_536, timeout=300)
            client.ask(f"/d/{grant.token}/Album/{file}").head()
            return client

        return self.networks.within(role, begin)

    def ftp(self, file: str | None = None) -> tuple[RawFtp, Any]:
        grant = self.grant()

        def begin() -> tuple[RawFtp, Any]:
            session = RawFtp(("10.79.0.1", self.gate.ftp[1])).login(grant.token)
            if file is None:
                return session, None
            data = session.data(buffer=65_536)
            session.do(f"RETR Album/{file}", "150")
            return session, data

        return self.networks.within("lost", begin)

    def status(self) -> dict[str, Any]:
        def ask() -> dict[str, Any]:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.gate.admin[1]}/status", timeout=20) as answer:
                found: dict[str, Any] = json.load(answer)
                return found

        return self.networks.within("gate", ask)


def measure(trial: Trial) -> tuple[dict[str, float], bool]:
    """Seconds from the cut to the end of each kind of connection; and did the paused client that lives get everything?"""
    patient = trial.http("live", "short.ogg")
    paused = trial.http("lost", "short.ogg"), trial.ftp("short.ogg")
    idle = trial.ftp()
    began = time.monotonic()
    _wait(began + PAUSE)
    moving = trial.http("lost", "long.ogg"), trial.ftp("long.ogg")
    stop = threading.Event()
    readers = [
        threading.Thread(target=_read, args=(take, stop), daemon=True) for take in (moving[0].socket.recv, moving[1][1].recv)
    ]
    for reader in readers:
        reader.start()
    wait_until(lambda: _moving(trial.status()) == 2, 20, "the downloads", interval=0.2)
    trial.networks.cut()
    cut = time.monotonic()
    gone: dict[str, float] = {}
    while (passed := time.monotonic() - cut) < LOOKED_FOR:
        status = trial.status()
        there = {(row["protocol"], row["path"]) for row in status["transfers"] if row["peer"] == "10.79.0.2"}
        for protocol in ("http", "ftp"):
            for kind, path in (("moving", "/Album/long.ogg"), ("paused", "/Album/short.ogg")):
                if (protocol, path) not in there:
                    gone.setdefault(f"{protocol} {kind}", passed)
        if status["gates"][0]["connections"] == 1:
            gone["every slot"] = passed
            break
        time.sleep(0.25)
    stop.set()
    try:
        got = patient.read(SHORT)
    except OSError:
        got = b""
    whole = got == next(trial.site.media_root.rglob("short.ogg")).read_bytes()
    for session in (paused[1][0], idle[0], moving[1][0]):
        session.socket.close()
    return gone, whole


def main() -> int:
    """Measure, and print one line of it."""
    try:
        line, good = judged()
    except trials.Skipped as reason:
        line, good = f"left out, for {reason}", True
    print(f"dead link: {line}")
    return 0 if good else 1


def judged() -> tuple[str, bool]:
    """Measure: a line that tells the figures, and whether the goal is reached.

    Raises:
        Skipped: this machine allows no network namespaces.
    """
    if os.geteuid() or not sys.platform.startswith("linux") or shutil.which("ip") is None:
        raise trials.Skipped("network namespaces need root and the program ip")
    with tempfile.TemporaryDirectory(prefix="ftpgate-dead-link-") as folder, _site(Path(folder)) as site:
        try:
            with Networks() as networks:
                gone, whole = measure(Trial(networks, site))
        except subprocess.CalledProcessError as error:
            raise trials.Skipped(f"{' '.join(map(str, error.cmd))} failed: {error.stderr.strip()}") from error
    seconds = ", ".join(f"{name} {after:.0f}" for name, after in sorted(gone.items()))
    slots = gone.get("every slot")
    good = whole and slots is not None and slots <= WITHIN
    paused = PAUSE + (LOOKED_FOR if slots is None else slots)
    line = (
        f"noticed after (s): {seconds or 'never'}{'' if slots else ', slots still taken'} (goal {WITHIN:.0f}, "
        f"the kernel is given {SILENCE:.0f}); a living client that paused for {paused:.0f} s "
        f"{'got everything' if whole else 'was cut'}"
    )
    return line, good


def run(run: trials.Run) -> None:
    if not run.long:
        raise trials.Skipped("it takes four minutes, and is part of the long run")
    line, good = judged()
    run.notes.append(f"{line[0].upper()}{line[1:]}{'' if good else '; NOT reached'}.")


TRIAL = trials.Trial("Clients whose link is cut without a word, and one that only pauses.", run, 0, 240)


@contextlib.contextmanager
def _site(folder: Path) -> Iterator[Site]:
    site = Site(folder / "site", Databases(folder, _no_server).migrated("sqlite"))
    try:
        yield site
    finally:
        site.close()


def _no_server() -> Any:
    raise AssertionError("SQLite has none")


def _moving(status: dict[str, Any]) -> int:
    """Downloads of the long file of which something has arrived."""
    return sum(row["path"] == "/Album/long.ogg" and row["delivered"] > 0 for row in status["transfers"])


def _read(take: Callable[[int], bytes], stop: threading.Event) -> None:
    with contextlib.suppress(OSError):
        while not stop.is_set() and take(65_536):
            pass


def _wait(until: float) -> None:
    time.sleep(max(until - time.monotonic(), 0.0))


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], capture_output=True, text=True, check=True)


if __name__ == "__main__":
    sys.exit(main())
