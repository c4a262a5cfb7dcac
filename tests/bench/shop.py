"""The gate under test: a whole ftpgate on PostgreSQL with its customers, started as a real process."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.bench.servers import Certificate, Server, Target
from tests.support.databases import Databases
from tests.support.postgres import PostgresServer
from tests.support.site import Site
from tests.support.tools import ROOT
from tests.support.waiting import wait_until

MOST = 1000
"""Connections of one customer, where they are not what is measured."""
TIERS = {"fast": (0, MOST), "slow": (800_000, 100), "middle": (6_400_000, 100), "two": (2_000_000, 100)}
"""Name -> bytes a second, connections."""
SLOW, MIDDLE, VISITORS = 90, 10, 600
CUSTOMERS = {
    "fast": [("fast", "fast")],
    "slow": [(f"slow{number}", "slow") for number in range(SLOW)],
    "middle": [(f"middle{number}", "middle") for number in range(MIDDLE)],
    "two": [("two", "two")],
    "many": [("many", "fast")],
    "one": [("one", "fast")],
    "small": [("small", "fast")],
    "visitors": [(f"visitor{number}", "fast") for number in range(VISITORS)],
}
"""Kind -> users with their tiers; each has a grant of its own."""


class Shop:
    """The gate with its database; `close` ends both.

    Args:
        folder: for everything; its `media` is what all servers serve.
        sizes: item -> (file, bytes).
        certificate: for the listeners that speak TLS.
    """

    def __init__(self, folder: Path, files: Mapping[str, tuple[str, int]], certificate: Certificate) -> None:
        self.postgres = PostgresServer()
        try:
            databases = Databases(folder, lambda: self.postgres)
            secure = {
                "FTPGATE_TLS_CERT": str(certificate.chain), "FTPGATE_TLS_KEY": str(certificate.key),
                "FTPGATE_HTTPS": "127.0.0.1:0", "FTPGATE_FTPS": "127.0.0.1:0",
            }  # fmt: skip
            self.site = Site(folder / "gate", databases.migrated("postgres"), {"FTPGATE_GRACE": "1d", **secure})
            for name, (rate, connections) in TIERS.items():
                self.site.set_tier(name, str(rate), connections)
            items = {title: self.site.album(dict([file]), title=title)["id"] for title, file in files.items()}
            self._files = {title: file for title, (file, _) in files.items()}
            self._tokens = self._issue(items)
        except BaseException:
            self.close()
            raise

    @property
    def media(self) -> Path:
        return self.site.media_root

    def start(self, total_rate: int = 0) -> Gate:
        """The gate, started anew; with a limit of its own for all customers together."""
        if self.site.gate is not None:
            self.site.stop()
        self.site.start(FTPGATE_TOTAL_RATE=str(total_rate), FTPGATE_DRAIN="1s")
        return Gate(self.site, self._files, self._tokens)

    def close(self) -> None:
        if hasattr(self, "site"):
            self.site.close()
        self.postgres.close()

    def _issue(self, items: Mapping[str, str]) -> dict[str, list[str]]:
        wanted = [
            (kind, user, tier, items["Small" if kind in ("small", "visitors") else "Big"])
            for kind, users in CUSTOMERS.items()
            for user, tier in users
        ]
        command = ["manage", "shell", "--no-imports", "--pythonpath", str(ROOT), "-c"]
        done = self.site.run(
            *command, "from tests.bench import issuing; issuing.main()", stdin=json.dumps([row[1:] for row in wanted])
        )
        tokens: dict[str, list[str]] = {kind: [] for kind in CUSTOMERS}
        for (kind, *_), token in zip(wanted, json.loads(done.stdout), strict=True):
            tokens[kind].append(token)
        return tokens


class Gate(Server):
    """Our gate. What it serves goes by kinds of customers (`CUSTOMERS`)."""

    def __init__(self, site: Site, files: Mapping[str, str], tokens: Mapping[str, Sequence[str]]) -> None:
        assert site.gate is not None
        super().__init__("ftpgate", [site.gate.pid])
        self._site = site
        self._files = files
        self._tokens = tokens

    @property
    def listens(self) -> frozenset[str]:
        """`http`, `ftp`, and where it speaks TLS `https`, and `ftps` for AUTH TLS."""
        assert self._site.gate is not None
        ready = self._site.gate.ready
        explicit = {"ftps"} if "ftps" in ready else set()
        return frozenset({name for name in ("http", "https", "ftp") if name in ready} | explicit)

    def target(self, protocol: str, what: str, customers: str = "fast") -> Target | None:
        if protocol not in self.listens and protocol != "login":
            return None
        title = "Small" if what == "small" else "Big"
        path = f"/{title}.zip" if what == "zip" else f"/{title}/{self._files[title]}"
        assert self._site.gate is not None
        host, _, port = self._site.gate.ready["ftp" if protocol in ("ftps", "login") else protocol].rpartition(":")
        http = protocol.startswith("http")
        jobs = [("", "", f"/d/{token}{path}") if http else ("x", token, path) for token in self._tokens[customers]]
        return Target((host, int(port)), jobs)

    def settle(self) -> None:
        """Wait until what the last load has left is settled and written down."""
        wait_until(lambda: not self.metric("ftpgate_transfers") and not self.metric("ftpgate_ledger_backlog"), 30, "rest")

    def metric(self, name: str) -> float:
        found = re.search(rf"^{re.escape(name)} (\S+)$", self.metrics(), re.MULTILINE)
        assert found is not None, f"the gate has no figure {name}"
        return float(found[1])

    def metrics(self) -> str:
        assert self._site.gate is not None
        host, port = self._site.gate.admin
        with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=30) as answer:
            text: str = answer.read().decode()
        return text
