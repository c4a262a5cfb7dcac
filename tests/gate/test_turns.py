"""What strangers and customers ask for ahead leaves the loop to others: so much in one turn, and each address in its turn."""

from __future__ import annotations

import base64
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ftpgate import ftp, http
from ftpgate.ftp.listing_sender import ListingSender
from ftpgate.ftp.session import Session
from ftpgate.grants import Grant, GrantState, Item, Tier
from ftpgate.http.connection import HttpConnection
from ftpgate.http.exchange import Exchange
from ftpgate.http.messages import Request
from ftpgate.http.parser import HEAD_LIMIT
from ftpgate.http.routes import CustomerRoutes
from ftpgate.net import work_queue
from ftpgate.tokens import Token, new_grant_id
from tests.support.inprocess import InProcessGate
from tests.support.media import write_album
from tests.support.rawftp import RawFtp
from tests.support.rawhttp import RawClient, request
from tests.support.waiting import wait_until

CLIENTS = 8
AHEAD = 20
"""Requests or commands that each of them sends ahead."""
FILES = 300


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    media = tmp_path_factory.mktemp("turns") / "media"
    write_album(media / "Album", {f"{n:03}.bin": 100 for n in range(FILES)})
    return media


@pytest.fixture
def gate(media: Path) -> Iterator[InProcessGate]:
    with InProcessGate(media, {"ftp": ftp.listen, "http": http.listen}) as gate:
        yield gate


@pytest.fixture
def item(gate: InProcessGate) -> Item:
    return gate.item("Album")


@pytest.fixture
def token(gate: InProcessGate, item: Item) -> str:
    return gate.shop.issue([item], tier=Tier("t", 0, 64)).reveal()


@pytest.fixture
def turns(gate: InProcessGate, monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """From now on a turn of the loop has time for one step of a client; counts what is done for clients, by turn."""
    done: Counter[int] = Counter()
    turn = [0]
    poll = gate.loop.poll

    def polled(timeout: float | None) -> None:
        turn[0] += 1
        poll(timeout)

    def counted(owner: type, name: str) -> None:
        original = getattr(owner, name)

        def call(*arguments: Any, **named: Any) -> Any:
            done[turn[0]] += 1
            return original(*arguments, **named)

        monkeypatch.setattr(owner, name, call)

    monkeypatch.setattr(work_queue, "BUDGET", 0.0)
    counted(CustomerRoutes, "handle")
    counted(Exchange, "_head")  # of each answer
    counted(HttpConnection, "_send_piece")
    counted(Session, "run")
    counted(Session, "_log_in")
    counted(ListingSender, "_send_lines")
    gate.call(lambda: setattr(gate.loop, "poll", polled))
    return done


def at_most_one_step_each_turn(turns: Counter[int], times: int) -> None:
    """Whose beginning and end are counted, where it takes a request or log-in and answers it at once."""
    assert turns.total() >= times
    assert max(turns.values()) <= 2


def unknown() -> str:
    return Token.new(new_grant_id()).reveal()


def basic(user: str) -> str:
    return f"Authorization: Basic {base64.b64encode(f'{user}:x'.encode()).decode()}"


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (lambda _token, _dead: request("/"), 404),
        (lambda _token, _dead: request(f"/d/{unknown()}/"), None),  # 404, then 429
        (lambda _token, dead: request(f"/d/{dead}/"), 410),
        (lambda _token, _dead: request("/files/", basic(unknown())), None),
        (lambda _token, _dead: request("/files/", basic("no token")), None),
        (lambda token, _dead: request(f"/d/{token}/", method="HEAD"), 200),
        (lambda token, _dead: request(f"/d/{token}/Album/000.bin", method="HEAD"), 200),
        (lambda token, _dead: request(f"/d/{token}/Album.zip", method="HEAD"), 200),
    ],
    ids=[
        "no token",
        "unknown",
        "dead",
        "unknown in Basic",
        "junk in Basic",
        "HEAD of a folder",
        "HEAD of a file",
        "HEAD of a zip",
    ],
)
def test_requests_of_many_connections(
    gate: InProcessGate, item: Item, token: str, turns: Counter[int], asked: Callable[[str, str], bytes], status: int | None
) -> None:
    dead = gate.shop.issue([item])
    gate.shop.change(dead.grant, state=GrantState.REVOKED)
    with ExitStack() as stack:
        clients = [stack.enter_context(RawClient(gate.address("http"))) for _ in range(CLIENTS)]
        head = b"HEAD " in asked(token, dead.reveal())
        for client in clients:
            client.send(b"".join(asked(token, dead.reveal()) for _ in range(AHEAD)))
        found = [client.reply(head=head).status for _ in range(AHEAD) for client in clients]
    assert set(found) <= ({status} if status else {401, 404, 429})
    at_most_one_step_each_turn(turns, 2 * CLIENTS * AHEAD)


def test_pieces_of_long_pages(gate: InProcessGate, token: str, turns: Counter[int]) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(RawClient(gate.address("http"))) for _ in range(CLIENTS)]
        for client in clients:
            client.ask(f"/d/{token}/Album/", "Connection: close")
        for client in clients:
            assert client.rest().endswith(b"0\r\n\r\n")
    at_most_one_step_each_turn(turns, 5 * CLIENTS)


def test_commands_of_many_sessions(gate: InProcessGate, token: str, turns: Counter[int]) -> None:
    with ExitStack() as stack:
        sessions = [stack.enter_context(RawFtp(gate.address("ftp"))) for _ in range(CLIENTS)]
        for session in sessions:
            session.send(f"USER me\r\nPASS {token}\r\n" + "NOOP\r\nSTAT /Album\r\nSIZE /Album/000.bin\r\n" * AHEAD)
        for session in sessions:
            replies = [session.reply()[:3] for _ in range(2 + 3 * AHEAD)]
            assert replies == ["331", "230", *["200", "213", "213"] * AHEAD]
    at_most_one_step_each_turn(turns, CLIENTS * (3 + 3 * AHEAD))


def test_sessions_that_wait_for_the_same_look_up(
    gate: InProcessGate, turns: Counter[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answered, look_up = unknown(), threading.Event(), gate.shop.look_up

    def slowly(token: Token) -> Grant | None:
        assert answered.wait(15)
        return look_up(token)

    monkeypatch.setattr(gate.shop, "look_up", slowly)
    with ExitStack() as stack:
        sessions = [stack.enter_context(RawFtp(gate.address("ftp"))) for _ in range(CLIENTS)]
        for session in sessions:
            session.send(f"USER me\r\nPASS {asked}")
        wait_until(
            lambda: [len(waiting) for waiting in tuple(gate.grant_cache._waiting.values())] == [CLIENTS], 10, "all of them"
        )
        answered.set()
        for session in sessions:
            session.expect("331")
            session.expect("530")
    at_most_one_step_each_turn(turns, 3 * CLIENTS)


def test_listings_of_many_sessions(gate: InProcessGate, token: str, turns: Counter[int]) -> None:
    with ExitStack() as stack:
        sessions = [stack.enter_context(RawFtp(gate.address("ftp"))) for _ in range(CLIENTS)]
        channels: list[socket.socket] = []
        for session in sessions:
            session.login(token)
            channels.append(stack.enter_context(session.data()))
        for session in sessions:
            session.send("MLSD /Album")
        for session, channel in zip(sessions, channels, strict=True):
            session.expect("150")
            lines = b""
            while more := channel.recv(65_536):
                lines += more
            assert lines.count(b"\r\n") == FILES
            session.expect("226")
    at_most_one_step_each_turn(turns, 3 * CLIENTS)


def while_the_loop_waits(gate: InProcessGate, send: Callable[[], object]) -> None:
    """So that all of it has arrived when the loop has its next look."""
    sent = threading.Event()
    waiting = threading.Thread(target=gate.call, args=(lambda: sent.wait(15),))
    waiting.start()
    send()
    sent.set()
    waiting.join()


def test_a_full_buffer_is_not_filled_again_after_each_request(gate: InProcessGate, monkeypatch: pytest.MonkeyPatch) -> None:
    count = 2 * HEAD_LIMIT // len(request("/"))
    reads, read = [], HttpConnection.on_readable

    def counted(connection: HttpConnection) -> None:
        reads.append(connection)
        read(connection)

    with RawClient(gate.address("http")) as client:
        client.ask("/").reply()
        monkeypatch.setattr(HttpConnection, "on_readable", counted)
        while_the_loop_waits(gate, lambda: client.send(request("/") * count))
        assert {client.reply().status for _ in range(count)} == {404}
    assert len(reads) <= 4


@pytest.mark.parametrize("protocol", ["http", "ftp"])
@pytest.mark.parametrize(("addresses", "connections"), [(20, 1), (1, 40)])
def test_a_customer_comes_before_what_strangers_have_sent_ahead(
    gate: InProcessGate, token: str, monkeypatch: pytest.MonkeyPatch, protocol: str, addresses: int, connections: int
) -> None:
    """Counted in steps from when his request is read: about one of each stranger's address, and not all that is there."""
    served: list[str] = []
    arrived: list[int] = []
    visit, run, read = CustomerRoutes.handle, Session.run, HttpConnection.on_readable

    def visited(routes: CustomerRoutes, connection: Exchange, asked: Request) -> Any:
        served.append(connection.peer)
        return visit(routes, connection, asked)

    def ran(session: Session, *arguments: Any) -> None:
        served.append(session.control.peer)
        run(session, *arguments)

    def has_read(connection: HttpConnection) -> None:
        if connection.peer == "127.0.0.1":
            arrived.append(len(served))
        read(connection)

    monkeypatch.setattr(CustomerRoutes, "handle", visited)
    monkeypatch.setattr(Session, "run", ran)
    monkeypatch.setattr(HttpConnection, "on_readable", has_read)
    ahead = request("/") * 200 if protocol == "http" else b"NOOP\r\n" * 200
    with ExitStack() as stack:
        customer = RawClient(gate.address("http"))
        stack.enter_context(customer)

        def send() -> None:
            for n in range(addresses * connections):
                source = (f"127.0.1.{n % addresses + 1}", 0)
                stack.enter_context(socket.create_connection(gate.address(protocol), 20, source)).sendall(ahead)
            customer.ask(f"/d/{token}/")

        while_the_loop_waits(gate, send)
        assert customer.reply().status == 200
    assert served.index("127.0.0.1") - arrived[0] <= 1.5 * addresses
