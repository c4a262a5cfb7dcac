"""The real download managers, each by one function: no configuration files, no proxies, a deadline.

Every function raises `AssertionError` with the client's own words when it fails, unless `check=False`.
"""

from __future__ import annotations

import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from tests.support.tools import clean_environment, require_tool

_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Ended:
    """How a client ended: its exit status, what it wrote (both streams), and how long it took in seconds."""

    status: int
    output: str
    seconds: float


def start(tool: str, arguments: Sequence[str], *, cwd: Path | None = None) -> subprocess.Popen[str]:
    """Start a client and leave it running; for those that are to be stopped half-way. The caller ends and waits for it."""
    home = Path(tempfile.gettempdir())
    return subprocess.Popen(
        [require_tool(tool), *arguments],
        env=clean_environment(home / "ftpgate-no-home"),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )


def run(tool: str, arguments: Sequence[str], *, cwd: Path | None = None, timeout: float = _SECONDS, check: bool = True) -> Ended:
    """Run a client to its end."""
    began = time.monotonic()
    with start(tool, arguments, cwd=cwd) as process:
        try:
            output, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
            raise AssertionError(f"{tool} did not end within {timeout:g} s\n{output[-4000:]}") from None
    ended = Ended(process.returncode, output, time.monotonic() - began)
    if check and ended.status:
        raise AssertionError(f"{tool} {' '.join(arguments)} ended with {ended.status}\n{output[-4000:]}")
    return ended


def curl(url: str, to: Path, *options: str, timeout: float = _SECONDS, check: bool = True) -> Ended:
    """curl; resume by `"-C", "-"`, a range by `"-r", "0-99"`."""
    arguments = ["-q", "--silent", "--show-error", "--fail", "--globoff", *options, "--output", str(to), url]
    return run("curl", arguments, timeout=timeout, check=check)


def wget(url: str, to: Path, *options: str, timeout: float = _SECONDS, check: bool = True) -> Ended:
    """wget -c: resumes what `to` holds already."""
    arguments = ["--no-config", "--no-verbose", "--no-hsts", "--tries=3", "--continue", *options, f"--output-document={to}", url]
    return run("wget", arguments, timeout=timeout, check=check)


def aria2(
    url: str | Sequence[str], to: Path, *options: str, connections: int = 16, timeout: float = _SECONDS, check: bool = True
) -> Ended:
    """aria2c -x16 -s16 with the smallest pieces, so that it really opens all its connections; several addresses of one file."""
    arguments = [
        "--no-conf=true",
        "--no-netrc=true",
        "--console-log-level=warn",
        "--summary-interval=0",
        "--download-result=hide",
        "--file-allocation=none",
        "--allow-overwrite=true",
        "--auto-file-renaming=false",
        "--disable-ipv6=true",
        "--max-tries=5",
        "--retry-wait=1",
        f"--max-connection-per-server={connections}",
        f"--split={connections}",
        "--min-split-size=1M",
        *options,
        f"--dir={to.parent}",
        f"--out={to.name}",
    ]
    return run("aria2c", [*arguments, *([url] if isinstance(url, str) else url)], timeout=timeout, check=check)


def lftp(script: str, *, ca: Path | None = None, cwd: Path | None = None, timeout: float = _SECONDS, check: bool = True) -> Ended:
    """lftp with a script of its commands.

    Left to itself it takes TLS wherever a server offers it, and wants to know who issued the certificate. So it is told:
    given the file of a CA, FTP goes over TLS or not at all; without one, in the clear.
    """
    settings = "set cmd:fail-exit yes; set net:max-retries 3; set net:timeout 20; set net:reconnect-interval-base 1; "
    if ca is None:
        settings += "set ftp:ssl-allow no; "
    else:
        settings += f"set ssl:ca-file {_lftp_word(str(ca))}; set ftp:ssl-force yes; "
    return run("lftp", ["--norc", "-c", settings + script], cwd=cwd, timeout=timeout, check=check)


def lftp_pget(
    url: str, to: Path, *, segments: int = 8, ca: Path | None = None, timeout: float = _SECONDS, check: bool = True
) -> Ended:
    """lftp's segmented `pget -n`; goes on where its status file says when it is there. `ca`: as of `lftp`."""
    script = f"set pget:min-chunk-size 64k; pget -c -n {segments} {_lftp_word(url)} -o {_lftp_word(str(to))}"
    return lftp(script, ca=ca, timeout=timeout, check=check)


def lftp_mirror(
    url: str, to: Path, *options: str, parallel: int = 2, ca: Path | None = None, timeout: float = _SECONDS, check: bool = True
) -> Ended:
    """lftp's recursive `mirror` of a folder. `ca`: as of `lftp`."""
    script = f"mirror --parallel={parallel} {' '.join(options)} {_lftp_word(url)} {_lftp_word(str(to))}"
    return lftp(script, ca=ca, timeout=timeout, check=check)


def axel(url: str, to: Path, *options: str, connections: int = 8, timeout: float = _SECONDS, check: bool = True) -> Ended:
    """axel; goes on where its `.st` file says when it is there."""
    if url.startswith("ftp:"):
        url = unquote(url)  # over FTP, axel 2.17 takes the path as it stands
    arguments = ["--quiet", "--no-proxy", *options, f"--num-connections={connections}", f"--output={to}", url]
    ended = run("axel", arguments, timeout=timeout, check=False)
    if ended.status == -signal.SIGSEGV:  # of its own, now and then, when another connection has taken the last piece
        ended = run("axel", arguments, timeout=timeout, check=False)
    if check and ended.status:
        raise AssertionError(f"axel {' '.join(arguments)} ended with {ended.status}\n{ended.output[-4000:]}")
    return ended


def _lftp_word(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
