"""What of HTTP's own ways tells that a body has arrived: the next request, an end, a kept connection; and what does not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ftpgate import http as front
from ftpgate.grants import GrantState, Item, Tier
from ftpgate.http import body_sender, limits
from ftpgate.http.parser import HEAD_LIMIT
from ftpgate.http.states import State
from ftpgate.proof.credit import Phase
from tests.support.inprocess import InProcessGate
from tests.support.media import write_album
from tests.support.rawhttp import RawClient, Reply, request
from tests.support.waiting import wait_until

FILES = {"1.ogg": 100_000, "2.ogg": 100_000, "3.ogg": 3_000_000, "CD/4.ogg": 30}

UNLIMITED = Tier("default", 0, 64)


class Shop:
    def __init__(self, gate: InProcessGate, tier: Tier = UNLIMITED) -> None:
        self.gate = gate
        self.item: Item = gate.item("Album")
        self.token = gate.shop.issue([self.item], tier=tier, user=f"user{self.item.id}")
        self.root = f"/d/{self.token.reveal()}/Album/"

    def connect(self, **options: int) -> RawClient:
        return RawClient(self.gate.address("http"), **options)

    def covered(self, path: str) -> int:
        """Bytes of a file that are recorded."""
        (file,) = [file for file in self.item.files if file.path == path]
        return sum(end - start for start, end in self.gate.shop.spans(self.token.grant, file))

    def credited(self, path: str) -> int:
        """Bytes of a file that the gate holds for delivered, recorded or not."""
        (file,) = [file for file in self.item.files if file.path == path]
        grants = [grant for grant in self.gate.grant_cache.grants() if grant.id == self.token.grant]
        return self.gate.call(lambda: sum(spans.size for grant in grants if (spans := grant.coverage.get(file.id)) is not None))

    def transfers(self) -> int:
        return self.gate.call(lambda: sum(transfer.grant.id == self.token.grant for transfer in self.gate.engine.transfers))

    def phases(self) -> list[Phase]:
        """Of the running transfers; on the loop."""
        return [transfer.credit.phase for transfer in self.gate.engine.transfers if transfer.grant.id == self.token.grant]

    def ended(self) -> None:
        wait_until(lambda: self.transfers() == 0, 10, "the end of the transfers")


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessGate]:
    media = tmp_path_factory.mktemp("delivery") / "media"
    write_album(media / "Album", FILES)
    with InProcessGate(media, {"http": front.listen}) as running:
        yield running


@pytest.fixture
def shop(gate: InProcessGate) -> Shop:
    return Shop(gate)


def test_the_next_request_vouches_for_the_body_before_it(shop: Shop) -> None:
    with shop.connect() as client:
        client.ask(f"{shop.root}1.ogg").reply()
        client.ask(f"{shop.root}CD/4.ogg", method="HEAD").reply(head=True)
        credited = shop.credited("1.ogg")
        assert credited == FILES["1.ogg"]
    shop.ended()


def test_requests_sent_ahead_vouch_for_nothing(shop: Shop) -> None:
    with shop.connect(receive_buffer=300_000) as client:
        client.send(request(f"{shop.root}1.ogg") + request(f"{shop.root}2.ogg") + request(f"{shop.root}CD/4.ogg", method="HEAD"))
        wait_until(lambda: client.socket.recv(1, 2), 10, "an answer")  # MSG_PEEK
        wait_until(lambda: shop.transfers() == 2, 10, "both transfers")
        credited = shop.credited("1.ogg") + shop.credited("2.ogg")
        assert credited == 0
        client.reset()
    shop.ended()
    assert shop.gate.shop.status(shop.token.grant).state is GrantState.OPEN
    assert shop.credited("2.ogg") == 0


def test_a_later_request_vouches_for_all_that_are_pending(shop: Shop) -> None:
    with shop.connect() as client:
        client.send(request(f"{shop.root}1.ogg") + request(f"{shop.root}2.ogg"))
        client.reply()
        client.reply()
        client.ask("/robots.txt").reply()
        credited = shop.credited("1.ogg"), shop.credited("2.ogg")
        assert credited == (FILES["1.ogg"], FILES["2.ogg"])
    shop.ended()


def test_a_request_that_begins_too_early_vouches_for_nothing(shop: Shop) -> None:
    with shop.connect(receive_buffer=8192) as client:
        client.ask(f"{shop.root}1.ogg").head()
        wait_until(
            lambda: shop.gate.call(lambda: [phase for phase in shop.phases() if phase is Phase.AWAITING_ACK]), 10, "the body"
        )
        following = request(f"{shop.root}CD/4.ogg", method="HEAD")
        client.send(following[:9])
        shop.transfers()  # a round of the loop
        client.read(FILES["1.ogg"])
        wait_until(lambda: shop.gate.call(lambda: Phase.AWAITING_ACK not in shop.phases()), 10, "the acknowledgement")
        client.send(following[9:]).reply(head=True)
        credited = shop.credited("1.ogg")
        assert credited < FILES["1.ogg"]
    shop.ended()


def test_a_malformed_request_vouches_for_nothing(shop: Shop) -> None:
    with shop.connect() as client:
        client.ask(f"{shop.root}1.ogg").reply()
        client.send(b"\x16nonsense\r\n\r\n").reply()
        credited = shop.credited("1.ogg")
        assert credited == 0
    shop.ended()


def test_a_body_that_may_be_the_last_of_its_item_ends_the_connection(tmp_path: Path) -> None:
    """So that its client's own end follows. A client that has all may keep its connection."""
    write_album(tmp_path / "media" / "Album", {"a.ogg": 10, "b.ogg": 20, "c.ogg": 30})
    with InProcessGate(tmp_path / "media", {"http": front.listen}) as gate:
        shop = Shop(gate)
        for name, said in (("a.ogg", None), ("b.ogg", None), ("c.ogg", "close")):
            with shop.connect() as client:
                assert client.ask(f"{shop.root}{name}").reply().headers.get("connection") == said
            wait_until(lambda name=name: shop.credited(name), 10, "the delivery")  # type: ignore[misc]
        with shop.connect() as client:
            for _ in range(2):
                assert "connection" not in client.ask(f"{shop.root}c.ogg").reply().headers


def test_an_idle_connection_is_ended_so_that_the_clients_own_end_tells(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "UNPROVEN_TIMEOUT", 0.0)
    with shop.connect() as client:
        client.ask(f"{shop.root}CD/4.ogg").reply()
        assert client.ended()
        assert shop.credited("CD/4.ogg") == 0
    wait_until(lambda: shop.covered("CD/4.ogg") == 30, 10, "the delivery")


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_an_end_after_everything_was_read(shop: Shop, version: str) -> None:
    with shop.connect() as client:
        client.ask(f"{shop.root}3.ogg", "Connection: close", version=version).reply()
    wait_until(lambda: shop.covered("3.ogg") == FILES["3.ogg"], 10, "the delivery")


def test_a_client_that_ends_its_sending_half_first_gets_everything(shop: Shop) -> None:
    with shop.connect() as client:
        client.send(request(f"{shop.root}1.ogg") + request(f"{shop.root}3.ogg"))
        client.end_sending()
        assert (len(client.reply().body), len(client.reply().body)) == (FILES["1.ogg"], FILES["3.ogg"])
        assert client.rest() == b""
    shop.ended()  # what it has read of the end, it can show no more


def test_half_closed_and_then_gone_without_reading(shop: Shop) -> None:
    with shop.connect(receive_buffer=8192) as client:
        client.ask(f"{shop.root}3.ogg").end_sending()
        client.head()
        wait_until(lambda: client.in_kernel > 4_000, 10, "more than half of the buffer")
    shop.ended()  # the reset is seen, though nothing is read from this connection any more
    assert shop.credited("3.ogg") == 0


def test_nothing_of_three_megabytes_was_read(shop: Shop) -> None:
    with shop.connect() as client:
        client.ask(f"{shop.root}3.ogg").head()
        wait_until(lambda: shop.transfers() == 1, 10, "the transfer")
    shop.ended()
    assert shop.credited("3.ogg") == 0


def test_a_head_credits_nothing(shop: Shop) -> None:
    with shop.connect() as client:
        assert client.ask(f"{shop.root}3.ogg", method="HEAD").reply(head=True).headers["content-length"] == "3000000"
        assert client.ask(f"{shop.root}3.ogg", 'If-None-Match: "x"', "Range: bytes=5000000-").reply().status == 416
    assert shop.transfers() == 0
    assert shop.credited("3.ogg") == 0


def test_several_ranges_are_credited_each_where_it_lies(shop: Shop) -> None:
    with shop.connect() as client:
        client.ask(f"{shop.root}1.ogg", "Range: bytes=10-19,90000-", "Connection: close").reply()
    (file,) = [file for file in shop.item.files if file.path == "1.ogg"]
    wait_until(lambda: shop.gate.shop.spans(shop.token.grant, file) == [(10, 20), (90_000, 100_000)], 10, "both ranges")


def test_a_paced_body_is_watched_for_the_clients_end(gate: InProcessGate) -> None:
    shop = Shop(gate, Tier("slow", 200_000, 8))
    with shop.connect() as client:
        client.ask(f"{shop.root}3.ogg").read(20_000)
        client.reset()
    wait_until(lambda: shop.transfers() == 0, 2, "the end of a transfer whose client has gone")
    assert (
        gate.call(lambda: sum(len(grant.transfers) for grant in gate.grant_cache.grants() if grant.id == shop.token.grant)) == 0
    )


def test_requests_sent_ahead_during_a_body_are_bounded_and_answered(gate: InProcessGate) -> None:
    shop = Shop(gate, Tier("paced", 10_000_000, 8))
    ahead = 100
    with shop.connect() as client:
        data = request(f"{shop.root}3.ogg") + request(f"{shop.root}CD/4.ogg", "X-Filler: " + "x" * 900) * ahead
        thread = threading.Thread(target=client.send, args=(data,))
        thread.start()
        assert len(client.reply().body) == FILES["3.ogg"]
        replies: list[Reply] = [client.reply() for _ in range(ahead)]
        thread.join()
        assert {reply.status for reply in replies} == {200}


def test_what_waited_behind_a_full_buffer_vouches_for_nothing(shop: Shop) -> None:
    first = request(f"{shop.root}1.ogg", "X: ")
    first = request(f"{shop.root}1.ogg", "X: " + "x" * (HEAD_LIMIT - len(first)))
    with shop.connect(receive_buffer=300_000) as client:
        client.send(first + request(f"{shop.root}CD/4.ogg", method="HEAD"))  # the second is left in the kernel at first
        client.reply()
        client.reply(head=True)
        credited = shop.credited("1.ogg")
        assert credited == 0
    shop.ended()


def test_unsettled_bodies_are_bounded(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_sender, "UNSETTLED", 8)
    count = 20
    with shop.connect() as client:
        client.send(request(f"{shop.root}CD/4.ogg") * count)
        wait_until(lambda: shop.transfers() == 8, 10, "as many bodies as may be unsettled")
        for _ in range(count):
            assert client.reply().status == 200
            assert shop.transfers() <= 8


def test_unsettled_bodies_of_all_connections_of_a_customer_are_bounded(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_sender, "UNSETTLED", 8)
    count, most = 20, 0
    with ExitStack() as stack:
        clients = [stack.enter_context(shop.connect()) for _ in range(4)]
        for client in clients:
            client.send(request(f"{shop.root}CD/4.ogg") * count)
        for _ in range(count):
            for client in clients:
                most = max(most, shop.transfers())
                assert client.reply().status == 200
    assert most <= 8 + 2 * len(clients)  # each may have one under way, and one when it has no other


def test_too_many_unsettled_bodies_end_the_connection_in_order(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_sender, "UNSETTLED", 4)
    monkeypatch.setattr(limits, "UNSETTLED_TIMEOUT", 0.1)
    with shop.connect(receive_buffer=8192) as client:
        client.send(request(f"{shop.root}1.ogg", "Range: bytes=0-29999") * 6)  # four of them fit into the kernel's queue
        connections = shop.gate.listeners["http"]._context.connections  # type: ignore[attr-defined]
        wait_until(lambda: any(found.state is State.LINGERING for found in tuple(connections)), 10, "the end of patience")
        assert [len(client.reply().body) for _ in range(4)] == [30_000] * 4
        assert client.ended()
    shop.ended()


@pytest.mark.parametrize("waits", ["half closed", "flooded"])
def test_what_is_not_read_does_not_keep_the_loop_awake(gate: InProcessGate, waits: str) -> None:
    shop = Shop(gate, Tier("slow", 300_000, 8))
    wakes = 0
    poll = gate.loop.poll

    def counting(timeout: float | None) -> None:
        nonlocal wakes
        wakes += 1
        poll(timeout)

    with shop.connect() as client:
        client.ask(f"{shop.root}3.ogg").head()
        if waits == "half closed":
            client.end_sending()
        else:
            client.send(request(f"{shop.root}CD/4.ogg", "X: " + "x" * 900) * 60)
        gate.call(lambda: setattr(gate.loop, "poll", counting))
        try:
            client.read(400_000)
        finally:
            gate.call(lambda: setattr(gate.loop, "poll", poll))
        client.reset()
    assert wakes < 5_000  # a poll that is never satisfied wakes up a hundred times as often
    shop.ended()


def test_an_acknowledged_answer_takes_no_connection(gate: InProcessGate) -> None:
    shop = Shop(gate, Tier("single", 0, 1))
    with shop.connect() as one, shop.connect() as two:
        one.ask(f"{shop.root}1.ogg").reply()
        wait_until(lambda: two.ask(f"{shop.root}CD/4.ogg").reply().status == 200, 10, "the connection")
    shop.ended()


def test_revoking_resets_what_runs(gate: InProcessGate) -> None:
    shop = Shop(gate, Tier("slow", 100_000, 8))
    with shop.connect() as client:
        client.ask(f"{shop.root}3.ogg").head()
        gate.shop.change(shop.token.grant, state=GrantState.REVOKED)
        with pytest.raises(ConnectionResetError):
            client.rest()
    with shop.connect() as client:
        assert client.ask(f"{shop.root}3.ogg").reply().status == 410


def test_a_zip_completes_its_files(shop: Shop, tmp_path: Path) -> None:
    with shop.connect() as client:
        client.ask(f"{shop.root[:-1]}.zip", "Connection: close").reply()
    wait_until(lambda: shop.token.grant in shop.gate.shop.completed, 10, "the completion")
