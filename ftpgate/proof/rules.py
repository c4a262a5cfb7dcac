"""What proves how far the client of a segment has read that was cut: the beginning of another segment.

A client that goes on at byte x holds what is before x. A cut segment's unconfirmed bytes before x are delivered when every
one of these holds:

- x lies in what is unconfirmed of it (`begins_within`);
- no segment that began later begins there below x (`is_lowest`);
- what the connection shows agrees with x (`agrees`);
- a segment that begins at once where another one is cut belongs to a client that reads at several places (`skipped`);
- the segment at x was read for long enough to be deliberate, or to its end (`is_deliberate`);
- it began after the cut, or the client went on after it (`survived`).

Segments of other gates count as those of this one; their times are within CLOCK_ERROR only, and serve where they are surely so.

The segment at x may have begun before the cut or after it: over a link of 20 ms a new request was seen 65 ms before the end of
the old connection, and other ends 1.7 s late. A proof settles one segment, and shows that this one was deliberate.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from operator import attrgetter

from ftpgate.proof.segments import CLOCK_ERROR, Segment
from ftpgate.proof.window import FULLY_OPEN, KIB

DELIBERATE = 64 * KIB
"""Bytes that a segment has to be read for before it counts as deliberate: a client that looks around drops it earlier."""
SHORT = 64 * KIB
"""Bytes by which a window may show less than was read: one segment on its way (64 kB over a loopback). Measured: 62 kB."""
LONG = 128 * KIB
"""Bytes by which the window of a paced connection may show more than was read. Measured: 60 kB with one connection, 116 kB with
forty."""
HIDDEN = 1024 * KIB
"""The window of a paced connection that may hide more than this agrees with nothing: its client reads in bursts."""
LONG_VAGUE = 512 * KIB
NEAR_VAGUE = 384 * KIB
HIDDEN_VAGUE = 512 * KIB
"""The same of faster connections, and of fast TLS, whose records fill a receiver's buffer with more than their data; and the
bytes between what the window shows as read and what was sent, up to which it does not matter where the client stopped. Measured:
227 kB less than was read, 130 kB sent beyond. They show more at times; that stays unconfirmed."""
LATER = 0.1
"""Seconds after a cut from which on what a client reads is no part of the same stop: a program that ends closes its connections
one after the other."""
SKIP = 0.05
"""Seconds before or after a cut within which a player that skips forward asks for the new place. Measured: at most 17 ms."""


def proven(cut: Segment, others: Iterable[Segment]) -> int | None:
    """The byte up to which `cut` was read, as another segment of the resource shows; None when none does."""
    others = list(others)
    within = sorted((other for other in others if begins_within(other, cut)), key=attrgetter("start"))
    for x, starting in groupby(within, key=attrgetter("start")):
        there = list(starting)
        new = [other for other in there if began_after(other, cut)]
        later = any(other.began > cut.moved + SKIP + clock_error(cut, other) for other in new)
        if not agrees(cut, x, resumed=new == there, later=later) or skipped(cut, x, there, others):
            continue
        if any(is_deliberate(other) for other in there):
            client_survived = cut.client_survived or any(is_deliberate(other) for other in new)
            return x if client_survived and is_lowest(cut, x, others) else None
        if not all(other.ended for other in there):
            return None  # it may turn out deliberate yet
    return None


def began_after(other: Segment, cut: Segment) -> bool:
    """Did `other` surely begin after `cut` had ended?"""
    if other.remote or cut.remote:
        return other.began > cut.over + CLOCK_ERROR
    return other.order >= cut.ended_at


def may_have_begun_after(other: Segment, cut: Segment) -> bool:
    """Is it possible that `other` began after `cut` had ended?"""
    if other.remote or cut.remote:
        return other.began > cut.over - CLOCK_ERROR
    return other.order >= cut.ended_at


def clock_error(cut: Segment, other: Segment) -> float:
    """Seconds by which the times of the two may be off against each other."""
    return CLOCK_ERROR if other.remote or cut.remote else 0.0


def begins_within(other: Segment, cut: Segment) -> bool:
    """Does `other` begin within what is unconfirmed of `cut`, before the end of what that was asked for?

    Without it, a client confirms what was never sent: the gate is killed, and the client opens the file 3 MB further on. And of a
    range that was sent to its end, the next one confirms all, though its client would have ended in order if it had read it.
    """
    return other is not cut and cut.credited < other.start <= cut.sent and other.start < cut.end


def agrees(cut: Segment, x: int, *, resumed: bool, later: bool) -> bool:
    """Does what the connection of `cut` shows agree with its client having read to byte `x` and no further?

    Without it, a player that skips forward confirms what it has skipped, and eight segments that read nothing and are cut
    together are confirmed by one that resumes behind the last.

    Args:
        resumed: no segment began at `x` before the cut. Who goes on then at just the byte where the connection ended, of what was
        acknowledged or of what was sent, has read it all; but where it stood at a line, that is a place which its client knew
        before, though nothing may be left of what began there.
        later: a segment began at `x` some time after the cut: its client does not skip forward.
    """
    if resumed and x != cut.line and (is_end(cut, x) or (cut.exact and cut.acknowledged <= x <= cut.sent)):
        return True
    if cut.paced:
        most, hidden, near = LONG, HIDDEN, 0
    elif later:
        most, hidden, near = LONG_VAGUE, HIDDEN_VAGUE, NEAR_VAGUE
    else:
        most, hidden, near = LONG, HIDDEN_VAGUE // 2, 0
    if cut.hidden_bytes > hidden or cut.shown - x > most:
        return False
    shown = cut.acknowledged if cut.acknowledged - cut.shown <= FULLY_OPEN else cut.shown
    read = shown - cut.start  # of what is hardly read at all, a window hides all the rest
    return x - shown <= min(SHORT, read) or (cut.sent - shown <= near and read >= near)


def is_end(cut: Segment, x: int) -> bool:
    """Is `x` just where the connection ended: what was acknowledged, or what was sent?"""
    return x in (cut.acknowledged, cut.sent)


def skipped(cut: Segment, x: int, there: Iterable[Segment], others: Iterable[Segment]) -> bool:
    """Did the client leave `cut` for `x` at once, as a player does that skips forward, and read nowhere else beside it?

    Without it, what such a player has skipped is confirmed: it reads in bursts, and its window hides up to a megabyte.
    """
    if is_end(cut, x) or any(abs(other.began - cut.moved) > SKIP + clock_error(cut, other) for other in there):
        return False
    return not any(ran_beside(cut, other) for other in others)


def ran_beside(cut: Segment, other: Segment) -> bool:
    """Were both read at the same time, for longer than a player needs to change from one to the other?"""
    both = min(cut.moved, other.moved) - max(cut.began, other.began)
    return other is not cut and both > SKIP + clock_error(cut, other)


def is_lowest(cut: Segment, x: int, others: Iterable[Segment]) -> bool:
    """Does no segment that began after `cut` was cut begin below `x`, in what was sent of `cut`?

    Without it, a client that lost what it had read, and fetches it again in two segments, confirms what the first of them is
    still to bring. In what is delivered already, a segment counts only if it is deliberate: aria2 asks for the whole before it
    resumes.
    """
    below = (other for other in others if cut.start <= other.start < x and may_have_begun_after(other, cut))
    return not any(other.start > cut.credited or is_deliberate(other) for other in below)


def is_deliberate(other: Segment) -> bool:
    """Was `other` read for DELIBERATE bytes, or to the end of what it was asked for, or as far as something proves?

    Without it, a link preview or a media player that only looks at a place confirms what is before it.
    """
    proven = other.ended and other.start < other.credited == other.sent
    return other.orderly or proven or other.shown >= min(other.start + DELIBERATE, other.end, other.line)


def survived(cut: Segment, other: Segment) -> bool:
    """Does `other`, which ran beside `cut`, show that its client read on after the cut?

    Without it, a manager that is stopped just before its segments reach each other's beginnings confirms them all.
    """
    beside = not began_after(other, cut)
    return other is not cut and beside and other.moved > cut.over + LATER + clock_error(cut, other)
