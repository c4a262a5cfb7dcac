"""Download programs that fetch one file over two gates at once, or one after the other: is it complete, once, and soon?"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from tests.support import clients
from tests.support.media import sha256
from tests.trials.counting import Row, Verdict
from tests.trials.lab import Address, Lab, Target
from tests.trials.trial import Run, Trial

RUNS, LONG_RUNS = 10, 40
SIZE = 36_000_000
RATES = ("5 MB/s", "20 MB/s", "unlimited")
PROMPT = 2.0
SECONDS = 120.0

Fetch = Callable[[list[Target], Path], object]
"""The same file at each gate, and where to."""


def _aria2(protocols: tuple[str, ...]) -> Fetch:
    def fetch(at: list[Target], to: Path) -> None:
        urls = [target.url(protocol) for protocol in protocols for target in at]
        clients.aria2(urls, to, connections=8, timeout=SECONDS)

    return fetch


def _metalink(at: list[Target], to: Path) -> None:
    """All gates are in it."""
    options = ["--follow-metalink=mem", "--no-conf=true", "--console-log-level=warn", "--summary-interval=0", "--split=16"]
    options += ["--max-connection-per-server=8", "--min-split-size=1M", "--file-allocation=none", f"--dir={to.parent}"]
    clients.run("aria2c", [*options, at[0].url("http", "downloads.meta4")], timeout=SECONDS)
    (found,) = to.parent.rglob("*.bin")
    found.rename(to)


def _axel(at: list[Target], to: Path) -> None:
    first, *others = (target.url("http") for target in at)
    clients.axel(first, to, *others, timeout=SECONDS)


def _curl_goes_on(at: list[Target], to: Path) -> None:
    """It is stopped at one gate, unless it has all by then, and goes on at the other."""
    if clients.curl(at[0].url("http"), to, "--max-time", "1", check=False).status:
        clients.curl(at[1].url("http"), to, "-C", "-", timeout=SECONDS)


def _lftp_goes_on(at: list[Target], to: Path) -> None:
    if clients.curl(at[0].url("ftp"), to, "--max-time", "1", check=False).status:
        clients.lftp(f'get -c "{at[1].url("ftp")}" -o "{to}"', timeout=SECONDS)


KINDS: dict[str, Fetch] = {
    "aria2c x16, http": _aria2(("http",)),
    "aria2c x16, ftp": _aria2(("ftp",)),
    "aria2c x16, http and ftp": _aria2(("http", "ftp")),
    "aria2c x16, Metalink": _metalink,
    "axel -n 8, http": _axel,
    "curl -C -, http, at one gate after the other": _curl_goes_on,
    "curl, then lftp get -c, ftp, at one gate after the other": _lftp_goes_on,
}


def _judge(lab: Lab, target: Target, to: Path, ended_at: float) -> Verdict:
    verdict = Verdict(held=to.exists() and sha256(to) == target.sha256)
    while True:
        (item,) = lab.show(target.grant)["items"]
        waited = time.monotonic() - ended_at
        if item["complete"] or waited > 10:
            break
        time.sleep(0.05)
    verdict.complete = item["complete"]
    verdict.prompt = verdict.complete and waited <= PROMPT
    verdict.false = verdict.complete and not verdict.held
    (file,) = item["files"]
    known = sum(end - start for start, end in (*file["covered"], *file["unconfirmed"]))
    verdict.confirmable = verdict.missed and known == target.size
    return verdict


def _once(lab: Lab, others: dict[str, Address], fetch: Fetch, rate: str) -> Verdict:
    target = lab.target(SIZE, rate)
    at = [target, Target(**{name: getattr(target, name) for name in Target.__slots__} | {"addresses": others})]
    with tempfile.TemporaryDirectory(prefix="ftpgate-trials-") as folder:
        to = Path(folder) / "got"
        try:
            fetch(at, to)
        except (AssertionError, ValueError) as error:
            return Verdict(failed=str(error)[:300])
        return _judge(lab, target, to, time.monotonic())


def run(trial: Run) -> None:
    lab = trial.labs.make("postgres", server=trial.labs.own_postgres())
    with ExitStack() as stack:
        stack.callback(lab.close)
        lab.start(SIZE)
        other = stack.enter_context(lab.another_gate())
        assert other.gate is not None
        others = {"http": other.gate.http, "ftp": other.gate.ftp}
        time.sleep(4)  # each gate knows that it is not alone
        for number in range(LONG_RUNS if trial.long else RUNS):
            for kind, fetch in KINDS.items():
                row = trial.rows.setdefault(kind, Row(kind))
                row.add(_once(lab, others, fetch, RATES[number % len(RATES)]))
        for row in trial.rows.values():
            trial.say(row.line())


TRIAL = Trial("Download programs over two gates.", run, 0, 0, apart=True)
