"""A million inputs that no good client sends, to a gate and a portal that run: they answer, and go on.

An input is a request, a command or a piece of rubbish; many are sent on one connection. Each connection has a number, and
what is sent on it is drawn from the run's seed and that number: `--client NUMBER` sends it once more.
"""

from __future__ import annotations

import contextlib
import json
import re
import ssl
import time
import urllib.request
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from random import Random
from typing import Any, Protocol
from urllib.parse import urlsplit

import psutil

from tests.support.media import write_album
from tests.trials.counting import Row
from tests.trials.judging import Story
from tests.trials.lab import PROTOCOLS, Address, Lab, Target
from tests.trials.memory import Sample, Sampler
from tests.trials.odd_bytes import Known, ftp_inputs, http_inputs, mutated, odd_document
from tests.trials.trial import Run, Trial
from tests.trials.wild import Conversation, Talker
from tests.trials.wire import Connector

TITLE = "Odd input"
FILES = {"01 small.bin": 5_000, "02 Песня & more.bin": 70_001, "CD 2/03 #3.bin": 17}
GATE, SITE, CALLS = (7_500, 900_000), (1_000, 50_000), (1_000, 50_000)
"""Inputs, of the short run and of the long one: of the gate's ports, of the portal's bytes, of the calls of its API."""
AT_ONCE = 12
FIRST, FIRST_AT_ONCE = 150, 40
"""Good requests before the first count: all threads of the server are to have worked."""
BATCH = 300
"""Connections after which the server is looked at."""
GROWTH = 10_000_000
"""Bytes by which memory may grow after the first batch: the gate remembers wrong tokens of 10,000 networks, for example."""
SOURCES = 50
"""Addresses from which clients come: some get locked out for their wrong tokens."""
GATE_REST, SITE_REST = 70.0, 40.0
"""Seconds for which the gate keeps files, and the portal connections, that nobody uses, and some more."""
SHOWN = 10
"""Faults that are told."""
SHOWN_LOG = 6_000
"""Characters of the log that are shown with one of them."""
_FAULTS = tuple(f"HTTP/1.1 {status} ".encode() for status in (500, 502, 503, 504, 506, 507, 508, 511))
"""501 and 505 are answers to what a client has asked for (RFC 9110, 15.6.2 and 15.6.6); nothing here is to be unavailable."""
_STATUS = re.compile(rb"(?:HTTP/1\.1 |(?:^|\r\n))([1-5]\d\d) ")
"""Of an answer over HTTP, or of a reply over FTP."""
_PAGES = (
    "/", "/?q=a&page=1", "/items/{item}/", "/items/{item}/cover", "/items/{item}/cover/large", "/items/{item}/listen/1", "/cart/",
    "/cart/add/{item}", "/cart/check-out", "/downloads/", "/downloads/{grant}/", "/downloads/{grant}/state", "/history/",
    "/history/{grant}/{item}/", "/history/{grant}/{item}/receipt.json", "/sign-in/", "/sign-in/?next=/cart/", "/sign-in/second/",
    "/sign-in/unlock/", "/sign-in/unlock/x/", "/sign-out/", "/account/", "/account/two-factor/", "/account/sign-ins/1/end",
    "/language/", "/staff/", "/staff/import/", "/admin/", "/admin/login/", "/static/x.css", "/favicon.ico",
)  # fmt: skip
_CALLS = (
    "/api/v1/items", "/api/v1/items?q=a&limit=1&cursor=x", "/api/v1/items/{item}", "/api/v1/items/{item}/cover", "/api/v1/grants",
    "/api/v1/grants?state=open&limit=2", "/api/v1/grants/{grant}", "/api/v1/grants/{grant}/receipts/{item}",
    "/api/v1/grants/{grant}/renew", "/api/v1/grants/{grant}/revoke", "/api/v1/grants/{grant}/tokens", "/api/v1/status",
    "/api/v1/webhooks", "/api/v1/webhooks/1", "/api/v1/webhooks/1/secret", "/api/v1/openapi.json",
)  # fmt: skip
_SCOPES = ("items:read", "grants:read", "grants:write", "receipts:read", "webhooks:write")
_DOCUMENTS = 500


class Server(Protocol):
    """A process that is sent odd input.

    Attributes:
        pid: its process.
        log: the file of its log.
        rest: seconds after which it holds nothing any more of clients that have gone.
    """

    pid: int
    log: Path
    rest: float

    def inputs(self, rng: Random, number: int) -> tuple[Talker, int]:
        """The connection of this number, and how many inputs are sent on it."""
        ...

    def check_good(self) -> None:
        """A good request is answered well. Raises OSError or AssertionError."""
        ...


@dataclass(slots=True)
class GateServer:
    """The gate, at its four ports."""

    pid: int
    log: Path
    target: Target
    known: Known
    secure: ssl.SSLContext
    rest: float = GATE_REST

    def inputs(self, rng: Random, number: int) -> tuple[Talker, int]:
        protocol = PROTOCOLS[number % len(PROTOCOLS)]
        ftp = protocol.startswith("ftp")
        inputs = (ftp_inputs if ftp else http_inputs)(rng, self.known)
        data, secure = b"".join(inputs), self.secure if protocol.endswith("s") else None
        if secure and rng.random() < 0.1:  # no TLS, or a broken one
            data, secure = (mutated(rng, _HELLO) + rng.randbytes(9) if rng.random() < 0.7 else data), None
        source = f"127.2.0.{rng.randrange(SOURCES) + 1}"
        talker = Talker(self.target.addresses[protocol], source, data, rng, secure=secure, data_connections=ftp)
        return talker, len(inputs)

    def check_good(self) -> None:
        for protocol in PROTOCOLS:
            stream = Connector(self.target, Story(), protocol, {}).get(0)
            assert stream.read_to(self.target.size), f"{protocol}: {stream.position} of {self.target.size} bytes"
            stream.say_goodbye()


@dataclass(slots=True)
class SiteServer:
    """The portal, at its port."""

    pid: int
    log: Path
    address: Address
    known: Known
    key: str
    rest: float = SITE_REST

    def inputs(self, rng: Random, number: int) -> tuple[Talker, int]:
        inputs = http_inputs(rng, self.known)
        return Talker(self.address, "127.0.0.1", b"".join(inputs), rng), len(inputs)

    def check_good(self) -> None:
        """By a request that needs the database."""
        host, port = self.address
        request = urllib.request.Request(f"http://{host}:{port}/api/v1/items", headers={"Authorization": f"Bearer {self.key}"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert json.load(answer)["items"]


class Storm:
    """Sends to one server, and looks at it from time to time.

    Attributes:
        faults: what was found, with the number of the connection.
        more: what is to be told, name -> number.
    """

    def __init__(self, trial: Run, server: Server) -> None:
        self._trial = trial
        self._server = server
        self._read = server.log.stat().st_size
        self._sampler = Sampler(server.pid)
        self._created = psutil.Process(server.pid).create_time()
        self._statuses: Counter[str] = Counter()
        self._connections = self._inputs = self._bytes = 0
        self._grown = self._left = 0
        self.faults: list[str] = []

    def run(self, most: int) -> None:
        """Connections until so many inputs are sent, or those that were asked for."""
        if self._trial.only:
            return self._batch(sorted(self._trial.only))
        numbers = count()
        self._warm()
        self._batch(list(islice(numbers, BATCH)))
        first = self._at_rest()
        while self._inputs < most and len(self.faults) < SHOWN:
            if time.monotonic() > self._trial.until:
                self._trial.notes.append(f"Only {self._inputs:,} of {most:,} inputs in time.")
                break
            self._batch(list(islice(numbers, BATCH)))
        last = self._at_rest()
        self._grown, self._left = last.pss - first.pss, last.descriptors - first.descriptors

    def _warm(self) -> None:
        """Have each thread of the server open what it keeps for good: a connection to the database."""
        with ThreadPoolExecutor(FIRST_AT_ONCE) as pool:
            list(pool.map(lambda _: self._server.check_good(), range(FIRST)))

    def _batch(self, numbers: Sequence[int]) -> None:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(self._send, numbers))
        self._look(numbers)

    def _at_rest(self) -> Sample:
        return self._sampler.at_rest(self._server.rest, 2 * self._server.rest)

    def judge(self, name: str) -> None:
        if self._grown > GROWTH:
            self.faults.append(f"{name}: memory grew by {self._grown:,} bytes")
        if self._left > 0:
            self.faults.append(f"{name}: {self._left} descriptors are left")
        row = self._trial.rows.setdefault(name, Row(name))
        row.more = {
            "inputs": self._inputs, "connections": self._connections, "bytes sent": self._bytes, "faults": len(self.faults),
            "bytes of growth": self._grown, "descriptors left": self._left,
            "answers": ", ".join(f"{status} x {number:,}" for status, number in sorted(self._statuses.items())),
        }  # fmt: skip
        self._trial.notes += self.faults[:SHOWN]

    def _send(self, number: int) -> None:
        talker, inputs = self._server.inputs(self._random(number), number)
        heard = talker.talk()
        self._connections += 1
        self._inputs += inputs
        self._bytes += heard.sent
        if fault := _fault(heard):
            self.faults.append(f"connection {number}: {fault}")
        for status in _STATUS.findall(bytes(heard.heard)):
            self._statuses[status.decode()] += 1

    def _random(self, number: int) -> Random:
        return Random(f"{self._trial.seed} {self._trial.name} {number}")

    def _look(self, batch: Sequence[int]) -> None:
        """After a batch; an error in the log is looked for once more, connection by connection."""
        assert psutil.Process(self._server.pid).create_time() == self._created, "the process is another one"
        try:
            self._server.check_good()
        except (OSError, AssertionError) as error:
            self.faults.append(f"connections {batch[0]} to {batch[-1]}: then a good request fails: {error}")
        if not (found := self._new_errors()):
            return
        for number in batch:
            self._server.inputs(self._random(number), number)[0].talk()
            if again := self._new_errors():
                self.faults.append(f"connection {number}: {again}")
                return
        self.faults.append(f"one of the connections {batch[0]} to {batch[-1]}, together only: {found}")

    def _new_errors(self) -> str:
        """The last line of the first traceback that the log has had since it was read last."""
        time.sleep(0.02)
        with self._server.log.open("rb") as file:
            file.seek(self._read)
            text = file.read()
        self._read += len(text)
        _, found, rest = text.decode(errors="replace").partition("Traceback (most recent call last):\n")
        if not found:
            return ""
        self._trial.say(f"traceback in {self._server.log.name}:\n{rest[:SHOWN_LOG]}")
        return next((line for line in rest.splitlines() if line and not line.startswith(" ")), "a traceback")


def _fault(heard: Conversation) -> str:
    """Why what the server said is a fault of its own; empty when it is none."""
    if heard.problem:
        return heard.problem
    found = next((fault for fault in _FAULTS if fault in heard.heard), None)
    return "" if found is None else f"the answer {found.decode().strip()}"


def _hello() -> bytes:
    """The first message of a client of TLS."""
    context, outgoing = ssl.create_default_context(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost").do_handshake()
    return outgoing.read()


_HELLO = _hello()


@dataclass(slots=True)
class _Shop:
    """What is sold, to whom: an item with a few files, and a grant that is open."""

    lab: Lab
    target: Target
    item: str
    tokens: list[str]
    key: str
    another_key: str

    def gate(self) -> GateServer:
        gate = self.lab.site.gate
        assert gate is not None
        paths = [f"{TITLE}/{path}" for path in FILES] + [
            TITLE,
            f"{TITLE}/CD 2",
            f"{TITLE}.zip",
            "",
            "downloads.meta4",
            "progress",
        ]
        secure = ssl.create_default_context(cafile=str(self.target.ca))
        return GateServer(gate.pid, self.lab.site.gate_log_file, self.target, Known(self.tokens, paths), secure)

    def pages(self, url: str, pid: int) -> SiteServer:
        return self._site(url, pid, Known(self.tokens, (), self._named(_PAGES, self.target.grant), host=urlsplit(url).netloc))

    def calls(self, url: str, pid: int, rng: Random) -> SiteServer:
        """With a shop that has a grant of its own."""
        key = self.another_key  # each has a budget of requests
        order = {"user": "customer", "items": [self.item], "expires": "7d"}
        made = urllib.request.Request(
            f"{url}/api/v1/grants", json.dumps(order).encode(),
            {"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
        )  # fmt: skip
        with urllib.request.urlopen(made, timeout=30) as answer:
            grant = json.load(answer)["grant"]
        templates: tuple[Any, ...] = (
            order, {"expires": "7d"}, {"replace": True}, {"url": "https://shop.example/hook", "kinds": ["item.complete"]},
        )  # fmt: skip
        documents = [json.dumps(odd_document(rng, rng.choice(templates))).encode() for _ in range(_DOCUMENTS)]
        return self._site(url, pid, Known(self.tokens, (), self._named(_CALLS, grant), (key,), documents, urlsplit(url).netloc))

    def _named(self, pages: Sequence[str], grant: str) -> list[str]:
        return [page.format(item=self.item, grant=grant) for page in pages]

    def _site(self, url: str, pid: int, known: Known) -> SiteServer:
        host, port = urlsplit(url).hostname, urlsplit(url).port
        assert host is not None
        assert port is not None
        return SiteServer(pid, self.lab.site.portal_log_file, (host, port), known, self.key)


def _open_shop(lab: Lab) -> _Shop:
    desk = lab.desk
    folder = write_album(lab.site.media_root / TITLE, FILES, seed=TITLE)
    item = desk.json("item", "add", str(folder), "--title", TITLE)
    desk.json("user", "add", "odd", "--tier", "unlimited")
    scopes = [word for scope in _SCOPES for word in ("--scope", scope)]
    keys = [lab.site.run("manage", "api_key", "odd", *scopes).stdout.strip() for _ in range(2)]
    lab.start()
    issued, revoked = (desk.json("grant", "issue", "--user", "odd", "--item", item["id"]) for _ in range(2))
    desk.json("grant", "revoke", revoked["grant"])
    file = item["files"][0]
    target = Target(
        issued["grant"],
        issued["token"],
        lab.addresses,
        f"{TITLE}/{file['path']}",
        file["bytes"],
        lab.certificate.ca,
        file["sha256"],
    )
    return _Shop(lab, target, item["id"], [issued["token"]] * 8 + [revoked["token"]], *keys)


def _portal_pid() -> int:
    """Of the process that `Site.portal` has started."""
    return next(child.pid for child in psutil.Process().children() if child.cmdline()[-1:] == ["portal"])


def run(trial: Run) -> None:
    lab = trial.labs.make("sqlite")
    lab.site.new_interpreters = True  # a fork would share its memory with whatever else was forked
    shop = _open_shop(lab)
    _storm(trial, shop.gate(), "the gate's ports", GATE)
    with lab.site.portal() as url:
        pid = _portal_pid()
        _storm(trial, shop.pages(url, pid), "the portal's pages", SITE)
        _storm(trial, shop.calls(url, pid, Random(f"{trial.seed} documents")), "the portal's API", CALLS)
    lab.close()


def _storm(trial: Run, server: Server, name: str, most: tuple[int, int]) -> None:
    storm = Storm(trial, server)
    storm.run(most[trial.long])
    storm.judge(name)
    trial.say(trial.rows[name].line())


TRIAL = Trial(
    "Generated requests and commands, mutated, cut, mixed, too long or no such thing: over the gate's four ports, to the "
    "portal's pages and to its API. Nothing may crash, answer 5xx, or leave memory or descriptors behind.",
    run, 600, 5_400,
)  # fmt: skip
