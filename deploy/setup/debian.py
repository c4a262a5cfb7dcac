"""Debian packages, as root or not: installed where that is allowed, else downloaded and unpacked into a folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_LISTS = Path("/var/lib/apt/lists")
_QUIET_INSTALL = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}


class PackageError(Exception):
    """A package could not be had; the text says why and how to correct it."""


def usable() -> bool:
    """Is there a package manager here that this module can drive?"""
    return shutil.which("apt-get") is not None and shutil.which("dpkg") is not None


def offered(package: str) -> bool:
    """Do the lists that are here have a package?"""
    return shutil.which("apt-cache") is not None and _run(["apt-cache", "show", package]).returncode == 0


def privilege() -> list[str] | None:
    """What to put before a command to run it as root: nothing, `sudo -n`, or None when neither works."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") and subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode == 0:
        return ["sudo", "-n"]
    return None


def install(packages: Sequence[str]) -> None:
    """Install packages system-wide, without what they merely recommend.

    Raises:
        PackageError: not allowed, or the package manager failed.
    """
    prefix = privilege()
    if prefix is None:
        raise PackageError("installing " + " ".join(packages) + " needs root")
    command = [*prefix, "env", *(f"{name}={value}" for name, value in _QUIET_INSTALL.items()), "apt-get", "-qq", "-y"]
    wanted = [*command, "install", "--no-install-recommends", *packages]
    if any(_LISTS.glob("*_Packages*")) and _run(wanted).returncode == 0:
        return
    # Lists that are absent, or so old that the mirror has dropped what they name: fetch them and try once more.
    _run([*command, "update"])
    done = _run(wanted)
    if done.returncode:
        raise PackageError(f"apt-get install {' '.join(packages)} failed: {_last_line(done)}")


def unpack(packages: Sequence[str], into: Path, scratch: Path, *, dependencies: bool = False) -> None:
    """Download packages and unpack them into a folder; needs no privilege and changes nothing of the system.

    Args:
        packages: their names.
        into: becomes the root of the unpacked tree.
        scratch: a folder for the lists and the downloads, reused by later calls.
        dependencies: also everything they depend on that is not installed.

    Raises:
        PackageError: a package is unknown or cannot be downloaded.
    """
    options = _options(scratch)
    if not _downloaded(packages, scratch, options, dependencies):
        options = _options(scratch, fresh=True)
        updated = _run(["apt-get", *options, "-qq", "update"])
        if not _downloaded(packages, scratch, options, dependencies):
            raise PackageError(f"{' '.join(packages)} cannot be downloaded: {_last_line(updated) or 'unknown package'}")
    into.mkdir(parents=True, exist_ok=True)
    for archive in sorted(_archives(scratch).glob("*.deb")):
        done = _run(["dpkg", "-x", str(archive), str(into)])
        if done.returncode:
            raise PackageError(f"{archive.name} cannot be unpacked: {_last_line(done)}")
    shutil.rmtree(_archives(scratch))


def _options(scratch: Path, *, fresh: bool = False) -> list[str]:
    """apt's options for working in `scratch`; with the system's own lists where there are some, unless `fresh`."""
    for folder in ("lists/partial", "cache/archives/partial"):
        (scratch / folder).mkdir(parents=True, exist_ok=True)
    options = ["-o", f"Dir::Cache={scratch / 'cache'}", "-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User="]
    if fresh or any((scratch / "lists").glob("*_Packages*")) or not any(_LISTS.glob("*_Packages*")):
        options += ["-o", f"Dir::State::Lists={scratch / 'lists'}"]
    return options


def _downloaded(packages: Sequence[str], scratch: Path, options: Sequence[str], dependencies: bool) -> bool:
    """Have the archives been downloaded?"""
    wanted = list(packages)
    if dependencies:
        plan = _run(["apt-get", *options, "-s", "install", "--no-install-recommends", *packages])
        if plan.returncode:
            return False
        wanted = [line.split()[1] for line in plan.stdout.splitlines() if line.startswith("Inst ")]
    shutil.rmtree(_archives(scratch), ignore_errors=True)
    _archives(scratch).mkdir(parents=True)
    return _run(["apt-get", *options, "-qq", "download", *wanted], cwd=_archives(scratch)).returncode == 0


def _archives(scratch: Path) -> Path:
    return scratch / "packages"


def _run(command: Sequence[str], cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, **_QUIET_INSTALL}
    return subprocess.run(
        command, capture_output=True, text=True, errors="replace", check=False, cwd=cwd, env=environ, stdin=subprocess.DEVNULL
    )


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = (done.stderr or done.stdout).strip().splitlines()
    return lines[-1] if lines else ""


def say(text: str) -> None:
    """A line of progress; on stderr, so that the output of a command that follows stays clean."""
    print(text, file=sys.stderr, flush=True)
