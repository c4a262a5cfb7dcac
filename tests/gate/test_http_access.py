"""Who is let in over HTTP, and for how long: look-ups, limits, what ends a grant, and clients that only wait."""

from __future__ import annotations

import base64
import logging
import socket
import time
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from ftpgate import http as front
from ftpgate.access import failed_tokens
from ftpgate.grants import Grant, GrantState, Item, Tier
from ftpgate.http import limits, listener, parser
from ftpgate.net import sockets
from ftpgate.tokens import Token, new_grant_id
from tests.support.inprocess import InProcessGate
from tests.support.media import write_album
from tests.support.rawhttp import RawClient, request
from tests.support.waiting import wait_until

SIZE = 1_000_000
SMALL = 3_000
CYRILLIC = "Ёлка й.ogg"
WITHIN = 2.0
"""Seconds in which the gate has to know what the shop has changed."""


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessGate]:
    media = tmp_path_factory.mktemp("access") / "media"
    write_album(media / "Album", {"a.ogg": SIZE, "small.ogg": SMALL, CYRILLIC: SMALL})
    with InProcessGate(media, {"http": front.listen}, settings={"FTPGATE_GRACE": "2s"}) as running:
        yield running


def issue(gate: InProcessGate, rate: int = 0, connections: int = 8) -> Token:
    item = gate.item("Album")
    return gate.shop.issue([item], tier=Tier("t", rate, connections), user=f"user{item.id}")


def album(gate: InProcessGate, token: Token) -> Item:
    """The item of a grant that the gate holds."""
    (held,) = [grant for grant in gate.grant_cache.grants() if grant.id == token.grant]
    return held.grant.items[0]


def connect(gate: InProcessGate, **options: int) -> RawClient:
    return RawClient(gate.address("http"), **options)


def slots(gate: InProcessGate) -> int:
    """Connections of customers that count."""
    return gate.call(lambda: sum(grant.customer.connections for grant in gate.grant_cache.grants()))


def path(token: Token, name: str = "small.ogg") -> str:
    return f"/d/{token.reveal()}/Album/{quote(name)}"


def status(gate: InProcessGate, token: Token) -> int:
    with connect(gate) as client:
        return client.ask(path(token), method="HEAD").reply(head=True).status


# -- looked up


def test_requests_behind_a_slow_look_up_wait_in_order(gate: InProcessGate, monkeypatch: pytest.MonkeyPatch) -> None:
    known, fresh, another = issue(gate), issue(gate), issue(gate)
    look_up = gate.shop.look_up

    def slowly(token: Token) -> Grant | None:
        time.sleep(0.3)
        return look_up(token)

    assert status(gate, known) == 200
    monkeypatch.setattr(gate.shop, "look_up", slowly)
    with connect(gate) as client:
        client.send(
            request(path(fresh), "Range: bytes=0-0")
            + request(path(known), "Range: bytes=0-1")
            + request("/d/nobody/")
            + request(path(another), "Range: bytes=0-2", "Connection: close")
        )
        assert len(client.reply().body) == 1
        assert len(client.reply().body) == 2
        assert client.reply().status == 404
        assert len(client.reply().body) == 3
        assert client.ended()


def test_a_client_that_leaves_during_its_look_up(gate: InProcessGate, monkeypatch: pytest.MonkeyPatch) -> None:
    token = issue(gate)
    look_up = gate.shop.look_up

    def slowly(token: Token) -> Grant | None:
        time.sleep(0.3)
        return look_up(token)

    monkeypatch.setattr(gate.shop, "look_up", slowly)
    with connect(gate) as client:
        client.ask(path(token, "a.ogg"))
        client.reset()
    wait_until(lambda: gate.gate.connections == 0, 5, "the end of the connection")
    assert status(gate, token) == 200
    wait_until(lambda: slots(gate) == 0, 5, "the return of its connection")


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("encoded", [True, False])
def test_names_in_both_forms(gate: InProcessGate, form: str, encoded: bool) -> None:
    name = unicodedata.normalize(form, CYRILLIC)  # type: ignore[arg-type]
    target = path(issue(gate), "") + (quote(name) if encoded else name.replace(" ", "%20"))
    with connect(gate) as client:
        reply = client.ask(target).reply()
    assert (reply.status, len(reply.body)) == (200, SMALL)
    assert reply.headers["content-disposition"].endswith(f"filename*=UTF-8''{quote(unicodedata.normalize('NFC', CYRILLIC))}")


def test_a_proxy_in_front_is_logged(gate: InProcessGate, caplog: pytest.LogCaptureFixture) -> None:
    token = issue(gate)
    with caplog.at_level(logging.WARNING, "ftpgate"), connect(gate) as client:
        assert client.ask(path(token), "Via: 1.1 cache.example").reply().status == 200
    assert "cache.example" in caplog.text
    assert token.secret not in caplog.text


# -- who may come in


def test_tokens(gate: InProcessGate) -> None:
    dead = issue(gate)
    gate.shop.change(dead.grant, state=GrantState.REVOKED)
    replaced = issue(gate)
    gate.shop.change(replaced.grant, live_tokens=frozenset())
    expired = gate.shop.issue([gate.item("Album")], expires_in=-1)
    with connect(gate) as client:
        for token in (dead, replaced, expired):
            assert client.ask(f"/d/{token.reveal()}/").reply().status == 410
        assert client.ask(f"/d/{Token.new(new_grant_id()).reveal()}/").reply().status == 404
        assert client.ask(f"/d/{issue(gate).reveal().upper()}/").reply().status == 200


def unknown() -> str:
    return Token.new(new_grant_id()).reveal()


def credentials(text: str) -> str:
    return "Authorization: Basic " + base64.b64encode(text.encode()).decode()


def test_basic(gate: InProcessGate) -> None:
    secret = issue(gate).reveal()
    with connect(gate) as client:
        for header in (credentials(f"{secret}:x"), credentials(f"me:{secret}"), credentials(f"{secret}:")):
            assert len(client.ask("/files/Album/small.ogg", header).reply().body) == SMALL
        for header in ("X: y", "Authorization: Bearer x", "Authorization: Basic !!!", credentials("nocolon"), "Authorization:"):
            reply = client.ask("/files/", header).reply()
            assert reply.status == 401
            assert reply.headers["www-authenticate"].startswith('Basic realm="')
        assert client.ask("/files", credentials(f"x:{secret}")).reply().headers["location"] == "/files/"


def test_basic_with_the_token_beside_another_one(tmp_path: Path) -> None:
    """Beside the token anything is allowed: also one of an older link that a client has remembered."""
    write_album(tmp_path / "media" / "Album", {"a.ogg": 10, "b.ogg": 100})
    with InProcessGate(tmp_path / "media", {"http": front.listen}) as gate, connect(gate) as client:
        item = gate.item("Album")
        secret, dead = gate.shop.issue([item]).reveal(), gate.shop.issue([item], expires_in=-1).reveal()
        unknown = Token.new(new_grant_id()).reveal()
        for other in (unknown, dead):
            for both in (f"{secret}:{other}", f"{other}:{secret}"):
                assert client.ask("/files/Album/a.ogg", credentials(both)).reply().body
        for both in (f"{dead}:{unknown}", f"{unknown}:{dead}", f"{dead}:x"):
            assert client.ask("/files/", credentials(both)).reply().status == 410
        assert client.ask("/files/", credentials(f"{unknown}:{unknown}")).reply().status == 401


def test_too_many_wrong_tokens(tmp_path: Path) -> None:
    write_album(tmp_path / "media" / "Album", {"a.ogg": 10})
    with InProcessGate(tmp_path / "media", {"http": front.listen}) as gate:
        token = gate.shop.issue([gate.item("Album")])
        with RawClient(gate.address("http")) as client:
            for _ in range(10):
                assert client.ask(f"/d/{unknown()}/").reply().status == 404
            locked = client.ask(f"/d/{unknown()}/").reply()
            assert (locked.status, 0 < int(locked.headers["retry-after"]) <= 601) == (429, True)
            assert client.ask("/files/", credentials(f"x:{unknown()}")).reply().status == 429
            assert client.ask(f"/d/{token.reveal()}/").reply().status == 200


def test_what_cannot_be_a_token_is_not_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "media").mkdir()
    with InProcessGate(tmp_path / "media", {"http": front.listen}) as gate, RawClient(gate.address("http")) as client:
        for _ in range(5):
            for shape in ("wrong", "anonymous", "a%40b.c", unknown()[:-1], f"{unknown()}%2Fx"):
                assert client.ask(f"/d/{shape}/").reply().status == 404
            for junk in ("x:wrong", "anonymous:guest@", ":", f"{unknown()}x:y"):
                assert client.ask("/files/", credentials(junk)).reply().status == 401
        assert client.ask(f"/d/{unknown()}/").reply().status == 404, "the first that could be one"
    assert [record.getMessage() for record in caplog.records if record.name == "ftpgate.access"] == [
        "failed token from 127.0.0.1"
    ]


def test_the_log_names_the_addresses_of_wrong_tokens(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "media").mkdir()
    with InProcessGate(tmp_path / "media", {"http": front.listen}) as gate, RawClient(gate.address("http")) as client:
        for number in range(failed_tokens.LINES + 7):
            assert client.ask(f"/d/{unknown()}/").reply().status == (404 if number < failed_tokens.TRIES else 429)
        gate.call(lambda: gate.grant_cache._told._minutes["127.0.0.1"].__setattr__("since", -failed_tokens.MINUTE))
        wait_until(lambda: "more" in caplog.text, 10, "the number")
    found = [record for record in caplog.records if record.name == "ftpgate.access"]
    assert {record.levelname for record in found} == {"WARNING"}
    *each, last = [record.getMessage() for record in found]
    assert each == ["failed token from 127.0.0.1"] * failed_tokens.LINES
    assert last == "failed token from 127.0.0.1 (7 more)"


def test_the_tiers_connections(gate: InProcessGate) -> None:
    token = issue(gate, connections=2)
    target = path(token, "a.ogg")
    with connect(gate, receive_buffer=8192) as one, connect(gate, receive_buffer=8192) as two, connect(gate) as three:
        assert one.ask(target).head()[0] == 200
        assert two.ask(target).head()[0] == 200
        refused = three.ask(target).reply()
        assert (refused.status, refused.headers["retry-after"]) == (503, "5")
        assert len(one.read(SIZE)) == SIZE

        def served() -> bool:
            with connect(gate) as another:
                return another.ask(target).reply().status == 200

        wait_until(served, 10, "a free connection")  # an idle keep-alive, as the third, counts as none
    wait_until(lambda: slots(gate) == 0, 10, "the return of all connections")


def test_a_file_that_has_changed_is_refused(tmp_path: Path) -> None:
    album = write_album(tmp_path / "media" / "Album", {"a.ogg": 5000, "b.ogg": 5000})
    with InProcessGate(tmp_path / "media", {"http": front.listen}) as gate:
        item = gate.item("Album")
        root = f"/d/{gate.shop.issue([item]).reveal()}/"
        (album / "a.ogg").write_bytes(b"something else")
        with RawClient(gate.address("http")) as client:
            assert client.ask(f"{root}Album/a.ogg").reply().status == 503
            assert client.ask(f"{root}Album/a.ogg", method="HEAD").reply(head=True).status == 503
            assert client.ask(f"{root}Album.zip").reply().status == 503
            assert client.ask(f"{root}Album/b.ogg").reply().status == 200
        wait_until(lambda: list(gate.shop.changed_files) == [item.files[0].id], 5, "the report")


def test_the_shop_being_away_is_not_the_tokens_fault(gate: InProcessGate) -> None:
    token = issue(gate)
    gate.shop.away = True
    try:
        with connect(gate) as client:
            reply = client.ask(f"/d/{token.reveal()}/").reply()
            assert (reply.status, "retry-after" in reply.headers) == (503, True)
    finally:
        gate.shop.away = False


def test_a_crowd_is_told_to_come_again(tmp_path: Path) -> None:
    (tmp_path / "media").mkdir()
    with InProcessGate(tmp_path / "media", {"http": front.listen}, most_connections=2) as gate:
        with RawClient(gate.address("http")) as one, RawClient(gate.address("http")), RawClient(gate.address("http")) as three:
            reply = three.reply()
            assert (reply.status, reply.headers["connection"], "retry-after" in reply.headers) == (503, "close", True)
            assert three.ended()
            assert one.ask("/robots.txt").reply().status == 200
        wait_until(lambda: gate.gate.connections == 0, 10, "the end of all connections")


def test_who_reads_no_answers_is_asked_for_nothing_more(gate: InProcessGate) -> None:
    """What is held of requests and answers stays within bounds, here and in the kernel."""
    with connect(gate, receive_buffer=4_096) as client:
        client.socket.settimeout(1.0)
        with pytest.raises(TimeoutError):
            client.send(request("/none") * 200_000)
        (held,) = gate.call(lambda: [(len(c._reader), c.reads(), c._socket) for c in gate.listeners["http"]._context.connections])  # type: ignore[attr-defined]
        assert held[0] <= parser.HEAD_LIMIT
        assert not held[1]
        assert held[2].getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) <= 2 * limits.RECEIVE_BUFFER
        client.socket.settimeout(20)
        for _ in range(1_000):
            assert client.reply().status == 404


@pytest.mark.skipif(not hasattr(socket, "TCP_NOTSENT_LOWAT"), reason="Linux only")
def test_only_transfers_have_long_queues_in_the_kernel(gate: InProcessGate) -> None:
    token = issue(gate)
    with connect(gate, receive_buffer=4_096) as client:

        def queue() -> int:
            (sock,) = gate.call(lambda: [each._socket for each in gate.listeners["http"]._context.connections])  # type: ignore[attr-defined]
            return int(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT))

        assert client.ask(f"/d/{token.reveal()}/").reply().status == 200
        assert queue() == sockets.NARROW
        client.ask(path(token, "a.ogg"), "Range: bytes=0-99999")
        assert client.head()[0] == 206
        wait_until(lambda: queue() == sockets.UNSENT, 10, "a long queue")
        client.read(100_000)
        assert client.ask("/none").reply().status == 404
        assert queue() == sockets.NARROW


def test_draining_ends_kept_connections(gate: InProcessGate) -> None:
    small = path(issue(gate))
    with connect(gate) as client:
        assert client.ask(small).reply().status == 200
        gate.call(lambda: setattr(gate.gate, "draining", True))  # on the loop: the last answer is through
        try:
            reply = client.ask(small).reply()
            assert (reply.status, reply.headers["connection"]) == (503, "close")
            assert client.ended()
        finally:
            gate.gate.draining = False


# -- expired, renewed, complete, revoked


def test_what_runs_when_a_grant_expires_is_finished(gate: InProcessGate) -> None:
    token = issue(gate, rate=500_000)
    with connect(gate) as client:
        client.ask(path(token, "a.ogg")).head()
        gate.shop.change(token.grant, state=GrantState.EXPIRED, expires_at=time.time() - 1)
        assert len(client.read(SIZE)) == SIZE  # two seconds' worth
        assert status(gate, token) == 410
        gate.shop.change(token.grant, state=GrantState.OPEN, expires_at=time.time() + 3600)
        wait_until(lambda: status(gate, token) == 200, WITHIN, "the renewed grant")
    gate.covers(token, album(gate, token).files[0])


def test_a_complete_grant_serves_for_its_grace(gate: InProcessGate) -> None:
    token = issue(gate)
    with connect(gate) as client:
        assert client.ask(f"/d/{token.reveal()}/Album.zip", "Connection: close").reply().status == 200
    wait_until(lambda: gate.shop.status(token.grant).state is GrantState.COMPLETE, 5, "the completion")
    completed = gate.shop.status(token.grant).completed_at
    assert completed is not None
    assert status(gate, token) == 200
    wait_until(lambda: status(gate, token) == 410, 5, "the end of the grace")
    assert time.time() >= completed + 2


def test_a_revoked_grant_ends_by_a_reset(gate: InProcessGate) -> None:
    token = issue(gate, rate=200_000)
    with connect(gate) as client:
        client.ask(path(token, "a.ogg")).head()
        gate.shop.change(token.grant, state=GrantState.REVOKED)
        with pytest.raises(ConnectionResetError):
            client.rest()
    assert status(gate, token) == 410


@pytest.mark.parametrize("changes", [{"state": GrantState.REVOKED}, {"live_tokens": frozenset()}], ids=["revoked", "replaced"])
def test_what_ends_while_a_file_is_being_prepared_is_not_answered(
    gate: InProcessGate, stuck_disk: Callable[[], None], changes: dict[str, Any]
) -> None:
    token = issue(gate)
    with connect(gate) as client:
        client.ask(path(token))
        wait_until(lambda: slots(gate) == 1, 5, "the client to be admitted")
        gate.shop.change(token.grant, **changes)
        news = gate.shop.status(token.grant)
        wait_until(lambda: any(held.status == news for held in gate.grant_cache.grants()), WITHIN, "the news")
        stuck_disk()
        assert client.reply().status == 410


# -- who only waits


@pytest.fixture
def hasty(gate: InProcessGate, monkeypatch: pytest.MonkeyPatch) -> InProcessGate:
    """The gate with less patience."""
    monkeypatch.setattr(limits, "HEADER_TIMEOUT", 0.6)
    monkeypatch.setattr(limits, "IDLE_TIMEOUT", 1.2)
    monkeypatch.setattr(listener, "TICK", 0.1)
    return gate


def test_a_head_that_drips_in(hasty: InProcessGate) -> None:
    with connect(hasty) as client:
        client.socket.settimeout(0.05)
        for byte in request(path(issue(hasty)), "X: " + "y" * 300):
            try:
                status, headers = client.send(bytes([byte])).head()
                break
            except TimeoutError:
                continue
        else:
            pytest.fail("it was let go on")
        assert status == 408
        assert client.read(int(headers["content-length"]))
        assert client.ended()


@pytest.mark.parametrize("asked", [0, 1])
def test_empty_lines_do_not_begin_a_head_anew(hasty: InProcessGate, asked: int) -> None:
    with connect(hasty) as client:
        for _ in range(asked):
            client.ask("/robots.txt").reply()
        client.socket.settimeout(0.05)
        for line in ["\r\n", "\r", "\n"] * 100:
            try:
                status, headers = client.send(line.encode()).head()
                break
            except TimeoutError:
                continue
        else:
            pytest.fail("it was let go on")
        assert status == 408
        assert client.read(int(headers["content-length"]))
        assert client.ended()


def test_a_head_may_follow_a_long_silence(hasty: InProcessGate) -> None:
    """Its time counts from its first byte."""
    with connect(hasty) as client:
        client.ask("/robots.txt").reply()
        time.sleep(0.8)  # more than a head's time, less than an idle connection's
        client.send(b"\r\nGET /robots.txt ")
        time.sleep(0.2)
        assert client.send(b"HTTP/1.1\r\nHost: h\r\n\r\n").reply().status == 200


def test_a_head_that_stops_is_told_why(hasty: InProcessGate) -> None:
    with connect(hasty) as client:
        reply = client.send(b"GET / HT").reply()
        assert (reply.status, reply.headers["connection"]) == (408, "close")
        assert client.ended()


@pytest.mark.parametrize(("asked", "other"), [(0, "IDLE_TIMEOUT"), (1, "HEADER_TIMEOUT")])
def test_a_silent_connection_ends_without_a_word(
    hasty: InProcessGate, monkeypatch: pytest.MonkeyPatch, asked: int, other: str
) -> None:
    """A new one by the time for a head, one that has asked by the idle time."""
    monkeypatch.setattr(limits, other, 600.0)
    with connect(hasty) as client:
        for _ in range(asked):
            client.ask("/robots.txt").reply()
        assert client.ended()
    wait_until(lambda: hasty.gate.connections == 0, 5, "the end of the connection")
