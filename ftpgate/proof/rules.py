"""What proves how far the client of a segment has read that was cut: the beginning of another segment.

A client that goes on at byte x holds what is before x. A cut segment's unconfirmed bytes before x are delivered when every
one of these holds:

- x lies in what is unconfirmed of it (`begins_within`);
- no segment that began later begins there below x (`is_lowest`);
- the window of the cut one agrees that its client read to x (`agrees`);
- the segment at x went on, so that it was meant (`went_on`).

Whether the segment at x began before or after the cut does not matter: over a link of 20 ms a new request was seen 65 ms
before the end of the old connection, and other ends 1.7 s late. Nothing follows from a proof: it settles one segment.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter

from ftpgate.proof.segments import Segment
from ftpgate.proof.window import KIB

MEANT = 64 * KIB
"""Bytes that a segment has to be read for before it counts as meant: a client that looks around drops it earlier."""
SHORT = 64 * KIB
"""Bytes by which a window may show less than was read: one segment on its way (64 kB over a loopback). Measured: 62 kB."""
LONG = 128 * KIB
"""Bytes by which the window of a paced connection may show more than was read. Measured: 60 kB with one connection, 116 kB with
forty."""
NEAR = 128 * KIB
"""Bytes between what such a window shows as read and what was sent, up to which it does not matter where the client stopped."""
LONG_VAGUE = 512 * KIB
NEAR_VAGUE = 384 * KIB
"""The same of connections without a limit, or beyond PACED_RATE, and of TLS, whose records fill a receiver's buffer with more than
their data. Measured: 227 kB less than was read, 130 kB sent beyond. They show more at times; that stays unconfirmed."""
CONCEALED = 512 * KIB
"""A window that may hide more than this agrees with nothing."""


def proven(cut: Segment, others: Iterable[Segment]) -> int | None:
    """The byte up to which `cut` was read, as another segment of the resource shows; None when none does."""
    within = sorted((other for other in others if begins_within(other, cut)), key=attrgetter("start"))
    for x in dict.fromkeys(other.start for other in within if agrees(cut, other.start)):
        there = [other for other in within if other.start == x]
        if any(went_on(other) for other in there):
            return x if is_lowest(cut, x, within) else None
        if not all(other.ended for other in there):
            return None  # it may go on yet
    return None


def begins_within(other: Segment, cut: Segment) -> bool:
    """Does `other` begin within what is unconfirmed of `cut`?

    Without it, a client confirms what was never sent: the gate is killed, and the client opens the file 3 MB further on.
    """
    return other is not cut and cut.credited < other.start <= cut.sent


def agrees(cut: Segment, x: int) -> bool:
    """Does the window of `cut` agree that its client read to byte `x` and no further?

    Without it, a player that skips forward confirms what it has skipped, and eight segments that read nothing and are cut
    together are confirmed by one that resumes behind the last.
    """
    if cut.exact and x == cut.sent:
        return True  # the client was left with all that had been written, and goes on where that ended
    most, near = (LONG, NEAR) if cut.paced else (LONG_VAGUE, NEAR_VAGUE)
    if cut.concealed > CONCEALED or cut.shown - x > most:
        return False
    return x - cut.shown <= SHORT or cut.sent - cut.shown <= near


def is_lowest(cut: Segment, x: int, within: Iterable[Segment]) -> bool:
    """Does no segment that began after `cut` begin below `x`?

    Without it, a client that lost what it had read, and fetches it again in two segments, confirms what the first of them is
    still to bring.
    """
    return not any(other.start < x and other.order > cut.order and not agrees(cut, other.start) for other in within)


def went_on(other: Segment) -> bool:
    """Was `other` read for MEANT bytes, or to its end?

    Without it, a link preview or a media player that only looks at a place confirms what is before it.
    """
    return other.orderly or other.shown - other.start >= MEANT
