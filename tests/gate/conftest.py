"""A running shop that the tests of one module share: issuing a grant is cheap, starting a gate is not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from ftpgate.grants import Item
from ftpgate.tokens import Token
from tests.support.certificates import Certificate
from tests.support.databases import Databases
from tests.support.inprocess import InProcessGate
from tests.support.media import NASTY_NAMES, hashes
from tests.support.site import Grant, Site

RATES = {"limited": "5M", "unlimited": "0"}
SIZES = (9_000_000, 300_000, 70_000, 2_500_000, 1)


@dataclass(frozen=True, slots=True)
class Shop:
    """A site with a running gate, a user for each of RATES, and one album of files with nasty names."""

    site: Site
    certificate: Certificate
    item: str
    folder: str
    files: dict[str, str]
    """Path in the folder -> SHA-256."""
    sizes: dict[str, int]

    def issue(self, rate: str = "unlimited") -> Grant:
        return self.site.issue(rate, self.item)

    def url(self, grant: Grant, protocol: str, path: str = "") -> str:
        """The address of a path of the grant (as text, unquoted); over `https`, and over `ftps` from the first byte, too."""
        if protocol in ("http", "ftp"):
            return grant.url(protocol, path)
        assert self.site.gate is not None
        where = self.site.gate.ready[protocol]
        base = f"https://{where}/d/{grant.token}/" if protocol == "https" else f"ftps://{grant.token}:x@{where}/"
        return base + quote(path)

    def received(self, grant: Grant, client: str) -> None:
        """`client` has everything. One with a number in its name has used so many connections."""
        if client.rpartition("-")[2].isdigit():
            self.site.wait_for_all(grant)
        else:
            self.complete(grant)

    def lacking(self, grant: Grant) -> list[str]:
        """The paths of files of which something is unconfirmed, once all of them are accounted for; none when all is complete."""
        self.site.wait_for_all(grant)
        (item,) = self.site.grant_show(grant)["items"]
        return [] if item["complete"] else [file["path"] for file in item["files"] if file["unconfirmed"]]

    def complete(self, grant: Grant) -> dict[str, Any]:
        """Wait for the grant's completion and check what it shows."""
        document = self.site.wait_for_grant(grant)
        (item,) = document["items"]
        assert item["complete"] is True
        assert item["delivered"] == item["bytes"] == sum(self.sizes.values())
        assert {file["path"]: file["covered"] for file in item["files"]} == {
            path: [[0, size]] for path, size in self.sizes.items()
        }
        return document


@contextmanager
def opened(root: Path, database_url: str, sizes: Sequence[int] = SIZES) -> Iterator[Shop]:
    """A shop in the folder `root`, open for as long as the context lasts; its files have these bytes."""
    certificate = Certificate(root / "certificate")
    secure = {"FTPGATE_TLS_CERT": str(certificate.chain), "FTPGATE_TLS_KEY": str(certificate.key)}
    listen = {"FTPGATE_HTTPS": "127.0.0.1:0", "FTPGATE_FTPS": "127.0.0.1:0"}
    site = Site(root / "site", database_url, secure | listen)
    try:
        for name, rate in RATES.items():
            site.add_user(name, site.set_tier(name, rate))
        files = dict(zip(NASTY_NAMES, sizes, strict=False))
        item = site.album(files, title="Album [1] 100% #ё", artist="Исполнитель")
        site.start()
        folder = site.grant_show(site.issue("unlimited", item["id"]))["items"][0]["folder"]
        yield Shop(site, certificate, item["id"], folder, hashes(site.media_root / "Album [1] 100% #ё"), files)
        assert "Traceback" not in site.gate_log(), site.gate_log()[-5_000:]
    finally:
        site.close()


@pytest.fixture(scope="module")
def shop_database(request: pytest.FixtureRequest) -> str:
    """The kind of database of `shop`: `sqlite`, then `postgres`; or those that `@pytest.mark.databases(…)` names."""
    return str(request.param)


@pytest.fixture(scope="module")
def shop(shop_database: str, databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with opened(tmp_path_factory.mktemp("shop") / shop_database, databases.migrated(shop_database)) as running:
        yield running


@pytest.fixture
def stuck_disk(gate: InProcessGate) -> Iterator[Callable[[], None]]:
    """The disk's thread does nothing until this is called."""
    event = threading.Event()
    gate.call(lambda: gate.engine.files._executor.submit(lambda: event.wait(20), lambda _result, _error: None))
    yield event.set
    event.set()


@pytest.fixture
def token(gate: InProcessGate, item: Item) -> Token:
    """Of a grant of the module's `item`, on its `gate`."""
    return gate.shop.issue([item])
