"""Real download programs, each run to its end: what they have fetched is complete, soon, and was sent about once."""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import count, islice
from pathlib import Path

from tests.support import clients
from tests.support.media import sha256
from tests.support.tools import PATH
from tests.trials.counting import Row
from tests.trials.crowd import Behaviour, Crowd, Job, Talk
from tests.trials.lab import Target
from tests.trials.trial import Run, Trial, draw_rate, draw_size

AT_ONCE = {"Chromium": 2}
"""Of the same kind, so that what the gate sends meanwhile can be told to be theirs; of the others, 4."""
SECONDS = 60.0
_CHROMIUM = "chromium" if shutil.which("chromium", path=PATH) else "chromium-headless-shell"

Fetch = Callable[[Target, str, Path, Talk], object]
"""Target, protocol, where to, and the line to the judge, for those that go on when they hold all."""
BROWSER_STAYS = 2.5
"""Seconds that a browser is still there once the file has come: it keeps its connection."""


def _curl(target: Target, protocol: str, to: Path, talk: Talk) -> None:
    clients.curl(target.url(protocol), to, "--cacert", str(target.ca), timeout=SECONDS)


def _wget(target: Target, protocol: str, to: Path, talk: Talk) -> None:
    implicit = ["--ftps-implicit"] if protocol == "ftps" else []
    clients.wget(target.url(protocol), to, f"--ca-certificate={target.ca}", *implicit, timeout=SECONDS)


def _wget2(target: Target, protocol: str, to: Path, talk: Talk) -> None:
    options = ["--no-config", "--quiet", "--chunk-size=1M", "--max-threads=4", f"--ca-certificate={target.ca}"]
    clients.run("wget2", [*options, f"--output-document={to}", target.url(protocol)], timeout=SECONDS)


def _aria2(target: Target, protocol: str, to: Path, talk: Talk) -> None:
    clients.aria2(target.url(protocol), to, f"--ca-certificate={target.ca}", timeout=SECONDS)


def _aria2_metalink(target: Target, protocol: str, to: Path, talk: Talk) -> None:
    url = target.url(protocol, "downloads.meta4")
    options = ["--follow-metalink=mem", "--no-conf=true", "--console-log-level=warn", "--summary-interval=0", "--split=16"]
    options += ["--max-connection-per-server=16", "--min-split-size=1M", "--file-allocation=none", f"--dir={to.parent}"]
    clients.run("aria2c", [*options, url], timeout=SECONDS)
    (found,) = to.parent.rglob("*.bin")
    found.rename(to)


def _axel(target: Target, protocol: str, to: Path, talk: Talk) -> None:
    clients.axel(target.url(protocol), to, *(["--insecure"] if protocol == "https" else []), timeout=SECONDS)


def _lftp(target: Target, protocol: str, to: Path, talk: Talk) -> None:
    secure = target.ca if protocol.endswith("s") else None
    clients.lftp_pget(target.url(protocol), to, ca=secure, timeout=SECONDS)


def _rclone(target: Target, protocol: str, to: Path, talk: Talk) -> None:
    folder, _, name = target.path.rpartition("/")
    options = [
        "--config=",
        "--multi-thread-streams=4",
        "--multi-thread-cutoff=1M",
        "--retries=1",
        f"--http-url={target.url(protocol, folder)}/",
    ]
    clients.run("rclone", ["copyto", *options, f":http:{name}", str(to)], timeout=SECONDS)


def _chromium(target: Target, protocol: str, to: Path, talk: Talk) -> None:
    from playwright.sync_api import Error, sync_playwright

    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
        browser = playwright.chromium.launch(executable_path=shutil.which(_CHROMIUM, path=PATH), args=flags)
        page = browser.new_page(ignore_https_errors=True)
        with page.expect_download(timeout=SECONDS * 1_000) as begun, suppress(Error):  # it does not get to a page
            page.goto(target.url(protocol))
        begun.value.path()
        talk.story.runs.append([0, target.size])
        talk.holds_all(BROWSER_STAYS)
        begun.value.save_as(to)
        browser.close()


KINDS: dict[str, tuple[str, str, Fetch]] = {
    **{f"curl, {protocol}": ("curl", protocol, _curl) for protocol in ("http", "https", "ftp", "ftps")},
    **{f"wget, {protocol}": ("wget", protocol, _wget) for protocol in ("http", "https", "ftp", "ftps")},
    **{f"wget2, {protocol}": ("wget2", protocol, _wget2) for protocol in ("http", "https")},
    **{f"aria2c x16, {protocol}": ("aria2c", protocol, _aria2) for protocol in ("http", "https", "ftp")},
    "aria2c x16, Metalink": ("aria2c", "http", _aria2_metalink),
    **{f"lftp pget -n 8, {protocol}": ("lftp", protocol, _lftp) for protocol in ("http", "https", "ftp", "ftps")},
    **{f"axel -n 8, {protocol}": ("axel", protocol, _axel) for protocol in ("http", "https", "ftp")},
    **{f"rclone, {protocol}": ("rclone", protocol, _rclone) for protocol in ("http",)},
    **{f"Chromium, {protocol}": (_CHROMIUM, protocol, _chromium) for protocol in ("http", "https")},
}
"""Name of the row -> program, protocol, how it is run."""


def behaviour(kind: str) -> Behaviour:
    _, protocol, fetch = KINDS[kind]

    def fetches(target: Target, rng: random.Random, talk: Talk) -> None:
        talk.story.manner = kind
        with tempfile.TemporaryDirectory(prefix="ftpgate-trials-") as folder:
            to = Path(folder) / "got"
            fetch(target, protocol, to, talk)
            if talk.story.held_at is None:
                talk.story.runs.append([0, target.size])
                talk.holds_all()
            assert sha256(to) == target.sha256, f"{kind} has ended well, with another file"

    return fetches


def _draw(kind: str, rng: random.Random, seed: str) -> Job:
    """The same sizes and rates for every kind."""
    rate = draw_rate(rng)
    return Job(kind, seed, draw_size(rng, rate, 4), rate, behaviour(kind), SECONDS + 10)


def run(trial: Run) -> None:
    """Every kind in turn, some at once, until the time is over; and each once at least."""
    crowd = trial.crowd()
    kinds = [kind for kind, (program, *_) in KINDS.items() if shutil.which(program, path=PATH)]
    lacking = sorted({program for program, *_ in KINDS.values()} - {KINDS[kind][0] for kind in kinds})
    if lacking:
        trial.notes.append(f"Not on this machine: {', '.join(lacking)}.")
    jobs = {kind: trial.jobs(partial(_draw, kind)) for kind in kinds}
    for turn in count():
        for kind in kinds:
            if time.monotonic() >= trial.until and (turn or trial.only):
                return
            _batch(trial, crowd, kind, jobs[kind])


def _batch(trial: Run, crowd: Crowd, kind: str, jobs: Iterator[Job]) -> None:
    lab = trial.labs.shared()
    at_once = AT_ONCE.get(kind.partition(",")[0], 4)
    before = lab.metric("ftpgate_acknowledged_bytes")
    chosen = list(islice(jobs, at_once))
    crowd.run(chosen, at_once, float("inf"))
    with suppress(AssertionError):  # it goes on sending: that is counted
        lab.settle()
    row = trial.rows.setdefault(kind, Row(kind))
    sent, asked = lab.metric("ftpgate_acknowledged_bytes") - before, sum(job.size for job in chosen)
    row.more["bytes acknowledged"] = row.more.get("bytes acknowledged", 0) + int(sent)
    row.more["bytes of the files"] = row.more.get("bytes of the files", 0) + asked


TRIAL = Trial(
    "Real programs that fetch 0.3 to 60 MB at 1, 5 and 20 MB/s and without a limit, plain and over TLS, to their ends.",
    run, 100, 700,
)  # fmt: skip
