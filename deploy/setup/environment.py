"""Make or bring up to date the virtual environment in `.venv`: every package pinned and checked by hash.

Run by `make setup` with the Python that the environment shall have. Works where Python came without pip, venv's
ensurepip or a compiler, as root or not. Does nothing, fast, when nothing changed.

    python3 deploy/setup/environment.py [--test | --docs | --release]
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import debian

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
CACHE = ROOT / ".cache"
STAMP = VENV / "setup.json"
RUNTIME_LOCK = ROOT / "requirements.lock"
EXTRA_LOCKS = {name: ROOT / f"requirements-{name}.lock" for name in ("test", "docs", "release")}
"""What an extra needs, with all that the product needs. The pins agree, so that one environment can hold all of them."""
PYTHON = VENV / "bin" / "python"
# What builds the packages that come as source only; installed before them, since --no-build-isolation uses them.
BUILD = ("pip", "setuptools")


class SetupError(Exception):
    """The environment cannot be made; the text says why and how to correct it."""


def main() -> int:
    parser = argparse.ArgumentParser(description="Make or update the virtual environment in .venv.")
    for name, what in (("test", "the tests need"), ("docs", "`make docs` needs"), ("release", "`make sbom` needs")):
        parser.add_argument(f"--{name}", dest="extra", action="store_const", const=name, help=f"also what {what}")
    arguments = parser.parse_args()
    CACHE.mkdir(exist_ok=True)
    try:
        with (CACHE / "setup.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            bring_up_to_date(arguments.extra)
    except (SetupError, debian.PackageError, OSError) as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    return 0


def bring_up_to_date(extra: str | None) -> None:
    """Install what the stamp of the last run does not name.

    Args:
        extra: a name in `EXTRA_LOCKS`, or None for the product alone.

    Raises:
        SetupError: an installation failed.
    """
    done = _stamp()
    wanted = {
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "place": str(VENV),
        "runtime": _digest(RUNTIME_LOCK),
        "project": _digest(ROOT / "pyproject.toml", *(ROOT / name / "__init__.py" for name in ("ftpgate", "webportal"))),
    }
    lock = RUNTIME_LOCK if extra is None else EXTRA_LOCKS[extra]
    if extra is not None:
        wanted[extra] = _digest(lock)
    if all(done.get(name) == value for name, value in wanted.items()) and PYTHON.exists():
        return
    with tempfile.TemporaryDirectory(prefix="ftpgate-setup-") as scratch:
        if (done.get("python"), done.get("place")) != (wanted["python"], wanted["place"]) or not PYTHON.exists():
            done = {}
            _make(Path(scratch))
        STAMP.unlink(missing_ok=True)
        if any(done.get(name) != wanted[name] for name in ("runtime", *EXTRA_LOCKS) if name in wanted):
            debian.say(f"Installing the packages of {lock.name} …")
            _pip("install", "--no-build-isolation", "--require-hashes", "-r", str(lock))
        _pip("install", "--no-build-isolation", "--no-deps", "--editable", str(ROOT))
    unchanged = done.get("runtime") == wanted["runtime"]
    kept = {name: done[name] for name in EXTRA_LOCKS if unchanged and name in done}
    STAMP.write_text(json.dumps({**kept, **wanted}))
    debian.say(f"The environment is ready: {VENV}")


def _make(scratch: Path) -> None:
    """An empty environment with the pinned pip and setuptools."""
    debian.say(f"Making {VENV} with Python {sys.version.split()[0]} …")
    if VENV.is_symlink():
        raise SetupError(f"{VENV} is a symbolic link; remove it and run again")
    shutil.rmtree(VENV, ignore_errors=True)
    _must(
        [sys.executable, "-m", "venv", "--without-pip", str(VENV)],
        "the virtual environment cannot be made; install Python's venv module",
    )
    pinned = scratch / "build.lock"
    pinned.write_text(_entries(RUNTIME_LOCK.read_text(), BUILD))
    command = ["install", "--require-hashes", "-r", str(pinned)]
    if _ran([str(PYTHON), "-m", "ensurepip", "--default-pip"]):
        _pip(*command)
    elif _ran([sys.executable, "-m", "pip", "--python", str(PYTHON), "--version"]):
        _pip(*command, runner=[sys.executable, "-m", "pip", "--python", str(PYTHON)])
    else:
        _pip(*command, environ={"PYTHONPATH": str(_pip_wheel(scratch))})


def _pip_wheel(scratch: Path) -> Path:
    """A wheel of pip that can run from where it lies: the distribution's, unpacked from its package when it is not installed."""
    for place in (Path("/"), scratch / "debian"):
        found = sorted((place / "usr/share/python-wheels").glob("pip-*.whl"))
        if found:
            return found[-1]
        if place == Path("/"):
            if not debian.usable():
                raise SetupError("this Python has no pip; install your distribution's package of Python's venv and run again")
            debian.unpack(["python3-pip-whl"], scratch / "debian", scratch / "apt")
    raise SetupError("this Python has no pip; apt-get install python3-venv and run again")


def _entries(lock: str, names: Sequence[str]) -> str:
    """The entries of some packages in a lock file: a line `name==version \\` and the indented lines that follow it."""
    kept, keeping = [], False
    for line in lock.splitlines():
        if not line.startswith((" ", "#")):
            keeping = line.partition("==")[0] in names
        if keeping:
            kept.append(line)
    return "\n".join(kept) + "\n"


def _stamp() -> dict[str, str]:
    try:
        return dict(json.loads(STAMP.read_text()))
    except (OSError, ValueError):
        return {}


def _digest(*paths: Path) -> str:
    """A digest of the files' contents; for __init__.py only of its presence, which decides what an editable install maps."""
    total = hashlib.sha256()
    for path in paths:
        total.update(str(path.exists()).encode() if path.name == "__init__.py" else path.read_bytes())
    return total.hexdigest()


def _pip(*arguments: str, runner: Sequence[str] = (str(PYTHON), "-m", "pip"), environ: Mapping[str, str] | None = None) -> None:
    options = ("-qq", "--disable-pip-version-check", "--no-input", "--root-user-action=ignore")
    install = [*runner, arguments[0], *options, *arguments[1:]]
    # --root-user-action came with pip 22.1, older than any pip of a Python that is supported here.
    _must(install, "the packages cannot be installed; is there a connection to the package index?", environ)


def _must(command: Sequence[str], otherwise: str, environ: Mapping[str, str] | None = None) -> None:
    done = subprocess.run(
        command, check=False, env={**os.environ, **(environ or {})}, stdin=subprocess.DEVNULL, stdout=sys.stderr
    )
    if done.returncode:
        raise SetupError(f"{otherwise} ({' '.join(command[:4])} … ended with {done.returncode})")


def _ran(command: Sequence[str]) -> bool:
    return subprocess.run(command, check=False, capture_output=True, stdin=subprocess.DEVNULL).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
