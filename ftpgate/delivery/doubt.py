"""The zone of doubt: what a cut connection may or may not have brought, and how the client's own behaviour settles it.

A cut connection leaves a zone from "surely read" to "perhaps read" (`credit.py`). Good download managers cut all the time: an
FTP segment has no other end. Crediting the zone completes albums that did not arrive; never crediting it leaves holes
for ever. So the client's own behaviour has to say where it stopped reading, at some `x` within the zone; what lies
before `x` is confirmed then. Three things say it, all of the same resource under the same grant:

Another transfer starts at `x`:

- when it began after the cut and went on for 64 KiB or to its orderly end: nobody resumes at `x` without holding what
  is before it. It settles one zone only, the one that begins nearest below `x`, and nothing follows from that: eight
  segments that read nothing and are cut together must not fall like dominoes when one client resumes behind the last.
  (Unless its client was connected before the cut: then it is the one that stopped there by itself, and a chain may
  follow.) Of several the first in order has resumed, the others share what it found missing; one that starts where
  another had started before the cut begins that one again, having kept nothing of it; and where the cut one shows no
  sign of having been read, new segments before it in the same hole say that the hole is cut up anew;
- when the client had it beside the cut one and it is sound: it ended in order, or was still being acknowledged a second
  after the cut, or is confirmed up to its own end by one beside it (a chain that is rooted in a sound one). Beside are
  those of one period in which something was always under way, or that ended after the cut one's client had connected. Of
  several, the one that begins first decides, since the cut one read no further than to there: while that is open, the
  zone waits. One that came to a dead end itself, cut with nothing in its own zone while the client went on elsewhere,
  was given up for the cut one and is passed over, as is one that the cut one has surely read past: aria2 and lftp drop a
  segment when the one before has run into it.

Bytes from `x` on were delivered before: a transfer that has resumed stops where it meets what the client holds already.
No transfer of its own period begins there; that others beside it went on shows that it stopped by itself.

All is quiet, and nothing is missing but zones that reach up to what is held or confirmed; the client has gone away
without ever coming back for them. Then each counts that is sound by the above; or that took up a rest, or a share of one,
and whose window shows that it stopped at `x`; or that had another beside it which begins at `x`, while the client did not
die with the cut, but went on to begin something, or to end it in order (`DoubtBook._lived_on`).

Pure: events in, confirmed ranges out; time passed in. Positions are bytes of the resource.
"""

from __future__ import annotations

import math
from bisect import bisect_right, insort_right
from collections import deque
from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import NamedTuple

from ftpgate.coverage import Span, SpanSet

RESUMED = 64 * 1024
"""Bytes that a resuming transfer has to bring before it counts as meant."""
LITTLE = 128 * 1024
"""Bytes that a window may hide of what is unread; less than this is no sign of reading."""
ALIVE = 1.0
"""Seconds after a cut at which a transfer beside it has to be still acknowledged."""
QUIET = 1.0
"""Seconds without any transfer of the resource after which the client is done with it, for now."""
LATER = 0.02
"""Seconds after a cut from which on something is not part of the same stop; and before it, since a cut may be noticed late."""
SOON = 0.5
"""Seconds after a cut in which the same client may have connected anew: axel drops all that it has to share the rest anew, and
a busy machine takes its time between one segment and the next (measured: 0.26)."""
SEVERAL = 3
"""Long runs that stop just at the starts of others, about the same time: a client that does so ends its segments by itself."""
PAST = 3 * 1024 * 1024
"""Bytes by which a window may show more than was read, at the most; from there on it is sure that the client read on past."""
LIKELY_PAST = 1024 * 1024
"""The same for a place where nothing was read by its own run. Measured: up to 0.9 MB where the client had stopped by itself."""
NEAR = 512 * 1024
"""Bytes by which a window may show more than was read where a transfer has stopped by itself. It hides more at times, on
unlimited connections; then that is fetched again."""
LONG = 1024 * 1024
"""Bytes of a run that stops within NEAR of another's start hardly by accident."""
SHORT = 40 * 1024
"""Bytes by which a window may show less than was read (`acknowledgement.OVERHEAD`)."""
ZONES = 128
RUNS = 256
"""Zones and runs remembered for one resource; beyond it the oldest are forgotten, which only costs a repeat."""


class Run:
    """One transfer of the resource: where it began and how it ended."""

    __slots__ = ("acknowledged", "arrived", "began", "ended", "moved", "period", "settled", "sound", "start", "weak")

    def __init__(self, start: int, began: float, arrived: float, period: int) -> None:
        self.start = start
        self.period = period
        """Counts the times in which something of the resource was under way without a pause."""
        self.arrived = arrived
        """When its client connected. Whoever was there before a cut did not die with it."""
        self.began = self.moved = began
        self.acknowledged = start
        self.ended: float | None = None
        self.sound = False
        """It ended in order, or one beside it confirms what it had brought when it was cut."""
        self.settled = False
        """It has settled a zone by resuming; it may not settle a second."""
        self.weak = False
        """It was cut, and not even the client's window says that it had read of it."""

    def went_on(self, after: float) -> bool:
        """Was it acknowledged, or did it end in order, later than that?"""
        return self.moved > after or (self.sound and (self.ended or 0.0) > after)


class Zone:
    """Bytes `[start, end)` of a cut run that are in doubt; its window shows those before `shown` to have been read.

    `run` and `shown` are None for one that an earlier gate left behind.
    """

    __slots__ = ("cut", "end", "run", "shown", "start")

    def __init__(self, run: Run | None, start: int, end: int, cut: float, shown: int | None = None) -> None:
        self.run = run
        self.start = start
        self.end = end
        self.cut = cut
        self.shown = shown

    def shows(self, end: int) -> bool:
        """Does the window show that the cut one stopped just at byte `end`?"""
        return self.shown is not None and -SHORT <= self.shown - end <= NEAR


class Rest(NamedTuple):
    """What a resuming run found missing: bytes `[start, end)`, which others that began after `cut` may have shared."""

    start: int
    end: int
    cut: float


_start = attrgetter("start")


class DoubtBook:
    """The runs and open zones of one resource under one grant."""

    __slots__ = ("_held", "_meant", "_period", "_rests", "_runs", "_size", "_zones")

    def __init__(self, size: int, *, held: Iterable[Span] = (), inherited: Iterable[Span] = ()) -> None:
        """Args:
        size: bytes of the resource.
        held: what was delivered of it before.
        inherited: zones that an earlier time left; every run of this book has begun after those cuts.
        """
        self._size = size
        self._held = SpanSet(held)
        self._runs: list[Run] = []
        """By their starts: hundreds that are cut together ask for each other's neighbours again and again."""
        self._period = 0
        self._rests: deque[Rest] = deque(maxlen=ZONES)
        self._meant: deque[float] = deque(maxlen=ZONES)
        """When long runs were cut just at the start of another: not by accident."""
        self._zones = [Zone(None, start, end, -math.inf) for start, end in inherited][-ZONES:]

    def begin(self, start: int, now: float, arrived: float | None = None) -> Run:
        """A transfer starts at byte `start`, of a client that connected at `arrived`; None: only now."""
        if all(run.ended is not None for run in self._runs):
            self._period += 1
        run = Run(start, now, now if arrived is None else arrived, self._period)
        insort_right(self._runs, run, key=_start)
        if len(self._runs) > RUNS:
            self._forget()
        return run

    def acknowledged(self, run: Run, now: float, upto: int) -> list[Span]:
        """The client's TCP has now acknowledged `run` up to byte `upto`. Returns what this confirms."""
        if upto <= run.acknowledged:
            return []
        run.acknowledged, run.moved = upto, now
        concerned = any(zone.start < run.start <= zone.end or (zone.run and zone.run.settled) for zone in self._zones)
        return self._settle(run) if concerned else []

    def fin(self, run: Run, now: float) -> list[Span]:
        """`run` was credited to its end: the client ended in order, asked for more, or held the connection open."""
        run.ended, run.sound = now, True
        return self._settle(run) if self._zones else []

    def cut(self, run: Run, now: float, zone: Span | None, upto: int = 0, read: int | None = None) -> list[Span]:
        """`run` broke, acknowledged up to `upto`, of which the client's window shows it to have read up to `read`.

        `zone` is what it leaves in doubt. Returns what this confirms.
        """
        run.ended = now
        run.acknowledged = max(run.acknowledged, upto)
        run.weak = read is not None and read - run.start < LITTLE
        if zone is not None:
            doubtful = Zone(run, zone[0], zone[1], now, read)
            if any(other.start - run.start >= LONG and doubtful.shows(other.start) for other in self._within(doubtful)):
                self._meant.append(now)
            self._zones.append(doubtful)
            if len(self._zones) > ZONES:
                del self._zones[0]
        return self._settle(run) if self._zones else []

    def hold(self, start: int, end: int) -> None:
        """Bytes `[start, end)` were delivered."""
        self._held.add(start, end)

    def zones(self) -> Iterator[Span]:
        """What is still in doubt."""
        for zone in self._zones:
            yield zone.start, zone.end

    def idle(self) -> bool:
        """Nothing is running and nothing in doubt: the book can be closed."""
        return not self._zones and all(run.ended is not None for run in self._runs)

    def _settle(self, run: Run) -> list[Span]:
        """What the latest news of `run` confirms, and what follows from that."""
        confirmed = []
        for zone in self._resumed(run):
            self._zones.remove(zone)
            confirmed.append((zone.start, run.start))
            if zone.run is not None and run.arrived < zone.cut - LATER:
                zone.run.sound = True  # the client that goes on is the one that stopped it there
        # From the last zone to the first: a chain runs from its root towards the start of the resource.
        for zone in sorted(self._zones, key=lambda zone: zone.start, reverse=True):
            witness = self._first_beside(zone)
            if witness is not None:
                self._zones.remove(zone)
                confirmed.append((zone.start, witness.start))
                assert zone.run is not None
                zone.run.sound = True
        for zone, end in self._filled():
            self._zones.remove(zone)
            confirmed.append((zone.start, end))
        for start, end in confirmed:
            self._held.add(start, end)
        return confirmed

    def _resumed(self, run: Run) -> list[Zone]:
        """The zone that `run` settles by resuming from within it: one at the most, once."""
        if run.settled or not (run.sound or run.acknowledged - run.start >= RESUMED):
            return []
        zones = [zone for zone in self._zones if zone.start < run.start <= zone.end and run.began > zone.cut]
        if not zones:
            return []
        nearest = max(zones, key=lambda zone: (zone.start, zone.cut))
        if any(self._contradicts(other, run, nearest) for other in self._runs):
            return []
        run.settled = True
        known = [other.start for other in self._runs if other.began <= nearest.cut and other.start > run.start]
        self._rests.append(Rest(run.start, min(known, default=self._size), nearest.cut))
        return [nearest]

    def _contradicts(self, other: Run, run: Run, zone: Zone) -> bool:
        """Does `other` say that `run`, which starts within `zone`, has not resumed what was cut there?"""
        if other.began <= zone.cut:
            return other.start == run.start
        if other.start >= run.start:
            return False
        if other.weak and other.ended is not None and other.ended <= run.began:
            return False  # a probe, dropped at once: aria2 asks for the whole before it resumes
        own = zone.start if zone.run is None else zone.run.start
        if other.start >= own:
            return True
        return (
            zone.run is not None
            and zone.run.weak
            and other.start > self._held.previous_end(zone.start)
            and not self._explained(other, zone)
        )

    def _explained(self, run: Run, but: Zone) -> bool:
        """Did `run` resume elsewhere, or does it start within some other zone, before the next one's segment, as if it did?"""
        return self._took_up(run) or any(
            zone is not but
            and zone.start < run.start <= zone.end
            and not any(other.began <= zone.cut and zone.start < other.start <= run.start for other in self._runs)
            for zone in self._zones
        )

    def _first_beside(self, zone: Zone) -> Run | None:
        """The sound run at whose start the cut one stopped, or None while that cannot be told."""
        for run in self._within(zone):
            if run.sound or run.moved >= zone.cut + ALIVE:
                return run
            if not self._was_given_up(run, zone):
                return None
        return None

    def quiet(self, now: float) -> list[Span]:
        """Called now and then: what is confirmed by nothing happening any more."""
        if not self._zones or any(run.ended is None or now - run.ended < QUIET for run in self._runs):
            return []
        whole = SpanSet(self._held)
        found = []
        sound = {run for run in self._runs if run.sound}
        # From the last zone to the first, for a chain runs towards the start of the resource.
        for zone in sorted(self._zones, key=lambda zone: zone.start, reverse=True):
            end = self._meets(zone, whole)
            if end is None or zone.run is None:
                continue
            beside = [run for run in self._within(zone) if run.start == end]
            if (
                not sound.isdisjoint(beside)
                or (beside and self._lived_on(zone, beside))
                or (self._took_up(zone.run) and zone.shows(end))
            ):
                found.append((zone, end))
                whole.add(zone.start, end)
                sound.add(zone.run)
        if not whole.covers(0, self._size):
            return []
        for zone, _ in found:
            self._zones.remove(zone)
        self._held = whole
        return [(zone.start, end) for zone, end in found]

    def _filled(self) -> list[tuple[Zone, int]]:
        """The zones of resumed runs that stopped at what was held already, each with where that begins."""
        resumed = ((zone, self._meets(zone, self._held)) for zone in self._zones if zone.run is not None and zone.run.settled)
        return [(zone, end) for zone, end in resumed if end is not None and self._went_on(zone)]

    def _meets(self, zone: Zone, held: SpanSet) -> int | None:
        """Where what is held begins within `zone`; None when nothing does, or when the client came back for what is before."""
        end = held.next_start(zone.start)
        if zone.run is None or end is None or end > zone.end:
            return None
        if any(run.began > zone.cut for run in self._starting(zone.start, end - 1)):
            return None
        return end

    def _lived_on(self, zone: Zone, beside: list[Run]) -> bool:
        """Did the client go on after the cut to begin something, or to end it in order?

        It did when it was connected before the cut, or before it began what was `beside`, and went on for long enough. Who came
        just afterwards may be a client that has lost all else: then the window has to show that the cut one stopped just where
        that begins. That means little for a short one; but a client that stopped a long one so, about then, does not stop by
        accident. Of one that stopped several so, the window need not show it of each: on unlimited connections it hides
        megabytes at times, and then shows that more was read, and the last acknowledgement may be lost with the cut.
        """
        after = [run for run in self._runs if run.began > zone.cut or (run.sound and (run.ended or 0.0) > zone.cut)]
        if any(run.arrived < zone.cut - LATER for run in after):
            return True
        # All within LATER: who was connected before the one beside began has not come because the client had died.
        began, end = max(run.began for run in beside), beside[0].start
        if any(run.arrived < began and run.went_on(zone.cut + LATER) for run in after):
            return True
        meant = sum(abs(cut - zone.cut) <= SOON for cut in self._meant)
        return any(run.arrived <= zone.cut + SOON for run in after) and (
            (zone.shows(end) and meant > 0) or (zone.shown is not None and zone.shown >= end - LITTLE and meant >= SEVERAL)
        )

    def _took_up(self, run: Run) -> bool:
        """Did `run` resume a transfer that was cut, or share with others what one that resumed had found missing?"""
        return run.settled or any(rest.start < run.start < rest.end and run.began > rest.cut for rest in self._rests)

    def _went_on(self, zone: Zone) -> bool:
        """Did others, under way when this was cut, go on after it?"""
        return any(run.began <= zone.cut and run is not zone.run and run.went_on(zone.cut + LATER) for run in self._runs)

    def _was_given_up(self, run: Run, zone: Zone) -> bool:
        """Did the client drop `run` for good, and go on? Not when all was stopped together, and not while it may be confirmed."""
        if run.ended is None or any(other.run is run and self._within(other) for other in self._zones):
            return False
        if zone.shown is not None and zone.shown >= run.start + (LIKELY_PAST if run.weak else PAST):
            return True
        later = run.ended + LATER
        return any(other.went_on(later) for other in self._runs)

    def _within(self, zone: Zone) -> list[Run]:
        """The runs that the client had beside the one that left `zone` and that begin within it, by their starts."""
        own = zone.run
        if own is None:
            return []
        return [
            run
            for run in self._starting(zone.start, zone.end)
            if run is not own
            and run.began <= zone.cut
            and (run.period == own.period or run.ended is None or run.ended >= own.arrived)
        ]

    def _starting(self, after: int, upto: int) -> list[Run]:
        """The runs that begin behind byte `after`, at byte `upto` at the latest, by their starts."""
        first = bisect_right(self._runs, after, key=_start)
        return self._runs[first : bisect_right(self._runs, upto, first, key=_start)]

    def _forget(self) -> None:
        """Drop the oldest ended run, or, when all are running, the oldest."""
        ended = [run for run in self._runs if run.ended is not None]
        self._runs.remove(min(ended or self._runs, key=attrgetter("began")))
