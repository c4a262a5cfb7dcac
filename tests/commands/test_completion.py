"""`ftpgate completion`: what real shells make of the scripts."""

from __future__ import annotations

import os
import pty
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ftpgate import cli
from tests.commands.test_commands import refused
from tests.support.site import Site

pytestmark = pytest.mark.databases("sqlite")
_SECONDS = 60
SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], "bind 'set bell-style none'; source {script}"),
    "zsh": (["zsh", "-f", "-i"], 'autoload -Uz compinit; compinit -u -D; eval "$(<{script})"'),
}


def script(shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """The shell's script, in a file."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    assert cli.run(["completion", shell]) == 0
    path = tmp_path / f"ftpgate.{shell}"
    path.write_text(capsys.readouterr().out)
    return path


@contextmanager
def terminal(command: list[str], folder: Path) -> Iterator[int]:
    """A shell at a terminal; gives our end of it."""
    pid, ours = pty.fork()
    if pid == 0:
        environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "TERM": "dumb", "PS1": "READY ", "LC_ALL": "C.UTF-8"}
        os.chdir(folder)
        os.execvpe(command[0], command, environ)
    try:
        yield ours
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(ours)


def type_in(ours: int, text: str, until: str) -> None:
    """Type, and read what the terminal shows until there is this text.

    Raises:
        AssertionError: it does not come.
    """
    os.write(ours, text.encode())
    shown = b""
    signal.alarm(_SECONDS)
    while until.encode() not in shown:
        try:
            read = os.read(ours, 65_536)
        except OSError:
            read = b""
        assert read, shown.decode(errors="replace")
        shown += read
    signal.alarm(0)


@pytest.fixture
def alarm() -> Iterator[None]:
    """A shell that says nothing fails the test."""

    def ring(*_: object) -> None:
        raise AssertionError(f"nothing came for {_SECONDS} s")

    before = signal.signal(signal.SIGALRM, ring)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_completes_commands_options_values_and_folders(
    shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], alarm: None
) -> None:
    path = script(shell, tmp_path, capsys)
    (tmp_path / "quite-a-long-name").mkdir()
    (tmp_path / "quite-another-file").write_text("")
    command, prepare = SHELLS[shell]
    with terminal(command, tmp_path) as ours:
        type_in(ours, prepare.format(script=path) + "; echo PRE''PARED\n", "PREPARED")
        for typed, completed in (
            ("ftpgate item unh", "item unhide "),
            ("ftpgate grant list --st", "--state "),
            ("ftpgate grant list --state revo", "revoked"),
            ("ftpgate backup qui", "quite-a-long-name/"),
            ("ftpgate completion fi", "fish"),
        ):
            type_in(ours, f"{typed}\t", completed)
            type_in(ours, "\x15echo DO''NE\n", "DONE")


def test_fish_completes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = script("fish", tmp_path, capsys)

    def completed(typed: str) -> list[str]:
        done = subprocess.run(
            ["fish", "--no-config", "-c", f"source {path}; complete -C '{typed}'"],
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)}, capture_output=True, text=True, check=True, cwd=tmp_path,
        )  # fmt: skip
        return [line.split("\t")[0] for line in done.stdout.splitlines()]

    (tmp_path / "quite-a-long-name").mkdir()
    assert completed("ftpgate item unh") == ["unhide"]
    assert completed("ftpgate grant list --st") == ["--state"]
    assert completed("ftpgate grant list --state revo") == ["revoked"]
    assert completed("ftpgate backup qui") == ["quite-a-long-name/"]


def test_another_shell_is_wrong_usage(site: Site) -> None:
    assert "invalid choice" in refused(site, "completion", "csh", status=2)
