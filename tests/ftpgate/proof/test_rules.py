"""What proves how far a cut segment was read: each rule with a client that it serves, and one that it must not believe."""

from __future__ import annotations

from typing import Any

import pytest

from ftpgate.proof import rules
from ftpgate.proof.rules import (
    DELIBERATE,
    HIDDEN,
    HIDDEN_VAGUE,
    LATER,
    LONG,
    LONG_VAGUE,
    NEAR_VAGUE,
    SHORT,
    SKIP,
    agrees,
    begins_within,
    is_deliberate,
    is_lowest,
    proven,
    ran_beside,
    survived,
)  # fmt: skip
from ftpgate.proof.segments import Segment
from ftpgate.proof.window import FULLY_OPEN, KIB
from tests.ftpgate.proof.segments import KB, Story, left

MB = 1_000_000


def segment(start: int, *, order: int = 0, began: float = 0.0, end: int = 100 * MB, **told: Any) -> Segment:
    """One that runs; `told` are its positions and what else is known of it."""
    made = Segment("s", start, end, order, began)
    for name, value in told.items():
        setattr(made, name, value)
    return made


def cut(start: int, credited: int, shown: int, sent: int, **told: Any) -> Segment:
    """One that was cut at 1.0, as the fifth that ended or began."""
    told = {"acknowledged": sent, "moved": 1.0, **told}
    return segment(start, credited=credited, shown=shown, sent=sent, ended=True, ended_at=5, **told)


def resumed(start: int, *, shown: int = 0, order: int = 5, began: float = 2.0, **told: Any) -> Segment:
    """One that began after the cut, and is read."""
    return segment(start, order=order, began=began, shown=shown or start + DELIBERATE, **told)


# ---- begins_within


@pytest.mark.parametrize(
    ("start", "within"), [(99 * KB, False), (100 * KB, False), (100 * KB + 1, True), (300 * KB, True), (300 * KB + 1, False)]
)
def test_a_segment_begins_within_what_is_unconfirmed(start: int, within: bool) -> None:
    """A gate is killed, and its client opens the file behind all that was sent: that confirms nothing."""
    assert begins_within(segment(start), cut(0, 100 * KB, 200 * KB, 300 * KB)) is within


def test_a_segment_that_follows_a_range_does_not_begin_within_it() -> None:
    """A range was sent to its end and cut with bytes unread: the client asks for the next range without it."""
    asked = cut(0, 100 * KB, 290 * KB, 300 * KB, end=300 * KB)
    assert not begins_within(segment(300 * KB), asked)
    assert begins_within(segment(299 * KB), asked)
    assert proven(asked, [asked, resumed(300 * KB)]) is None


def test_a_segment_does_not_begin_within_itself() -> None:
    whole = cut(100, 0, 200 * KB, 300 * KB)
    assert not begins_within(whole, whole)


# ---- agrees


def test_a_paced_window_agrees_with_a_place_near_what_it_shows() -> None:
    paced = cut(0, 100 * KB, 500 * KB, 900 * KB)
    for x, agreed in (
        (500 * KB - LONG - 1, False),
        (500 * KB - LONG, True),
        (500 * KB, True),
        (500 * KB + SHORT, True),
        (500 * KB + SHORT + 1, False),
    ):
        assert agrees(paced, x, resumed=False, later=False) is agreed, x


def test_a_window_that_is_fully_open_shows_all_that_was_acknowledged() -> None:
    """It is a little narrower than at its widest, but nothing lies unread; what came next was read before its acknowledgement."""
    for unread, agreed in ((FULLY_OPEN, True), (FULLY_OPEN + 1, False)):
        paced = cut(0, 100 * KB, 500 * KB - unread, 900 * KB, acknowledged=500 * KB)
        assert agrees(paced, 500 * KB + SHORT, resumed=False, later=False) is agreed


def test_a_player_that_skips_forward_does_not_agree() -> None:
    """It has read 500 kB, and opens the file again within what was on its way."""
    paced = cut(0, 244 * KB, 500 * KB, 900 * KB)
    assert proven(paced, [paced, resumed(600 * KB)]) is None
    assert proven(paced, [paced, resumed(510 * KB)]) == 510 * KB


def test_a_window_shows_nothing_of_a_segment_that_is_hardly_read() -> None:
    """Sixteen short segments are cut together, each hardly read: their windows hide all the rest."""
    for read, agreed in ((0, False), (50 * KB - 1, False), (50 * KB, True)):
        assert agrees(cut(MB, MB, MB + read, 2 * MB), MB + read + 50 * KB, resumed=False, later=False) is agreed


def test_a_paced_window_that_may_hide_much_agrees_with_nothing() -> None:
    for hidden_bytes, agreed in ((HIDDEN, True), (HIDDEN + 1, False)):
        assert agrees(cut(0, 0, 500 * KB, 900 * KB, hidden_bytes=hidden_bytes), 500 * KB, resumed=False, later=True) is agreed


def test_who_goes_on_where_the_connection_ended_has_read_it_all() -> None:
    """Whatever its window shows: a client cannot know that place otherwise."""
    reset = cut(0, 0, 100 * KB, 900 * KB, acknowledged=800 * KB, hidden_bytes=9 * MB)
    assert agrees(reset, 800 * KB, resumed=True, later=False)
    assert not agrees(reset, 800 * KB, resumed=False, later=False), "a neighbour that began before may begin there by chance"
    assert agrees(reset, 900 * KB, resumed=True, later=False), "it has read the rest, and reset before its acknowledgement"
    assert not agrees(reset, 800 * KB + 1, resumed=True, later=True)
    assert not agrees(reset, 900 * KB - 1, resumed=True, later=True)


def test_a_neighbour_that_is_begun_anew_where_the_connection_ended_proves_little() -> None:
    """Its place was known before the cut."""
    reset = cut(0, 0, 100 * KB, 900 * KB, acknowledged=800 * KB)
    before, again = segment(800 * KB, order=4, shown=800 * KB, ended=True), resumed(800 * KB)
    assert proven(reset, [reset, before, again]) is None
    assert proven(reset, [reset, again]) == 800 * KB


def test_who_begins_anew_where_a_connection_stood_at_a_line_proves_little() -> None:
    """A manager is stopped before it has read up to its neighbour, of which nothing had come yet, and starts from scratch."""
    story = Story(MB)
    first, second = story.begin(0, 0.0), story.begin(500 * KB, 0.1)
    story.read(first, 300 * KB, 0.9, sent=500 * KB)
    story.cut(first, 1.0)
    story.cut(second, 1.0)
    assert story.reconciler.settle() == [second]
    story.begin(0, 2.0)
    story.finish(story.begin(500 * KB, 2.0), 3.0)
    assert story.proven == []


def test_who_goes_on_where_a_stopped_gate_ended_has_read_it_all() -> None:
    """It was left with all that had been written, acknowledged or not."""
    stopped = cut(0, 0, 100 * KB, 900 * KB, acknowledged=900 * KB, exact=True)
    assert agrees(stopped, 900 * KB, resumed=True, later=False)
    assert not agrees(stopped, 900 * KB, resumed=False, later=False)
    assert not agrees(stopped, 900 * KB - 1, resumed=True, later=False)


def test_of_what_a_stopped_gate_was_just_writing_a_part_may_have_arrived() -> None:
    stopped = cut(0, 0, 100 * KB, 900 * KB, acknowledged=850 * KB, exact=True)
    for x in (850 * KB, 870 * KB, 900 * KB):
        assert agrees(stopped, x, resumed=True, later=False)
    assert not agrees(stopped, 850 * KB - 1, resumed=True, later=False)


def vague(shown: int, sent: int, *, hidden_bytes: int = 0) -> Segment:
    return cut(0, 0, shown, sent, acknowledged=shown + FULLY_OPEN + 1, paced=False, hidden_bytes=hidden_bytes)


def test_a_vague_window_agrees_with_less_that_was_read_when_the_client_comes_later() -> None:
    for later, most in ((True, LONG_VAGUE), (False, LONG)):
        assert agrees(vague(5 * MB, 9 * MB), 5 * MB - most, resumed=True, later=later)
        assert not agrees(vague(5 * MB, 9 * MB), 5 * MB - most - 1, resumed=True, later=later)


def test_a_vague_window_agrees_with_more_where_little_is_left_and_the_client_comes_later() -> None:
    """Where the client stopped does not matter much then."""
    near = vague(5 * MB, 5 * MB + NEAR_VAGUE)
    assert agrees(near, 5 * MB + NEAR_VAGUE - 1, resumed=True, later=True)
    assert not agrees(near, 5 * MB + NEAR_VAGUE - 1, resumed=True, later=False), "a player that skips forward"
    assert not agrees(vague(5 * MB, 5 * MB + NEAR_VAGUE + 1), 5 * MB + NEAR_VAGUE, resumed=True, later=True)
    assert not agrees(vague(NEAR_VAGUE - 1, 2 * NEAR_VAGUE - 1), 2 * NEAR_VAGUE - 2, resumed=True, later=True)
    assert agrees(vague(5 * MB, 9 * MB), 5 * MB + SHORT, resumed=True, later=False)


def test_a_vague_window_may_hide_less() -> None:
    for later, most in ((True, HIDDEN_VAGUE), (False, HIDDEN_VAGUE // 2)):
        assert agrees(vague(5 * MB, 9 * MB, hidden_bytes=most), 5 * MB, resumed=True, later=later)
        assert not agrees(vague(5 * MB, 9 * MB, hidden_bytes=most + 1), 5 * MB, resumed=True, later=later)


@pytest.mark.parametrize(("after", "found"), [(SKIP, None), (SKIP + 0.001, 5 * MB + NEAR_VAGUE - 1)])
def test_a_fast_client_that_comes_at_once_may_have_skipped(after: float, found: int | None) -> None:
    near = vague(5 * MB, 5 * MB + NEAR_VAGUE)
    again = resumed(5 * MB + NEAR_VAGUE - 1, began=1.0 + after)
    assert proven(near, [near, again]) == found


# ---- skipped


@pytest.mark.parametrize(("began", "found"), [(1.0 - SKIP / 2, None), (1.0 + SKIP / 2, None), (1.0 + 2 * SKIP, 510 * KB)])
def test_a_player_that_skips_forward_at_once_confirms_nothing(began: float, found: int | None) -> None:
    """Its window showed 160 kB more than it had read."""
    left = cut(0, 100 * KB, 500 * KB, 900 * KB, began=0.2)
    assert proven(left, [left, resumed(510 * KB, began=began)]) == found
    assert proven(left, [left, resumed(900 * KB, began=began)]) == 900 * KB, "just where the connection ended"


def test_a_manager_goes_on_at_once_and_reads_elsewhere_too() -> None:
    cut_off, again = cut(0, 100 * KB, 500 * KB, 900 * KB, began=0.2), resumed(510 * KB, began=1.0)
    for moved, found in ((0.2 + SKIP / 2, None), (0.2 + 2 * SKIP, 510 * KB)):
        beside = segment(5 * MB, order=1, moved=moved)
        assert ran_beside(cut_off, beside) is (found is not None)
        assert proven(cut_off, [cut_off, beside, again]) == found
    assert not ran_beside(cut_off, cut_off)


# ---- is_lowest


def test_the_lowest_of_those_that_resume_decides() -> None:
    """A client lost what it had read from 150 kB on, and fetches it again in two segments."""
    lost = cut(0, 100 * KB, 300 * KB, 400 * KB)
    low, high = resumed(150 * KB), resumed(300 * KB)
    assert not is_lowest(lost, 300 * KB, [low, high])
    assert is_lowest(lost, 150 * KB, [low, high])
    assert proven(lost, [lost, low, high]) is None
    assert proven(lost, [lost, high]) == 300 * KB


def test_one_that_ran_before_the_cut_does_not_stand_against_one_above() -> None:
    """aria2: the first runs on into the second's bytes, the second is dropped, and the client resumes behind it."""
    first = cut(0, 100 * KB, 300 * KB, 400 * KB)
    second = segment(150 * KB, order=4, shown=150 * KB, ended=True)
    assert is_lowest(first, 300 * KB, [second, resumed(300 * KB)])
    assert proven(first, [first, second, resumed(300 * KB)]) == 300 * KB


# ---- is_deliberate


def test_what_is_read_for_long_enough_or_to_its_end_is_meant() -> None:
    assert not is_deliberate(segment(MB, shown=MB + DELIBERATE - 1))
    assert is_deliberate(segment(MB, shown=MB + DELIBERATE))
    assert is_deliberate(segment(MB, shown=MB + 10, orderly=True))


def test_a_short_segment_is_meant_when_all_of_it_is_read() -> None:
    """Though it ended by a reset: over TLS the client has our close_notify unread."""
    for made in (segment(MB, end=MB + 10), segment(MB, line=MB + 10)):
        made.shown = MB + 9
        assert not is_deliberate(made)
        made.shown = MB + 10
        assert is_deliberate(made)


def test_a_segment_is_meant_when_something_proves_what_was_read_of_it() -> None:
    told = {"shown": MB + 10, "sent": MB + 30 * KB, "ended": True}
    assert not is_deliberate(segment(MB, credited=MB + 10, **told))
    assert is_deliberate(segment(MB, credited=MB + 30 * KB, **told))
    assert not is_deliberate(segment(MB, credited=MB, **{**told, "sent": MB})), "nothing was sent of it"


@pytest.mark.parametrize("looked", [0, 16 * KB, DELIBERATE - 1])
def test_a_link_preview_confirms_nothing(looked: int) -> None:
    """It looks at a place within what is unconfirmed, and is gone."""
    stopped = cut(0, 100 * KB, 300 * KB, 400 * KB)
    preview = resumed(300 * KB, shown=300 * KB + looked, ended=True)
    assert proven(stopped, [stopped, preview]) is None
    assert proven(stopped, [stopped, preview, resumed(310 * KB, order=6)]) is None, "it may be another one's place"


def test_one_that_may_be_meant_yet_is_waited_for() -> None:
    """Else the one above it would settle what the lower one shows not to be read."""
    stopped = cut(0, 100 * KB, 300 * KB, 400 * KB)
    beside = segment(290 * KB, order=3, shown=291 * KB)
    above = segment(350 * KB, order=4, shown=500 * KB, orderly=True, ended=True)
    stopped.client_survived = True
    assert proven(stopped, [stopped, beside, above]) is None
    beside.ended = True
    assert proven(stopped, [stopped, beside, above]) == 350 * KB
    beside.shown = 290 * KB + DELIBERATE
    assert proven(stopped, [stopped, beside, above]) == 290 * KB


# ---- survived


def test_a_client_that_reads_on_beside_the_cut_has_survived() -> None:
    gone = cut(0, 100 * KB, 300 * KB, 400 * KB)
    assert survived(gone, segment(MB, order=4, moved=1.0 + LATER + 0.001))
    assert not survived(gone, segment(MB, order=4, moved=1.0 + LATER)), "a program that ends closes one after the other"
    assert not survived(gone, segment(MB, order=5, moved=9.0)), "it may be another program's, which lost what this one had read"


def test_a_manager_stopped_just_before_its_segments_meet_confirms_nothing() -> None:
    """The neighbour has been read for long, and what the window shows agrees with its beginning."""
    first = cut(0, 100 * KB, 300 * KB, 400 * KB)
    second = segment(320 * KB, order=4, shown=900 * KB, sent=900 * KB, ended=True, moved=1.01)
    assert proven(first, [first, second]) is None
    first.client_survived = True
    assert proven(first, [first, second]) == 320 * KB


# ---- all together: clients


def test_a_manager_that_is_stopped_and_resumed_settles_each_of_its_segments() -> None:
    story = Story(8 * MB)
    first = [story.begin(n * MB, 0.0) for n in range(8)]
    for n, one in enumerate(first):
        story.read(one, n * MB + 450 * KB, 0.9, sent=n * MB + 600 * KB, credited=n * MB + 200 * KB)
    for one in first:
        story.cut(one, 1.0)
    assert story.proven == []
    for n in range(8):
        again = story.begin(n * MB + 450 * KB, 2.0, (n + 1) * MB)
        assert story.read(again, n * MB + 450 * KB + DELIBERATE - 1, 2.5) == []
        assert story.read(again, n * MB + 450 * KB + DELIBERATE, 2.5) == [(n * MB + 200 * KB, n * MB + 450 * KB)]
        story.finish(again, 3.0)
    assert story.complete


def test_a_short_rest_counts_by_its_end() -> None:
    story = Story(MB)
    first = story.begin(0, 0.0)
    story.read(first, 980 * KB, 0.9, sent=MB, credited=700 * KB)
    story.cut(first, 1.0)
    assert story.finish(story.begin(990 * KB, 2.0), 2.5) == [(700 * KB, 990 * KB)]
    assert story.complete


def test_a_client_that_is_stopped_twice_within_a_short_time() -> None:
    """The second part was not read for long enough to be deliberate; the third proves that it was, and so the first."""
    story = Story(MB)
    first = story.begin(0, 0.0)
    story.read(first, 300 * KB, 0.9, sent=400 * KB)
    story.cut(first, 1.0)
    second = story.begin(310 * KB, 2.0)
    story.read(second, 320 * KB, 2.1, sent=380 * KB)
    assert story.cut(second, 2.2) == []
    assert story.finish(story.begin(330 * KB, 3.0), 4.0) == [(310 * KB, 330 * KB), (0, 310 * KB)]
    assert story.complete


def test_a_client_that_stops_where_its_neighbour_begins() -> None:
    """The line was missed by a little: 25 kB were sent beyond it. It does not matter which of the two is seen to end first."""
    for neighbour_first in (False, True):
        story = Story(MB)
        first, second = story.begin(0, 0.0), story.begin(500 * KB, 0.1)
        story.read(first, 510 * KB, 0.5, sent=525 * KB, credited=250 * KB)
        if neighbour_first:
            story.finish(second, 0.8)
            assert story.cut(first, 1.0) == []
            third = story.begin(0, 1.2)
            assert story.read(third, 1 * KB, 1.3) == [], "it began later, and says nothing of whether this client lives"
            assert story.unconfirmed == [(250 * KB, 525 * KB)]
        else:
            story.cut(first, 1.0)
            assert story.read(second, 900 * KB, 1.0 + LATER / 2) == []
            assert story.read(second, 901 * KB, 1.1 + LATER) == [(250 * KB, 500 * KB)]


def test_a_client_that_divides_a_running_segment() -> None:
    """aria2: the new request was seen 65 ms before the end of the old connection, over a link of 20 ms."""
    story = Story(MB)
    first, other = story.begin(0, 0.0), story.begin(900 * KB, 0.1)
    story.read(first, 500 * KB, 0.9, sent=560 * KB, credited=250 * KB)
    story.finish(other, 0.9)
    second = story.begin(500 * KB, 1.0)
    story.read(second, 600 * KB, 1.05)
    assert story.cut(first, 1.065) == []
    assert story.read(second, 700 * KB, 1.1) == []
    assert story.read(second, 800 * KB, 1.2) == [(250 * KB, 500 * KB)]


@pytest.mark.parametrize("hidden", [0, 62 * KB, 70 * KB])
def test_eight_that_read_nothing_do_not_complete_a_file(hidden: int) -> None:
    """FTP segments of 119 kB are cut together unread; then one resumes behind the last and reads to the end of 1 MB."""
    story = Story(1_000 * KB)
    first = [story.begin(n * 119 * KB, 0.0) for n in range(8)]
    for n, one in enumerate(first):
        start = n * 119 * KB
        story.read(one, start + hidden, 0.9, sent=min(start + 130 * KB, 1_000 * KB))
    for n, one in enumerate(first):
        story.cut(one, 1.0 + n / 1000)
    story.finish(story.begin(952 * KB, 2.0), 3.0)
    assert not story.complete
    assert set(story.proven) <= {(833 * KB, 952 * KB)}, "what a window hides, of one segment"
    assert hidden or not story.proven


@pytest.mark.parametrize("skipped", [99 * KB, 499 * KB, 2 * MB])
@pytest.mark.parametrize("sent", [100 * KB, 400 * KB, 3 * MB])
def test_a_player_that_skips_forward_confirms_nothing(skipped: int, sent: int) -> None:
    story = Story(20 * MB)
    first = story.begin(0, 0.0)
    story.read(first, 5 * MB, 0.9, sent=5 * MB + sent, credited=4 * MB)
    story.cut(first, 1.0)
    second = story.begin(5 * MB + skipped, 1.01)
    story.read(second, 9 * MB, 2.0)
    story.finish(second, 3.0)
    assert story.proven == []


def test_a_client_that_opens_a_file_further_on_after_a_gate_was_killed_confirms_nothing() -> None:
    for further in (1 * MB, 2 * MB, 3 * MB):
        story = Story(20 * MB, [left("old", 0, credited=4 * MB, shown=5 * MB, sent=5 * MB + 200 * KB, exact=True)])
        story.finish(story.begin(5 * MB + 200 * KB + further, 1.0), 9.0)
        assert story.proven == []
        assert story.unconfirmed == [(4 * MB, 5 * MB + 200 * KB)]


def test_of_two_segments_of_a_killed_gate_the_one_that_is_resumed_is_settled() -> None:
    """Two zones that touch are two all the same."""
    story = Story(
        2 * MB, [left("one", 0, credited=400 * KB, shown=900 * KB, sent=1_050 * KB),
                 left("two", 1 * MB, credited=1_100 * KB, shown=1_500 * KB, sent=1_700 * KB)],
    )  # fmt: skip
    story.finish(story.begin(1_500 * KB, 1.0), 2.0)
    assert story.proven == [(1_100 * KB, 1_500 * KB)]
    assert story.unconfirmed == [(400 * KB, 1_050 * KB)]


def test_who_resumes_after_a_gate_was_killed_settles_what_it_had_read() -> None:
    """Its window was seen last 200 ms before, and all that was written has come."""
    story = Story(9 * MB, [left("old", 0, credited=4 * MB, shown=4 * MB, sent=6 * MB, exact=True)])
    story.finish(story.begin(6 * MB, 1.0), 2.0)
    assert story.proven == [(4 * MB, 6 * MB)]


def test_beginning_a_segment_again_is_not_resuming_the_one_before() -> None:
    story = Story(1_000 * KB)
    first, second = story.begin(0, 0.0), story.begin(375 * KB, 0.0)
    story.read(first, 100 * KB, 0.9, sent=500 * KB)
    story.read(second, 375 * KB, 0.9, sent=600 * KB)
    story.cut(first, 1.0)
    story.cut(second, 1.0)
    story.finish(story.begin(375 * KB, 2.0), 3.0)
    assert story.proven == []


def test_a_hole_that_is_cut_up_anew() -> None:
    """Two segments were cut with nothing read of them; the client comes back with other segments of the same hole."""
    story = Story(1_000 * KB)
    first, second = story.begin(0, 0.0), story.begin(400 * KB, 0.0)
    story.read(first, 30 * KB, 0.9, sent=130 * KB)
    story.read(second, 430 * KB, 0.9, sent=530 * KB)
    story.cut(first, 1.0)
    story.cut(second, 1.0)
    for start in (0, 300 * KB):
        story.begin(start, 2.0)
    story.finish(story.begin(500 * KB, 2.0), 3.0)
    assert story.proven == []


def test_a_probe_does_not_stand_against_resuming() -> None:
    """aria2 asks for the whole file first, drops that, and goes on from where it was."""
    story = Story(1_000 * KB)
    first = story.begin(0, 0.0)
    story.read(first, 500 * KB, 0.9, sent=600 * KB, credited=400 * KB)
    story.cut(first, 1.0)
    probe = story.begin(0, 2.0)
    story.read(probe, 20 * KB, 2.05, sent=120 * KB)
    story.cut(probe, 2.1)
    again = story.begin(500 * KB, 2.2)
    assert story.read(again, 600 * KB, 3.0) == [(400 * KB, 500 * KB)]


def test_a_tail_of_another_time_confirms_nothing() -> None:
    """A client holds the tail, fetches from the start, and gives up just before the tail."""
    story = Story(1_000 * KB)
    story.finish(story.begin(700 * KB, 0.0), 0.5)
    first = story.begin(0, 1.0)
    story.read(first, 690 * KB, 1.9, sent=750 * KB, credited=400 * KB)
    story.cut(first, 2.0)
    assert story.proven == []
    assert story.unconfirmed == [(400 * KB, 750 * KB)]


def test_a_segment_proves_nothing_of_one_it_does_not_begin_in() -> None:
    """Nothing follows from a proof: it settles one segment."""
    story = Story(3 * MB)
    first, second = story.begin(0, 0.0), story.begin(MB, 0.0)
    for n, one in enumerate((first, second)):
        story.read(one, n * MB + 990 * KB, 0.9, sent=n * MB + 1_020 * KB, credited=n * MB + 700 * KB)
    story.cut(first, 1.0)
    story.cut(second, 1.0)
    story.finish(story.begin(MB + 990 * KB, 2.0), 3.0)
    assert story.proven == [(MB + 700 * KB, MB + 990 * KB)]


def test_every_rule_is_named_in_the_list_of_them() -> None:
    assert rules.__doc__ is not None
    for rule in (begins_within, is_lowest, agrees, is_deliberate, survived):
        assert f"`{rule.__name__}`" in rules.__doc__


def test_a_client_that_fetches_everything_again_does_not_confirm_what_was_sent_before() -> None:
    """Its gate was killed; it begins anew with the same boundaries, at 0 and at 500 kB."""
    killed = cut(0, 100 * KB, 300 * KB, 500 * KB, exact=True)
    again = resumed(0, shown=64 * KIB, order=6)
    behind = resumed(500 * KB, shown=600 * KB, order=7)
    assert proven(killed, [killed, again, behind]) is None
    assert proven(killed, [killed, behind]) == 500 * KB


def test_a_request_for_the_whole_that_is_dropped_at_once_contradicts_nothing() -> None:
    """aria2 asks for the whole before it resumes."""
    killed = cut(0, 100 * KB, 300 * KB, 500 * KB, exact=True)
    probe = resumed(0, shown=16 * KB, order=6, ended=True)
    assert proven(killed, [killed, probe, resumed(500 * KB, shown=600 * KB, order=7)]) == 500 * KB
