"""A customer's rate holds over all connections and both protocols, and follows a change.

What is compared is what the clients got over a stretch of time that they measured themselves, with room for a busy
machine; how exact it is on a quiet one is for `make bench` to say.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ftpgate import ftp, http
from ftpgate.grants import Item, Tier
from ftpgate.tokens import Token
from tests.gate import raw
from tests.support.inprocess import InProcessGate

pytestmark = pytest.mark.slow

RATE = 2_000_000
SIZE = 60_000_000


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("rates") / "media"
    raw.write(folder / "big" / "f.bin", SIZE)
    return folder


@pytest.fixture
def gate(media: Path) -> Iterator[InProcessGate]:
    with InProcessGate(media, {"http": http.listen, "ftp": ftp.listen}) as running:
        yield running


def begin(gate: InProcessGate, token: Token, item: Item, number: int) -> raw.Download:
    """The `number`-th connection: FTP and HTTP by turns, each at a place of its own in the file."""
    path, start = f"{item.folder}/{item.files[0].path}", number * 1_000_000
    if number % 2:
        return raw.ftp_get(gate.address("ftp"), token.reveal(), path, start)
    return raw.http_get(gate.address("http"), f"/d/{token.reveal()}/{path}", start)


def read_for(downloads: list[raw.Download], seconds: float, *, warm: float = 1.5) -> list[float]:
    """Bytes a second that each got over about `seconds`, all read at the same time.

    Before that they read for `warm` seconds, so that what lay in their buffers does not count.
    """
    rates = [0.0] * len(downloads)

    def read(number: int) -> None:
        download, began = downloads[number], time.monotonic()
        while time.monotonic() - began < warm:
            download.read(16_384)
        before, began = download.position, time.monotonic()
        while time.monotonic() - began < seconds:
            download.read(16_384)
        rates[number] = (download.position - before) / (time.monotonic() - began)

    threads = [threading.Thread(target=read, args=(number,)) for number in range(len(downloads))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return rates


@pytest.mark.parametrize("connections", [1, 8, 40])
def test_one_rate_for_all_connections(gate: InProcessGate, connections: int) -> None:
    item = gate.item("big")
    token = gate.shop.issue([item], tier=Tier("two", RATE, 64))
    downloads = [begin(gate, token, item, number) for number in range(connections)]
    total = sum(read_for(downloads, 6))
    for download in downloads:
        download.close()
    assert 0.8 * RATE < total < 1.15 * RATE


def test_two_grants_of_one_customer_share_his_rate(gate: InProcessGate) -> None:
    item = gate.item("big")
    tokens = [gate.shop.issue([item], tier=Tier("two", RATE, 64), user="the same") for _ in range(2)]
    downloads = [begin(gate, token, item, number) for number, token in enumerate(tokens * 2)]
    rates = read_for(downloads, 5)
    for download in downloads:
        download.close()
    assert sum(rates) < 1.15 * RATE
    assert max(rates) < 1.5 * min(rates)


def test_another_rate_reaches_running_transfers(gate: InProcessGate) -> None:
    item = gate.item("big")
    token = gate.shop.issue([item], tier=Tier("slow", 500_000, 64))
    downloads = [begin(gate, token, item, number) for number in range(4)]
    assert sum(read_for(downloads, 3)) < 700_000
    gate.shop.change(token.grant, tier=Tier("slow", 4_000_000, 64))
    assert 3_000_000 < sum(read_for(downloads, 3, warm=2.5)) < 4_600_000
    gate.shop.change(token.grant, tier=Tier("slow", 0, 64))
    for download in downloads:  # at the old rate that would take a minute
        download.read(SIZE)
        assert download.position == SIZE
        download.close()


def test_a_limit_of_all_is_shared_between_customers(media: Path) -> None:
    """Twenty connections get a customer no more than one gets another."""
    with InProcessGate(media, {"http": http.listen, "ftp": ftp.listen}, settings={"FTPGATE_TOTAL_RATE": "4M"}) as gate:
        item = gate.item("big")
        many, one = (gate.shop.issue([item], user=name) for name in ("many", "one"))
        downloads = [begin(gate, many, item, number) for number in range(20)] + [begin(gate, one, item, 0)]
        rates = read_for(downloads, 6)
        for download in downloads:
            download.close()
    assert 3_200_000 < sum(rates) < 4_600_000
    assert 0.75 < sum(rates[:20]) / rates[20] < 1.33


def test_a_hang_up_is_seen_while_its_turn_is_far_away(gate: InProcessGate) -> None:
    item = gate.item("big")
    token = gate.shop.issue([item], tier=Tier("tiny", 2_000, 64))
    downloads = [begin(gate, token, item, number) for number in range(6)]
    for download in downloads:
        download.close()
    gate.settled(5)
