"""A whole ftpgate of one test's own: state folder, database, shop by the real commands, and the gate as a real process."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from ftpgate.proof.coverage import SpanSet
from tests.support.desk import Desk
from tests.support.fork_server import ForkedProcess, fork_server
from tests.support.media import write_album
from tests.support.tools import CACHE, clean_environment
from tests.support.waiting import wait_until

Address = tuple[str, int]
_FTPGATE = (sys.executable, "-m", "ftpgate")
_READY_SECONDS = 30
_STATIC = CACHE / "static"
"""The static files that the first portal has made, for those that start later: they make them anew when they are out of date."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What `grant issue` answered, with the links taken apart."""

    id: str
    token: str
    expires_at: str
    links: Mapping[str, str]

    def http_url(self, path: str = "") -> str:
        """The address of a path of the grant (as text, unquoted) over HTTP."""
        return self.links["http"].rstrip("/") + "/" + quote(path)

    def ftp_url(self, path: str = "") -> str:
        """The same over FTP, the token in its user part."""
        return self.links["ftp"].rstrip("/") + "/" + quote(path)

    def url(self, protocol: str, path: str = "") -> str:
        return {"http": self.http_url, "ftp": self.ftp_url}[protocol](path)


@dataclass(frozen=True, slots=True)
class Gate:
    """A running gate, as its ready line describes it. `pid` is the process that delivers; of several workers the first."""

    process: subprocess.Popen[str] | ForkedProcess
    pid: int
    ftp: Address
    http: Address
    admin: Address
    ready: Mapping[str, Any]


class Site:
    """One installation in a folder of its own; `close` ends what it started.

    Attributes:
        root: the folder; the working directory of all its processes.
        state_dir, media_root: its state and its media.
        environ: the environment of its processes; change it before a start.
        gate: the running gate, None when there is none.
        new_interpreters: start a Python for each command, as a shell does, instead of a fork of one that runs already.
        with_parent: run the gate as workers of a parent, each a new Python; else as one process, unless with new interpreters.
    """

    def __init__(self, root: Path, database_url: str, environ: Mapping[str, str] | None = None) -> None:
        self.root = root
        self.state_dir = root / "state"
        self.media_root = root / "media"
        self.gate: Gate | None = None
        self.new_interpreters = self.with_parent = False
        self.gate_log_file = root / "gate.log"
        self.portal_log_file = root / "portal.log"
        for folder in (self.state_dir, self.media_root, root / "home"):
            folder.mkdir(parents=True)
        self.environ = clean_environment(root / "home") | {
            "FTPGATE_STATE_DIR": str(self.state_dir),
            "FTPGATE_MEDIA_ROOT": str(self.media_root),
            "FTPGATE_DATABASE_URL": database_url,
            "FTPGATE_FTP": "127.0.0.1:0",
            "FTPGATE_HTTP": "127.0.0.1:0",
            "FTPGATE_ADMIN": "127.0.0.1:0",
            "FTPGATE_PORTAL": "127.0.0.1:0",
            **(environ or {}),
        }
        self._desk = Desk(self.environ, root)

    # ------------------------------------------------------------------------------------------ commands
    def run(self, *arguments: str, stdin: str = "", check: bool = True, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run `ftpgate …` to its end.

        Raises:
            AssertionError: it failed, and `check` is not False; the text holds what it wrote.
        """
        if self.new_interpreters:
            done = subprocess.run(
                [*_FTPGATE, *arguments],
                env=self.environ,
                cwd=self.root,
                input=stdin,
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
            )
        else:
            done = fork_server(self.environ).run(arguments, self.environ, self.root, stdin=stdin, timeout=timeout)
        if check and done.returncode:
            raise AssertionError(f"ftpgate {' '.join(arguments)} ended with {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def json(self, *arguments: str, stdin: str = "") -> Any:
        """Run `ftpgate … --json` and return the document that it wrote."""
        return json.loads(self.run(*arguments, "--json", stdin=stdin).stdout)

    def _asked(self, *arguments: str, stdin: str = "") -> Any:
        """The document of a command that is not what the test is about."""
        return self.json(*arguments, stdin=stdin) if self.new_interpreters else self._desk.json(*arguments, stdin=stdin)

    def add_user(self, name: str = "alice", tier: str | None = None, password: str | None = None) -> str:
        """A user, by `user add`; returns the name."""
        arguments = ["user", "add", name, *(["--tier", tier] if tier else []), *(["--password-stdin"] if password else [])]
        self._asked(*arguments, stdin=password or "")
        return name

    def set_tier(self, name: str, rate: str = "0", connections: int | None = None) -> str:
        """A tier, made or changed, by `tier set`; returns the name."""
        self._asked("tier", "set", name, "--rate", rate, *(["--connections", str(connections)] if connections else []))
        return name

    def add_item(self, folder: Path, **tags: str | int) -> dict[str, Any]:
        """Import a folder below the media root by `item add`; `title`, `artist`, `year`. Returns its document."""
        options = [text for name, value in tags.items() for text in (f"--{name}", str(value))]
        answer: dict[str, Any] = self._asked("item", "add", str(folder), *options)
        return answer

    def album(self, files: Mapping[str, int], title: str = "Album", **tags: str | int) -> dict[str, Any]:
        """Make and import an item of random files (path -> bytes), each file with a content of its own."""
        return self.add_item(write_album(self.media_root / title, files, seed=title), title=title, **tags)

    def issue(self, user: str, *items: str, expires: str | None = None) -> Grant:
        """A grant of these items (ids), by `grant issue`. With a gate running, its links name the ports that listen."""
        chosen = [text for item in items for text in ("--item", item)]
        answer = self._asked("grant", "issue", "--user", user, *chosen, *(["--expires", expires] if expires else []))
        return Grant(answer["grant"], answer["token"], answer["expires_at"], self._links(answer["token"], answer["links"]))

    def grant_show(self, grant: str | Grant) -> dict[str, Any]:
        """What `grant show` says."""
        answer: dict[str, Any] = self._asked("grant", "show", grant if isinstance(grant, str) else grant.id)
        return answer

    def wait_for_grant(self, grant: str | Grant, state: str = "complete", timeout: float = 15) -> dict[str, Any]:
        """Wait until a grant is in a state; returns its document."""

        def there() -> dict[str, Any] | None:
            document = self.grant_show(grant)
            seen.append(document)
            return document if document["state"] == state else None

        seen: list[dict[str, Any]] = []
        try:
            return wait_until(there, timeout, f"state {state!r} of the grant", interval=0.2, longest=1)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{json.dumps(seen[-1], indent=1)}") from None

    def wait_for_all(self, grant: str | Grant, timeout: float = 15) -> None:
        """Wait until every byte of a grant is delivered or unconfirmed: what a client that holds all may expect at the least.

        Which of the two it is depends on how steadily the machine lets a client that has many connections, or was stopped, go on;
        trials measure that.
        """

        def there() -> bool:
            document = self.grant_show(grant)
            files = [file for item in document["items"] if not item["complete"] for file in item["files"]]
            return all(SpanSet(map(tuple, (*file["covered"], *file["unconfirmed"]))).covers(0, file["bytes"]) for file in files)

        wait_until(there, timeout, "that all of the grant is accounted for", interval=0.2, longest=1)

    @contextmanager
    def portal(self) -> Iterator[str]:
        """The running portal, which answers; gives its address, `http://H:P`, and ends it."""
        address = self.environ["FTPGATE_PORTAL"]
        if address.endswith(":0"):
            address = free_address()
        self.take_static_files()
        log = self.portal_log_file
        with log.open("w") as output:
            environ = {**self.environ, "FTPGATE_PORTAL": address}
            process: subprocess.Popen[bytes] | ForkedProcess
            if self.new_interpreters:
                process = subprocess.Popen(
                    [*_FTPGATE, "portal"],
                    env=environ,
                    cwd=self.root,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
            else:
                process = fork_server(self.environ).start_logged(["portal"], environ, self.root, output.fileno())

        def answers() -> bool:
            assert process.poll() is None, log.read_text()
            try:
                urllib.request.urlopen(f"http://{address}/", timeout=10).close()
            except OSError:
                return False
            return True

        try:
            wait_until(answers, 60, "an answer of the portal")
            _link_static_files(self.state_dir / "static", _STATIC)
            yield f"http://{address}"
        finally:
            process.terminate()
            try:
                process.wait(30)
            finally:
                _end(process)

    def take_static_files(self) -> None:
        """Have the static files that an earlier portal has made, so that the next one of this site need not make them."""
        _link_static_files(_STATIC, self.state_dir / "static")

    # ------------------------------------------------------------------------------------------ the gate
    def start(self, **settings: str) -> Gate:
        """Start the gate and wait until it accepts connections; after a stop, on the same ports as before.

        Args:
            settings: `FTPGATE_*` names of the environment, kept for later starts too.
        """
        assert self.gate is None, "the gate runs already"
        self.environ.update(settings)
        with self.gate_log_file.open("a") as stderr:
            process: subprocess.Popen[str] | ForkedProcess
            if self.new_interpreters:
                process = subprocess.Popen(
                    [*_FTPGATE, "serve"],
                    env=self.environ,
                    cwd=self.root,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                    text=True,
                    start_new_session=True,
                )
            else:
                command = ["serve"] if self.with_parent else ["serve", "--alone"]
                process = fork_server(self.environ).start(command, self.environ, self.root, stderr.fileno())
        try:
            ready = _ready_line(process)
        except BaseException:
            _end(process)
            raise
        addresses = {name: _address(ready[name]) for name in ("ftp", "http", "admin")}
        self.gate = Gate(process, ready.get("workers", [ready["pid"]])[0], **addresses, ready=ready)
        for name in ("ftp", "http", "ftps", "https", "admin"):
            if ready.get(name):
                self.environ[f"FTPGATE_{name.upper()}"] = ready[name]
        return self.gate

    def stop(self, timeout: float = 60) -> int:
        """End the gate by SIGTERM, wait for its end, return its exit status."""
        assert self.gate is not None, "no gate runs"
        self.gate.process.terminate()
        status = self.gate.process.wait(timeout)
        self._forget()
        return status

    def kill(self) -> None:
        """End the gate, and whatever it started, by SIGKILL."""
        assert self.gate is not None, "no gate runs"
        _end(self.gate.process)
        self._forget()

    def restart(self, **settings: str) -> Gate:
        """Stop and start again, on the same ports."""
        self.stop()
        return self.start(**settings)

    def gate_log(self) -> str:
        """What all gates of this site have written to stderr so far."""
        return self.gate_log_file.read_text(errors="replace") if self.gate_log_file.exists() else ""

    def close(self) -> None:
        """End the gate, if one runs, and remove what was made."""
        if self.gate is not None:
            self.kill()
        self._desk.close()
        shutil.rmtree(self.root, ignore_errors=True)

    def _forget(self) -> None:
        assert self.gate is not None
        if self.gate.process.stdout is not None:
            self.gate.process.stdout.close()
        self.gate = None

    def _links(self, token: str, links: Mapping[str, str]) -> dict[str, str]:
        """The links with the ports that listen, when they were issued before those were known (port 0)."""
        if self.gate is None:
            return dict(links)
        (ftp_host, ftp_port), (http_host, http_port) = self.gate.ftp, self.gate.http
        known = {"ftp": f"ftp://{token}:x@{ftp_host}:{ftp_port}/", "http": f"http://{http_host}:{http_port}/d/{token}/"}
        return {name: known.get(name, link) if urlsplit(link).port == 0 else link for name, link in links.items()}


def free_address() -> str:
    """`H:P` of a port that is free just now."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


def _link_static_files(made: Path, to: Path) -> None:
    """Give one folder of collected static files the content of another, unless it has it."""
    stamps = [folder / ".collected" for folder in (made, to)]
    if not stamps[0].exists() or (stamps[1].exists() and stamps[0].read_text() == stamps[1].read_text()):
        return
    to.parent.mkdir(parents=True, exist_ok=True)
    copy = Path(tempfile.mkdtemp(dir=to.parent)) / to.name
    shutil.copytree(made, copy, copy_function=os.link)
    with contextlib.suppress(OSError):  # another worker was here first
        if to.exists():
            to.rename(copy.parent / "old")
        copy.rename(to)
    shutil.rmtree(copy.parent, ignore_errors=True)


def _ready_line(process: subprocess.Popen[str] | ForkedProcess) -> dict[str, Any]:
    assert process.stdout is not None
    deadline = time.monotonic() + _READY_SECONDS
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while not selector.select(0.2):
            if process.poll() is not None or time.monotonic() > deadline:
                break
        else:
            line = process.stdout.readline()
            if line:
                document: dict[str, Any] = json.loads(line)
                assert document["ready"] is True, line
                return document
    try:
        ended = f"ended with {process.wait(5)}"
    except subprocess.TimeoutExpired:
        ended = f"said nothing for {_READY_SECONDS} s"
    raise AssertionError(f"the gate did not start: it {ended}")


def _end(process: subprocess.Popen[str] | subprocess.Popen[bytes] | ForkedProcess) -> None:
    """SIGKILL to the process and to those that it started (it leads a session of its own)."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        process.kill()
    process.wait(10)


def _address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)
