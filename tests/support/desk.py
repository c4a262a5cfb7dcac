"""`ftpgate … --json` for what a test only needs: one process that has set Django up runs one command after the other.

A command of its own process spends nine tenths of its time on that. What a test is about it runs by `Site.run`.
"""

from __future__ import annotations

import contextlib
import io
import json
import socket
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from tests.support.fork_server import ForkedProcess, fork_server

_SECONDS = 120
"""That a command may take."""


class Desk:
    """The process, started when it is first needed; a context manager that ends it.

    Args:
        environ: of the process, as of any command of the site; after a change of it another one is started.
        folder: its working directory.
    """

    def __init__(self, environ: Mapping[str, str], folder: Path) -> None:
        self._environ = environ
        self._folder = folder
        self._started_with: dict[str, str] = {}
        self._process: ForkedProcess | None = None
        self._socket: socket.socket | None = None
        self._one_at_a_time = threading.Lock()

    def json(self, *arguments: str, stdin: str = "") -> Any:
        """The document that a command prints.

        Raises:
            AssertionError: the command failed; the text holds what it wrote.
        """
        with self._one_at_a_time:
            status, output, errors = self._ask([*arguments, "--json"], stdin)
        if status:
            raise AssertionError(f"ftpgate {' '.join(arguments)} ended with {status}: {output}{errors.strip()}")
        return json.loads(output)

    def _ask(self, arguments: list[str], stdin: str) -> tuple[int, str, str]:
        if self._started_with != self._environ:
            self.close()
        if self._socket is None:
            self._start()
        assert self._socket is not None
        with self._socket.makefile("rw", encoding="utf-8", newline="\n") as stream:
            try:
                stream.write(json.dumps([arguments, stdin]) + "\n")
                stream.flush()
                line = stream.readline()
            except TimeoutError:
                line = ""
        if not line:
            self.close()
            raise AssertionError(f"ftpgate {' '.join(arguments)} ended the process, or took over {_SECONDS} s")
        status, output, errors = json.loads(line)
        return status, output, errors

    def _start(self) -> None:
        self._started_with = dict(self._environ)
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = fork_server(self._environ).start_desk(self._environ, self._folder, theirs.fileno())
        self._socket.settimeout(_SECONDS)

    def close(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.give_up()  # it would not see the end of its input while somebody was forked who has the socket too
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def __enter__(self) -> Desk:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def serve() -> NoReturn:
    """What the process does: its stdin brings commands, its stdout takes what came of them, a line of JSON each."""
    from ftpgate.__main__ import main

    commands, answers = sys.stdin, sys.stdout
    for line in commands:
        arguments, given = json.loads(line)
        sys.argv[1:] = arguments
        sys.stdin, output, errors = io.StringIO(given), io.StringIO(), io.StringIO()
        status: object = 0
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            try:
                main()
            except SystemExit as ended:
                status = ended.code
        _let_go_of_the_database()
        answers.write(json.dumps([int(status or 0), output.getvalue(), errors.getvalue()]) + "\n")  # type: ignore[call-overload]
        answers.flush()
    sys.exit()


def _let_go_of_the_database() -> None:
    """As the end of a process does: tests stop servers and remove databases."""
    from django.conf import settings
    from django.db import connections

    if settings.configured:
        connections.close_all()
