"""The zone of doubt: what other transfers say of a cut one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ftpgate.delivery.doubt import ALIVE, LATER, QUIET, RESUMED, RUNS, SOON, ZONES, DoubtBook, Run
from hypothesis import given
from hypothesis import strategies as st

from ftpgate.proof.coverage import SpanSet

KB = 1_000


def test_resuming_from_within_confirms_what_lies_before() -> None:
    book = DoubtBook(1_000 * KB)
    first = book.begin(0, 0.0)
    assert book.cut(first, 1.0, (500 * KB, 700 * KB)) == []
    second = book.begin(600 * KB, 2.0)
    assert book.acknowledged(second, 2.1, 600 * KB + RESUMED - 1) == []
    assert book.acknowledged(second, 2.2, 600 * KB + RESUMED) == [(500 * KB, 600 * KB)]
    assert book.idle() is False
    assert list(book.zones()) == []


def test_a_short_rest_counts_by_its_end() -> None:
    book = DoubtBook(1_000 * KB)
    first = book.begin(0, 0.0)
    book.cut(first, 1.0, (0, 100 * KB))
    rest = book.begin(99 * KB, 2.0)
    assert book.fin(rest, 2.5) == [(0, 99 * KB)]


@pytest.mark.parametrize(("start", "confirmed"), [(10, []), (11, [(10, 11)]), (100, [(10, 100)]), (101, [])])
def test_the_end_of_the_zone_belongs_to_it(start: int, confirmed: list[tuple[int, int]]) -> None:
    book = DoubtBook(1_000 * KB)
    first = book.begin(0, 0.0)
    book.cut(first, 1.0, (10, 100))
    assert book.fin(book.begin(start, 2.0), 3.0) == confirmed


def test_of_several_that_resume_within_a_zone_the_first_in_order_decides() -> None:
    """One stream was cut; a download manager takes up the rest in segments, all of which begin within the zone."""
    book = DoubtBook(1_500 * KB)
    first = book.begin(0, 0.0)
    book.cut(first, 1.0, (0, 1_300 * KB))
    rest, other = book.begin(543 * KB, 2.0), book.begin(662 * KB, 2.0)
    assert book.acknowledged(other, 2.5, 800 * KB) == []
    assert book.acknowledged(rest, 3.0, 543 * KB + RESUMED) == [(0, 543 * KB)]


def test_beginning_a_segment_again_is_not_resuming_the_one_before() -> None:
    book = DoubtBook(1_000 * KB)
    first, second = book.begin(0, 0.0), book.begin(375 * KB, 0.0)
    book.cut(first, 1.0, (0, 500 * KB))
    book.cut(second, 1.0, (375 * KB, 600 * KB))
    again = book.begin(375 * KB, 2.0)
    assert book.acknowledged(again, 3.0, 600 * KB) == []


def test_a_hole_that_is_cut_up_anew() -> None:
    """Two segments were cut with nothing read of them; the client comes back with other segments of the same hole."""
    book = DoubtBook(1_000 * KB)
    first, second = book.begin(0, 0.0), book.begin(400 * KB, 0.0)
    book.cut(first, 1.0, (0, 130 * KB), 130 * KB, 30 * KB)
    book.cut(second, 1.0, (400 * KB, 530 * KB), 530 * KB, 430 * KB)
    book.begin(0, 2.0)
    book.begin(300 * KB, 2.0)
    again = book.begin(500 * KB, 2.0)
    assert book.acknowledged(again, 3.0, 600 * KB) == []


def test_eight_that_read_nothing_do_not_fall_like_dominoes() -> None:
    """Eight segments of 119 kB are cut together unread; one resumes behind the last and reads to the end of 1 MB."""
    book = DoubtBook(1_000 * KB)
    runs = [book.begin(n * 119 * KB, 0.0) for n in range(8)]
    for n, run in enumerate(runs):
        assert book.cut(run, 1.0, (n * 119 * KB, min(n * 119 * KB + 130 * KB, 1_000 * KB))) == []
    tail = book.begin(952 * KB, 2.0)
    confirmed = book.acknowledged(tail, 2.5, 1_000 * KB) + book.fin(tail, 3.0)
    assert confirmed == [(833 * KB, 952 * KB)]


def test_one_beside_that_ended_in_order_confirms() -> None:
    book = DoubtBook(1_000 * KB)
    first, second = book.begin(0, 0.0), book.begin(500 * KB, 0.0)
    assert book.fin(second, 1.0) == []
    assert book.cut(first, 2.0, (400 * KB, 600 * KB)) == [(400 * KB, 500 * KB)]


def test_one_beside_that_ends_in_order_later_confirms() -> None:
    book = DoubtBook(1_000 * KB)
    first, second = book.begin(0, 0.0), book.begin(500 * KB, 0.0)
    assert book.cut(first, 1.0, (400 * KB, 600 * KB)) == []
    assert book.fin(second, 1.5) == [(400 * KB, 500 * KB)]


def test_one_that_had_ended_before_was_not_beside() -> None:
    """A tail that was fetched long ago says nothing of a download that breaks off by chance just before it."""
    book = DoubtBook(1_000 * KB)
    tail = book.begin(500 * KB, 0.0)
    book.fin(tail, 1.0)
    later = book.begin(0, 2.0)
    assert book.cut(later, 3.0, (400 * KB, 600 * KB)) == []


def test_one_beside_that_goes_on_confirms_after_a_second() -> None:
    book = DoubtBook(1_000 * KB)
    first, second = book.begin(0, 0.0), book.begin(500 * KB, 0.0)
    book.cut(first, 1.0, (400 * KB, 600 * KB))
    assert book.acknowledged(second, 1.0 + ALIVE - 0.01, 900 * KB) == []
    assert book.acknowledged(second, 1.0 + ALIVE, 901 * KB) == [(400 * KB, 500 * KB)]


def test_standing_still_is_not_going_on() -> None:
    book = DoubtBook(1_000 * KB)
    first, second = book.begin(0, 0.0), book.begin(500 * KB, 0.0)
    book.acknowledged(second, 0.5, 900 * KB)
    book.cut(first, 1.0, (400 * KB, 600 * KB))
    assert book.acknowledged(second, 9.0, 900 * KB) == []


def test_of_those_beside_the_first_decides() -> None:
    """Three segments; the first was cut with bytes of the third on their way already, and the second is still running."""
    book = DoubtBook(1_000 * KB)
    first, second, third = book.begin(0, 0.0), book.begin(500 * KB, 0.0), book.begin(600 * KB, 0.0)
    book.fin(third, 1.0)
    assert book.cut(first, 2.0, (400 * KB, 700 * KB)) == []
    assert book.fin(second, 2.5) == [(400 * KB, 500 * KB)]


def test_a_dead_end_is_no_proof_when_all_was_stopped() -> None:
    """The last segment was through; then all others were stopped, the first with bytes of the last on their way."""
    book = DoubtBook(1_000 * KB)
    first, second, third = book.begin(0, 0.0), book.begin(500 * KB, 0.0), book.begin(600 * KB, 0.0)
    book.fin(third, 1.0)
    assert book.cut(first, 2.0, (400 * KB, 700 * KB)) == []
    assert book.cut(second, 2.1, (500 * KB, 550 * KB)) == []


def test_one_given_up_for_the_cut_one_is_passed_over() -> None:
    """aria2: the first runs on into the second's bytes, the second is dropped, and the client goes on with the others."""
    book = DoubtBook(1_000 * KB)
    first, second, third = book.begin(0, 0.0), book.begin(1_048 * KB, 0.0), book.begin(2_097 * KB, 0.0)
    assert book.cut(second, 1.0, (1_048 * KB, 1_161 * KB)) == []
    assert book.cut(first, 1.1, (0, 2_207 * KB)) == []
    assert book.fin(third, 1.2) == [(0, 2_097 * KB)]


def test_a_chain_is_rooted_in_a_sound_one() -> None:
    book = DoubtBook(1_000 * KB)
    runs = [book.begin(n * 100 * KB, 0.0) for n in range(4)]
    for n in range(3):
        assert book.cut(runs[n], 1.0 + n / 10, ((n + 1) * 100 * KB - 30 * KB, (n + 1) * 100 * KB + 20 * KB)) == []
    assert sorted(book.fin(runs[3], 2.0)) == [(70 * KB, 100 * KB), (170 * KB, 200 * KB), (270 * KB, 300 * KB)]


def test_all_stopped_together_confirm_nothing() -> None:
    """Ctrl-C: every segment is cut at once, some just before the next one's start."""
    book = DoubtBook(1_000 * KB)
    runs = [book.begin(n * 100 * KB, 0.0) for n in range(8)]
    for n, run in enumerate(runs):
        book.acknowledged(run, 0.9, n * 100 * KB + 80 * KB)
        assert book.cut(run, 1.0, (n * 100 * KB + 50 * KB, n * 100 * KB + 120 * KB)) == []


def test_after_ctrl_c_each_resumed_segment_settles_its_own() -> None:
    book = DoubtBook(1_000 * KB)
    runs = [book.begin(n * 1_000 * KB, 0.0) for n in range(8)]
    for n, run in enumerate(runs):
        book.cut(run, 1.0, (n * 1_000 * KB + 300 * KB, n * 1_000 * KB + 600 * KB))
    confirmed = []
    for n in range(8):
        resumed = book.begin(n * 1_000 * KB + 450 * KB, 2.0)
        confirmed += book.acknowledged(resumed, 3.0, n * 1_000 * KB + 450 * KB + RESUMED)
    assert confirmed == [(n * 1_000 * KB + 300 * KB, n * 1_000 * KB + 450 * KB) for n in range(8)]


def _resumed(book: DoubtBook, start: int, stop: int, now: float) -> Run:
    """A run that was cut before, resumes within its zone, and is cut again, up to 64 kB beyond `stop`."""
    first = book.begin(start, now)
    book.hold(start, start + 100 * KB)
    book.cut(first, now + 1, (start + 100 * KB, start + 200 * KB))
    again = book.begin(start + 150 * KB, now + 2)
    for span in book.acknowledged(again, now + 3, start + 150 * KB + RESUMED):
        book.hold(*span)
    book.hold(start + 150 * KB, stop - 64 * KB)
    return again


def test_a_resumed_one_stops_where_it_meets_what_is_held() -> None:
    """aria2 over FTP, stopped and resumed: its segments end where those of the first time began."""
    book = DoubtBook(2_000 * KB)
    book.hold(1_000 * KB, 1_500 * KB)
    other = book.begin(1_500 * KB, 0.0)
    again = _resumed(book, 0, 1_000 * KB, 1.0)
    assert book.cut(again, 5.0, (936 * KB, 1_064 * KB)) == []
    assert book.acknowledged(other, 5.0 + LATER / 2, 1_600 * KB) == []
    assert book.acknowledged(other, 5.1, 1_700 * KB) == [(936 * KB, 1_000 * KB)]


def test_a_resumed_one_that_fills_the_last_hole() -> None:
    book = DoubtBook(2_000 * KB)
    book.hold(1_000 * KB, 2_000 * KB)
    again = _resumed(book, 0, 1_000 * KB, 1.0)
    assert book.cut(again, 5.0, (936 * KB, 1_064 * KB), 1_064 * KB, 1_010 * KB) == []
    assert book.quiet(5.0 + QUIET / 2) == []
    assert book.quiet(5.0 + QUIET) == [(936 * KB, 1_000 * KB)]


def test_a_wide_zone_fills_no_hole() -> None:
    """An unlimited connection may be cut anywhere in its last megabytes."""
    book = DoubtBook(2_000 * KB)
    book.hold(1_000 * KB, 2_000 * KB)
    again = _resumed(book, 0, 1_000 * KB, 1.0)
    assert book.cut(again, 5.0, (400 * KB, 1_064 * KB)) == []
    assert book.quiet(9.0) == []


def test_one_that_did_not_resume_fills_no_hole() -> None:
    book = DoubtBook(2_000 * KB)
    book.hold(1_000 * KB, 2_000 * KB)
    book.hold(0, 936 * KB)
    first = book.begin(0, 1.0)
    assert book.cut(first, 5.0, (936 * KB, 1_064 * KB)) == []
    assert book.quiet(9.0) == []


def test_all_but_one_zone_came_in_order() -> None:
    """axel: two are dropped at once, the rest of the second is fetched anew, and the client ends in order."""
    book, third = _two_cut_together(arrived=1.05, shown=1_540 * KB)
    assert book.fin(third, 1.5) == [(1_500 * KB, 1_650 * KB)]
    book.hold(1_650 * KB, 2_000 * KB)
    assert book.quiet(1.6) == []
    assert book.quiet(2.5) == [(0, 1_500 * KB)]


def _two_cut_together(*, arrived: float, shown: int) -> tuple[DoubtBook, Run]:
    """Cut at 1.0: one from 0, read up to `shown` by its window, and one from 1,500 kB, which is taken up at 1,650 kB."""
    book = DoubtBook(2_000 * KB)
    first, second = book.begin(0, 0.0), book.begin(1_500 * KB, 0.0)
    assert book.cut(first, 1.0, (0, 1_700 * KB), 1_700 * KB, shown) == []
    assert book.cut(second, 1.0, (1_500 * KB, 2_000 * KB), 2_000 * KB, 1_700 * KB) == []
    return book, book.begin(1_650 * KB, 1.1, arrived)


RECORDINGS = json.loads((Path(__file__).parent / "recordings" / "forty_streams.json").read_text())


@pytest.mark.parametrize("recorded", RECORDINGS, ids=range(len(RECORDINGS)))
def test_forty_streams_on_a_busy_machine(recorded: dict[str, Any]) -> None:
    """Some had ended before others began, and windows showed up to 2 MB more than was read: all the same it read everything."""
    book, runs, confirmed = DoubtBook(recorded["size"]), {}, SpanSet()
    for event, start, now, *more in recorded["events"]:
        if event == "begin":
            runs[start] = book.begin(start, now, more[0])
        elif event == "cut":
            (first, last), upto, read = more
            confirmed.update(book.cut(runs[start], now, (first, last), upto, read))
        else:
            book.hold(start, recorded["size"])
            confirmed.add(start, recorded["size"])
            confirmed.update(book.fin(runs[start], now))
    confirmed.update(book.quiet(now + 2 * QUIET))
    assert confirmed.covers(0, recorded["size"])


@pytest.mark.parametrize(("arrived", "shown"), [(1.05, 1_400 * KB), (1.0 + SOON + 0.01, 1_540 * KB)])
def test_who_comes_after_the_cut_may_have_lost_all_else(arrived: float, shown: int) -> None:
    """A client that died and was started again resumes one segment only: nothing is said of the other by that.

    Either the window does not show that it had been read up to the next one's start, or much time has passed.
    """
    book, third = _two_cut_together(arrived=arrived, shown=shown)
    assert book.fin(third, 1.5) == [(1_500 * KB, 1_650 * KB)]
    book.hold(1_650 * KB, 2_000 * KB)
    assert book.quiet(9.0) == []


def test_who_was_there_before_the_cut_has_stopped_by_itself() -> None:
    """The rest of the second is taken up by a client that never went away: a chain follows from that."""
    book, third = _two_cut_together(arrived=0.5, shown=1_400 * KB)
    assert sorted(book.fin(third, 1.5)) == [(0, 1_500 * KB), (1_500 * KB, 1_650 * KB)]


@pytest.mark.parametrize(("arrived", "goes_on", "lives"), [(0.003, True, True), (0.006, True, False), (0.003, False, False)])
def test_all_within_a_few_milliseconds(arrived: float, goes_on: bool, lives: bool) -> None:
    """Who was connected before the second segment began cannot have come because the client had died, however soon the first was
    cut after that; it has to go on, though, since all may die at once."""
    book = DoubtBook(1_000 * KB)
    first = book.begin(0, 0.0)
    second = book.begin(250 * KB, 0.005, 0.002)
    book.cut(first, 0.006, (0, 300 * KB), 256 * KB, 256 * KB)
    third = book.begin(500 * KB, 0.008, arrived)
    book.cut(second, 0.009, (250 * KB, 590 * KB), 540 * KB, 540 * KB)
    book.hold(250 * KB, 1_000 * KB)
    if goes_on:
        book.acknowledged(third, 0.1, 600 * KB)
    book.cut(third, 0.101 if goes_on else 0.009, (600 * KB, 740 * KB), 700 * KB, 700 * KB)
    assert book.quiet(9.0) == ([(0, 250 * KB)] if lives else [])


def test_short_ones_that_are_cut_together_show_nothing() -> None:
    """Sixteen of 62 kB, each read by half and cut; one rest is fetched to its end: what a window hides is as much as they are."""
    book = DoubtBook(1_000 * KB)
    runs = [book.begin(n * 62_500, 0.0) for n in range(16)]
    for n, run in enumerate(runs):
        start = n * 62_500
        book.cut(run, 1.0, (start, min(start + 90_000, 1_000 * KB)), start + 90_000, start + 62_000)
    tail = book.begin(15 * 62_500 + 31_000, 1.01)
    assert book.fin(tail, 1.1) == [(15 * 62_500, 15 * 62_500 + 31_000)]
    book.hold(15 * 62_500, 1_000 * KB)
    assert book.quiet(9.0) == []


def test_one_whose_neighbour_had_ended_just_before_it_began() -> None:
    """lftp: more segments than connections; something was under way all the time, so it is one client's work."""
    book = DoubtBook(3_000 * KB)
    long, last = book.begin(0, 0.0), book.begin(2_000 * KB, 0.0)
    book.fin(last, 1.0)
    middle = book.begin(1_000 * KB, 1.1, 1.05)
    book.acknowledged(long, 1.2, 900 * KB)
    assert book.cut(middle, 2.0, (1_900 * KB, 2_100 * KB)) == [(1_900 * KB, 2_000 * KB)]


def test_one_that_the_cut_one_has_read_past_is_passed_over() -> None:
    """lftp: the first overtakes the second, which is dropped before anything came, and stops at the third."""
    book = DoubtBook(9_000 * KB)
    first, second, third = book.begin(0, 0.0), book.begin(3_000 * KB, 0.0), book.begin(6_000 * KB, 0.0)
    book.fin(third, 0.05)
    assert book.cut(second, 0.051, (3_000 * KB, 3_030 * KB), 3_000 * KB, 3_000 * KB) == []
    assert book.cut(first, 0.052, (500 * KB, 6_300 * KB), 6_300 * KB, 6_200 * KB) == [(500 * KB, 6_000 * KB)]


def test_the_others_of_a_rest_are_taken_up_with_it() -> None:
    """axel: what was missing of a cut one is shared by two, which both stop where they meet something."""
    book = DoubtBook(2_000 * KB)
    book.hold(1_000 * KB, 2_000 * KB)
    first = book.begin(0, 0.0)
    book.cut(first, 1.0, (0, 900 * KB), 900 * KB, 850 * KB)
    one, other = book.begin(800 * KB, 2.0), book.begin(900 * KB, 2.0)
    book.hold(0, 800 * KB)
    assert book.cut(one, 3.0, (800 * KB, 950 * KB), 930 * KB, 910 * KB) == [(0, 800 * KB)]
    assert book.cut(other, 3.0, (900 * KB, 1_050 * KB), 1_030 * KB, 1_010 * KB) == []
    assert sorted(book.quiet(4.0)) == [(800 * KB, 900 * KB), (900 * KB, 1_000 * KB)]


def test_a_tail_of_another_time_fills_no_hole() -> None:
    """A client holds the tail, fetches from the start, and gives up: silence is no proof then."""
    book = DoubtBook(1_000 * KB)
    tail = book.begin(700 * KB, 0.0)
    book.fin(tail, 0.5)
    book.hold(700 * KB, 1_000 * KB)
    first = book.begin(0, 1.0)
    book.cut(first, 2.0, (0, 900 * KB))
    assert book.quiet(9.0) == []


def test_a_probe_does_not_stand_against_resuming() -> None:
    """aria2 asks for the whole file first, drops that, and goes on from where it was."""
    book = DoubtBook(1_000 * KB)
    first = book.begin(0, 0.0)
    book.cut(first, 1.0, (400 * KB, 600 * KB), 600 * KB, 550 * KB)
    probe = book.begin(0, 2.0)
    book.cut(probe, 2.1, (0, 120 * KB), 120 * KB, 20 * KB)
    again = book.begin(500 * KB, 2.2)
    assert book.acknowledged(again, 3.0, 600 * KB) == [(400 * KB, 500 * KB)]


def test_stopped_again_and_resumed_again() -> None:
    book = DoubtBook(2_000 * KB)
    book.hold(1_000 * KB, 2_000 * KB)
    again = _resumed(book, 0, 1_000 * KB, 1.0)
    beside = book.begin(1_900 * KB, 4.0)
    book.cut(again, 5.0, (400 * KB, 1_064 * KB))
    third = book.begin(700 * KB, 6.0)
    assert book.acknowledged(beside, 7.0, 1_950 * KB) == []
    assert book.acknowledged(third, 8.0, 700 * KB + RESUMED) == [(400 * KB, 700 * KB)]


def test_what_a_dead_gate_left_is_settled_by_resuming() -> None:
    book = DoubtBook(1_000 * KB, inherited=[(100 * KB, 300 * KB)])
    resumed = book.begin(200 * KB, 0.0)
    assert book.acknowledged(resumed, 7.0, 200 * KB + RESUMED) == [(100 * KB, 200 * KB)]


def test_bounded() -> None:
    book = DoubtBook(1_000 * KB)
    for n in range(3 * RUNS):
        run = book.begin(n, float(n))
        book.cut(run, n + 0.5, (n, n + 1))
    assert len(list(book.zones())) == ZONES


@given(st.lists(st.tuples(st.integers(0, 1_000), st.integers(1, 400), st.sampled_from(["cut", "fin", "resume"])), max_size=40))
def test_confirms_only_what_was_in_doubt(events: list[tuple[int, int, str]]) -> None:
    book = DoubtBook(1_000 * KB)
    doubtful: set[int] = set()
    now = 0.0
    for start, length, kind in events:
        now += 1.0
        run = book.begin(start, now)
        if kind == "cut":
            confirmed = book.cut(run, now + 0.5, (start, start + length))
            doubtful |= set(range(start, start + length))
        elif kind == "fin":
            confirmed = book.fin(run, now + 0.5)
        else:
            confirmed = book.acknowledged(run, now + 0.5, start + RESUMED)
        for first, last in confirmed:
            assert first < last
            assert set(range(first, last)) <= doubtful


class Counted(int):
    """A start that counts how often it is compared with another position."""

    compared = 0

    def __lt__(self, other: int) -> bool:
        Counted.compared += 1
        return int(self) < other

    def __gt__(self, other: int) -> bool:
        Counted.compared += 1
        return int(self) > other


def test_hundreds_that_are_cut_together_hold_nobody_up() -> None:
    """The loop gets through all of them in one turn, so no zone may ask every run whether it began within."""
    step = 100 * KB
    book = DoubtBook(RUNS * step)
    runs = [book.begin(Counted(number * step), number / 1000) for number in range(RUNS)]
    for number, run in enumerate(runs):
        book.cut(run, 1.0, (number * step + 10 * KB, number * step + 60 * KB), number * step + 50 * KB)
    assert len(list(book.zones())) == ZONES
    assert 0 < Counted.compared < RUNS * ZONES * 3 * RUNS.bit_length()
