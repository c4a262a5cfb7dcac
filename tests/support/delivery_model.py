"""A model of TCP and of clients, which drives the proof of delivery just as transfers do. No socket, no clock.

`play(seed)` makes one history: a client of a kind that is drawn fetches one file in its manner, may be stopped at any event
and go on later, and its gate may be killed at any event. With two gates, each of its connections falls on either. Both ends are
known here, so that every credited byte can be held against what the client has read, and whatever an honest client holds against
what is credited or unconfirmed.

What is taken for granted of a client's kernel is what `proof.window` and `proof.credit` have measured: behind a window that
hides little lies nothing, behind others up to what is drawn; a close sends a FIN when nothing lies unread, else a reset.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, cast

from ftpgate.access.ledger import Ledger
from ftpgate.access.open_grant import OpenGrant
from ftpgate.delivery.engine import STALLED
from ftpgate.delivery.sections import Part, Section
from ftpgate.delivery.stop_lines import LINE_TIMEOUT, NUDGE
from ftpgate.grants import File, Grant, GrantState, GrantStatus, Item, Tier
from ftpgate.proof.coverage import Span, SpanSet
from ftpgate.proof.credit import MARGIN, PACED_CHUNK, Credit, Phase
from ftpgate.proof.rules import NEAR_VAGUE, SHORT
from ftpgate.proof.segments import Evidence
from ftpgate.proof.window import FULLY_OPEN, HIDDEN_SHARE, KIB, LITTLE, TcpSnapshot
from ftpgate.shaping.customer import Customer
from ftpgate.sources import Resource
from ftpgate.tree import Leaf
from tests.support.gate_model import FILE, Clock, Gate, Shop

RATE = 5_000_000
"""Of a paced customer."""
STANDING = 48 * KIB
"""Bytes that lie unread behind a window that seems open although its client has not read for PAUSE seconds."""
PAUSE = 1.0
MOVING = ("acknowledged", "shown", "hidden_bytes", "credited")
"""What a row of the table is told again and again."""
LAG = 60 * KIB
"""Bytes that have arrived and may not be acknowledged yet."""


@dataclass(slots=True)
class Outcome:
    """How a history ended.

    Attributes:
        kind: of client.
        paced: its customer had a rate.
        held: it holds every byte.
        complete: every byte is credited.
        confirmable: whatever is not credited is unconfirmed.
        over: bytes that were credited and that it had not read just then, the most at one time.
        tolerated: no more than the rules allow for, each time.
        broken: what must never happen, and did; empty when nothing did.
    """

    kind: str
    paced: bool
    held: bool = False
    complete: bool = False
    confirmable: bool = False
    over: int = 0
    tolerated: bool = True
    broken: str = ""
    cuts: int = 0


class Book:
    """A ledger, which outlives a gate that is killed."""

    def __init__(self, credited: Callable[[int, int], None]) -> None:
        self._credited = credited
        self.coverage = SpanSet()
        self.left: dict[str, Evidence] = {}

    def credit(self, grant: str, file: int, start: int, end: int) -> None:
        self._credited(start, end)
        self.coverage.add(start, end)

    def flush_soon(self) -> None:
        pass

    def segment(self, evidence: Evidence) -> None:
        self.left[evidence.id] = evidence

    def settled(self, segment: str) -> None:
        self.left.pop(segment, None)


class Table:
    """An `EvidenceTable`. Rows are what a section adds, and the positions as last told: written, offered, and MOVING."""

    def __init__(self) -> None:
        self.rows: dict[int, tuple[Evidence, list[int], list[int]]] = {}
        self._added = 0

    def add(self, evidence: Evidence) -> int:
        self._added += 1
        self.rows[self._added] = evidence, [evidence.start] * 2, [evidence.start] * 2 + [0, evidence.start]
        return self._added

    def update(self, slot: int, acknowledged: int, shown: int, hidden_bytes: int, credited: int) -> None:
        self.rows[slot][2][:] = [acknowledged, shown, hidden_bytes, credited]

    def offered(self, slot: int, offered: int) -> None:
        self.rows[slot][1][1] = offered

    def written(self, slot: int, written: int, offered: int) -> None:
        self.rows[slot][1][:] = [written, offered]

    def remove(self, slot: int) -> None:
        del self.rows[slot]

    def evidence(self) -> list[Evidence]:
        """What a gate finds that starts after this one was killed."""
        found = []
        for row, (written, offered), moving in self.rows.values():
            told: dict[str, Any] = dict(zip(MOVING, moving, strict=True))
            told.update(acknowledged=written, sent=offered)
            found.append(replace(row, exact=True, **told))
        return found


@dataclass(slots=True)
class Kernel:
    """What is drawn of a client's machine, for all of its connections.

    Attributes:
        buffer: bytes that it receives before it is read from.
        hides: bytes that may lie unread behind a window that seems open, while its client reads on.
        hidden: what `Window.judge` would allow for that.
    """

    buffer: int
    hides: int
    hidden: int

    @classmethod
    def draw(cls, rng: random.Random, paced: bool) -> Kernel:
        buffer = rng.choice((64, 128, 256, 1_024, 6_144)) * KIB
        most = int(buffer * HIDDEN_SHARE)  # whatever the kind, a buffer that is full shows itself
        kind = rng.random()
        if kind < 0.4:
            return cls(buffer, 0, rng.choice((0, 40 * KIB, 128 * KIB)))
        if paced:
            if kind < 0.8:
                return cls(buffer, rng.randrange(min(STANDING, most)), rng.randrange(LITTLE + 1, 640 * KIB))
            hidden = rng.randrange(640 * KIB + 1, 1_400 * KIB)
            return cls(buffer, rng.randrange(min(hidden + MARGIN, most)), hidden)
        if kind < 0.7:
            return cls(buffer, rng.randrange(min(224 * KIB, most)), rng.randrange(224 * KIB, 700 * KIB))
        return cls(buffer, rng.randrange(min(2_500 * KIB, most)), rng.randrange(2_500 * KIB, 4_000 * KIB))


class Link:
    """One transfer: the gate's end, the client's kernel and the client's place in it. Positions are bytes of its stream."""

    def __init__(self, play: Play, start: int, end: int, stop: int) -> None:
        self._play = play
        self._rng = play.rng
        self.start = start
        self.length = end - start
        self.stop = stop
        """The byte of the file where its client wants no more."""
        self.written = self.arrived = self.acknowledged = self.read = self.seen = 0
        """`seen`: read when the client's kernel last told its window."""
        self.closed = self.broken = self.half_closed = self.vanished = self.killed = False
        """Closed by the client; reset; its client has ended its sending half; gone without a word; its gate was killed."""
        self.ending: str | None = None
        """What the gate is still to hear of the client's end: `fin` or `reset`."""
        self.reads_beyond = self._rng.random() < 0.2
        """Does it only notice that it has enough when a byte beyond that arrives?"""
        self.answered = self.read_at = play.now
        self.over = False
        """The gate has done with it."""
        self.nudged = False
        self.credit = Credit(0, self.length)
        play.links_made += 1
        self.gate = gate = play.any_gate()
        id = f"{gate.id}-{play.links_made}"
        part = Part(play.resource, start, end)
        self.section = Section(gate.grant, gate.table, id, part, 0, play.now, precise=play.paced)
        play.links_by_id[id] = self

    @property
    def place(self) -> int:
        """The byte of the file that its client reads next."""
        return self.start + self.read

    @property
    def done(self) -> bool:
        """Nothing will happen any more."""
        return (self.over or self.killed) and self.closed

    # -- the gate's end, as in `Transfer`

    def turn(self, budget: int) -> None:
        """Send some."""
        if self.over or self.killed or self.credit.phase is not Phase.SENDING:
            return
        segment = self.section.segment
        line = None if segment.line >= segment.end else segment.line - segment.start
        if line is not None and line <= self.written:
            return self._stop()
        room = self.acknowledged + self._play.queue - self.written
        count = min(budget, room, (self.length if line is None else line) - self.written)
        if count <= 0:
            return
        if self.closed and self.ending is None:
            self.broken = True  # what arrives at a closed socket is answered by a reset
            self.ending = "reset"
        self.section.offer(self.written + count)
        self.written += count
        self.section.wrote(self.written)
        self.credit.judge_pace(RATE if self._play.paced else 0, count)
        if self.written == self.length:
            self.credit.written()
        elif line is not None and self.written >= line:
            self._stop()

    def look(self) -> None:
        if self.over or self.killed:
            return
        self._hear(self.credit.progress)
        now = self._play.now
        if self.credit.phase is Phase.AT_LINE and not self.over and self.credit.stood(now) >= LINE_TIMEOUT:
            self._go_on()

    def hear_end(self) -> None:
        """The gate learns of the client's end."""
        ending, self.ending = self.ending, None
        if self.over or self.killed:
            return
        if ending == "fin":
            self._hear(self.credit.fin)
        elif ending == "reset":
            self.cut()

    def next_request(self) -> None:
        if not self.over and not self.killed and self.credit.phase in (Phase.AWAITING_ACK, Phase.AWAITING_READ):
            self._acknowledge(0)
            self._hear(self.credit.progress)
            if not self.over and self.credit.phase is Phase.AWAITING_READ:
                self._hear(self.credit.next_request)

    def cut(self) -> None:
        self._play.cuts += 1
        self.credit.cut(self.snapshot())
        self._moved()
        self.section.ended(self.credit, self._play.now)
        self.over = True

    def kill(self) -> None:
        """The gate is killed, perhaps in the middle of a write."""
        if not self.over and not self.killed and self.credit.phase is Phase.SENDING and self._rng.random() < 0.3:
            segment = self.section.segment
            end = min(self.length, segment.line - segment.start, self.written + PACED_CHUNK)
            if end > self.written:
                self.section.offer(end)
                self.written = self._rng.randint(self.written, end)
        self.killed = True

    def _stop(self) -> None:
        self._hear(lambda _now, _look: self.credit.stop_at(self.written))

    def _go_on(self) -> None:
        segment = self.section.segment
        if self.nudged:
            self.credit.read_before_line(self.snapshot(), self.written - NUDGE)
        self.credit.go_on()
        if self.nudged:
            self.gate.grant.reconciler(self._play.resource).passed(segment, segment.sent)
        else:
            segment.line = segment.sent + NUDGE
        self.nudged = not self.nudged

    def _hear(self, event: Callable[[float, TcpSnapshot], object]) -> None:
        event(self._play.now, self.snapshot())
        self._moved()
        if self.credit.phase is Phase.CREDITED:
            self.over = True

    def _moved(self) -> None:
        self._play.judging = self
        self.section.moved(self.credit, self._play.now, precise=self.credit.paced)

    def snapshot(self) -> TcpSnapshot:
        kernel = self._play.kernel
        if not self.vanished and not self.closed:
            self.answered = self._play.now
        hides = kernel.hides if self._play.now - self.read_at < PAUSE else min(kernel.hides, STANDING)
        unread = max(self.acknowledged - self.seen - hides, 0)
        surely = max(self.acknowledged - self.read - LAG, 0) // 2 if unread else 0
        sent = self.written - min(self._play.unsent, self.written - self.arrived)
        return TcpSnapshot(
            self.acknowledged, unread, kernel.hidden, surely, sent, self._play.now - self.answered, self.broken,
            self.half_closed or (self.closed and not self.broken),
        )  # fmt: skip

    # -- the client's end

    def net(self) -> None:
        """What is on its way arrives, and some of it is acknowledged."""
        if self.closed or self.vanished:
            return
        came = min(self.written, self.read + self._play.kernel.buffer)
        if came > self.arrived:
            self.arrived = came if self._rng.random() < 0.8 else self._rng.randint(self.arrived, came)
        self._acknowledge(0 if self._rng.random() < 0.6 else self._rng.randrange(LAG))
        if self._rng.random() < 0.7:
            self.seen = self.read

    def settle(self) -> None:
        """Time has passed: all that can arrive has, and is acknowledged, and the window is told."""
        if not self.closed and not self.vanished:
            self.arrived = max(self.arrived, min(self.written, self.read + self._play.kernel.buffer))
            self._acknowledge(0)
            self.seen = self.read

    def _acknowledge(self, lag: int) -> None:
        self.acknowledged = max(self.acknowledged, self.arrived - lag)

    def take(self, count: int) -> None:
        """The client reads."""
        if self.closed or self.vanished:
            return
        count = min(count, self.arrived - self.read)
        if count > 0:
            self._play.read.add(self.place, self.place + count)
            self._play.held.add(self.place, min(self.place + count, self.stop))
            self.read += count
            self.read_at = self._play.now

    def satisfied(self) -> bool:
        """Has its client all that it wants of it?"""
        wanted = min(self.stop + self.reads_beyond, self.start + self.length)
        return self.place >= wanted

    def close(self) -> None:
        """The client closes. A FIN acknowledges all that has arrived; a reset does not."""
        if self.closed:
            return
        self.closed = True
        if self.arrived == self.read:
            self._acknowledge(0)
            self.seen = self.read
            if not self.half_closed and self.ending is None:
                self.ending = "fin"
        else:
            self.broken = True
            self.ending = "reset"

    def half_close(self) -> None:
        if not self.closed and not self.half_closed:
            self.half_closed = True
            self.ending = self.ending or "fin"


class ModelGrant(OpenGrant):
    """Tells what rules prove of cut segments from what a connection shows of itself."""

    def __init__(self, grant: Grant, customer: Customer, ledger: Ledger, play: Play) -> None:
        super().__init__(grant, customer, ledger)
        self._play = play

    def _proven(self, resource: Resource, spans: Iterable[Span]) -> None:
        self._play.proving = self
        super()._proven(resource, spans)
        self._play.proving = None


class Play:
    """One history."""

    def __init__(self, rng: random.Random, kind: str, gates: int) -> None:
        self.rng = rng
        self.paced = rng.random() < 0.6
        self.size = rng.randrange(1, 400 * KIB) if rng.random() < 0.3 else rng.randrange(400 * KIB, 6_000 * KIB)
        self.kernel = Kernel.draw(rng, self.paced)
        self.queue = rng.choice((64, 256, 1_024)) * KIB
        """Bytes that the gate's kernel takes beyond what is acknowledged."""
        self.unsent = rng.choice((0, 0, 16 * KIB))
        """Of those, so many may not have left yet."""
        self.clock = Clock(100.0)
        self.cuts = 0
        self.links: list[Link] = []
        self.links_made = 0
        self.links_by_id: dict[str, Link] = {}
        self.read = SpanSet()
        """All that the client has ever read."""
        self.held = SpanSet()
        """All that it has kept."""
        self.judging: Link | None = None
        """Whose news is passed on."""
        self.proving: ModelGrant | None = None
        """Whose rules have just proven something."""
        self.outcome = Outcome(kind, self.paced)
        self.book = Book(self._credited)
        file = File(FILE, "one", "one", self.size, 0, bytes(32), 0)
        self._items = (Item("i", "Album", "", None, "Album", (file,)),)
        self._shop = Shop(self.clock, rng, self.book.coverage)
        self._started = 0
        with self.clock.everywhere():
            self.gates = [self._start_gate([], alone=gates == 1) for _ in range(gates)]
            if gates > 1:
                self.pass_time(rng.choice((0.0, 0.5, 3.0, 5.0)))
        leaf = self.gates[0].grant.tree.find("Album/one")
        assert isinstance(leaf, Leaf)
        self.resource: Resource = leaf.resource

    @property
    def now(self) -> float:
        return self.clock.now

    def any_gate(self) -> Gate:
        """Where the next connection comes to."""
        return self.gates[0] if len(self.gates) == 1 else self.rng.choice(self.gates)

    def _start_gate(self, left: Iterable[Evidence], *, alone: bool) -> Gate:
        self._started += 1
        status = GrantStatus("g", GrantState.OPEN, 1e12, None, "anna", Tier("t", RATE if self.paced else 0, 64), frozenset())
        customer = Customer("anna", status.tier, lambda _seconds, _call: None)
        grant = Grant(status, 0.0, self._items, {FILE: tuple(self.book.coverage)}, tuple(self.book.left.values()))
        gate = Gate(str(self._started), ModelGrant(grant, customer, cast(Ledger, self.book), self), Table())
        gate.grant.inherit({}, list(left))
        if not alone:
            gate.join(self._shop, self.clock, self.rng)
        return gate

    def kill_gate(self) -> None:
        """Clients get all that was written, and then the end of their streams."""
        killed = self.any_gate()
        for link in self.links:
            if link.gate is killed:
                link.kill()
        killed.end()
        self._shop.end(killed.id)
        again = self._start_gate(killed.table.evidence(), alone=len(self.gates) == 1)
        self.gates[self.gates.index(killed)] = again

    def settle(self) -> None:
        """Gates do it every second."""
        for gate in self.gates:
            gate.grant.settle()

    # -- what must hold

    def _credited(self, start: int, end: int) -> None:
        over = sum(last - first for first, last in self.read.missing(start, end))
        if not over:
            return
        outcome = self.outcome
        outcome.over = max(outcome.over, over)
        found = [link for link in self._links_credited_to(end) if start >= link.start]
        if any(end > link.start + link.written for link in found):
            outcome.broken = outcome.broken or f"[{start}, {end}) was never sent"
        if over > max((self._tolerance(link) for link in found), default=0):
            outcome.tolerated = False
            outcome.broken = outcome.broken or f"{over} bytes of [{start}, {end}) were not read"

    def _tolerance(self, link: Link) -> int:
        """Bytes that may be credited of a link without having been read."""
        if self.proving is not None:  # by another segment: what `rules.agrees` lets a window be off by
            return self.kernel.hides + (SHORT if link.credit.paced else NEAR_VAGUE)
        if link.half_closed:  # its end of sending may come while bytes lie unread
            return self.kernel.hides + FULLY_OPEN
        return FULLY_OPEN  # at a line, with next to nothing unread

    def _links_credited_to(self, end: int) -> list[Link]:
        """The links of which the bytes before `end` are just being credited."""
        if self.proving is None:
            return [] if self.judging is None else [self.judging]
        segments = self.proving.reconciler(self.resource)._segments
        return [self.links_by_id[one.id] for one in segments if one.ended and one.credited == end]

    # -- time

    def pass_time(self, seconds: float) -> None:
        self.clock.pass_time(seconds)

    def busy(self) -> list[Link]:
        return [link for link in self.links if not link.done]

    def step(self) -> None:
        """Something happens at one of the connections: the gate's part, and the network's."""
        rng = self.rng
        self.pass_time(rng.random() * 0.02 if rng.random() < 0.95 else rng.random() * 0.6)
        links = self.busy()
        if not links:
            return
        link = rng.choice(links)
        if rng.random() < 0.8:
            chunk = PACED_CHUNK if self.paced else 256 * KIB
            for _ in range(rng.randint(1, 4)):
                link.turn(chunk)
        link.net()
        if rng.random() < 0.6:
            link.look()
        if link.ending is not None and rng.random() < 0.5:
            link.hear_end()

    def quiesce(self) -> None:
        """Time passes until nothing happens any more."""
        for _ in range(60):
            links = self.busy()
            if not links:
                break
            for link in links:
                link.settle()
                link.turn(PACED_CHUNK)
                link.look()
                if link.ending is not None:
                    link.hear_end()
            self.pass_time(0.3)
        for link in self.links:
            link.close()
        for link in self.busy():
            if link.ending is not None:
                link.hear_end()
            if not link.over:
                self.pass_time(STALLED)
                link.cut()
        for gate in self.gates:
            gate.succeed()
        self.pass_time(10.0 if len(self.gates) > 1 else 1.0)

    def finish(self) -> Outcome:
        self.quiesce()
        outcome, whole = self.outcome, [(0, self.size)]
        outcome.cuts = self.cuts
        outcome.held = list(self.held) == whole
        outcome.complete = list(self.book.coverage) == whole
        both = SpanSet(self.book.coverage)
        for gate in self.gates:
            both.update(gate.grant.unconfirmed().get(FILE) or ())
        outcome.confirmable = list(both) == whole
        missing = sum(last - first for start, end in self.held for first, last in both.missing(start, end))
        if missing and outcome.kind in HONEST:
            outcome.broken = outcome.broken or f"{missing} bytes that it holds are neither credited nor unconfirmed"
        self.settle()
        return outcome

    def open(self, start: int, stop: int, *, exact: bool = False) -> Link:
        """`exact`: a range that ends at `stop`; else one that runs to the file's end."""
        known = {place for old in self.links for place in (old.start + old.acknowledged, old.start + old.written)}
        while start in known and start > 0:  # nobody begins by chance at just the byte where a connection ended
            start -= 1
        link = Link(self, start, stop if exact else self.size, stop)
        self.links.append(link)
        return link


# ---- clients


def manager(play: Play) -> None:
    """A download manager: segments, divided as they end, stopped at any event and resumed, until it holds the file."""
    rng = play.rng
    segments = rng.choice((1, 2, 2, 4, 8))
    ranges = rng.random() < 0.4
    stops = rng.choice((0, 0, 1, 1, 2, 3))
    kills = rng.random() < 0.25
    forgets = not kills and rng.random() < 0.15
    divides = rng.random() < 0.4
    for attempt in range(12):
        stop_after = rng.randrange(1, 120) if attempt < stops else 1 << 30
        _open_holes(play, segments if attempt < 8 else 1, ranges)
        _fetch(play, stop_after, kills and attempt == 0, divides, ranges)
        for link in play.links:
            link.close()
        if rng.random() < 0.5:
            _let_ends_be_heard(play)
        play.pass_time(rng.choice((0.0005, 0.02, 0.3, 3.0)))
        if rng.random() < 0.5:
            play.settle()
        if forgets and attempt < 4 and rng.random() < 0.5:
            play.held = SpanSet()  # it starts from scratch, with the same segments
        if play.held.size == play.size:
            return
    play.outcome.broken = play.outcome.broken or "a manager never came to its end"


def _open_holes(play: Play, segments: int, ranges: bool) -> None:
    rng = play.rng
    holes = list(play.held.missing(0, play.size))
    for start, end in holes:
        pieces = max(1, segments // len(holes))
        bounds = sorted({start, end, *(start + (end - start) * n // pieces for n in range(1, pieces))})
        for first, last in pairwise(bounds):
            exact = ranges and rng.random() < 0.9
            play.links.append(Link(play, first, last if exact else play.size, last))


def _fetch(play: Play, stop_after: int, kills: bool, divides: bool, ranges: bool) -> None:
    rng = play.rng
    kill_after = rng.randrange(1, 80) if kills else -1
    links = [link for link in play.links if not link.closed]
    steps = 0
    while any(not link.closed for link in links):
        steps += 1
        if steps >= stop_after or steps > 3_000:
            return
        if steps == kill_after:
            play.kill_gate()
        play.step()
        for link in links:
            if link.closed:
                continue
            if rng.random() < 0.6:
                link.take(rng.choice((16 * KIB, 64 * KIB, 256 * KIB, play.size)))
            if link.killed and link.read >= link.written and link.arrived >= link.written:
                link.close()  # it sees the end of the stream, too early
            elif link.killed and rng.random() < 0.3:
                link.net()
            elif link.satisfied():
                _end_well(play, link, ranges)
                if divides:
                    links += _divide(play, links)


def _end_well(play: Play, link: Link, ranges: bool) -> None:
    if ranges and link.place == link.start + link.length and play.rng.random() < 0.3:
        link.next_request()
    link.close()


def _divide(play: Play, links: list[Link]) -> list[Link]:
    """Take half of what the slowest has to fetch yet; the client whose segment it is stops there."""
    slowest = max((link for link in links if not link.closed), key=lambda link: link.stop - link.place, default=None)
    if slowest is None or slowest.stop - slowest.place < 128 * KIB:
        return []
    middle = (slowest.place + slowest.stop) // 2
    link = Link(play, middle, play.size, slowest.stop)
    slowest.stop = middle
    play.links.append(link)
    return [link]


def _let_ends_be_heard(play: Play) -> None:
    for link in play.links:
        if link.ending is not None:
            link.hear_end()


def player(play: Play) -> None:
    """Reads here and there, and skips, over one connection at a time."""
    rng = play.rng
    at = 0
    for _ in range(rng.randint(1, 6)):
        link = play.open(at, play.size)
        for _ in range(rng.randrange(1, 60)):
            play.step()
            if rng.random() < 0.7:
                link.take(rng.choice((4 * KIB, 32 * KIB, 128 * KIB)))
        at = link.place + rng.choice((-1, 1, 1, 1)) * rng.randrange(100 * KIB, 2_000 * KIB) + rng.randrange(999)
        at = min(max(at, 0), play.size - 1)
        link.close()
        if rng.random() < 0.5:
            _let_ends_be_heard(play)
        if rng.random() < 0.3:
            play.pass_time(rng.random())
        if rng.random() < 0.05:
            play.kill_gate()


def leaver(play: Play) -> None:
    """Leaves the end unread for a while and closes; some end their sending half before."""
    rng = play.rng
    links = [play.open(start, play.size) for start in ((0,) if rng.random() < 0.7 else (0, play.size // 2))]
    half_closes = rng.choice(("never", "never", "at once", "before it waits"))
    for link in links:
        if half_closes == "at once":
            link.half_close()
    unread = min(play.size, rng.randrange(1, 1_200 * KIB))
    for _ in range(rng.randrange(1, 200)):
        play.step()
        for link in links:
            if link.place < play.size - unread:
                link.take(min(64 * KIB, play.size - unread - link.place))
    for link in links:
        if half_closes == "before it waits":
            link.half_close()
    for _ in range(rng.randrange(0, 30)):
        play.step()
    if rng.random() < 0.1:
        play.kill_gate()
    for link in links:
        if rng.random() < 0.2:
            link.vanished = True
        else:
            link.close()


def preview(play: Play) -> None:
    """Looks at some places of a file, beside a download that is stopped."""
    rng = play.rng
    link = play.open(0, play.size)
    for _ in range(rng.randrange(1, 80)):
        play.step()
        link.take(64 * KIB)
    link.close()
    for _ in range(rng.randint(1, 5)):
        look = play.open(rng.randrange(play.size), play.size)
        for _ in range(rng.randint(1, 5)):
            play.step()
            look.net()
            look.take(max(rng.randrange(1, 48 * KIB) - look.read, 0))
        look.close()
        if rng.random() < 0.5:
            _let_ends_be_heard(play)


CLIENTS: dict[str, Callable[[Play], None]] = {"manager": manager, "player": player, "leaver": leaver, "preview": preview}
HONEST = ("manager",)


def play(seed: int | str, gates: int = 1) -> Outcome:
    """One history. The same seed gives the same."""
    rng = random.Random(seed)
    kind = rng.choice(("manager", "manager", "player", "leaver", "preview"))
    history = Play(rng, kind, gates)
    with history.clock.everywhere():
        CLIENTS[kind](history)
        return history.finish()
