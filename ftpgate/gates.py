"""What the gates of one shop tell each other, through the shop's database (`Bridge.exchange`).

Several gates may serve one grant at the same time. Each then knows the segments of all, so that a transfer stops where another
gate's has begun, and a segment that was cut at one gate is proven by one that its client began at another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ftpgate.proof.coverage import Span
from ftpgate.proof.segments import Evidence


class Covered(NamedTuple):
    """All that is recorded as delivered of one file under one grant."""

    grant: str
    file: int
    spans: Sequence[Span]


@dataclass(frozen=True, slots=True)
class SegmentNews:
    """A segment as its gate tells the others of it.

    Attributes:
        evidence: its positions, without what is unconfirmed by file, which follows from them.
        line: where it stops next.
        ended: nothing more is sent of it.
        orderly: it was credited to its end, or to the line where its client ended.
        began, moved: how many seconds ago it began, and was last acknowledged or ended, None of one
            that an ended gate has left, of which nobody knows.
    """

    evidence: Evidence
    line: int
    ended: bool
    orderly: bool
    began: float | None
    moved: float | None


@dataclass(frozen=True, slots=True)
class Told:
    """What one gate tells in one exchange, and what it asks for.

    Attributes:
        gate: its id.
        number: counts its exchanges, from 1.
        taken_at: when this was put together, by `time.monotonic`; the seconds of `segments` count from it.
        holds: grants that it serves from now on.
        releases: grants that it serves no longer: it has forgotten their segments.
        segments: news of its own ones, of grants that another gate holds too.
        begun: the grants among theirs of which a segment is told of for the first time: others should hear of it soon.
        settled: ids of those that say nothing any more.
        heard: the number of the last exchange that was heard of each other gate: of its segments only later news are asked for.
        anew: grants that have become shared: all that is known of their segments is asked for.
        delivered: what is known to be delivered, for grants whose recorded coverage is asked for: bytes by `File.id` and grant.
    """

    gate: str
    number: int
    taken_at: float
    holds: Sequence[str] = ()
    releases: Sequence[str] = ()
    segments: Sequence[SegmentNews] = ()
    begun: frozenset[str] = frozenset()
    settled: Sequence[str] = ()
    heard: Mapping[str, int] = field(default_factory=dict)
    anew: Sequence[str] = ()
    delivered: Mapping[str, Mapping[int, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GateNews:
    """What another gate has told last.

    Attributes:
        number: of that exchange.
        age: seconds, when it was read, since it was put together: whatever began before that at this gate is known now.
        segments: what is new of its segments.
    """

    number: int
    age: float
    segments: Sequence[SegmentNews] = ()


@dataclass(frozen=True, slots=True)
class Heard:
    """What an exchange answers.

    Attributes:
        others: how many other gates run.
        at: when the others' news were read, by `time.monotonic`; their seconds count back from it.
        forgotten: the shop has forgotten what this gate had told, having heard nothing for long: it has to tell all again.
        shared: grants of this gate that others hold too, with the ids of those gates.
        gates: by id, the gates that hold any of these. One that is not here any more has ended.
        covered: recorded coverage of files of which more is recorded than the gate knew.
    """

    others: int
    at: float = 0.0
    forgotten: bool = False
    shared: Mapping[str, frozenset[str]] = field(default_factory=dict)
    gates: Mapping[str, GateNews] = field(default_factory=dict)
    covered: Sequence[Covered] = ()
