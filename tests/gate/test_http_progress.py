"""Looking on: progress as JSON and as events, and the admin listener."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
import urllib.request
from collections.abc import Iterator
from itertools import pairwise
from typing import Any
from urllib.parse import quote

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ftpgate import http as front
from ftpgate.delivery import ledger
from ftpgate.grants import GrantState, Tier
from ftpgate.http import messages
from ftpgate.http.progress import RANGES, VIEWERS, compact
from ftpgate.net.loop_lag import EVERY
from ftpgate.proof.credit import PACED_CHUNK
from ftpgate.proof.segments import Evidence
from ftpgate.signed_links import TTL, Purpose
from ftpgate.tokens import Token, new_grant_id
from tests.bench.rounds import Figures
from tests.bench.scenarios import lags
from tests.support.inprocess import InProcessGate
from tests.support.media import write_album
from tests.support.rawhttp import RawClient
from tests.support.site import Site
from tests.support.waiting import wait_until

EVENTS = "Accept: text/event-stream"
SIZE = 3_000_000


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessGate]:
    media = tmp_path_factory.mktemp("progress") / "media"
    write_album(media / "Album", {"a.ogg": SIZE, "b.ogg": 1000})
    with InProcessGate(media, {"http": front.listen, "admin": front.listen_admin}, most_connections=2_000) as running:
        yield running


def issue(gate: InProcessGate, rate: int = 0, connections: int = 64) -> Token:
    item = gate.item("Album")
    return gate.shop.issue([item], tier=Tier("t", rate, connections), user=f"user{item.id}")


def connect(gate: InProcessGate, protocol: str = "http", **options: int) -> RawClient:
    return RawClient(gate.address(protocol), **options)


def state(gate: InProcessGate, token: Token) -> dict[str, Any]:
    with connect(gate) as client:
        found: dict[str, Any] = json.loads(client.ask(f"/d/{token.reveal()}/progress").reply().body)
        return found


class Events:
    """A stream of events, read one by one."""

    def __init__(self, client: RawClient, token: Token | str) -> None:
        self.client = client
        shown = token if isinstance(token, str) else token.reveal()
        self.status, self.headers = client.ask(f"/d/{shown}/progress", EVENTS).head()
        self._held = b""

    def next(self) -> str:
        """One event or comment, without its blank line."""
        while b"\n\n" not in self._held:
            self._held += self.client.read(1)
        event, _, self._held = self._held.partition(b"\n\n")
        return event.decode()

    def state(self) -> dict[str, Any]:
        name, data = self.next().split("\n")
        assert name == "event: progress"
        found: dict[str, Any] = json.loads(data.removeprefix("data: "))
        return found


def test_pages_of_any_shop_may_read_the_state_and_why_there_is_none(gate: InProcessGate) -> None:
    token = issue(gate)
    dead = issue(gate)
    gate.shop.change(dead.grant, state=GrantState.REVOKED)
    for shown, status in ((token.reveal(), 200), (dead.reveal(), 410), (Token.new(new_grant_id()).reveal(), 404)):
        with connect(gate) as client:
            reply = client.ask(f"/d/{shown}/progress", "Origin: https://shop.example").reply()
        assert (reply.status, reply.headers.get("access-control-allow-origin")) == (status, "*")
    with connect(gate) as client:
        reply = client.ask(f"/d/{token.reveal()}/Album/b.ogg", "Origin: https://shop.example").reply()
    assert "access-control-allow-origin" not in reply.headers
    with connect(gate) as client:
        reply = client.ask(f"/d/{dead.reveal()}/Album/b.ogg", "Origin: https://shop.example").reply()
    assert (reply.status, reply.headers.get("access-control-allow-origin")) == (410, None)


def test_the_state_as_json(gate: InProcessGate) -> None:
    token = issue(gate)
    found = state(gate, token)
    assert (found["grant"], found["state"]) == (token.grant, "open")
    assert found["totals"] == {"bytes": SIZE + 1000, "delivered": 0, "bytes_per_s": 0}
    with connect(gate) as client:
        client.ask(f"/d/{token.reveal()}/Album/b.ogg", "Range: bytes=100-199", "Connection: close").reply()
    wait_until(lambda: state(gate, token)["totals"]["delivered"] == 100, 10, "the delivery")
    (item,) = state(gate, token)["items"]
    assert (item["folder"], item["bytes"], item["delivered"], item["complete"]) == ("Album", SIZE + 1000, 100, False)
    assert item["files"] == [
        {"path": "a.ogg", "bytes": SIZE, "covered": [], "unconfirmed": []},
        {"path": "b.ogg", "bytes": 1000, "covered": [[100, 200]], "unconfirmed": []},
    ]


def test_what_an_earlier_gate_left_unconfirmed_is_told_until_it_is_delivered(gate: InProcessGate) -> None:
    item = gate.item("Album")
    file = item.files[1].id
    token = gate.shop.issue([item], user="unconfirmed")
    left = Evidence(
        id="s1", grant=token.grant, resource=f"f{file}", start=0, end=1_000, sent=600, acknowledged=600, shown=600,
        hidden_bytes=0, credited=200, paced=False, unconfirmed={file: ((200, 600),)},
    )  # fmt: skip
    gate.shop.leave(left)
    (found,) = state(gate, token)["items"]
    assert (found["unconfirmed"], [file["unconfirmed"] for file in found["files"]]) == (400, [[], [[200, 600]]])
    with connect(gate) as client:
        client.ask(f"/d/{token.reveal()}/Album/b.ogg", "Range: bytes=0-399", "Connection: close").reply()
    wait_until(lambda: state(gate, token)["totals"]["delivered"] == 400, 10, "the delivery")
    (found,) = state(gate, token)["items"]
    assert (found["unconfirmed"], [file["unconfirmed"] for file in found["files"]]) == (200, [[], [[400, 600]]])


def test_what_a_client_leaves_unread_is_told_as_unconfirmed(gate: InProcessGate) -> None:
    token = issue(gate)
    assert state(gate, token)["items"][0]["unconfirmed"] == 0
    client = connect(gate)
    client.ask(f"/d/{token.reveal()}/Album/a.ogg", "Range: bytes=1000-60999")
    wait_until(lambda: client.unread > 60_000, 20, "the range in the client's buffer")
    client.reset()
    wait_until(lambda: state(gate, token)["items"][0]["unconfirmed"] == 60_000, 10, "the end of the transfer")
    (found,) = state(gate, token)["items"]
    assert (found["delivered"], found["files"][0]["unconfirmed"]) == (0, [[1_000, 61_000]])


def test_events_while_something_moves(gate: InProcessGate) -> None:
    token = issue(gate, rate=30_000)  # so slow that a transfer does not look at the kernel every second by itself
    with connect(gate) as viewer, connect(gate) as client:
        events = Events(viewer, token)
        assert (events.status, events.headers["content-type"]) == (200, "text/event-stream")
        assert events.state()["transfers"] == []
        client.ask(f"/d/{token.reveal()}/Album/a.ogg", "Range: bytes=500000-").head()
        positions: list[int] = []
        while len(positions) < 4:
            client.read(15_000)
            found = events.state()
            for transfer in found["transfers"]:
                assert (transfer["path"], transfer["start"], transfer["end"]) == ("/Album/a.ogg", 500_000, SIZE)
                positions.append(transfer["position"])
        assert positions == sorted(set(positions))
        steps = [after - before for before, after in pairwise(positions)]
        assert min(steps) < PACED_CHUNK / 2  # it is looked at for the event, not only when it looks by itself
        client.reset()
        wait_until(lambda: events.state()["transfers"] == [], 10, "the end of the transfer", interval=0)


def test_looking_on_takes_no_connection_and_is_no_transfer(gate: InProcessGate) -> None:
    token = issue(gate, connections=1)
    with connect(gate) as one, connect(gate) as two, connect(gate) as client:
        assert Events(one, token).status == Events(two, token).status == 200
        assert client.ask(f"/d/{token.reveal()}/Album/b.ogg").reply().status == 200
    gate.settled()


def test_viewers_share_one_state_and_are_bounded(gate: InProcessGate) -> None:
    token = issue(gate)
    viewers = [connect(gate) for _ in range(VIEWERS)]
    try:
        streams = [Events(client, token) for client in viewers]
        first = {stream.next() for stream in streams}
        assert len(first) == 1
        with connect(gate) as client:
            assert client.ask(f"/d/{token.reveal()}/progress", EVENTS).reply().status == 503
            assert client.ask(f"/d/{token.reveal()}/progress").reply().status == 200
    finally:
        for client in viewers:
            client.close()
    with connect(gate) as client:
        wait_until(lambda: _streams(gate, token) == 0, 10, "the end of the streams")
        assert Events(client, token).status == 200


def _streams(gate: InProcessGate, token: Token) -> int:
    return gate.call(lambda: sum(grant.sessions for grant in gate.grant_cache.grants() if grant.id == token.grant))


def test_a_stream_ends_with_its_grant(gate: InProcessGate) -> None:
    token = issue(gate)
    with connect(gate) as client:
        events = Events(client, token)
        assert events.state()["state"] == "open"
        gate.shop.change(token.grant, state=GrantState.REVOKED)
        assert events.state()["state"] == "revoked"
        assert client.ended()
    with connect(gate) as client:
        assert client.ask(f"/d/{token.reveal()}/progress", EVENTS).reply().status == 410
    assert _streams(gate, token) == 0


def test_a_stream_ends_with_its_token(gate: InProcessGate) -> None:
    token = issue(gate)
    other = gate.shop.another(token.grant)
    with connect(gate) as client, connect(gate) as stays:
        events, its = Events(client, token), Events(stays, other)
        assert events.state()["state"] == its.state()["state"] == "open"
        gate.shop.change(token.grant, live_tokens=frozenset({other.digest()}))
        assert client.ended()
        with connect(gate) as downloads:
            downloads.ask(f"/d/{other.reveal()}/Album/b.ogg", "Connection: close").reply()
        assert wait_until(lambda: its.state()["totals"]["delivered"] == 1000, 10, "the delivery", interval=0)


def test_head_of_a_stream(gate: InProcessGate) -> None:
    with connect(gate) as client:
        status, headers = client.ask(f"/d/{issue(gate).reveal()}/progress", EVENTS, method="HEAD").head()
        assert (status, headers["content-type"]) == (200, "text/event-stream")
        assert client.ended()


def test_many_ranges_are_told_by_the_largest() -> None:
    assert compact([(0, 1), (2, 3)]) == [(0, 1), (2, 3)]
    many = [(at * 10, at * 10 + 1 + (at == 7)) for at in range(RANGES * 4)]
    found = compact(many)
    assert len(found) == RANGES
    assert (70, 72) in found
    assert found == sorted(found)


def test_status(gate: InProcessGate) -> None:
    token = issue(gate, rate=100_000)
    with connect(gate) as client, connect(gate, "admin") as admin:
        client.ask(f"/d/{token.reveal()}/Album/a.ogg", "Range: bytes=1000-1999999").head()

        def mine() -> list[dict[str, Any]]:
            document = json.loads(admin.ask("/status").reply().body)
            assert set(document["gates"][0]) == {
                "id", "started_at", "ftp", "http", "connections", "transfers", "bytes_per_s", "rss_bytes", "loop_lag_ms",
                "clock", "gates", "push", "journal", "leases", "confinement",
            }  # fmt: skip
            return [transfer for transfer in document["transfers"] if transfer["grant"] == token.grant]

        (transfer,) = wait_until(mine, 10, "the transfer")
        assert {name: transfer[name] for name in ("path", "protocol", "peer", "start", "end")} == {
            "path": "/Album/a.ogg", "protocol": "http", "peer": "127.0.0.1", "start": 1000, "end": 2_000_000,
        }  # fmt: skip
        wait_until(lambda: mine()[0]["bytes_per_s"] > 0, 10, "a rate")
        assert token.secret.encode() not in admin.ask("/status").reply().body


def test_the_status_of_many_transfers_is_made_as_it_is_sent(gate: InProcessGate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "PIECE", 100)
    token = issue(gate, rate=100_000)
    host, port = gate.address("admin")
    with connect(gate) as one, connect(gate) as two, connect(gate) as three:
        for client in (one, two, three):
            client.ask(f"/d/{token.reveal()}/Album/a.ogg").head()

        def mine() -> int:
            with urllib.request.urlopen(f"http://{host}:{port}/status", timeout=20) as reply:
                assert reply.headers["Transfer-Encoding"] == "chunked"
                document = json.load(reply)
            assert document["gates"][0]["transfers"] == len(document["transfers"])
            return sum(transfer["grant"] == token.grant for transfer in document["transfers"])

        wait_until(lambda: mine() == 3, 10, "the transfers")
    gate.settled()


def test_a_database_that_hangs_shows_in_the_health(gate: InProcessGate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "STALLED", 0.2)
    answering = threading.Event()
    record = gate.shop.record
    monkeypatch.setattr(gate.shop, "record", lambda *batch: answering.wait(30) and record(*batch))
    token = gate.shop.issue([gate.item("Album")])
    with connect(gate) as client:
        assert client.ask(f"/d/{token.reveal()}/Album/b.ogg").reply().status == 200
    with connect(gate, "admin") as admin:
        wait_until(lambda: admin.ask("/health").reply().body == b"the database does not answer\n", 10, "the news")
        answering.set()
        wait_until(lambda: admin.ask("/health").reply().status == 200, 10, "the database's answer")


def test_health_and_metrics(gate: InProcessGate) -> None:
    with connect(gate, "admin") as admin:
        assert (admin.ask("/health").reply().status, admin.ask("/nothing").reply().status) == (200, 404)
        gate.ledger.failing_since = time.time()
        try:
            reply = admin.ask("/health").reply()
            assert (reply.status, reply.body) == (503, b"the database does not answer\n")
        finally:
            gate.ledger.failing_since = None
        text = admin.ask("/metrics").reply().body.decode()
        families = {family.name for family in text_string_to_metric_families(text)}
        assert {"ftpgate_connections", "ftpgate_transfers", "ftpgate_transfers_ended", "ftpgate_ledger_backlog"} <= families
        assert admin.ask("/status", method="POST").reply().status == 405


@pytest.mark.databases("sqlite")
def test_a_stall_of_the_loop_shows_in_its_lag(site: Site) -> None:
    """As a scrape sees it: a gate that was stopped for half a second was late at every wake-up that was due meanwhile."""

    def figures() -> tuple[float, Figures]:
        text = admin.ask("/metrics").reply().body.decode()
        samples = {sample.name: sample.value for family in text_string_to_metric_families(text) for sample in family.samples}
        return samples["ftpgate_loop_lag_seconds_count"], lags(text)

    gate = site.start()
    with RawClient(gate.admin) as admin:
        before = wait_until(lambda: figures()[0], 10, "the first wake-ups")
        os.kill(gate.pid, signal.SIGSTOP)
        time.sleep(0.5)
        os.kill(gate.pid, signal.SIGCONT)
        wait_until(lambda: figures()[0] >= before + 0.5 / EVERY, 10, "the wake-ups that were due meanwhile")
        _, found = figures()
        assert 450 < found["largest lag ms"] < 5_000
        assert found["lag p99.9 ms"] >= 500
        status = json.loads(admin.ask("/status").reply().body)
        assert status["gates"][0]["loop_lag_ms"] == pytest.approx(found["largest lag ms"], rel=0.01)


def test_a_pass_of_the_portal_opens_the_progress_and_nothing_else(gate: InProcessGate, monkeypatch: pytest.MonkeyPatch) -> None:
    token = issue(gate, rate=30_000)
    shown = gate.gate.signed_links.make(Purpose.WATCH, token.grant)
    with connect(gate) as viewer, connect(gate) as client:
        events = Events(viewer, shown)  # nobody has used the grant yet: it is looked up by its id
        assert (events.status, events.state()["grant"]) == (200, token.grant)
        client.ask(f"/d/{token.reveal()}/Album/a.ogg").head()
        wait_until(lambda: events.state()["transfers"], 5, "the transfer", interval=0)
        client.reset()
    for path in (f"/d/{shown}/", f"/d/{shown}/Album/b.ogg", f"/d/{shown}/downloads.meta4", f"/d/{shown}/progress/x"):
        with connect(gate) as client:
            assert client.ask(path).reply().status == 404, path
    others = gate.gate.signed_links.make(Purpose.END, token.grant)
    for wrong in (shown[:-1], others, shown.replace(token.grant, "2222222222"), f"{token.grant}.9999999999.", "..."):
        with connect(gate) as client:
            assert client.ask(f"/d/{wrong}/progress").reply().status == 404, wrong
    with connect(gate) as client:
        assert client.ask(f"/d/{gate.gate.signed_links.make(Purpose.WATCH, '2222222222')}/progress").reply().status == 404
    now = time.time()
    monkeypatch.setattr("ftpgate.signed_links.time.time", lambda: now + TTL)
    with connect(gate) as client:
        assert client.ask(f"/d/{shown}/progress").reply().status == 410


def test_a_pass_opens_no_grant_that_opens_nothing(gate: InProcessGate) -> None:
    token = issue(gate)
    gate.shop.change(token.grant, state=GrantState.REVOKED)
    with connect(gate) as client:
        assert client.ask(f"/d/{gate.gate.signed_links.make(Purpose.WATCH, token.grant)}/progress").reply().status == 410


def test_what_one_client_fetches_can_be_ended(gate: InProcessGate) -> None:
    token, another = issue(gate, rate=30_000), issue(gate, rate=30_000)
    with connect(gate) as one, connect(gate) as two, connect(gate) as other:
        for client, of in ((one, token), (two, token), (other, another)):
            client.ask(f"/d/{of.reveal()}/Album/a.ogg").head()
        key = f"{token.grant} http 127.0.0.1"
        path = f"/end/{quote(gate.gate.signed_links.make(Purpose.END, key))}"
        with connect(gate, "admin") as admin:
            assert admin.ask(path).reply().status == 404, "it changes something: no GET"
        with connect(gate, "admin") as admin:
            assert admin.ask(path[:-1], method="POST").reply().status == 404
        assert len(gate.call(lambda: set(gate.engine.transfers))) == 3
        with connect(gate, "admin") as admin:
            assert json.loads(admin.ask(path, method="POST").reply().body) == {"ended": 2}
        for client in (one, two):
            with pytest.raises(OSError, match="reset"):
                client.read(SIZE)
        other.read(10_000)
        with connect(gate, "http") as client:
            assert client.ask(path, method="POST").reply().status == 405, "never at the customers' address"
        other.reset()
    gate.settled()


def test_a_renewed_grant_is_followed_at_once(gate: InProcessGate) -> None:
    token = issue(gate)
    path = f"/d/{gate.gate.signed_links.make(Purpose.WATCH, token.grant)}/progress"

    def status() -> int:
        with connect(gate) as client:
            return client.ask(path).reply().status

    assert status() == 200
    gate.shop.change(token.grant, state=GrantState.EXPIRED)
    wait_until(lambda: status() == 410, 5, "the gate to know it")
    gate.shop.change(token.grant, state=GrantState.OPEN)
    assert status() == 200
