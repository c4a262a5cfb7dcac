"""An hour of five hundred customers who do a bit of everything: does the gate hold more at the end than at the beginning?

Each has a slow rate, so that two processors are not at their limits: what is looked for grows with time, not with load.
"""

from __future__ import annotations

import contextlib
import http.client
import random
import re
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any
from urllib.parse import quote, urlsplit

from tests.bench.charts import Line, lines
from tests.gate import raw
from tests.support.media import write_album
from tests.trials.counting import Row
from tests.trials.judging import Story
from tests.trials.lab import PROTOCOLS, Lab, Target
from tests.trials.memory import MB, Sample, Sampler, growth
from tests.trials.trial import Run, Trial
from tests.trials.wire import Connector, Stream, close

CLIENTS = 500
RATE = "30k"
FILES = {"01 one.bin": 150_001, "02 two.bin": 300_007, "03 three.bin": 700_000}
ALBUMS = 40
STARTING = 60.0
"""Seconds over which the first visits are spread."""
WARM = 600.0
"""Seconds after which memory is to grow no more; of a short run a third."""
SPAN = 120.0
"""Seconds whose median is compared: at the end of the warm time, and at the end."""
EVERY = 2.0
"""Seconds between two looks at the gate."""
KEPT = 65.0
"""Seconds that the gate keeps files open, and grants in its cache, which nobody uses."""
SHOWN = 5
"""Errors of clients that are told."""


@dataclass(slots=True)
class _Shop:
    """Issues grants, one at a time: there is one process for the shop's commands."""

    lab: Lab
    albums: list[dict[str, Any]]
    lock: threading.Lock

    def issue(self, user: str, rng: random.Random) -> tuple[Target, list[tuple[str, int]]]:
        """A grant of one album; a target of it, and its files: path and size."""
        album = rng.choice(self.albums)
        with self.lock:
            issued = self.lab.desk.json("grant", "issue", "--user", user, "--item", album["id"])
        title = album["title"]
        files = [(f"{title}/{file['path']}", file["bytes"]) for file in album["files"]]
        target = Target(issued["grant"], issued["token"], self.lab.addresses, *files[0], self.lab.certificate.ca, "")
        return target, files


class _Visit:
    """One customer with one grant, who does a few things with it."""

    def __init__(self, target: Target, files: list[tuple[str, int]], rng: random.Random, address: str) -> None:
        self._target = target
        self._files = files
        self._random = rng
        self._address = address

    def act(self) -> str:
        """Do one thing; returns its name."""
        (name,) = self._random.choices(list(_ACTIONS), [weight for weight, _ in _ACTIONS.values()])
        _ACTIONS[name][1](self)
        return name

    def _connector(self, protocols: str = "http ftp https ftps") -> Connector:
        """To one of the files."""
        path, size = self._random.choice(self._files)
        return Connector(replace(self._target, path=path, size=size), Story(), self._random.choice(protocols.split()), {})

    def whole(self) -> None:
        connector = self._connector()
        self._finish(connector.get(0), connector.target.size)

    def resumed(self) -> None:
        connector = self._connector()
        first = connector.get(0)
        self._read(first, self._random.randrange(1, first.end))
        first.leave(reset=self._random.random() < 0.3)
        time.sleep(self._random.uniform(0, 3))
        self._finish(connector.get(first.position), connector.target.size)

    def cancelled(self) -> None:
        stream = self._connector().get(0)
        self._read(stream, self._random.randrange(stream.end))
        stream.leave(reset=self._random.random() < 0.5, control_first=self._random.random() < 0.5)

    def pauses(self) -> None:
        stream = self._connector().get(0)
        self._read(stream, stream.end // 2)
        time.sleep(self._random.uniform(5, 15))
        self._finish(stream, stream.end)

    def segments(self) -> None:
        connector = self._connector()
        size = connector.target.size
        bounds = [(size * part // 4, size * (part + 1) // 4) for part in range(4)]
        streams = [(connector.get(start, None if connector.is_ftp else end), end) for start, end in bounds]
        threads = [threading.Thread(target=stream.read_to, args=(end,), daemon=True) for stream, end in streams]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for stream, _ in streams:
            stream.leave()

    def zip(self) -> None:
        """Some of it from somewhere, and sometimes all."""
        connector = self._connector()
        path = f"{connector.target.path.partition('/')[0]}.zip"
        connector = replace(connector, target=replace(connector.target, path=path, size=sum(size for _, size in self._files)))
        start = self._random.choice([0, 0, self._random.randrange(connector.target.size // 2)])
        stream = connector.get(start)
        self._read(stream, start + self._random.randrange(1_000, 400_000))
        stream.leave()

    def listings(self) -> None:
        """Pages and small answers, several on one connection."""
        if self._random.random() < 0.5:
            return self._lists_over_ftp()
        folder = quote(self._files[0][0].partition("/")[0])
        with contextlib.closing(self._http()) as client:
            for path in ("", f"{folder}/", "downloads.meta4", "progress", "nothing%20here", f"{folder}/", "progress"):
                client.request(
                    "GET", self._path(path), headers={"Accept": self._random.choice(["text/html", "application/json"])}
                )
                answer = client.getresponse()
                answer.read()
                expected = 404 if "nothing" in path else 200
                assert answer.status == expected, f"{path}: HTTP status {answer.status}"
            time.sleep(self._random.uniform(0, 5))

    def wrong_token(self) -> None:
        """Sometimes often enough to be locked out."""
        token = self._target.token
        wrong = token[:-6] + "".join(self._random.sample(token[-6:], 6))[::-1]
        for _ in range(self._random.choice([1, 1, 3])):
            with socket.create_connection(self._target.addresses["http"], 20, (self._address, 0)) as sock:
                raw.http_request(sock, f"/d/{wrong}/")
                status, _ = raw.read_head(sock)
                assert status in (200, 404, 410, 429), f"a wrong token: HTTP status {status}"
            with socket.create_connection(self._target.addresses["ftp"], 20, (self._address, 0)) as sock:
                if raw.ftp_reply(sock).startswith("220"):
                    raw.ftp_command(sock, f"USER {wrong}")
                    reply = raw.ftp_command(sock, "PASS x")
                    assert reply[:3] in ("230", "530", "421"), reply

    def watches(self) -> None:
        """The events of the grant, while nothing much happens."""
        with contextlib.closing(self._http()) as client:
            client.request("GET", self._path("progress"), headers={"Accept": "text/event-stream"})
            answer = client.getresponse()
            assert answer.status == 200, f"events: HTTP status {answer.status}"
            assert answer.readline().startswith((b"data", b"event", b"id", b"retry")), "no event"
            time.sleep(self._random.uniform(2, 20))

    def says_nothing(self) -> None:
        """A connection that goes away again, within a handshake or without one."""
        protocol = self._random.choice(PROTOCOLS)
        with raw.connect(self._target.addresses[protocol]) as sock:
            if self._random.random() < 0.5:
                sock.sendall(self._random.choice([b"GET /d/", b"\x16\x03\x01\x02\x00\x01", b"USER ", b"\0" * 40]))
            time.sleep(self._random.uniform(0, 3))

    def _read(self, stream: Stream, position: int) -> None:
        if not stream.read_to(position):
            raise ConnectionError(f"the connection ended at {stream.position} of {position}")

    def _finish(self, stream: Stream, size: int) -> None:
        self._read(stream, size)
        stream.say_goodbye()

    def _http(self) -> http.client.HTTPConnection:
        if self._random.random() < 0.5:
            return http.client.HTTPConnection(*self._target.addresses["http"], timeout=20)
        return http.client.HTTPSConnection(*self._target.addresses["https"], timeout=20, context=self._secure)

    @cached_property
    def _secure(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self._target.ca))

    def _path(self, path: str) -> str:
        """As it stands in a request; quoted already."""
        return urlsplit(self._target.url("http", "")).path + path

    def _lists_over_ftp(self) -> None:
        protocol = self._random.choice(["ftp", "ftps"])
        secure = self._secure if protocol == "ftps" else None
        control = raw.ftp_login(self._target.addresses[protocol], self._target.token, secure=secure)
        try:
            path = self._files[0][0]
            for command in (f"SIZE {path}", f"MDTM {path}", f"MLST {path}", f"HASH {path}", "FEAT", "STAT", "NOOP"):
                reply = raw.ftp_command(control, command)
                assert reply[0] == "2", f"{command}: {reply}"
            for command in ("MLSD", "LIST", f"NLST {path.partition('/')[0]}"):
                found = re.search(r"\|\|\|(\d+)\|", raw.ftp_command(control, "EPSV"))
                assert found
                where = (control.getpeername()[0], int(found[1]))
                data = raw.connect(where, secure=secure, session=control.session if isinstance(control, ssl.SSLSocket) else None)
                reply = raw.ftp_command(control, command)
                assert reply[0] == "1", f"{command}: {reply}"
                while data.recv(65_536):
                    pass
                data.close()
                raw.ftp_reply(control)
            time.sleep(self._random.uniform(0, 5))
        finally:
            close(control)


_ACTIONS: dict[str, tuple[int, Callable[[_Visit], None]]] = {
    "whole files": (20, _Visit.whole),
    "resumed": (15, _Visit.resumed),
    "cancelled": (15, _Visit.cancelled),
    "paused": (8, _Visit.pauses),
    "in four segments": (10, _Visit.segments),
    "zips": (12, _Visit.zip),
    "listings": (15, _Visit.listings),
    "watched": (8, _Visit.watches),
    "wrong tokens": (5, _Visit.wrong_token),
    "half requests": (5, _Visit.says_nothing),
}
"""Name -> how often, what."""


class _Customers:
    """Threads, a customer each, until they are told to end."""

    def __init__(self, shop: _Shop, seed: str) -> None:
        self._shop = shop
        self._seed = seed
        self._end = threading.Event()
        self.done: Counter[str] = Counter()
        self.errors: list[str] = []
        self._threads = [threading.Thread(target=self._live, args=(number,), daemon=True) for number in range(CLIENTS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(120)

    def _live(self, number: int) -> None:
        rng = random.Random(f"{self._seed} {number}")
        self._end.wait(rng.uniform(0, STARTING))
        while not self._end.is_set():
            target, files = self._shop.issue(f"customer{number}", rng)
            visit = _Visit(target, files, rng, f"127.1.{number // 250}.{number % 250 + 1}")
            for _ in range(rng.randrange(2, 8)):
                if self._end.wait(rng.uniform(0, 8)):
                    break
                try:
                    self.done[visit.act()] += 1
                except (OSError, AssertionError, http.client.HTTPException) as error:
                    self.errors.append(f"client {number}: {type(error).__name__}: {error}")


def _open_shop(lab: Lab) -> _Shop:
    desk = lab.desk
    desk.json("tier", "set", "soak", "--rate", RATE)
    titles = [f"Album {number}" for number in range(ALBUMS)]
    folders = [write_album(lab.site.media_root / title, FILES, seed=title) for title in titles]
    albums = [desk.json("item", "add", str(folder), "--title", title) for folder, title in zip(folders, titles, strict=True)]
    for number in range(CLIENTS):
        desk.json("user", "add", f"customer{number}", "--tier", "soak")
    return _Shop(lab, [{**album, "title": title} for album, title in zip(albums, titles, strict=True)], threading.Lock())


def _first_of_each(shop: _Shop, rng: random.Random) -> None:
    """Have the gate open what it keeps for good: a database connection of each thread, its libraries' tables."""

    def visit(number: int) -> None:
        target, files = shop.issue(f"customer{number}", rng)
        for protocol in PROTOCOLS:
            connector = Connector(replace(target, path=files[0][0], size=files[0][1]), Story(), protocol, {})
            stream = connector.get(0)
            stream.read_to(50_000)
            stream.leave()

    threads = [threading.Thread(target=visit, args=(number,), daemon=True) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)


def run(trial: Run) -> None:
    lab = trial.labs.make("sqlite")
    lab.site.new_interpreters = True  # a fork would share its memory with whatever else was forked
    shop = _open_shop(lab)
    lab.start()
    assert lab.site.gate is not None
    sampler = Sampler(lab.site.gate.pid)
    _first_of_each(shop, random.Random(trial.seed))
    before = sampler.at_rest(KEPT, 2 * KEPT)
    customers = _Customers(shop, trial.seed)
    began = before.at
    customers.start()
    trial.began = time.monotonic()
    while time.monotonic() < trial.until:
        time.sleep(EVERY)
        now = sampler.look()
        if len(sampler.samples) % 150 == 0:
            trial.say(f"{now.at - began:.0f} s: PSS {now.pss / MB:.1f} MB, {now.descriptors} descriptors, {_summary(customers)}")
    over = sampler.samples[-1].at
    customers.end()
    after = sampler.at_rest(KEPT, 3 * KEPT)
    _tell(trial, sampler, customers, (began, over), (before, after), lab.site.gate_log())
    lab.close()


def _summary(customers: _Customers) -> str:
    return f"{customers.done.total():,} things done, {len(customers.errors)} errors"


def _tell(
    trial: Run,
    sampler: Sampler,
    customers: _Customers,
    time_of: tuple[float, float],
    at_rest: tuple[Sample, Sample],
    log: str,
) -> None:
    (began, over), (before, after) = time_of, at_rest
    warm = began + min(WARM, (over - began) / 3)
    span = min(SPAN, (over - warm) / 4)
    pss, anonymous = (
        growth(sampler.samples, warm, over, span, what) for what in (lambda sample: sample.pss, lambda sample: sample.anonymous)
    )
    row = trial.rows.setdefault("soak", Row("soak"))
    row.more = {
        "seconds": round(over - began), "clients at once": CLIENTS, "things done": customers.done.total(),
        "errors of clients": len(customers.errors),
        "bytes of growth after the warm time": round(pss), "of them anonymous": round(anonymous),
        "PSS at rest, before": before.pss, "PSS at rest, after": after.pss,
        "descriptors at rest, before": before.descriptors, "descriptors at rest, after": after.descriptors,
        "most descriptors": max(sample.descriptors for sample in sampler.samples),
        "errors in the gate's log": log.count("Traceback (most recent call last)"),
        **{f"done: {name}": count for name, count in sorted(customers.done.items())},
    }  # fmt: skip
    trial.notes += customers.errors[:SHOWN]
    trial.draw("soak.svg", _chart(sampler, began))


def _chart(sampler: Sampler, began: float) -> str:
    minutes = [(sample.at - began) / 60 for sample in sampler.samples]
    return lines(
        f"The gate with {CLIENTS} customers", minutes, "minutes",
        [
            Line("memory (PSS), MB", [sample.pss / MB for sample in sampler.samples]),
            Line("of it anonymous, MB", [sample.anonymous / MB for sample in sampler.samples]),
            Line("descriptors", [float(sample.descriptors) for sample in sampler.samples]),
        ],
    )  # fmt: skip


TRIAL = Trial(
    f"{CLIENTS} customers at {RATE}B/s: files and zips over four protocols, whole, resumed, cancelled, in segments, listings, "
    "events, wrong tokens, half requests. Does the gate's memory grow, are descriptors left?",
    run, 3_600, 3_600, apart=True,
)  # fmt: skip
