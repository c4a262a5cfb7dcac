"""Get the programs that the tests drive: download managers, archivers, a browser, and an album of real music.

Run by `make test`. As root they are installed; else they are unpacked below `.cache`, whose `tools/bin` the tests put on
their PATH. What is already there is left alone. What cannot be had is named: the tests that need it are skipped with that
reason, or fail when CI=true.

    python deploy/setup/components.py [--bench]
"""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import debian

CACHE = Path(__file__).resolve().parents[2] / ".cache"
TOOLS = CACHE / "tools"
MUSIC = CACHE / "music"
# Program -> Debian packages, with a space between them.
TEST_PROGRAMS = {
    "curl": "curl",
    "wget": "wget",
    "aria2c": "aria2",
    "lftp": "lftp",
    "axel": "axel",
    "unzip": "unzip",
    "7z": "p7zip-full",
    "bsdtar": "libarchive-tools",
}
# Unpacked even where they could be installed: they would start a service there.
TEST_SERVERS = {"redis-server": "redis-server"}
# Chromium without its windows, which takes a quarter of the processor time; not every distribution has it apart.
HEADLESS = {"chromium-headless-shell": "chromium-headless-shell fonts-dejavu-core"}
WHOLE = {"chromium": "chromium fonts-dejavu-core"}
BENCH_PROGRAMS = {"nginx": "nginx-light", "vsftpd": "vsftpd"}
# 41 Ogg files, one of them untagged; the name follows the game's version, so that of another Debian may differ.
MUSIC_PACKAGES = ("wesnoth-1.16-music", "wesnoth-1.18-music")
# Programs whose file in a bin folder is a script that calls this one by its absolute path.
_BEHIND_SCRIPTS = {
    "7z": "usr/lib/p7zip/7z",
    "chromium": "usr/lib/chromium/chromium",
    "chromium-headless-shell": "usr/lib/chromium/chromium-headless-shell",
}


def main() -> int:
    parser = argparse.ArgumentParser(description="Get the programs and the music that the tests use.")
    parser.add_argument("--bench", action="store_true", help="also the servers that the benchmarks compare with")
    arguments = parser.parse_args()
    CACHE.mkdir(exist_ok=True)
    problems = []
    with (CACHE / "components.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = TEST_PROGRAMS | (BENCH_PROGRAMS if arguments.bench else {})
        for get in (partial(get_programs, wanted), partial(get_programs, TEST_SERVERS, install=False), get_browser, get_music):
            try:
                get()
            except (debian.PackageError, OSError) as error:
                problems.append(str(error))
    for problem in problems:
        print(f"tools: {problem}", file=sys.stderr)
    return 1 if problems and os.environ.get("CI") == "true" else 0


def get_programs(wanted: dict[str, str], *, install: bool = True) -> None:
    """Make the programs available: installed, if that is allowed and `install`, or below `.cache/tools`.

    Raises:
        debian.PackageError: some cannot be had.
    """
    missing = sorted(name for name in wanted if not _present(name))
    if not missing:
        return
    if not debian.usable():
        raise debian.PackageError(f"missing: {', '.join(missing)}; install them with your package manager")
    packages = sorted({package for name in missing for package in wanted[name].split()})
    debian.say(f"Getting {', '.join(missing)} …")
    if install and debian.privilege() is not None:
        debian.install(packages)
    else:
        root = TOOLS / "root"
        debian.unpack(packages, root, CACHE / "apt", dependencies=True)
        for name in missing:
            _wrap(name, root)
    still = [name for name in missing if not _present(name)]
    if still:
        raise debian.PackageError(f"missing even now: {', '.join(still)}; install them with your package manager")


def get_browser() -> None:
    """Make a Chromium available.

    Raises:
        debian.PackageError: none can be had.
    """
    if any(map(_present, WHOLE)) and not all(map(debian.offered, HEADLESS)):
        return
    try:
        get_programs(HEADLESS)
    except debian.PackageError:
        get_programs(WHOLE)


def get_music() -> None:
    """Unpack an album of real music to `.cache/music`.

    Raises:
        debian.PackageError: it cannot be downloaded.
    """
    if any(MUSIC.rglob("*.ogg")):
        return
    if not debian.usable():
        raise debian.PackageError(f"the music of {MUSIC_PACKAGES[0]} cannot be had without apt-get; unpack it to {MUSIC}")
    debian.say("Getting an album of real music …")
    for package in MUSIC_PACKAGES:
        try:
            debian.unpack([package], MUSIC, CACHE / "apt")
            return
        except debian.PackageError as error:
            problem = error
    raise problem


def _present(name: str) -> bool:
    return shutil.which(name, path=f"{TOOLS / 'bin'}:{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is not None


def _wrap(name: str, root: Path) -> None:
    """A script that runs an unpacked program with the libraries, modules and fonts that were unpacked with it."""
    places = [_BEHIND_SCRIPTS.get(name, ""), f"usr/bin/{name}", f"usr/sbin/{name}", f"bin/{name}", f"sbin/{name}"]
    program = next((root / place for place in places if place and (root / place).is_file()), None)
    if program is None:
        return
    libraries = {path.parent for path in root.rglob("*.so*") if path.is_file() and "lib" in path.parts}
    environ = {"LD_LIBRARY_PATH": _joined(libraries)}
    if name == "lftp":
        environ["LFTP_MODULE_PATH"] = _joined(path for path in root.glob("usr/lib/*/lftp/*") if path.is_dir())
    if (root / "etc/fonts/fonts.conf").exists() and not Path("/etc/fonts/fonts.conf").exists():
        environ["FONTCONFIG_PATH"] = str(root / "etc/fonts")
        environ["XDG_DATA_HOME"] = str(root / "usr/share")  # below which the fonts lie
    wrapper = TOOLS / "bin" / name
    wrapper.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"export {key}='{value}'" for key, value in environ.items()]
    wrapper.write_text("#!/bin/sh\n" + "\n".join(lines) + f"\nexec '{program}' \"$@\"\n")
    wrapper.chmod(0o755)


def _joined(paths: Iterable[Path]) -> str:
    return ":".join(sorted(str(path) for path in paths))


if __name__ == "__main__":
    sys.exit(main())
