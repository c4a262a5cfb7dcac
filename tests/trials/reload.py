"""Twenty reloads under two hundred downloads and fifty new connections a second: is anybody refused, or cut?"""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from itertools import count

from tests.support.media import write_album
from tests.support.rawftp import RawFtp
from tests.support.site import Address, Grant, Site
from tests.trials.counting import Row
from tests.trials.trial import Run, Trial

RELOADS = 20
PAUSE = 3.0
"""Seconds between the end of one reload and the next."""
DOWNLOADS = 200
RATE = "100k"
BIG, SMALL = 1_500_000, 1_000
"""Bytes; of the big one, 15 seconds' worth."""
NEWCOMERS = 50
"""New connections a second."""
AT_ONCE = 100
"""Threads that open them, for those that wait."""
SHOWN = 5


class _Clients:
    """Those who download, each on a new connection when it has all, and those who only come and go."""

    def __init__(self, site: Site, grants: list[Grant], small: Grant) -> None:
        assert site.gate is not None
        self._http, self._ftp = site.gate.http, site.gate.ftp
        self._small = small
        self._over = threading.Event()
        self._due = threading.Semaphore(0)
        self._lock = threading.Lock()
        self.counted: Counter[str] = Counter()
        self.errors: list[str] = []
        self.threads = [threading.Thread(target=self._download, args=(number, grant)) for number, grant in enumerate(grants)]
        self.threads += [threading.Thread(target=self._come, args=(number,)) for number in range(AT_ONCE)]
        self.threads.append(threading.Thread(target=self._invite))

    def start(self) -> None:
        for thread in self.threads:
            thread.start()

    def end(self) -> None:
        """Let those finish who download."""
        self._over.set()
        for thread in self.threads:
            thread.join(120)

    def _download(self, number: int, grant: Grant) -> None:
        fetch, at = (_by_http, self._http) if number % 2 else (_by_ftp, self._ftp)
        while not self._over.is_set():
            self._count("downloads", "cut", lambda: fetch(at, _source(number), grant.token, "Big/big.bin", BIG))

    def _invite(self) -> None:
        begun = time.monotonic()
        for number in count():
            if self._over.wait(max(begun + number / NEWCOMERS - time.monotonic(), 0)):
                break
            self._due.release()
        self._due.release(AT_ONCE)

    def _come(self, number: int) -> None:
        fetch, at = (_by_http, self._http) if number % 2 else (_by_ftp, self._ftp)
        while self._due.acquire() and not self._over.is_set():
            self._count(
                "new connections", "refused", lambda: fetch(at, _source(number), self._small.token, "Small/small.bin", SMALL)
            )

    def _count(self, done: str, failed: str, act: Callable[[], None]) -> None:
        try:
            act()
            name = done
        except (OSError, AssertionError, http.client.HTTPException) as error:
            name = failed
            self.errors.append(f"{failed}: {type(error).__name__}: {error}")
        with self._lock:
            self.counted[name] += 1


def _source(number: int) -> str:
    return f"127.1.0.{number + 1}"


def _by_http(at: Address, source: str, token: str, path: str, size: int) -> None:
    connection = http.client.HTTPConnection(*at, timeout=60, source_address=(source, 0))
    with closing(connection):
        connection.request("GET", f"/d/{token}/{path}")
        answer = connection.getresponse()
        assert answer.status == 200, answer.status
        _read(answer.read, size)


def _by_ftp(at: Address, source: str, token: str, path: str, size: int) -> None:
    with RawFtp(at, source=source) as session:
        session.login(token).do("TYPE I", "200")
        with session.data() as data:
            session.do(f"RETR {path}", "150")
            _read(data.recv, size)
            assert not data.recv(1)
        session.expect("226")
        session.do("QUIT", "221")


def _read(read: Callable[[int], bytes], size: int) -> None:
    left = size
    while left:
        data = read(min(left, 16_384))
        assert data, f"{left} bytes lack"
        left -= len(data)


def run(trial: Run) -> None:
    lab = trial.labs.make("sqlite", {"FTPGATE_DRAIN": "10m", "FTPGATE_WORKERS": "2"})
    site, desk = lab.site, lab.desk
    site.with_parent = True
    items = {}
    for title, size in (("Big", BIG), ("Small", SMALL)):
        folder = write_album(site.media_root / title, {f"{title.lower()}.bin": size}, seed=title)
        items[title] = desk.json("item", "add", str(folder), "--title", title)["id"]
    desk.json("tier", "set", "reload", "--rate", RATE)
    desk.json("tier", "set", "many", "--rate", "0", "--connections", "10000")
    site.start()
    grants = []
    for number in range(DOWNLOADS):
        user = site.add_user(f"customer{number}", "reload")
        grants.append(site.issue(user, items["Big"]))
    clients = _Clients(site, grants, site.issue(site.add_user("many", "many"), items["Small"]))
    clients.start()
    time.sleep(PAUSE)
    done = failed = 0
    trial.began = time.monotonic()
    while done + failed < RELOADS and time.monotonic() < trial.until:
        ended = site.run("reload", check=False)
        done, failed = done + (not ended.returncode), failed + bool(ended.returncode)
        trial.say(f"reload {done + failed}: {dict(clients.counted)} {ended.stderr.strip()}")
        time.sleep(PAUSE)
    seconds = time.monotonic() - trial.began
    clients.end()
    counted = {name: clients.counted[name] for name in ("downloads", "cut", "new connections", "refused")}
    more = {"reloads": done, "failed reloads": failed, **counted, "seconds": round(seconds)}
    trial.rows["reload"] = Row("reload", more=more)
    trial.notes += [f"for example {error}" for error in clients.errors[:SHOWN]]
    lab.close()


TRIAL = Trial(
    "twenty reloads of two workers under 200 downloads and 50 new connections a second, over HTTP and FTP.", run, 300, 300,
    apart=True,
)  # fmt: skip
