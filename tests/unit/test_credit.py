"""The rules of credit for one transfer, fed with looks that a kernel would give, and with generated clients."""

from __future__ import annotations

import pytest
from ftpgate.delivery.acknowledgement import OPEN, Look
from ftpgate.delivery.credit import AGED_HIDDEN, AGED_MARGIN, FAST_DOUBT, HOLD, MARGIN, PACED_CHUNK, Credit, Phase
from hypothesis import given
from hypothesis import strategies as st

MB = 1_000_000


def look(
    acknowledged: int, *, unread: int = 0, hidden: int = 0, untouched: int = 0, sent: int | None = None, silence: float = 0.0
) -> Look:
    return Look(acknowledged, unread, hidden, untouched, acknowledged if sent is None else sent, silence, unread <= OPEN)


def held(length: int, *, base: int = 0) -> Credit:
    """A transfer whose every byte is acknowledged at time 0."""
    credit = Credit(base, length)
    credit.written()
    credit.progress(0.0, look(base + length))
    assert credit.phase is Phase.HOLDING
    return credit


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
    assert not credit.paced(0, 1_000)
    credit.progress(1.0, look(20 * MB, unread=MB))
    assert credit.credited == 19 * MB - FAST_DOUBT


def test_a_wide_window_hides_more_than_that() -> None:
    credit = Credit(0, 50 * MB)
    assert not credit.paced(0, 1_000)
    credit.progress(1.0, look(40 * MB, unread=MB, hidden=20 * MB))
    assert credit.credited == 19 * MB - MARGIN


def test_what_was_fast_once_is_judged_so() -> None:
    """What came in a burst may lie there still."""
    credit = Credit(0, 50 * MB)
    assert credit.paced(20 * MB, PACED_CHUNK)
    assert not credit.paced(2 * MB, PACED_CHUNK + 1), "a chunk of that size is none of a paced one"
    assert credit.paced(2 * MB, PACED_CHUNK)
    credit.progress(1.0, look(20 * MB, unread=MB))
    assert credit.credited == 19 * MB - FAST_DOUBT


def test_what_is_old_is_read() -> None:
    """Slow downloads need not wait until margins have come."""
    credit = Credit(0, 50 * MB)
    credit.paced(200_000, PACED_CHUNK)
    for tick in range(17):
        credit.progress(tick / 10, look(tick * 20_000, hidden=200_000))
    assert credit.credited == 0
    for tick in range(17, 32):
        credit.progress(tick / 10, look(tick * 20_000, hidden=200_000))
    assert credit.credited == 15 * 20_000 - AGED_MARGIN


@pytest.mark.parametrize(("unread", "hidden"), [(OPEN + 1, 200_000), (0, AGED_HIDDEN + 1)])
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
    credit.paced(0, 1_000)
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
    credit.progress(HOLD + 0.1, look(100_000, unread=66_560))
    assert credit.credited == 0
    credit.progress(HOLD + 0.2, look(100_000, unread=0))
    assert credit.credited == 100_000


def test_the_next_request_credits_the_tail() -> None:
    credit = held(70_000, base=300)
    assert credit.next_request(0.01, look(70_300))
    assert credit.phase is Phase.CREDITED


def test_a_request_sent_ahead_credits_nothing() -> None:
    credit = Credit(0, 100_000)
    credit.written()
    credit.next_request(0.0, look(50_000, sent=100_000))
    assert credit.credited == 0


def test_a_second_held_open_credits_the_tail() -> None:
    credit = held(100_000)
    credit.progress(HOLD - 0.01, look(100_000))
    assert credit.credited == 0
    credit.progress(HOLD + 0.01, look(100_000, silence=0.02))
    assert credit.phase is Phase.CREDITED


def test_a_machine_that_no_longer_answers_gets_no_credit_for_its_silence() -> None:
    credit = held(100_000)
    for second in range(1, 60):
        credit.progress(HOLD + second, look(100_000, silence=HOLD + second))
    assert credit.credited == 0


def test_a_client_that_lets_it_lie_gets_no_credit_for_waiting() -> None:
    credit = held(100_000)
    for second in range(1, 60):
        credit.progress(HOLD + second, look(100_000, unread=OPEN + 1))
    assert credit.credited == 0


def test_a_reset_leaves_the_tail_in_doubt() -> None:
    credit = held(100_000)
    assert credit.cut(look(100_000)) == (0, 100_000)
    assert (credit.credited, credit.phase) == (0, Phase.CUT)


def test_a_cut_leaves_what_was_sent_in_doubt_not_what_was_queued() -> None:
    credit = Credit(1_000, 50 * MB)
    zone = credit.cut(look(1_000 + 5 * MB, unread=100_000, sent=1_000 + 6 * MB))
    assert zone == (5 * MB - 100_000 - MARGIN, 6 * MB)


def test_what_the_window_shows_untouched_is_not_in_doubt() -> None:
    credit = held(100_000)
    assert credit.cut(look(100_000, unread=65_536, untouched=25_000)) == (0, 75_000)
    wide = Credit(0, 20 * MB)
    assert wide.cut(look(10 * MB, unread=4 * MB, untouched=2 * MB)) == (6 * MB - MARGIN, 8 * MB)


def test_nothing_moves_a_cut_transfer() -> None:
    credit = held(100_000)
    credit.cut(look(100_000))
    assert not credit.fin(9.0, look(100_000))
    assert not credit.progress(9.0, look(100_000))
    assert credit.cut(look(100_000)) is None


def test_later_responses_vouch_for_earlier_ones() -> None:
    """Requests sent ahead on one connection: the first body is read when much more has been."""
    credit = Credit(0, 100_000)
    credit.written()
    credit.progress(0.0, look(100_000 + MARGIN))
    assert credit.phase is Phase.CREDITED


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
        zone = credit.cut(last)
        assert zone is None or zone[0] <= read
    assert credit.credited <= read
    if ending == "close" and read == length:
        assert credit.credited == length
