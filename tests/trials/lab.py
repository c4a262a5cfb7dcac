"""The installation that a trial works with: real gates with every front, items of many sizes, a customer for every client."""

from __future__ import annotations

import re
import shutil
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.support.certificates import Certificate
from tests.support.databases import Databases
from tests.support.desk import Desk
from tests.support.media import write_album
from tests.support.postgres import PostgresServer
from tests.support.site import Site
from tests.support.waiting import wait_until

Address = tuple[str, int]
SIZES = (300_001, 700_000, 1_500_007, 3_000_000, 6_000_011, 10_485_760, 20_000_003, 36_000_000, 60_000_001)
"""Bytes of the files, each the only one of an item."""
RATES = {"1 MB/s": "1M", "5 MB/s": "5M", "20 MB/s": "20M", "unlimited": "0"}
PROTOCOLS = ("http", "ftp", "https", "ftps")
FILE = "file.bin"


@dataclass(frozen=True, slots=True)
class Target:
    """One file of one grant, as a client is told of it.

    Attributes:
        addresses: protocol -> where it is served.
        path: below the root of the grant.
        ca: a PEM file for TLS.
        sha256: of the file, in hexadecimal.
    """

    grant: str
    token: str
    addresses: Mapping[str, Address]
    path: str
    size: int
    ca: Path
    sha256: str

    def url(self, protocol: str, path: str | None = None) -> str:
        """For a client program; `ftps` from the first byte."""
        host, port = self.addresses[protocol]
        where = quote(self.path if path is None else path)
        if protocol in ("http", "https"):
            return f"{protocol}://{host}:{port}/d/{self.token}/{where}"
        return f"{protocol}://{self.token}:x@{host}:{port}/{where}"


class Lab:
    """A site with a gate that runs; `close` ends it.

    Attributes:
        site: the installation.
        desk: its commands.
    """

    def __init__(self, folder: Path, database_url: str, settings: Mapping[str, str] | None = None) -> None:
        self.certificate = Certificate(folder / "certificate")
        secure = {
            "FTPGATE_TLS_CERT": str(self.certificate.chain), "FTPGATE_TLS_KEY": str(self.certificate.key),
            "FTPGATE_HTTPS": "127.0.0.1:0", "FTPGATE_FTPS": "127.0.0.1:0", "FTPGATE_GRACE": "1d", "FTPGATE_DRAIN": "5s",
        }  # fmt: skip
        self.site = Site(folder / "site", database_url, {**secure, **(settings or {})})
        self.desk = Desk(self.site.environ, self.site.root)
        self._items: dict[int, dict[str, Any]] = {}
        self._customers = 0
        for name, rate in RATES.items():
            self.desk.json("tier", "set", name, "--rate", rate)

    def start(self, *sizes: int) -> None:
        """Start its gate, with items of these sizes there already."""
        for size in sizes:
            self._item(size)
        self.site.start()

    @property
    def addresses(self) -> dict[str, Address]:
        assert self.site.gate is not None
        found = {}
        for protocol in PROTOCOLS:
            host, _, port = self.site.gate.ready[protocol].rpartition(":")
            found[protocol] = (host, int(port))
        return found

    def target(self, size: int, rate: str) -> Target:
        """A grant for a file of `size` bytes, of a customer of its own with this rate (of RATES)."""
        item = self._item(size)
        self._customers += 1
        user = f"customer{self._customers}"
        self.desk.json("user", "add", user, "--tier", rate)
        issued = self.desk.json("grant", "issue", "--user", user, "--item", item["id"])
        path = f"{item['title']}/{FILE}"
        ca, sha256 = self.certificate.ca, item["files"][0]["sha256"]
        return Target(issued["grant"], issued["token"], self.addresses, path, size, ca, sha256)

    def show(self, grant: str) -> dict[str, Any]:
        """What `grant show --json` prints."""
        document: dict[str, Any] = self.desk.json("grant", "show", grant)
        return document

    def settle(self, timeout: float = 30) -> None:
        """Wait until no transfer runs and all is recorded."""
        wait_until(lambda: not self.metric("ftpgate_transfers") and not self.metric("ftpgate_ledger_backlog"), timeout, "rest")
        time.sleep(0.1)

    def metric(self, name: str) -> float:
        """One figure of `/metrics`, of all its labels together."""
        assert self.site.gate is not None
        host, port = self.site.gate.admin
        with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=30) as answer:
            text: str = answer.read().decode()
        found = re.findall(rf"^{re.escape(name)}(?:_total)?(?:{{.*}})? (\S+)$", text, re.MULTILINE)
        assert found, f"the gate has no figure {name}"
        return sum(map(float, found))

    @contextmanager
    def another_gate(self) -> Iterator[Site]:
        """A second gate on the same database and media, with a state folder of its own."""
        kept = ("FTPGATE_MEDIA_ROOT", "FTPGATE_DRAIN", "FTPGATE_GRACE", "FTPGATE_SECRET_KEY")
        shared = {name: self.site.environ[name] for name in kept if name in self.site.environ}
        other = Site(self.site.root.parent / "other", self.site.environ["FTPGATE_DATABASE_URL"], shared)
        try:
            other.start()
            yield other
        finally:
            other.close()

    def close(self) -> None:
        self.desk.close()
        self.site.close()

    def _item(self, size: int) -> dict[str, Any]:
        if size not in self._items:
            title = f"Item {size}"
            folder = write_album(self.site.media_root / title, {FILE: size}, seed=title)
            self._items[size] = self.desk.json("item", "add", str(folder), "--title", title)
        return self._items[size]


class Labs:
    """Makes labs in a folder that is removed at the end, and ends those that are still open."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._made = 0
        self._shared: Lab | None = None
        self._server: PostgresServer | None = None
        self.databases = Databases(folder, self.postgres)

    def postgres(self) -> PostgresServer:
        """The server that all labs on PostgreSQL share."""
        if self._server is None:
            self._server = self._stack.enter_context(PostgresServer())
        return self._server

    def shared(self) -> Lab:
        """The one, on SQLite, for trials that break nothing; its gate runs."""
        if self._shared is None:
            self._shared = self.make("sqlite")
            self._shared.start(*SIZES)
        return self._shared

    def own_postgres(self) -> PostgresServer:
        """Another server, to be stopped and started."""
        return self._stack.enter_context(PostgresServer())

    def make(self, kind: str, settings: Mapping[str, str] | None = None, server: PostgresServer | None = None) -> Lab:
        """Another one on a database of that kind, its gate not started; whoever makes it closes it, early if possible.

        Args:
            server: of PostgreSQL, where it is not to be the shared one.
        """
        self._made += 1
        folder = self._folder / f"lab{self._made}"
        folder.mkdir()
        databases = self.databases if server is None else Databases(folder, lambda: server)
        lab = Lab(folder, databases.migrated(kind), settings)
        self._stack.callback(lab.close)
        return lab


@contextmanager
def opened() -> Iterator[Labs]:
    folder = Path(tempfile.mkdtemp(prefix="ftpgate-trials-"))
    try:
        with ExitStack() as stack:
            yield Labs(folder, stack)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
