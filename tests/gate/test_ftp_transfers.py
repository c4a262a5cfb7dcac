"""What becomes of an FTP transfer: its replies, its end in every way that a client has, and what is credited for it."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ftpgate import ftp
from ftpgate.ftp import file_sender, lingering
from ftpgate.grants import File, GrantState, Item, Tier
from ftpgate.tokens import Token
from tests.support.inprocess import InProcessGate
from tests.support.media import write_album
from tests.support.rawftp import RawFtp, read_all, read_exactly, reset
from tests.support.waiting import wait_until

BIG = 30_000_000
MEDIUM = 1_000_000
SMALL_BUFFER = 65_536
"""A receive buffer of a client that shall not hide much of what was sent."""


@pytest.fixture
def media(tmp_path: Path) -> Path:
    return write_album(
        tmp_path / "media" / "Album", {"big.bin": BIG, "medium.bin": MEDIUM, "small.bin": 5_000, "empty.bin": 0}
    ).parent


@pytest.fixture
def gate(media: Path) -> Iterator[InProcessGate]:
    with InProcessGate(media, {"ftp": ftp.listen}) as gate:
        yield gate


@pytest.fixture
def item(gate: InProcessGate) -> Item:
    return gate.item("Album")


@pytest.fixture
def session(gate: InProcessGate, token: Token) -> Iterator[RawFtp]:
    with RawFtp(gate.address("ftp")) as session:
        session.login(token.reveal()).do("CWD Album", "250")
        yield session


def file(item: Item, name: str) -> File:
    return next(file for file in item.files if file.path == name)


def outcomes(gate: InProcessGate) -> list[str]:
    gate.settled()
    return [record.outcome for record in gate.shop.records]


# -- good ends


def test_226_comes_when_the_client_has_acknowledged_and_the_file_is_credited(
    session: RawFtp, gate: InProcessGate, token: Token, item: Item
) -> None:
    with session.data(buffer=SMALL_BUFFER) as data:
        session.do("RETR big.bin", "150")
        session.socket.settimeout(1.0)
        with pytest.raises(TimeoutError):
            session.reply()  # nothing was read: nothing may be confirmed
        session.socket.settimeout(20)
        assert len(read_all(data)) == BIG
        session.expect("226")  # with the connection still open
    gate.covers(token, file(item, "big.bin"))
    assert outcomes(gate) == ["done"]


def test_a_client_that_keeps_the_connection_open_has_it_credited_when_it_ends(
    session: RawFtp, gate: InProcessGate, token: Token, item: Item
) -> None:
    with session.data() as data:
        session.do("RETR small.bin", "150")
        assert len(read_all(data)) == 5_000
        session.expect("226")
        assert gate.shop.spans(token.grant, file(item, "small.bin")) == []
    gate.covers(token, file(item, "small.bin"))


def test_a_client_that_never_reads_the_end_is_not_credited_with_it(
    session: RawFtp, gate: InProcessGate, token: Token, item: Item, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_sender, "LINGER", 2.0)
    with session.data(buffer=1 << 18) as data:
        session.do("RETR medium.bin", "150")
        read_exactly(data, MEDIUM - 300_000)
        session.expect("226")  # its machine has taken it all
        assert outcomes(gate) == ["cut"]
        assert gate.shop.spans(token.grant, file(item, "medium.bin")) != [(0, MEDIUM)]
        assert len(read_all(data)) == 300_000, "what its machine has taken is still there to be read"
    wait_until(lambda: not len(gate.listeners["ftp"].context.lingering), 10, "the end of the connection")  # type: ignore[attr-defined]


def test_the_next_transfer_need_not_wait_for_the_last_ones_connection(session: RawFtp, gate: InProcessGate) -> None:
    held = []
    for _ in range(5):
        data = session.data()
        session.do("RETR small.bin", "150")
        assert len(read_all(data)) == 5_000
        session.expect("226")
        held.append(data)
    for data in held:
        data.close()
    assert outcomes(gate) == ["done"] * 5


def test_lingering_connections_are_few(session: RawFtp, gate: InProcessGate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lingering, "MOST_OF_ONE", 3)
    held = []
    for _ in range(8):
        data = session.data()
        session.do("RETR small.bin", "150")
        session.expect("226")
        held.append(data)
        assert len(gate.listeners["ftp"].context.lingering) <= 3  # type: ignore[attr-defined]
    for data in held:
        assert len(read_all(data)) == 5_000
        data.close()


def test_two_commands_at_once(session: RawFtp) -> None:
    """What needs the data channel waits for the reply before it; what does not is answered at once."""
    with session.data(buffer=SMALL_BUFFER) as data:
        session.send("RETR big.bin\r\nNOOP\r\nEPSV\r\nNOOP")
        session.expect("150")
        session.expect("200")
        assert len(read_all(data)) == BIG
        session.expect("226")
        session.expect("229")
        session.expect("200")


def test_quit_during_a_transfer_lets_it_end(session: RawFtp, gate: InProcessGate) -> None:
    with session.data(buffer=SMALL_BUFFER) as data:
        session.do("RETR big.bin", "150")
        session.do("QUIT", "221")
        assert len(read_all(data)) == BIG
        session.expect("226")
        assert session.closed()
    assert outcomes(gate) == ["done"]


def test_a_client_that_half_closes_first_gets_everything(session: RawFtp) -> None:
    with session.data(buffer=SMALL_BUFFER) as data:
        data.shutdown(socket.SHUT_WR)
        session.do("RETR medium.bin", "150")
        assert len(read_all(data)) == MEDIUM
        session.expect("226")
    with session.data(buffer=SMALL_BUFFER) as data:
        session.do("RETR big.bin", "150")
        read_exactly(data, 1_000_000)
        data.shutdown(socket.SHUT_WR)
        assert len(read_all(data)) == BIG - 1_000_000
        session.expect("226")


@pytest.mark.parametrize("leave", [socket.socket.close, reset], ids=["close", "reset"])
def test_the_last_reply_to_a_small_file_waits_for_the_clients_end(
    session: RawFtp, gate: InProcessGate, monkeypatch: pytest.MonkeyPatch, leave: Callable[[socket.socket], None]
) -> None:
    """aria2 waits for its time-out when it reads 150 and 226 together."""
    monkeypatch.setattr(file_sender, "APART", 3_600.0)
    (data := session.data()).settimeout(20)
    session.do("RETR small.bin", "150")
    read_all(data)
    session.socket.settimeout(0.3)
    with pytest.raises(TimeoutError):
        session.reply()
    session.socket.settimeout(20)
    leave(data)
    session.expect("226")
    session.do("NOOP", "200")


def test_the_last_reply_to_an_empty_file_does_not_follow_at_once(session: RawFtp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_sender, "APART", 3_600.0)
    with session.data() as data:
        session.do("RETR empty.bin", "150")
        assert not read_all(data)
        session.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):
            session.reply()
        session.socket.settimeout(20)
        session.do("ABOR", "426")
        session.expect("226")
    monkeypatch.setattr(file_sender, "APART", 0.1)
    assert session.retrieve("empty.bin") == b""


def test_a_client_that_keeps_its_data_connection_gets_the_last_reply_too(
    session: RawFtp, gate: InProcessGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_sender, "APART", 0.1)
    with session.data() as data:
        session.do("RETR small.bin", "150")
        session.expect("226")
        assert len(read_all(data)) == 5_000
        assert len(session.retrieve("medium.bin")) == MEDIUM
        monkeypatch.setattr(file_sender, "APART", 3_600.0)
        with session.data() as aborted:
            session.do("RETR small.bin", "150")
            assert len(read_all(aborted)) == 5_000
            session.do("ABOR", "226")
            session.expect("226")


# -- bad ends


@pytest.mark.parametrize("leave", [socket.socket.close, reset], ids=["close", "reset"])
def test_a_cut_answers_426_and_the_session_stays(
    session: RawFtp, gate: InProcessGate, token: Token, item: Item, leave: Callable[[socket.socket], None]
) -> None:
    data = session.data(buffer=SMALL_BUFFER)
    session.do("RETR big.bin", "150")
    read_exactly(data, 5_000_000)
    leave(data)
    session.expect("426")
    assert len(session.retrieve("small.bin")) == 5_000
    assert outcomes(gate) == ["cut", "done"]
    spans = gate.shop.spans(token.grant, file(item, "big.bin"))
    assert all(end <= 5_000_000 for _, end in spans)


def test_an_idle_data_connection_that_goes_away(session: RawFtp, gate: InProcessGate) -> None:
    session.data().close()
    server = gate.listeners["ftp"]
    wait_until(lambda: gate.call(lambda: all(s.data._connection is not None for s in server.context.sessions)), 10, "it")  # type: ignore[attr-defined]
    session.send("RETR big.bin")
    assert [session.reply()[:3] for _ in range(2)] == ["150", "426"]
    assert len(session.retrieve("small.bin")) == 5_000


def test_a_session_that_ends_ends_its_transfer(session: RawFtp, gate: InProcessGate) -> None:
    with session.data(buffer=SMALL_BUFFER) as data:
        session.do("RETR big.bin", "150")
        read_exactly(data, 1_000_000)
        session.close()
        assert outcomes(gate) == ["cut"]
        with pytest.raises(ConnectionResetError):
            read_all(data)


def test_a_session_that_ends_with_its_last_transfer_does_not_spoil_it(
    session: RawFtp, gate: InProcessGate, token: Token, item: Item
) -> None:
    data = session.data()
    session.do("RETR medium.bin", "150")
    assert len(read_all(data)) == MEDIUM
    session.close()  # the control connection first, which the gate hears first
    data.close()
    gate.covers(token, file(item, "medium.bin"))


def test_a_client_that_ends_its_data_connection_first_has_what_it_read(gate: InProcessGate, item: Item) -> None:
    """In the midst of a file, with nothing unread: a FIN says so. Then it ends the session."""
    slow = gate.shop.issue([item], tier=Tier("slow", 200_000, 4))
    with RawFtp(gate.address("ftp")) as session:
        session.login(slow.reveal()).do("CWD Album", "250")
        data = session.data()
        session.do("RETR big.bin", "150")
        got = len(read_exactly(data, 100_000))
        (transfer,) = gate.call(lambda: tuple(gate.engine.transfers))
        data.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            got += len(data.recv(1_000_000))
        data.close()
        wait_until(lambda: gate.call(lambda: transfer.credit._early_fin or transfer.outcome), 10, "the gate to see it")
    gate.settled()
    there = gate.listeners["ftp"].context.lingering  # type: ignore[attr-defined]
    assert not len(there)
    assert gate.shop.spans(slow.grant, file(item, "big.bin")) in ([], [(0, got)])


def test_abor_during_a_transfer(session: RawFtp, gate: InProcessGate) -> None:
    with session.data(buffer=SMALL_BUFFER) as data:
        session.do("RETR big.bin", "150")
        read_exactly(data, 100_000)
        session.socket.sendall(b"EPSV\r\n\xff\xf4\xff\xf2ABOR\r\n")
        session.expect("426")
        session.expect("226")
        session.expect("229")  # which came before, and had to wait
        with pytest.raises(OSError, match=r".*") as raised:
            read_all(data)
        assert raised.value.errno == errno.ECONNRESET
    assert len(session.retrieve("small.bin")) == 5_000
    assert outcomes(gate) == ["cut", "done"]


def test_abor_right_behind_the_last_byte_spoils_nothing(session: RawFtp, gate: InProcessGate, token: Token, item: Item) -> None:
    """What lftp does at the end of each of its segments, the last one too."""
    data = session.data()
    session.do("RETR medium.bin", "150")
    read_exactly(data, MEDIUM)
    session.send("ABOR")
    data.close()
    assert session.reply()[:3] in ("226", "426")
    session.expect("226")
    gate.covers(token, file(item, "medium.bin"))


def test_abor_before_the_data_connection(session: RawFtp) -> None:
    session.passive()
    session.do("RETR big.bin", "150")
    session.do("ABOR", "426")
    session.expect("226")
    session.do("NLST", "425")
    session.passive()
    session.do("ABOR", "226")
    session.do("NLST", "425")


def test_a_file_that_is_being_prepared(session: RawFtp, stuck_disk: Callable[[], None]) -> None:
    """The data connection comes first, commands come meanwhile: 150 is said before anything is sent, and in order."""
    session.send("EPSV\r\nRETR small.bin\r\nNOOP")
    host_port = session.socket.getpeername()[0], int(session.expect("229").split("|")[3])
    with socket.create_connection(host_port, 20) as data:
        data.settimeout(0.5)
        with pytest.raises(TimeoutError):
            data.recv(1)
        data.settimeout(20)
        stuck_disk()
        assert len(read_all(data)) == 5_000
        codes = [session.reply()[:3] for _ in range(3)]
        assert codes[0] == "150"
        assert sorted(codes) == ["150", "200", "226"]


def test_abor_while_a_file_is_being_prepared(session: RawFtp, stuck_disk: Callable[[], None]) -> None:
    with session.data():
        session.send("RETR small.bin\r\nNOOP\r\nABOR")
        for code in ("426", "226", "200"):
            session.expect(code)
        stuck_disk()
    assert len(session.retrieve("small.bin")) == 5_000


def test_revoking_ends_what_runs_and_the_session_stays(session: RawFtp, gate: InProcessGate, token: Token) -> None:
    with session.data(buffer=SMALL_BUFFER) as data:
        session.do("RETR big.bin", "150")
        read_exactly(data, 100_000)
        gate.shop.change(token.grant, state=GrantState.REVOKED)
        session.expect("426")
        with pytest.raises(ConnectionResetError):
            read_all(data)
    with session.data():
        session.do("RETR small.bin", "530")
        session.do("NOOP", "200")
        session.do("NLST", "150")
        session.expect("226")
    assert outcomes(gate) == ["revoked"]


def test_what_is_revoked_before_its_data_connection_comes_is_not_sent(session: RawFtp, gate: InProcessGate, token: Token) -> None:
    address = session.passive()
    session.do("RETR big.bin", "150")
    gate.shop.change(token.grant, state=GrantState.REVOKED)
    wait_until(lambda: gate.grant_cache.grants()[0].status.state is GrantState.REVOKED, 10, "the news")
    with pytest.raises(ConnectionResetError), socket.create_connection(address, 20) as data:  # at once, it may be
        data.recv(1)
    session.expect("426")
    session.do("NOOP", "200")
    assert not gate.shop.records


def test_what_is_revoked_while_it_is_being_prepared_is_not_promised(
    session: RawFtp, gate: InProcessGate, token: Token, stuck_disk: Callable[[], None]
) -> None:
    with session.data():
        session.send("RETR small.bin")
        gate.shop.change(token.grant, state=GrantState.REVOKED)
        wait_until(lambda: gate.grant_cache.grants()[0].status.state is GrantState.REVOKED, 10, "the news")
        stuck_disk()
        session.expect("530")


def test_expiry_lets_what_runs_end(session: RawFtp, gate: InProcessGate, token: Token) -> None:
    with session.data(buffer=SMALL_BUFFER) as data:
        session.do("RETR big.bin", "150")
        gate.shop.change(token.grant, state=GrantState.EXPIRED)
        wait_until(lambda: gate.grant_cache.grants()[0].status.state is GrantState.EXPIRED, 10, "the news")
        assert len(read_all(data)) == BIG
        session.expect("226")
    with session.data():
        session.do("RETR small.bin", "530")


def test_a_file_that_shrinks_is_cut_and_never_padded(session: RawFtp, gate: InProcessGate, media: Path) -> None:
    with session.data(buffer=SMALL_BUFFER) as data:
        session.do("RETR big.bin", "150")
        read_exactly(data, 100_000)
        with (media / "Album" / "big.bin").open("r+b") as shrinking:
            shrinking.truncate(BIG // 2)
        with pytest.raises(ConnectionResetError):
            read_all(data)
        session.expect("426")
    assert outcomes(gate) == ["error"]
    assert gate.shop.records[0].delivered < BIG // 2


def test_a_draining_gate_starts_nothing_new(session: RawFtp, gate: InProcessGate, token: Token) -> None:
    with RawFtp(gate.address("ftp")).login(token.reveal()) as idle, session.data(buffer=SMALL_BUFFER) as data:
        session.do("RETR big.bin", "150")
        session.send("RETR small.bin")

        def stop() -> None:
            gate.gate.draining = True
            gate.listeners["ftp"].close()

        gate.call(stop)
        idle.expect("421")
        assert idle.closed()
        assert len(read_all(data)) == BIG
        session.expect("226")
        session.expect("421")
        assert session.closed()
    with pytest.raises(ConnectionRefusedError):
        RawFtp(gate.address("ftp"))


def test_who_was_still_accepted_by_a_draining_gate_is_told(gate: InProcessGate) -> None:
    gate.gate.draining = True
    with RawFtp(gate.address("ftp"), greeting="421") as late:
        assert late.closed()


def test_a_hang_up_is_seen_at_once_while_paced(gate: InProcessGate, item: Item) -> None:
    token = gate.shop.issue([item], tier=Tier("slow", 20_000, 4))
    with RawFtp(gate.address("ftp")) as session:
        session.login(token.reveal())
        data = session.data()
        session.do("RETR Album/big.bin", "150")
        read_exactly(data, 1_000)
        reset(data)
        session.expect("426")


# -- counter-examples of what is unconfirmed


def test_segments_that_read_nothing_and_a_tail_do_not_complete(gate: InProcessGate, token: Token, item: Item) -> None:
    """Eight segments of a 1 MB file take nothing and are cut together; then the last 48 kB are read to their end."""
    medium = file(item, "medium.bin")
    sessions = [RawFtp(gate.address("ftp")).login(token.reveal()) for _ in range(8)]
    channels = []
    for number, session in enumerate(sessions):
        session.do(f"REST {number * 119_000}", "350")
        channels.append(session.data(buffer=SMALL_BUFFER))
        session.do("RETR Album/medium.bin", "150")
    wait_until(lambda: len(gate.engine.transfers) == 8, 10, "eight transfers")
    for data in channels:
        reset(data)
    for session in sessions:
        session.close()
    gate.settled()
    with RawFtp(gate.address("ftp")) as session:
        assert len(session.login(token.reveal()).retrieve("Album/medium.bin", 952_000)) == 48_000
    gate.settled()
    spans = gate.shop.spans(token.grant, medium)
    assert (952_000, MEDIUM) in [(max(start, 952_000), end) for start, end in spans]
    assert sum(end - start for start, end in spans) < MEDIUM
    assert gate.shop.completed == []


def test_the_sum_of_segments_completes(gate: InProcessGate, token: Token, item: Item) -> None:
    """Four segments side by side, each cut by its client where the next began, but for the last."""
    step = BIG // 4
    segments = []
    for number in range(4):
        session = RawFtp(gate.address("ftp")).login(token.reveal())
        session.do(f"REST {number * step}", "350")
        data = session.data(buffer=SMALL_BUFFER)
        session.do("RETR Album/big.bin", "150")
        segments.append((session, data))
    taken = [0] * 4
    while min(taken) < step:
        for number, (_, data) in enumerate(segments):
            taken[number] += len(data.recv(min(65_536, step - taken[number]))) if taken[number] < step else 0
    for session, data in segments[:3]:
        data.close()
        session.expect("426")
    last, data = segments[3]
    assert read_all(data) == b""
    data.close()
    last.expect("226")
    gate.covers(token, file(item, "big.bin"), timeout=10)
    for session, _ in segments:
        session.close()
