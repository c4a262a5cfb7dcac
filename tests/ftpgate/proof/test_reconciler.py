"""The segments of one resource: where each stops, what is proven of them, what is forgotten."""

from __future__ import annotations

import pytest

from ftpgate.proof.coverage import SpanSet
from ftpgate.proof.reconciler import LINES, SEGMENTS, Reconciler
from ftpgate.proof.segments import Segment
from tests.ftpgate.proof.segments import KB, Story, left

MB = 1_000_000


# ---- lines


def test_a_segment_stops_where_the_next_one_begins() -> None:
    story = Story(10 * MB)
    first, third = story.begin(0, 0.0), story.begin(6 * MB, 0.0)
    assert first.line == 6 * MB
    second = story.begin(3 * MB, 0.1)
    assert (first.line, second.line, third.line) == (3 * MB, 6 * MB, 10 * MB)


def test_a_segment_that_begins_behind_its_end_is_no_line() -> None:
    story = Story(10 * MB)
    first = story.begin(0, 0.0, end=3 * MB)
    story.begin(3 * MB, 0.1)
    assert first.line == first.end == 3 * MB


def test_two_segments_that_begin_together_do_not_stop_each_other() -> None:
    story = Story(10 * MB)
    first, second = story.begin(MB, 0.0), story.begin(MB, 0.0)
    assert (first.line, second.line) == (10 * MB, 10 * MB)


def test_a_segment_stops_where_what_is_delivered_begins() -> None:
    story = Story(10 * MB)
    story.delivered.add(2 * MB, 3 * MB)
    assert story.begin(0, 0.0).line == 2 * MB
    assert story.begin(2 * MB, 0.0).line == 10 * MB, "it asks for it again, and gets it"
    assert story.begin(2_500 * KB, 0.0).line == 10 * MB


def test_a_segment_stops_where_one_begins_that_was_cut_without_proof() -> None:
    """Its client may come back to it, and holds what it has read."""
    story = Story(10 * MB)
    old = story.begin(5 * MB, 0.0)
    story.read(old, 6 * MB, 0.5, sent=7 * MB)
    story.cut(old, 1.0)
    assert story.begin(0, 2.0).line == 5 * MB


def test_a_segment_does_not_stop_where_one_began_of_which_nothing_is_left() -> None:
    story = Story(10 * MB)
    running = story.begin(9 * MB, 0.0)
    dropped = story.begin(5 * MB, 0.0)
    story.cut(dropped, 1.0)
    assert story.begin(0, 2.0).line == 9 * MB
    assert running.line == 10 * MB


@pytest.mark.parametrize(("shown", "stops"), [(2_900 * KB, True), (3 * MB, False), (3_100 * KB, False)])
def test_a_segment_may_begin_in_what_is_in_the_kernels_queue(shown: int, stops: bool) -> None:
    """What was not read yet may be all that the client of the first wants: it stops at once, behind its line."""
    story = Story(10 * MB)
    first = story.begin(0, 0.0)
    story.read(first, shown, 0.1, sent=3_500 * KB)
    story.begin(3 * MB, 0.2)
    assert (first.line == 3 * MB) is stops


def test_a_segment_that_has_ended_is_not_stopped() -> None:
    story = Story(10 * MB)
    first = story.begin(0, 0.0)
    story.cut(first, 0.1)
    story.begin(3 * MB, 0.2)
    assert first.line == 10 * MB


def test_who_wants_more_passes_two_lines_at_most() -> None:
    """A player, or a second device, is not slowed down."""
    story = Story(10 * MB)
    first = story.begin(0, 0.0)
    for at in range(1, 5):
        story.begin(at * MB, 0.1)
    assert (first.line, first.lines) == (1 * MB, 0)
    story.reconciler.passed(first, 1_001 * KB)
    assert (first.line, first.lines) == (2 * MB, 1)
    story.reconciler.passed(first, 2_001 * KB)
    assert (first.line, first.lines) == (10 * MB, LINES)
    story.begin(3_500 * KB, 0.3)
    assert first.line == 10 * MB, "it has stopped as often as it may"


def test_a_line_that_is_passed_is_not_the_next_one() -> None:
    story = Story(10 * MB)
    first = story.begin(0, 0.0)
    story.begin(1 * MB, 0.1)
    story.delivered.add(1 * MB, 2 * MB)
    story.reconciler.passed(first, 1_001 * KB)
    assert first.line == 10 * MB


# ---- what is observed


def test_what_is_proven_is_told_once_and_settles_the_segment() -> None:
    story = Story(MB)
    first = story.begin(0, 0.0)
    story.read(first, 600 * KB, 0.9, sent=700 * KB, credited=300 * KB)
    assert story.cut(first, 1.0) == []
    assert story.unconfirmed == [(300 * KB, 700 * KB)]
    second = story.begin(600 * KB, 2.0)
    assert story.read(second, 800 * KB, 2.5) == [(300 * KB, 600 * KB)]
    assert (first.credited, first.sent, first.unconfirmed) == (600 * KB, 600 * KB, None)
    assert story.read(second, 900 * KB, 3.0) == []
    assert story.finish(second, 4.0) == []
    assert story.unconfirmed == []


def test_a_cut_that_is_seen_late_is_proven_by_what_began_before() -> None:
    """The end of a connection was seen 1.7 s late: its neighbour was read to its end by then."""
    story = Story(MB)
    first, second, third = story.begin(0, 0.0), story.begin(400 * KB, 0.1), story.begin(700 * KB, 0.1)
    story.read(first, 400 * KB, 0.9, sent=450 * KB, credited=300 * KB)
    second.end = 700 * KB
    story.finish(second, 0.9)
    assert story.cut(first, 1.7) == []
    assert story.read(third, 800 * KB, 1.75) == []
    assert story.read(third, 900 * KB, 1.9) == [(300 * KB, 400 * KB)]


def test_news_of_a_running_segment_proves_nothing_of_it() -> None:
    story = Story(MB)
    first, second = story.begin(0, 0.0), story.begin(400 * KB, 0.1)
    story.read(first, 400 * KB, 0.9, sent=450 * KB)
    assert story.read(second, 600 * KB, 1.0) == []
    assert story.unconfirmed == []


def test_segments_that_begin_after_the_end_are_told_from_those_before() -> None:
    story = Story(MB)
    first, before = story.begin(0, 0.0), story.begin(100, 0.0)
    story.cut(first, 1.0)
    after = story.begin(200, 1.0)
    assert before.order < first.ended_at <= after.order
    story.reconciler.observe(first)
    assert first.ended_at <= after.order, "more news of it changes nothing"


# ---- what an earlier time left


def test_what_an_earlier_time_left_began_before_everything_else() -> None:
    story = Story(MB, [left("old", 0, credited=300 * KB, shown=600 * KB, sent=700 * KB)])
    assert story.unconfirmed == [(300 * KB, 700 * KB)]
    assert story.begin(100 * KB, 0.0).line == MB
    again = story.begin(600 * KB, 1.0)
    assert story.read(again, 700 * KB, 2.0) == [(300 * KB, 600 * KB)]


def test_one_that_becomes_known_late_is_settled_by_what_began_meanwhile() -> None:
    story = Story(MB)
    again = story.begin(600 * KB, 1.0)
    story.reconciler.inherit(Segment.left(left("old", 0, credited=300 * KB, shown=600 * KB, sent=700 * KB)))
    assert story.unconfirmed == [(300 * KB, 700 * KB)]
    assert story.read(again, 700 * KB, 2.0) == [(300 * KB, 600 * KB)]


def test_segments_of_a_killed_gate_do_not_confirm_each_other() -> None:
    """None of them shows that its client lives."""
    story = Story(
        MB, [left("one", 0, credited=300 * KB, shown=500 * KB, sent=520 * KB), left("two", 500 * KB, shown=900 * KB, sent=MB)]
    )
    story.cut(story.begin(0, 1.0), 2.0)
    assert story.proven == []
    assert story.unconfirmed == [(300 * KB, 520 * KB), (500 * KB, MB)]


# ---- what is dropped


def test_nothing_is_dropped_while_a_segment_runs() -> None:
    story = Story(MB)
    running, other = story.begin(0, 0.0), story.begin(500 * KB, 0.0)
    story.finish(other, 1.0)
    assert story.reconciler.settle() == []
    assert not story.reconciler.idle
    story.finish(running, 2.0)
    assert story.reconciler.settle() == [running, other]
    assert story.reconciler.idle


def test_what_is_unconfirmed_is_kept_until_it_is_delivered() -> None:
    story = Story(MB)
    first = story.begin(0, 0.0)
    story.read(first, 600 * KB, 0.9, sent=700 * KB, credited=300 * KB)
    story.cut(first, 1.0)
    assert story.reconciler.settle() == []
    story.delivered.add(300 * KB, 699 * KB)
    assert story.unconfirmed == [(300 * KB, 700 * KB)]
    story.delivered.add(699 * KB, 700 * KB)
    assert story.unconfirmed == []
    assert story.reconciler.settle() == [first]


def test_what_is_delivered_by_other_means_settles_a_segment() -> None:
    """A zip's files, one by one."""
    delivered: list[tuple[int, int]] = []
    reconciler = Reconciler(SpanSet(), [left("old", 0, shown=10, sent=50)], lambda *span: span in delivered)
    assert [segment.unconfirmed for segment in reconciler.unconfirmed()] == [(0, 50)]
    delivered.append((0, 50))
    assert list(reconciler.unconfirmed()) == []
    assert [segment.id for segment in reconciler.settle()] == ["old"]


def test_segments_are_bounded_and_the_oldest_ended_ones_give_way() -> None:
    story = Story(10 * MB)
    running = story.begin(0, 0.0)
    ended = []
    for n in range(SEGMENTS + 10):
        one = story.begin(KB + n, 0.0)
        if n % 2:
            story.read(one, KB + n + 1, 0.1)
        story.cut(one, 0.2)
        ended.append(one)
    assert len(story.reconciler._segments) == SEGMENTS
    assert story.reconciler.forgotten == [one for one in ended[:11] if one.start % 2]
    assert all(one.unconfirmed for one in story.reconciler.forgotten)
    assert running in story.reconciler._segments
    assert len(story.unconfirmed) < SEGMENTS


def test_segments_are_bounded_even_if_all_of_them_run() -> None:
    story = Story(10 * MB)
    first = [story.begin(n, 0.0) for n in range(SEGMENTS + 5)]
    assert story.reconciler._segments == first[5:]
    assert story.reconciler.forgotten == []
    assert story.cut(first[0], 1.0) == []


def test_what_an_earlier_time_left_is_bounded_too() -> None:
    story = Story(10 * MB)
    for n in range(SEGMENTS + 5):
        story.reconciler.inherit(Segment.left(left(f"old-{n}", n, shown=n, sent=n + 10)))
    assert len(story.reconciler._segments) == SEGMENTS
    assert len(story.reconciler.forgotten) == 5
