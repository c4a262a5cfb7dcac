"""The commands of `ftpgate` in one process that stays: starting Python for each of thousands would be most of the work.

Reads the arguments of one command a line, as JSON, and answers each with `[status, stdout, stderr]`.
"""

from __future__ import annotations

import contextlib
import io
import json
import select
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from tests.support.tools import ROOT

_SECONDS = 60
"""That a command may take."""
_START = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tests.trials.desk import serve; serve()"


class Desk:
    """Runs `ftpgate … --json` quickly; a context manager that ends its process.

    Args:
        environ, folder: of the process, as of any command of the site.
    """

    def __init__(self, environ: Mapping[str, str], folder: Path) -> None:
        self._environ = environ
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None

    def json(self, *arguments: str) -> Any:
        """The document that a command prints.

        Raises:
            AssertionError: the command failed; the text holds what it wrote.
        """
        status, output, errors = self._ask([*arguments, "--json"])
        if status:
            self.close()  # a connection to a database that went away is not used again
            raise AssertionError(f"ftpgate {' '.join(arguments)} ended with {status}: {errors.strip()}")
        return json.loads(output)

    def _ask(self, arguments: list[str]) -> tuple[int, str, str]:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START],
                env=dict(self._environ), cwd=self._folder, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            )  # fmt: skip
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(arguments) + "\n")
        self._process.stdin.flush()
        ready, _, _ = select.select([self._process.stdout], [], [], _SECONDS)
        line = self._process.stdout.readline() if ready else ""
        if not line:
            self.close()
            raise AssertionError(f"ftpgate {' '.join(arguments)} {'ended the process' if ready else f'took over {_SECONDS} s'}")
        status, output, errors = json.loads(line)
        return status, output, errors

    def close(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()  # to the end of its input it would wait in vain: clients were forked meanwhile, and have the pipe too
        process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()

    def __enter__(self) -> Desk:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def serve() -> None:
    """The loop of the process."""
    (entry,) = entry_points(group="console_scripts", name="ftpgate")
    main = entry.load()
    answers = sys.stdout
    for line in sys.stdin:
        output, errors = io.StringIO(), io.StringIO()
        sys.argv = ["ftpgate", *json.loads(line)]
        status: object = 0
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            try:
                status = main()
            except SystemExit as ended:
                status = ended.code
        answers.write(json.dumps([int(status or 0), output.getvalue(), errors.getvalue()]) + "\n")  # type: ignore[call-overload]
        answers.flush()
