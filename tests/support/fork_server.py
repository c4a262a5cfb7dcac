"""`ftpgate …` as a process without the start of an interpreter: a server that has imported the large packages forks for each.

A command spends most of its time on starting Python, importing Django and the gate, and taking all of it down. The server has
imported what other makers wrote, and the gate's modules, which do nothing when they are imported. It has read no settings and not
set Django up, so a command reads its own environment and files, as always. The server has one thread. It ends, and ends what it
runs, when the process that started it ends.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn

_ROOT = Path(__file__).resolve().parents[2]
_LARGEST_REQUEST = 100_000  # bytes; a socket takes twice as many at once

# Nothing that needs Django's settings: to import such a module would raise. So nothing of the portal's.
_PRELOADED = (
    "asyncio",
    "cryptography.hazmat.primitives.asymmetric.ed25519",
    "dj_database_url",
    "django.contrib.auth.apps",
    "django.contrib.auth.hashers",
    "django.contrib.auth.password_validation",
    "django.contrib.contenttypes.apps",
    "django.core.files.images",
    "django.core.files.storage",
    "django.core.mail",
    "django.core.management",
    "django.core.paginator",
    "django.core.serializers.json",
    "django.db.backends.postgresql.base",
    "django.db.backends.sqlite3.base",
    "django.db.migrations.autodetector",
    "django.db.migrations.executor",
    "django.db.models.functions",
    "PIL.Image",
    "email.utils",
    "h11",
    "http.server",
    "OpenSSL.SSL",
    "prometheus_client",
    "psycopg2.extras",
    "pyftpdlib.ioloop",
    "tinytag",
    "tqdm",
)


# ------------------------------------------------------------------------------------------ the side of the tests


class ForkedProcess:
    """A command that runs: what tests use of a `subprocess.Popen`. The server is its parent, and tells of its end.

    Attributes:
        stdout: what it writes, when it was started to run on.
        returncode: as of a `Popen`.
    """

    def __init__(self, arguments: Sequence[str], answer: socket.socket) -> None:
        self.args = list(arguments)
        self.stdout: IO[str] | None = None
        self.returncode: int | None = None
        self._answer = answer
        self.pid = int(self._heard(None))

    def _heard(self, timeout: float | None) -> str:
        self._answer.settimeout(timeout)
        word = self._answer.recv(16).decode()
        assert word, "the fork server has ended"
        return word

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Raises:
        subprocess.TimeoutExpired: it still runs.
        """
        if self.returncode is None:
            try:
                self.returncode = int(self._heard(timeout))
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired(self.args, timeout or 0) from None
            self._answer.close()
        return self.returncode

    def give_up(self) -> None:
        """Have the server kill it, and wait for its end."""
        self._answer.shutdown(socket.SHUT_WR)
        self.wait(10)

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it has ended in this moment
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class ForkServer:
    """Runs commands as `subprocess.run([sys.executable, "-m", "ftpgate", …], capture_output=True, text=True)` would.

    Args:
        environ: the environment of the interpreter itself; what a command is given comes too late for it.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.fork_server", str(theirs.fileno())],
                env=environ,
                cwd=_ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def run(
        self, arguments: Sequence[str], environ: Mapping[str, str], cwd: Path, *, stdin: str = "", timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """Run one command to its end. Threads may do so at the same time.

        Raises:
            subprocess.TimeoutExpired: it took longer than `timeout` seconds and was killed.
        """
        with contextlib.ExitStack() as stack:
            streams = [stack.enter_context(open(os.memfd_create(name), "w+", encoding="utf-8")) for name in ("in", "out", "err")]
            streams[0].write(stdin)
            streams[0].seek(0)
            process = self._fork(arguments, environ, cwd, *(stream.fileno() for stream in streams))
            try:
                status = process.wait(timeout)
            except subprocess.TimeoutExpired:
                process.give_up()
                raise
            for stream in streams[1:]:
                stream.seek(0)
            written = [stream.read() for stream in streams[1:]]
        return subprocess.CompletedProcess(["ftpgate", *arguments], status, *written)

    def start(self, arguments: Sequence[str], environ: Mapping[str, str], cwd: Path, stderr: int) -> ForkedProcess:
        """Start one command that runs on, the leader of a session; its output is the process's `stdout`."""
        read, write = os.pipe()
        with open(os.devnull) as nothing:
            try:
                process = self._fork(arguments, environ, cwd, nothing.fileno(), write, stderr, leads=True)
            finally:
                os.close(write)
        process.stdout = os.fdopen(read)
        return process

    def start_logged(self, arguments: Sequence[str], environ: Mapping[str, str], cwd: Path, log: int) -> ForkedProcess:
        """The same with all that it writes in one file."""
        with open(os.devnull) as nothing:
            return self._fork(arguments, environ, cwd, nothing.fileno(), log, log, leads=True)

    def start_desk(self, environ: Mapping[str, str], cwd: Path, stream: int) -> ForkedProcess:
        """Start a process that runs the commands which `stream`, a socket, brings (`support/desk.py`)."""
        return self._fork(None, environ, cwd, stream, stream, 2)

    def _fork(
        self, arguments: Sequence[str] | None, environ: Mapping[str, str], cwd: Path, *streams: int, leads: bool = False
    ) -> ForkedProcess:
        asked = {"arguments": arguments, "environ": dict(environ), "cwd": str(cwd), "leads": leads}
        answer, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)  # two messages: its number, and how it ended
        with theirs:
            socket.send_fds(self._requests, [json.dumps(asked).encode()], [*streams, theirs.fileno()])
        return ForkedProcess(["ftpgate", *(arguments or ["…"])], answer)

    def close(self) -> None:
        """End it and what it runs."""
        self._requests.close()
        self._process.wait(10)


_servers: dict[frozenset[tuple[str, str]], ForkServer] = {}
_starting = threading.Lock()


def fork_server(environ: Mapping[str, str]) -> ForkServer:
    """The server of this process whose interpreter was started as one with this environment would be. Ends with this process."""
    heeded = frozenset((name, value) for name, value in environ.items() if name.startswith(("PYTHON", "LANG", "LC_")))
    with _starting:
        if heeded not in _servers:
            _servers[heeded] = ForkServer(dict(heeded))
            atexit.register(_servers[heeded].close)
        return _servers[heeded]


# ------------------------------------------------------------------------------------------ the side of the server


@dataclass(frozen=True, slots=True)
class _Command:
    """A child.

    Attributes:
        ended: a descriptor of the process, readable when it has ended.
        answer: where its exit status goes; at its end when the other side no longer wants it.
    """

    pid: int
    ended: int
    answer: socket.socket


class _Server:
    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests
        self._selector = selectors.DefaultSelector()
        self._selector.register(requests, selectors.EVENT_READ)
        self._running: dict[int, _Command] = {}

    def serve(self) -> dict[str, Any] | None:
        """Fork for each request. Returns the request in the child, and None in the server when nobody can ask any more."""
        while True:
            (key, _), *_ = self._selector.select()  # others are told of again
            command: _Command | None = key.data
            if command is None:
                message, descriptors, _, _ = socket.recv_fds(self._requests, _LARGEST_REQUEST, 4)
                if not message:
                    self._kill_all()
                    return None
                if self._forked(*descriptors):
                    return dict(json.loads(message))
            elif key.fileobj is command.answer:
                self._selector.unregister(command.answer)
                signal.pidfd_send_signal(command.ended, signal.SIGKILL)
            else:
                self._finish(command)

    def _forked(self, stdin: int, stdout: int, stderr: int, answer: int) -> bool:
        """Whether this is the child; it has these streams and nothing else of the server's."""
        pid = os.fork()
        for number, stream in enumerate((stdin, stdout, stderr)):
            if not pid:
                os.dup2(stream, number)
            os.close(stream)
        asker = socket.socket(fileno=answer)
        if not pid:
            asker.close()
            self._close()
            return True
        asker.send(str(pid).encode())
        command = _Command(pid, os.pidfd_open(pid), asker)
        self._running[pid] = command
        self._selector.register(command.ended, selectors.EVENT_READ, command)
        self._selector.register(command.answer, selectors.EVENT_READ, command)
        return False

    def _finish(self, command: _Command) -> None:
        _, status = os.waitpid(command.pid, 0)
        del self._running[command.pid]
        self._selector.unregister(command.ended)
        os.close(command.ended)
        if command.answer in self._selector.get_map():
            self._selector.unregister(command.answer)
        with contextlib.suppress(BrokenPipeError), command.answer:
            command.answer.send(str(os.waitstatus_to_exitcode(status)).encode())

    def _kill_all(self) -> None:
        for command in self._running.values():
            signal.pidfd_send_signal(command.ended, signal.SIGKILL)

    def _close(self) -> None:
        self._requests.close()
        self._selector.close()
        for command in self._running.values():
            os.close(command.ended)
            command.answer.close()


def _run_command(arguments: Sequence[str] | None, environ: Mapping[str, str], cwd: str, leads: bool) -> NoReturn:
    """What `python -m ftpgate …` does, without taking the interpreter down, which would touch all that was imported.

    Args:
        arguments: None for many commands, as they come.
    """
    if leads:
        os.setsid()
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environ)
    time.tzset()
    sys.path[0] = cwd
    sys.argv[1:] = arguments or ()
    status: object = 1
    try:
        if arguments is None:
            from tests.support.desk import serve

            serve()
        runpy.run_module("ftpgate", run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as end:
        status = end.code or 0
    except BaseException:
        traceback.print_exc()
    if not isinstance(status, int):
        print(status, file=sys.stderr)
        status = 1
    threading._shutdown()  # type: ignore[attr-defined]  # as at every end of Python: wait for threads, call what waits for the end
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _check_passwords_quickly() -> None:
    """What makes a password slow to guess is Django's, and makes it slow to set and check. New interpreters keep it."""
    from django.contrib.auth.hashers import PBKDF2PasswordHasher

    PBKDF2PasswordHasher.iterations = 1_000


def _of_the_gate() -> list[str]:
    """All modules of `ftpgate`, but the one that a command runs."""
    import ftpgate

    found = pkgutil.walk_packages(ftpgate.__path__, "ftpgate.")
    return [module.name for module in found if module.name != "ftpgate.__main__"]


def _main() -> None:
    requests = socket.socket(fileno=int(sys.argv[1]))
    for name in (*_PRELOADED, *_of_the_gate()):
        importlib.import_module(name)
    _check_passwords_quickly()
    gc.collect()
    gc.freeze()  # collections in children leave alone, and so uncopied, what they share
    request = _Server(requests).serve()
    if request is not None:
        _run_command(**request)


if __name__ == "__main__":
    _main()
