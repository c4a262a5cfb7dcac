"""Segments of other gates, of which this one hears later and whose times are vague: what they prove, and what they must not."""

from __future__ import annotations

from math import inf

from ftpgate.proof.coverage import SpanSet
from ftpgate.proof.reconciler import LINES
from ftpgate.proof.rules import DELIBERATE, LATER, SKIP
from ftpgate.proof.segments import CLOCK_ERROR, Evidence, RemoteSegment, Segment
from tests.ftpgate.proof.segments import KB, Story, left

MB = 1_000_000
FAR = 100.0
"""A time by which all has been told."""


def remote(
    start: int, *, read: int = DELIBERATE, began: float, moved: float, id: str = "far-1", gate: str = "far", ended: bool = False,
    sent: int = 0, credited: int = 0, orderly: bool = False,
) -> RemoteSegment:  # fmt: skip
    """One of another gate, paced, of which `read` bytes are acknowledged and shown as read."""
    shown = start + read
    evidence = Evidence(id, "g", "f1", start, 10 * MB, max(sent, shown), max(sent, shown), shown, 0, max(credited, start), True)
    return RemoteSegment(gate, evidence, line=10 * MB, ended=ended, orderly=orderly, began=began, moved=moved)


def hear(story: Story, *told: RemoteSegment, until: float = FAR) -> list[tuple[int, int]]:
    found = story.reconciler.hear(told, until)
    story.delivered.update(found)
    return found


def cut_here(story: Story, *, at: float = 1.0) -> None:
    """The first segment, read to 500 kB by its window, 900 kB of it sent, is cut."""
    first = story.begin(0, 0.0)
    story.read(first, 500 * KB, at, sent=900 * KB, credited=244 * KB)
    story.cut(first, at)


def test_a_client_that_goes_on_at_another_gate_proves_what_it_has_read() -> None:
    story = Story(10 * MB)
    cut_here(story)
    assert hear(story, remote(510 * KB, began=2.0, moved=3.0)) == [(244 * KB, 510 * KB)]
    assert story.unconfirmed == []


def test_nothing_is_proven_before_all_that_had_begun_by_then_is_known() -> None:
    """A client that lost what it had read fetches it again in two segments: of the lower one another gate tells later."""
    story = Story(10 * MB)
    cut_here(story)
    assert hear(story, remote(510 * KB, began=2.0, moved=3.0), until=2.9) == []
    lower = remote(400 * KB, began=2.0, moved=2.8, id="third-1", gate="third")
    assert hear(story, lower, until=3.1) == [(244 * KB, 400 * KB)]


def test_what_has_waited_is_proven_once_it_is_known() -> None:
    story = Story(10 * MB)
    hear(story, until=0.0)
    cut_here(story)
    again = story.begin(510 * KB, 2.0)
    assert story.read(again, 510 * KB + DELIBERATE, 3.0) == []
    assert hear(story, until=2.9) == []
    assert hear(story, until=3.0) == [(244 * KB, 510 * KB)]


def test_nothing_waits_once_the_others_are_gone() -> None:
    story = Story(10 * MB)
    hear(story, until=-inf)
    cut_here(story)
    story.read(story.begin(510 * KB, 2.0), 510 * KB + DELIBERATE, 3.0)
    assert hear(story, until=inf) == [(244 * KB, 510 * KB)]


def test_one_that_may_have_begun_before_the_cut_shows_no_client_that_lives() -> None:
    """A manager with segments at two gates is stopped, just before the first of them reaches the second."""
    for after, proves in ((CLOCK_ERROR, False), (CLOCK_ERROR + 0.001, True)):
        story = Story(10 * MB)
        story.read(story.begin(9 * MB, 0.0), 9 * MB + 1, 0.9)
        cut_here(story)
        found = hear(story, remote(510 * KB, began=1.0 + after, moved=1.0 + after))
        assert bool(found) is proves, after


def test_one_that_ran_beside_the_cut_shows_a_client_that_lives_when_it_surely_goes_on() -> None:
    for later, proves in ((LATER + CLOCK_ERROR, False), (LATER + CLOCK_ERROR + 0.001, True)):
        story = Story(10 * MB)
        cut_here(story)
        assert bool(hear(story, remote(510 * KB, began=0.2, moved=1.0 + later))) is proves, later


def test_a_player_that_skips_to_another_gate_confirms_nothing() -> None:
    """It left the first place for the second within SKIP, as far as the times tell."""
    for gap, proves in ((SKIP + CLOCK_ERROR - 0.01, False), (SKIP + CLOCK_ERROR + 0.01, True)):
        story = Story(10 * MB)
        cut_here(story)
        assert bool(hear(story, remote(510 * KB, began=1.0 + gap, moved=9.0))) is proves, gap


def test_one_that_may_have_begun_after_the_cut_and_below_keeps_the_rest_unconfirmed() -> None:
    for before, proves in ((CLOCK_ERROR - 0.01, False), (CLOCK_ERROR + 0.01, True)):
        story = Story(10 * MB)
        cut_here(story)
        hear(story, remote(300 * KB, began=1.0 - before, moved=1.0 - before + 0.001))
        found = story.read(story.begin(510 * KB, 2.0), 510 * KB + DELIBERATE, 3.0)
        assert bool(found) is proves, before


def test_a_transfer_stops_where_one_of_another_gate_has_begun() -> None:
    story = Story(10 * MB)
    first = story.begin(0, 0.0)
    story.read(first, 100 * KB, 0.5)
    hear(story, remote(2 * MB, began=0.4, moved=0.5))
    assert first.line == 2 * MB
    assert story.begin(MB, 0.6).line == 2 * MB
    hear(story, remote(50 * KB, began=0.4, moved=0.5, id="far-2"))
    assert first.line == MB, "it is past that"
    first.lines = LINES
    first.line = 10 * MB
    hear(story, remote(5 * MB, began=0.4, moved=0.5, id="far-3"))
    assert first.line == 10 * MB, "it has stopped often enough"


def test_segments_of_another_gate_stop_by_themselves() -> None:
    story = Story(10 * MB)
    far = remote(0, began=0.0, moved=0.5)
    hear(story, far)
    story.begin(5 * MB, 1.0)
    assert far.line == 10 * MB


def test_a_cut_at_another_gate_is_proven_here_as_well() -> None:
    story = Story(10 * MB)
    hear(story, remote(0, read=500 * KB, sent=900 * KB, credited=244 * KB, began=0.0, moved=1.0, ended=True))
    assert story.unconfirmed == [(244 * KB, 900 * KB)]
    story.read(story.begin(510 * KB, 2.0), 510 * KB + DELIBERATE, 3.0)
    assert story.proven == [(244 * KB, 510 * KB)]


def test_what_was_proven_here_stays_though_its_gate_tells_of_it_as_before() -> None:
    def cut_there(credited: int, sent: int) -> RemoteSegment:
        return remote(0, read=500 * KB, sent=sent, credited=credited, began=0.0, moved=1.0, ended=True)

    story = Story(10 * MB)
    hear(story, cut_there(244 * KB, 900 * KB))
    story.read(story.begin(510 * KB, 2.0), 510 * KB + DELIBERATE, 3.0)
    hear(story, cut_there(244 * KB, 900 * KB), until=0.0)
    assert story.unconfirmed == []
    other = Story(10 * MB)
    hear(other, cut_there(244 * KB, 900 * KB))
    hear(other, cut_there(510 * KB, 510 * KB))
    assert other.unconfirmed == [], "its gate has proven it"


def test_news_move_a_segment_on_until_it_ends() -> None:
    story = Story(10 * MB)
    hear(story, remote(0, read=100 * KB, began=0.0, moved=1.0))
    hear(story, remote(0, read=900 * KB, credited=900 * KB, began=0.0, moved=2.0, ended=True, orderly=True))
    story.delivered.add(0, 900 * KB)
    assert story.reconciler.settle() == [], "others are not told that it is settled: it is not ours"
    assert story.reconciler.idle


def test_a_gate_that_lets_go_takes_its_segments_along() -> None:
    story = Story(10 * MB)
    hear(story, remote(0, began=0.0, moved=1.0), remote(MB, began=0.0, moved=1.0, id="third-1", gate="third"))
    own = story.begin(2 * MB, 1.0)
    story.reconciler.drop("far")
    assert [segment.start for segment in story.reconciler._segments] == [MB, 2 * MB]
    assert list(story.reconciler.own()) == [own]
    story.reconciler.drop("third")
    assert list(story.reconciler._segments) == [own]


def test_what_another_gate_left_without_proof_may_have_run_beside_all_that_has_begun_here() -> None:
    """Segments of one manager ran at both gates, and it was stopped when one of them was killed."""
    story = Story(MB, [])
    beside = story.begin(600 * KB, 0.5)
    story.read(beside, 600 * KB + DELIBERATE, 1.0)
    late = Segment.left(left("old", 0, credited=300 * KB, shown=580 * KB, sent=700 * KB, exact=True), now=2.0)
    assert story.reconciler.inherit(late) == []
    assert story.read(beside, 700 * KB, 2.0 + LATER) == []
    assert story.read(beside, 710 * KB, 2.0 + LATER + 0.01) == [(300 * KB, 600 * KB)]


def test_coverage_is_no_business_of_the_times() -> None:
    """A line at delivered coverage stands whatever other gates do."""
    story = Story(10 * MB)
    story.delivered.update(SpanSet([(MB, 2 * MB)]))
    hear(story, remote(5 * MB, began=0.0, moved=1.0))
    assert story.begin(0, 1.0).line == MB
