"""What a connection has held is free when it has ended, and no collection of cycles has to be waited for.

The gate has all cycles collected seldom, because that stops its loop; a TLS connection holds tens of kilobytes.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator

import pytest

from ftpgate.access import grant_cache
from ftpgate.access.open_grant import OpenGrant
from ftpgate.delivery.transfer import Transfer
from ftpgate.ftp.control_connection import ControlConnection
from ftpgate.ftp.data_commands import DataCommands
from ftpgate.ftp.data_connection import DataConnection
from ftpgate.ftp.data_handshakes import DataHandshakes
from ftpgate.ftp.session import Session
from ftpgate.http.body_sender import BodySender
from ftpgate.http.connection import HttpConnection
from ftpgate.http.exchange import Exchange
from ftpgate.net.places import Guest
from ftpgate.net.tls import TlsSink
from ftpgate.proof.reconciler import Reconciler
from ftpgate.proof.segments import Segment
from ftpgate.shaping.customer import Customer
from ftpgate.shaping.token_bucket import Pacer
from ftpgate.sources.file import PlainFile
from ftpgate.sources.zip import ZipArchive
from ftpgate.tree import Folder, GrantTree
from tests.gate import raw
from tests.gate.tlsgate import SIZE, gate, token
from tests.support.inprocess import InProcessGate
from tests.support.waiting import wait_until

HELD = (
    Transfer, ControlConnection, DataCommands, DataConnection, DataHandshakes, Session, BodySender, HttpConnection, Exchange,
    Guest, TlsSink,
)  # fmt: skip
HELD_OF_GRANTS = (OpenGrant, Customer, Pacer, GrantTree, Folder, ZipArchive, PlainFile, Reconciler, Segment)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessGate]:
    with gate(tmp_path_factory.mktemp("gate")) as running:
        yield running


@pytest.fixture
def no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def _left(of: tuple[type, ...] = HELD) -> Counter[str]:
    return Counter(type(one).__name__ for one in gc.get_objects() if isinstance(one, of))


def _download(running: InProcessGate, protocol: str, path: str, share: float) -> None:
    secure = running.certificate.trusted() if protocol.endswith("s") else None
    address, opens = running.address(protocol), token(running).reveal()
    if protocol.startswith("http"):
        download = raw.http_get(address, f"/d/{opens}/{path}", secure=secure)
    else:
        download = raw.ftp_get(address, opens, path, secure=secure)
    with download:
        assert download.read(int(SIZE * share)) == int(SIZE * share)


@pytest.mark.parametrize("share", [1.0, 0.1], ids=["whole", "cut"])
@pytest.mark.parametrize("protocol", ["http", "https", "ftp", "ftps"])
def test_nothing_is_left_of_a_connection(running: InProcessGate, no_collection: None, protocol: str, share: float) -> None:
    _download(running, protocol, "Album/track.ogg", share)
    wait_until(lambda: not _left(), 15, "the end of what the connection held", interval=0.2)


@pytest.mark.parametrize("path", ["Album/track.ogg", "Album.zip"])
@pytest.mark.parametrize("share", [1.0, 0.1], ids=["whole", "cut"])
@pytest.mark.parametrize("protocol", ["http", "ftps"])
def test_nothing_is_left_of_a_grant_that_nobody_uses(
    running: InProcessGate, no_collection: None, monkeypatch: pytest.MonkeyPatch, protocol: str, share: float, path: str
) -> None:
    monkeypatch.setattr(grant_cache, "IDLE", 0.5)
    before = _left(HELD_OF_GRANTS)
    _download(running, protocol, path, share)
    wait_until(lambda: _left(HELD_OF_GRANTS) <= before, 15, "the end of what the grant held", interval=0.2)
