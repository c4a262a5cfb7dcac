"""A real Valkey, or Redis, on a free loopback port."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from contextlib import closing
from pathlib import Path
from types import TracebackType

import psutil

from tests.support.tools import PATH, require_tool
from tests.support.waiting import wait_until


class ValkeyServer:
    """A server that keeps nothing on disk, running from its creation on; a context manager that ends it."""

    def __init__(self) -> None:
        name = next((name for name in ("valkey-server", "redis-server") if shutil.which(name, path=PATH)), "redis-server")
        self._program = require_tool(name)
        self._folder = Path(tempfile.mkdtemp(prefix="ftpgate-valkey-"))
        self._process: subprocess.Popen[bytes] | None = None
        with closing(socket.create_server(("127.0.0.1", 0))) as probe:
            self.port = int(probe.getsockname()[1])
        self.start()

    @property
    def url(self) -> str:
        return f"valkey://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, again on the same port and without anything in it, and wait until it answers."""
        options = {"port": str(self.port), "bind": "127.0.0.1", "save": "", "appendonly": "no", "dir": str(self._folder)}
        command = [self._program, *(text for name, value in options.items() for text in (f"--{name}", value))]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        wait_until(self._answers, 20, "an answer of Valkey")

    def stop(self) -> None:
        """End it: what it held is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(20)
            self._process = None

    def process(self) -> psutil.Process:
        """The running server."""
        assert self._process is not None, "it does not run"
        return psutil.Process(self._process.pid)

    def clear(self) -> None:
        """Forget everything."""
        assert self._ask(b"FLUSHALL") == b"+OK"

    def _answers(self) -> bool:
        try:
            return self._ask(b"PING") == b"+PONG"
        except OSError:
            return False

    def _ask(self, command: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", self.port), 5) as sock:
            sock.sendall(command + b"\r\n")
            return sock.recv(64).rstrip()

    def __enter__(self) -> ValkeyServer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)
