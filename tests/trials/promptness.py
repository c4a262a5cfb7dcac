"""How promptly others are served beside 200 downloads: pages of the portal, a revocation, each of a customer's connections."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
import urllib.request

from tests.trials.lab import Lab, Target
from tests.trials.trial import Run, Trial

CUSTOMERS, CONNECTIONS = 50, 4
RATE = "400k"
SIZE = 60_000_001
PAGES = 40
REVOKED = 10
"""Customers whose grant is revoked in the midst."""
SHARED = 10.0
"""Seconds in which a customer's connections are compared."""
PAGE_GOAL, REVOCATION_GOAL = 2.0, 2.0
"""Seconds for the slowest page, and from the end of the command to the end of the last connection."""
SPLIT_GOAL = 1.25
"""What a customer's fastest connection may get of what the slowest gets."""


class Download:
    """One connection that reads a part of a file as it comes."""

    def __init__(self, target: Target, number: int) -> None:
        start = SIZE // CONNECTIONS * number
        self.read = 0
        self.ended_at: float | None = None
        self.socket = socket.create_connection(target.addresses["http"], timeout=20)
        path = target.url("http").partition(f":{target.addresses['http'][1]}")[2]
        wanted = f"Range: bytes={start}-{start + SIZE // CONNECTIONS - 1}"
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n{wanted}\r\n\r\n".encode())


class Reader:
    """Reads all downloads in a thread; a context manager that ends them."""

    def __init__(self, customers: list[list[Download]]) -> None:
        self._selector = selectors.DefaultSelector()
        for download in (each for downloads in customers for each in downloads):
            self._selector.register(download.socket, selectors.EVENT_READ, download)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Reader:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()
        for key in tuple(self._selector.get_map().values()):
            key.data.socket.close()
        self._selector.close()

    def _run(self) -> None:
        while not self._stopped.is_set():
            for key, _ in self._selector.select(0.1):
                download: Download = key.data
                got = b""
                with contextlib.suppress(OSError):
                    got = download.socket.recv(65_536)
                download.read += len(got)
                if not got:
                    download.ended_at = time.monotonic()
                    self._selector.unregister(download.socket)
                    download.socket.close()


def _begin(lab: Lab) -> tuple[list[Target], list[list[Download]]]:
    lab.desk.json("tier", "set", "steady", "--rate", RATE)
    targets = [lab.target(SIZE, "steady") for _ in range(CUSTOMERS)]
    return targets, [[Download(target, number) for number in range(CONNECTIONS)] for target in targets]


def _pages(url: str) -> list[float]:
    """Seconds for each page, slowest first."""
    taken = []
    for number in range(PAGES):
        began = time.monotonic()
        with urllib.request.urlopen(f"{url}/{'sign-in/' if number % 2 else ''}", timeout=60) as page:
            page.read()
        taken.append(time.monotonic() - began)
    return sorted(taken, reverse=True)


def _splits(customers: list[list[Download]]) -> list[float]:
    """For each customer what the fastest connection got in a while, of what the slowest got; largest first."""
    before = [[download.read for download in downloads] for downloads in customers]
    time.sleep(SHARED)
    shares = [
        [download.read - read for download, read in zip(downloads, reads, strict=True)]
        for downloads, reads in zip(customers, before, strict=True)
    ]
    return sorted((max(share) / max(min(share), 1) for share in shares), reverse=True)


def _revocations(lab: Lab, targets: list[Target], customers: list[list[Download]]) -> list[float]:
    """Seconds from the end of each command to the end of the customer's last connection; slowest first."""
    taken = []
    for target, downloads in list(zip(targets, customers, strict=True))[:REVOKED]:
        lab.desk.json("grant", "revoke", target.grant)
        began = time.monotonic()
        while any(download.ended_at is None for download in downloads) and time.monotonic() < began + 60:
            time.sleep(0.01)
        taken.append(max(download.ended_at or time.monotonic() for download in downloads) - began)
    return sorted(taken, reverse=True)


def _note(what: str, worst: float, middle: float, goal: float, unit: str) -> str:
    verdict = "reached" if worst <= goal else "NOT reached"
    return f"{what}: {worst:.2f}{unit} at the worst, {middle:.2f}{unit} in the middle (goal {goal:g}{unit}: {verdict})."


def run(trial: Run) -> None:
    lab = trial.labs.shared()
    targets, customers = _begin(lab)
    with Reader(customers), lab.site.portal() as url:
        pages, splits, revocations = _pages(url), _splits(customers), _revocations(lab, targets, customers)
    for what, figures, goal, unit in (
        (f"{PAGES} pages beside {CUSTOMERS * CONNECTIONS} downloads", pages, PAGE_GOAL, " s"),
        (f"fastest of {CONNECTIONS} connections of a customer, by the slowest, in {SHARED:.0f} s", splits, SPLIT_GOAL, " x"),
        (f"end of {REVOKED} revoked grants' downloads", revocations, REVOCATION_GOAL, " s"),
    ):
        trial.notes.append(_note(f"{what[0].upper()}{what[1:]}", figures[0], figures[len(figures) // 2], goal, unit))
        trial.say(trial.notes[-1])


TRIAL = Trial("Pages, revocations and each connection's share beside 200 downloads.", run, 0, 0)
