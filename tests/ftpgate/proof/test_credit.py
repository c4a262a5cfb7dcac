"""The rules of credit for one transfer, fed with snapshots that a kernel would give, and with generated clients."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpgate.moves import IllegalMoveError
from ftpgate.proof.credit import (
    AGED_HIDDEN,
    AGED_MARGIN,
    FAST_DOUBT,
    MARGIN,
    MOVES,
    PACED_CHUNK,
    PACED_RATE,
    Credit,
    Phase,
)
from ftpgate.proof.window import FULLY_OPEN, LITTLE, TcpSnapshot

MB = 1_000_000


def look(
    acknowledged: int, *, unread: int = 0, hidden: int = 0, definitely_unread: int = 0, sent: int | None = None,
    silence: float = 0.0, broken: bool = False, half_closed: bool = False, width: int = MB, parting: bool = False,
) -> TcpSnapshot:  # fmt: skip
    sent = acknowledged if sent is None else sent
    return TcpSnapshot(acknowledged, unread, hidden, definitely_unread, sent, silence, broken, half_closed, width, parting)


def held(length: int, *, base: int = 0) -> Credit:
    """A transfer whose every byte is acknowledged at time 0."""
    credit = Credit(base, length)
    credit.written()
    credit.progress(0.0, look(base + length))
    assert credit.phase is Phase.AWAITING_READ
    return credit


def unconfirmed(credit: Credit) -> tuple[int, int]:
    return credit.credited, credit.sent


def test_what_lies_in_our_own_buffer_is_not_credited() -> None:
    credit = Credit(0, 50 * MB)
    credit.progress(1.0, look(0, sent=9 * MB))
    assert credit.credited == 0


def test_what_may_lie_unread_is_not_credited() -> None:
    credit = Credit(0, 50 * MB)
    credit.progress(1.0, look(5 * MB, unread=MB))
    assert credit.credited == 4 * MB - MARGIN


def test_a_buffer_of_a_size_that_the_client_chose_hides_more() -> None:
    credit = Credit(0, 50 * MB)
    credit.progress(1.0, look(5 * MB, unread=MB, hidden=262_000))
    assert credit.credited == 4 * MB - 262_000 - MARGIN


def test_a_fast_connection_hides_more() -> None:
    credit = Credit(0, 50 * MB)
    assert not credit.judge_pace(0, 1_000)
    credit.progress(1.0, look(20 * MB, unread=MB))
    assert credit.credited == 19 * MB - FAST_DOUBT


def test_a_wide_window_hides_more_than_that() -> None:
    credit = Credit(0, 50 * MB)
    assert not credit.judge_pace(0, 1_000)
    credit.progress(1.0, look(40 * MB, unread=MB, hidden=20 * MB))
    assert credit.credited == 19 * MB - MARGIN


def test_what_was_fast_once_is_judged_so() -> None:
    """What came in a burst may lie there still."""
    credit = Credit(0, 50 * MB)
    assert credit.judge_pace(20 * MB, PACED_CHUNK)
    assert not credit.judge_pace(2 * MB, PACED_CHUNK + 1), "a chunk of that size is none of a paced one"
    assert credit.judge_pace(2 * MB, PACED_CHUNK)
    credit.progress(1.0, look(20 * MB, unread=MB))
    assert credit.credited == 19 * MB - FAST_DOUBT


def test_what_is_old_is_read() -> None:
    """Slow downloads need not wait until margins have come."""
    credit = Credit(0, 50 * MB)
    credit.judge_pace(200_000, PACED_CHUNK)
    for tick in range(17):
        credit.progress(tick / 10, look(tick * 20_000, hidden=200_000))
    assert credit.credited == 0
    for tick in range(17, 32):
        credit.progress(tick / 10, look(tick * 20_000, hidden=200_000))
    assert credit.credited == 15 * 20_000 - AGED_MARGIN


@pytest.mark.parametrize(("unread", "hidden"), [(FULLY_OPEN + 1, 200_000), (0, AGED_HIDDEN + 1)])
def test_what_is_old_is_not_read_where_something_may_lie(unread: int, hidden: int) -> None:
    credit = Credit(0, 50 * MB)
    for tick in range(45):
        doubtful = tick in (10, 24, 38) or hidden > AGED_HIDDEN
        credit.progress(tick / 10, look(tick * 20_000, unread=unread if doubtful else 0, hidden=hidden))
    assert credit.credited <= max(0, 45 * 20_000 - hidden - MARGIN)


def test_nothing_grows_old_at_a_machine_that_is_gone() -> None:
    credit = Credit(0, 50 * MB)
    for second in range(60):
        credit.progress(second, look(200_000, hidden=200_000, silence=second))
    assert credit.credited == 0


def test_credit_is_never_taken_back() -> None:
    credit = Credit(0, 50 * MB)
    credit.progress(1.0, look(20 * MB))
    before = credit.credited
    credit.judge_pace(0, 1_000)
    credit.progress(2.0, look(20 * MB, unread=5 * MB))
    assert credit.credited == before > 0


def test_an_orderly_end_credits_the_tail() -> None:
    credit = held(100_000)
    assert credit.credited == 0
    assert credit.fin(0.1, look(100_000))
    assert (credit.credited, credit.phase) == (100_000, Phase.CREDITED)


def test_an_end_that_came_before_the_data_says_nothing() -> None:
    """`shutdown(SHUT_WR)` behind the request: the client has read nothing yet."""
    credit = Credit(0, 100_000)
    credit.fin(0.0, look(0))
    credit.written()
    credit.progress(0.1, look(100_000))
    credit.fin(0.2, look(100_000))
    assert credit.credited == 0


def test_an_end_with_a_shut_window_says_nothing() -> None:
    """`shutdown(SHUT_WR)` by a client in whose buffer it all still lies."""
    credit = held(100_000)
    credit.fin(0.1, look(100_000, unread=66_560))
    assert credit.credited == 0


def test_the_next_request_credits_the_tail() -> None:
    credit = held(70_000, base=300)
    assert credit.next_request(0.01, look(70_300))
    assert credit.phase is Phase.CREDITED


def test_a_request_sent_ahead_credits_nothing() -> None:
    credit = Credit(0, 100_000)
    credit.written()
    credit.next_request(0.0, look(50_000, sent=100_000))
    assert credit.credited == 0


def test_a_connection_that_is_kept_open_proves_nothing() -> None:
    """A new connection's window does not tell whether 60 kB lie unread."""
    credit = held(60_000)
    credit.progress(60.0, look(60_000))
    assert (credit.credited, credit.phase) == (0, Phase.AWAITING_READ)


def test_a_reset_leaves_the_tail_unconfirmed() -> None:
    credit = held(100_000)
    credit.cut(look(100_000))
    assert (unconfirmed(credit), credit.phase) == ((0, 100_000), Phase.ABORTED)


def test_a_cut_leaves_what_was_sent_unconfirmed_not_what_was_queued() -> None:
    credit = Credit(1_000, 50 * MB)
    credit.cut(look(1_000 + 5 * MB, unread=100_000, sent=1_000 + 6 * MB))
    assert unconfirmed(credit) == (5 * MB - 100_000 - MARGIN, 6 * MB)


def test_what_the_window_shows_unread_is_not_unconfirmed() -> None:
    credit = held(100_000)
    credit.cut(look(100_000, unread=65_536, definitely_unread=25_000))
    assert unconfirmed(credit) == (0, 75_000)
    wide = Credit(0, 20 * MB)
    wide.cut(look(10 * MB, unread=4 * MB, definitely_unread=2 * MB))
    assert unconfirmed(wide) == (6 * MB - MARGIN, 8 * MB)


def test_nothing_moves_a_cut_transfer() -> None:
    credit = held(100_000)
    credit.cut(look(100_000))
    assert not credit.fin(9.0, look(100_000))
    assert not credit.progress(9.0, look(100_000))
    assert not credit.next_request(9.0, look(100_000))
    credit.cut(look(100_000, definitely_unread=50_000))
    assert unconfirmed(credit) == (0, 100_000)


def test_later_responses_vouch_for_earlier_ones() -> None:
    """Requests sent ahead on one connection: the first body is read when much more has been."""
    credit = Credit(0, 100_000)
    credit.written()
    credit.progress(0.0, look(100_000 + MARGIN))
    assert credit.phase is Phase.CREDITED


# ---- lines


def at_line(line: int, length: int = MB, *, base: int = 0) -> Credit:
    """A transfer that stands at a line, all before it acknowledged at time 0."""
    credit = Credit(base, length)
    credit.judge_pace(2 * MB, PACED_CHUNK)
    credit.stop_at(line)
    credit.progress(0.0, look(base + line))
    return credit


@pytest.mark.parametrize("base", [0, 700])
def test_an_orderly_end_at_a_line_credits_what_is_before_it(base: int) -> None:
    credit = at_line(300_000, base=base)
    assert credit.phase is Phase.AT_LINE
    assert credit.fin(0.01, look(base + 300_000))
    assert (credit.credited, credit.length, credit.line, credit.phase) == (300_000, 300_000, 300_000, Phase.CREDITED)


def test_an_end_at_a_line_with_a_shut_window_says_nothing() -> None:
    credit = at_line(300_000)
    credit.fin(0.01, look(300_000, unread=FULLY_OPEN + 1))
    assert (credit.credited, credit.phase) == (300_000 - MARGIN, Phase.AT_LINE)


@pytest.mark.parametrize(
    ("unread", "parting", "proven"), [(MB // 16, True, True), (MB // 16 + 1, True, False), (FULLY_OPEN + 1, False, False)]
)
def test_the_window_of_a_tls_client_that_ends_may_be_a_little_narrower(unread: int, parting: bool, proven: bool) -> None:
    """What arrives changes the part of its buffer that its kernel offers."""
    whole, at = held(MB), at_line(300_000)
    whole.fin(0.1, look(MB, unread=unread, parting=parting))
    at.fin(0.1, look(300_000, unread=unread, parting=parting))
    assert (whole.credited == MB, at.credited == 300_000) == (proven, proven)


def test_an_end_before_all_was_acknowledged_says_nothing_at_the_line() -> None:
    credit = Credit(0, MB)
    credit.stop_at(300_000)
    credit.fin(0.0, look(200_000, sent=300_000))
    credit.progress(0.1, look(300_000))
    credit.fin(0.2, look(300_000))
    assert (credit.credited, credit.phase) == (300_000 - MARGIN, Phase.AT_LINE)


def test_who_ended_in_order_at_a_line_before_the_transfer_stopped_there_has_read_all() -> None:
    """The client knows where its neighbour begins before the gate does."""
    credit = Credit(0, MB)
    credit.fin(0.0, look(300_000))
    credit.stop_at(300_000)
    assert (credit.credited, credit.phase) == (300_000, Phase.CREDITED)


@pytest.mark.parametrize(("acknowledged", "unread"), [(299_999, 0), (300_000, FULLY_OPEN + 1)])
def test_who_ended_elsewhere_or_with_a_shut_window_has_not(acknowledged: int, unread: int) -> None:
    credit = Credit(0, MB)
    credit.fin(0.0, look(acknowledged, unread=unread, sent=300_000))
    credit.stop_at(300_000)
    assert credit.credited < 300_000
    assert credit.phase is Phase.AT_LINE


def test_time_at_a_line_counts_from_its_acknowledgement() -> None:
    credit = Credit(0, MB)
    credit.stop_at(300_000)
    credit.progress(1.0, look(299_999, sent=300_000))
    assert credit.stood(9.0) == 0.0
    credit.progress(2.0, look(300_000))
    credit.progress(3.0, look(300_000))
    assert credit.stood(2.25) == 0.25


def test_standing_at_a_line_credits_nothing() -> None:
    """It wants more, or it is a player that has paused there."""
    credit = at_line(300_000)
    for second in range(60):
        credit.progress(second, look(300_000))
    assert credit.credited == 300_000 - MARGIN


def test_a_reset_at_a_line_leaves_what_was_sent_unconfirmed() -> None:
    credit = at_line(300_000)
    credit.cut(look(300_000, broken=True))
    assert unconfirmed(credit) == (300_000 - MARGIN, 300_000)
    assert credit.phase is Phase.ABORTED


def test_who_wants_more_than_a_line_gets_it() -> None:
    credit = at_line(300_000)
    credit.go_on()
    assert (credit.phase, credit.line) == (Phase.SENDING, None)
    credit.stop_at(600_000)
    assert credit.stood(9.0) == 0.0, "the time at the line before counts no more"
    credit.progress(9.0, look(600_000))
    assert credit.stood(10.0) == 1.0
    credit.go_on()
    credit.written()
    credit.progress(10.0, look(MB))
    credit.fin(11.0, look(MB))
    assert (credit.credited, credit.line) == (MB, None)


def test_an_end_where_a_line_was_says_nothing_once_more_was_sent() -> None:
    credit = at_line(300_000)
    credit.go_on()
    credit.fin(0.1, look(300_000, sent=500_000))
    assert (credit.credited, credit.phase) == (300_000 - MARGIN, Phase.SENDING)


def test_what_is_before_a_line_is_read_when_next_to_nothing_lies_after_a_little_more() -> None:
    """lftp's first segment ends when a byte beyond its end has come: what was before is read together with it."""
    credit = at_line(300_000)
    credit.go_on()
    credit.stop_at(301_024)
    credit.progress(0.3, look(301_024))
    credit.read_before_line(look(301_024), 300_000)
    assert credit.credited == 300_000
    credit.cut(look(301_024))
    assert unconfirmed(credit) == (300_000, 301_024)


@pytest.mark.parametrize(
    ("snapshot", "rate"),
    [
        (look(301_024, unread=FULLY_OPEN + 1), 2 * MB),
        (look(301_024, hidden=LITTLE + 1), 2 * MB),
        (look(301_024), 0),
    ],
)
def test_what_is_before_a_line_is_not_read_where_more_may_lie(snapshot: TcpSnapshot, rate: int) -> None:
    credit = at_line(300_000)
    credit.judge_pace(rate, 1_024)
    credit.read_before_line(snapshot, 300_000)
    assert credit.credited < 300_000


def test_what_is_before_a_line_is_not_read_when_it_is_not_acknowledged() -> None:
    credit = Credit(0, MB)
    credit.stop_at(300_000)
    credit.progress(0.0, look(299_999, sent=300_000))
    credit.read_before_line(look(299_999, sent=300_000), 300_000)
    assert credit.credited < 300_000


# ---- an orderly end in the midst of what was being sent


def test_a_fin_that_a_reset_follows_has_read_what_it_acknowledged() -> None:
    """A close with nothing unread: a FIN, then a reset for what arrives after it."""
    credit = Credit(0, 50 * MB)
    credit.fin(1.0, look(400_000, sent=600_000))
    credit.cut(look(400_000, sent=600_000, broken=True))
    assert unconfirmed(credit) == (400_000, 400_000)


@pytest.mark.parametrize(
    ("at_fin", "at_end", "why"),
    [
        (look(400_000, sent=600_000), look(450_000, sent=600_000, broken=True), "a half-closed one goes on to acknowledge"),
        (look(400_000, sent=600_000), look(400_000, sent=600_000), "we have ended it ourselves"),
        (look(400_000, unread=FULLY_OPEN + 1, sent=600_000), look(400_000, sent=600_000, broken=True), "bytes lie unread"),
        (look(400_000, sent=600_000, broken=True), look(400_000, sent=600_000, broken=True), "it came before what is known"),
        (look(400_000, unread=8_000, width=7_999, sent=600_000), look(400_000, sent=600_000, broken=True), "of a small buffer"),
        (look(400_000, sent=400_000), look(400_000, sent=400_000, broken=True), "nothing was on its way that a reset answers"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_fin_that_vouches_for_nothing(at_fin: TcpSnapshot, at_end: TcpSnapshot, why: str) -> None:
    credit = Credit(0, 50 * MB)
    credit.fin(1.0, at_fin)
    credit.cut(at_end)
    assert credit.credited < 400_000, why
    assert credit.sent == at_end.sent


def test_a_reset_without_a_fin_vouches_for_nothing() -> None:
    credit = Credit(0, 50 * MB)
    credit.cut(look(400_000, sent=600_000, broken=True))
    assert unconfirmed(credit) == (400_000 - MARGIN, 600_000)


def test_what_the_kernel_cannot_be_asked_of_ends_at_what_was_sent() -> None:
    credit = Credit(0, 50 * MB)
    credit.progress(1.0, look(400_000, sent=600_000))
    credit.cut(None)
    assert (unconfirmed(credit), credit.phase) == ((400_000 - MARGIN, 600_000), Phase.ABORTED)


# ---- an early end


def test_an_early_end_counts_as_early_although_we_are_told_of_it_late() -> None:
    """A busy loop, or half a TLS record, keeps the FIN from being read until everything is acknowledged."""
    credit = Credit(0, 100_000)
    credit.progress(0.0, look(50_000, sent=80_000, half_closed=True))
    credit.written()
    credit.progress(0.1, look(100_000, half_closed=True))
    credit.fin(0.2, look(100_000, half_closed=True))
    assert credit.credited == 0


def test_who_has_everything_when_it_ends_is_not_early() -> None:
    credit = Credit(0, 100_000)
    credit.written()
    credit.progress(0.1, look(100_000, half_closed=True))
    credit.fin(0.2, look(100_000, half_closed=True))
    assert credit.phase is Phase.CREDITED


def test_where_the_kernel_tells_nothing_an_orderly_end_has_to_do() -> None:
    credit = Credit(0, 100_000, truthful=False)
    credit.written()
    credit.progress(0.0, look(100_000, unread=100_000))
    credit.progress(60.0, look(100_000, unread=100_000))
    assert credit.credited == 0
    credit.fin(60.0, look(100_000, unread=100_000))
    assert credit.credited == 100_000


@pytest.mark.parametrize(("rate", "chunk", "paced"), [(PACED_RATE, PACED_CHUNK, True), (PACED_RATE + 1, 1, False), (0, 1, False)])
def test_only_what_has_a_rate_is_paced(rate: int, chunk: int, paced: bool) -> None:
    credit = Credit(0, MB)
    assert credit.judge_pace(rate, chunk) is paced
    assert credit.paced is paced


# ---- moves


def test_what_was_retracted_is_neither_delivered_nor_unconfirmed() -> None:
    """A file was changed while it was sent."""
    credit = Credit(0, 50 * MB)
    credit.progress(1.0, look(20 * MB))
    credit.retract(MB)
    assert (unconfirmed(credit), credit.phase) == ((MB, MB), Phase.ABORTED)
    assert not credit.progress(2.0, look(50 * MB))
    assert credit.credited == MB


def test_moves_that_cannot_happen_are_mistakes() -> None:
    sending, line, ended = Credit(0, MB), at_line(300_000), at_line(300_000)
    ended.cut(look(300_000))
    for credit, move in (
        (sending, sending.go_on),
        (line, line.written),
        (line, lambda: line.stop_at(500_000)),
        (ended, ended.go_on),
        (ended, ended.written),
        (held(MB), held(MB).written),
    ):
        before = credit.phase
        with pytest.raises(IllegalMoveError, match=f"{before.name} to "):
            move()
    assert (sending.phase, line.phase, line.line, ended.phase) == (Phase.SENDING, Phase.AT_LINE, 300_000, Phase.ABORTED)


def test_every_phase_has_its_moves() -> None:
    assert set(MOVES) == set(Phase)
    assert all(not MOVES[phase] for phase in (Phase.CREDITED, Phase.ABORTED))
    assert all(Phase.ABORTED in moves for moves in MOVES.values() if moves)


# ---- generated


@st.composite
def _clients(draw: st.DrawFn) -> tuple[int, list[tuple[int, int, int]], str]:
    """A paced client: the length of the body, rounds of (acknowledged, read, hidden) and how it ends."""
    length = draw(st.integers(1, 3 * MB))
    rounds = []
    acknowledged = read = 0
    for _ in range(draw(st.integers(1, 12))):
        acknowledged = draw(st.integers(acknowledged, min(length, acknowledged + 600_000)))
        read = draw(st.integers(read, acknowledged))
        hidden = draw(st.integers(0, min(65_536, acknowledged - read)))
        rounds.append((acknowledged, read, hidden))
    return length, rounds, draw(st.sampled_from(["reset", "close", "stay"]))


@given(_clients())
def test_never_more_than_the_client_took(client: tuple[int, list[tuple[int, int, int]], str]) -> None:
    """The window may hide 64 kB of what is unread; the end is what a kernel would send for that client."""
    length, rounds, ending = client
    credit = Credit(0, length)
    credit.written()
    now = 0.0
    for acknowledged, read, hidden in rounds:
        now += 0.01
        credit.progress(now, look(acknowledged, unread=acknowledged - read - hidden, sent=length))
        assert credit.credited <= read
    acknowledged, read, hidden = rounds[-1]
    last = look(acknowledged, unread=acknowledged - read - hidden, sent=length)
    if ending == "close" and read == acknowledged:
        credit.fin(now, last)
    if ending == "reset" or (ending == "close" and read < acknowledged):
        credit.cut(last)
        assert credit.ended
        assert credit.sent >= read
    assert credit.credited <= read
    if ending == "close" and read == length:
        assert credit.credited == length
