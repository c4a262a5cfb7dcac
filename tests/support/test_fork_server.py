"""A command that is forked does what one in a new interpreter does."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import psutil
import pytest

from tests.support.fork_server import ForkServer
from tests.support.tools import PATH
from tests.support.waiting import wait_until

WHAT_IT_SEES = """
import os, signal, sys
from django.conf import settings
print(os.getcwd(), settings.FTPGATE.state_dir, sys.path[0], sys.argv, __name__)
print([signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)])
print(sorted(name for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")))
print(sorted(name for name in os.environ if name != "PATH"), sys.stdin.read())
raise SystemExit(7)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    server = ForkServer({"LC_ALL": "C.UTF-8"})
    yield server
    server.close()


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {
        "PATH": PATH,
        "LC_ALL": "C.UTF-8",
        "FTPGATE_STATE_DIR": str(tmp_path / "state"),
        "FTPGATE_DATABASE_URL": f"sqlite:///{tmp_path / 'none.sqlite3'}",
    }


def shell(code: str) -> tuple[str, ...]:
    return ("manage", "shell", "--no-imports", "-c", code)


@pytest.mark.parametrize(
    ("arguments", "stdin"),
    [
        ((), ""),
        (("--help",), ""),
        (("user", "add", "Ёлка", "--password-stdin"), ""),
        (("user", "add", "Ёлка", "--password-stdin"), "пароль\n"),
        (shell(WHAT_IT_SEES), "one\r\nЁ\n"),
        (shell("raise SystemExit('a reason')"), ""),
        (shell("import atexit, threading; atexit.register(print, 2); threading.Timer(0.1, print, (1,)).start()"), ""),
        (shell("import os; os.kill(os.getpid(), 15)"), ""),
    ],
)
def test_as_in_a_new_interpreter(
    server: ForkServer, environ: dict[str, str], tmp_path: Path, arguments: tuple[str, ...], stdin: str
) -> None:
    started = subprocess.run(
        [sys.executable, "-m", "ftpgate", *arguments], env=environ, cwd=tmp_path, input=stdin, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    forked = server.run(arguments, environ, tmp_path, stdin=stdin, timeout=60)
    assert (forked.returncode, forked.stdout, forked.stderr) == (started.returncode, started.stdout, started.stderr)


def test_settings_of_one_command_are_not_those_of_the_next(server: ForkServer, environ: dict[str, str], tmp_path: Path) -> None:
    code = "import os; print(os.environ.get('FTPGATE_RATE'), os.getcwd())"
    here = tmp_path / "here"
    here.mkdir()
    assert server.run(shell(code), environ | {"FTPGATE_BURST": "x"}, here, timeout=60).returncode == 1
    assert server.run(shell(code), environ, tmp_path, timeout=60).stdout == f"None {tmp_path}\n"


def test_one_that_takes_too_long_is_killed(server: ForkServer, environ: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        server.run(shell("import time; time.sleep(600)"), environ, tmp_path, timeout=0.1)
    assert psutil.Process(server.pid).children() == []


def test_commands_run_side_by_side_and_end_with_their_server(environ: dict[str, str], tmp_path: Path) -> None:
    server = ForkServer({"LC_ALL": "C.UTF-8"})
    with ThreadPoolExecutor() as pool:
        running = pool.submit(server.run, shell("import time; time.sleep(600)"), environ, tmp_path, timeout=600)
        wait_until(lambda: psutil.Process(server.pid).children(), 60, "its start")
        assert server.run(("--help",), environ, tmp_path, timeout=60).returncode == 0
        server.close()
        with pytest.raises(AssertionError, match="has ended"):
            running.result()


def test_nothing_outlives_who_started_it(environ: dict[str, str], tmp_path: Path) -> None:
    waits = shell(
        f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(f'{{os.getpid()}} {{os.getppid()}} '); time.sleep(600)"
    )
    code = f"""
from pathlib import Path
from tests.support.fork_server import ForkServer
ForkServer({{"LC_ALL": "C.UTF-8"}}).run({waits!r}, {environ!r}, Path({str(tmp_path)!r}), timeout=600)
"""
    written = tmp_path / "pid"
    with subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[2]) as starter:
        wait_until(lambda: written.exists() and written.read_text().endswith(" "), 60, "its start")
        starter.kill()
    for pid in map(int, written.read_text().split()):
        wait_until(partial(has_ended, pid), 20, "its end")


def has_ended(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists() or "Z" in state(pid)


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "Z"


def test_one_that_runs_on_is_told_and_tells_of_its_end(server: ForkServer, environ: dict[str, str], tmp_path: Path) -> None:
    code = "import os, sys, time; print(os.getpgrp(), flush=True); print('said', file=sys.stderr); time.sleep(600)"
    with (tmp_path / "stderr").open("w") as stderr:
        process = server.start(shell(code), environ, tmp_path, stderr.fileno())
    assert process.stdout is not None
    with process.stdout as stdout:
        assert stdout.readline() == f"{process.pid}\n", "it leads its group"
        assert process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.01)
        process.terminate()
        assert process.wait(60) == process.poll() == -signal.SIGTERM
        assert stdout.read() == ""
    assert (tmp_path / "stderr").read_text() == "said\n"
    process.kill()  # nobody any more
