"""Gates that share one customer by `LeaseTable`, as a fluid: 10 ms a step, the keeper's rhythm, no sockets.

The rate is 1 MB/s. A greedy connection takes whatever it is given. Every call may be lost, on its way there or back.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from ftpgate.leases import LeaseAnswer, LeaseLeave, LeaseReport
from ftpgate.shaping.leases.table import LeaseTable

STEP = 0.01
RATE, PLACES = 1_000_000, 64
INTERVAL, SOON = 0.25, 0.06
BUCKET = 0.1
"""Seconds of its share that a gate's token bucket holds."""


@dataclass
class ModelGate:
    """One gate's side: what it sends, and when it calls."""

    name: str
    greedy: int = 0
    sent: float = 0.0
    rate: float = 0.0
    tokens: float = 0.0
    joined: bool = False
    alone: bool = False
    called: bool = False
    due: float = 0.0
    told: float = 0.0
    """What it had sent at its last report, and when that was."""
    told_at: float = 0.0
    hungry: int = 0
    joined_at: float = 0.0
    idle_since: float | None = None
    was_greedy: bool = False

    def send(self) -> float:
        """A step's bytes."""
        self.tokens = min(self.tokens + self.rate * STEP, self.rate * (BUCKET + STEP))
        if not self.greedy:
            return 0.0
        count, self.tokens = self.tokens, 0.0
        self.sent += count
        self.hungry = max(self.hungry, self.greedy)
        return count


class Model:
    """Runs gates; `output` has the bytes of each step, `saturated` whether anybody was hungry."""

    def __init__(self, gates: int, seed: int, loss: float = 0.01) -> None:
        self.rng = random.Random(seed)
        self.table = LeaseTable()
        self.gates = [ModelGate(f"gate{n}", due=self.rng.random() * INTERVAL) for n in range(gates)]
        self.loss = loss
        self.now = 1_000.0
        self.output: list[float] = []
        self.saturated: list[bool] = []
        self.calls = 0

    def run(self, seconds: float, moves: float = 0.25, away: bool = False) -> None:
        """Go on for so long; demand moves `moves` times a second; `away`: the store does not answer."""
        for _ in range(round(seconds / STEP)):
            self.now += STEP
            if self.rng.random() < moves * STEP:
                self._move()
            self.output.append(sum(gate.send() for gate in self.gates))
            self.saturated.append(any(gate.greedy for gate in self.gates))
            for gate in self.rng.sample(self.gates, len(self.gates)):
                self._call(gate, away)

    def _move(self) -> None:
        """The connections of one gate end and come back at another, or become more, or fewer."""
        here = self.rng.choice([gate for gate in self.gates if gate.greedy] or self.gates)
        there = self.rng.choice(self.gates)
        kind = self.rng.randrange(4)
        if kind <= 1 and there is not here:
            there.greedy, here.greedy = min(there.greedy + here.greedy, PLACES), 0
        elif kind == 2:
            there.greedy = min(there.greedy + self.rng.randrange(1, 17), PLACES)
        elif here.greedy > 1:
            here.greedy //= 2

    def _call(self, gate: ModelGate, away: bool) -> None:
        """What the keeper does: join at once, report while shared, say a sign of life while alone, leave when idle."""
        now = self.now
        if not gate.joined:
            if not gate.greedy:
                return
            gate.joined, gate.alone, gate.due, gate.told_at, gate.joined_at = True, False, now, now, now
        if gate.was_greedy != bool(gate.greedy) and not gate.alone:
            gate.due = min(gate.due, now + 0.02)
        gate.was_greedy = bool(gate.greedy)
        gate.idle_since = None if gate.greedy else gate.idle_since or now
        if gate.due > now:
            return
        self.calls += 1
        lost_there = away or self.rng.random() < self.loss / 2
        lost_back = self.rng.random() < self.loss / 2
        gate.due = now + INTERVAL * self.rng.uniform(0.9, 1.1)
        if gate.idle_since is not None and not gate.alone and now - gate.idle_since > 5:
            if not lost_there:
                self.table.exchange(now, gate.name, leaving=[LeaseLeave("c", int(gate.sent))])
                gate.joined, gate.sent, gate.told, gate.rate = False, 0.0, 0.0, 0.0
            return
        if gate.alone:
            gate.due = now + INTERVAL
            if not lost_there and not lost_back and self.table.exchange(now, gate.name).called:
                gate.alone, gate.called, gate.due = False, True, now + 0.01
            return
        if lost_there:
            self._unanswered(gate)
            return
        span = max(now - gate.told_at, STEP)
        use = int(gate.rate if gate.greedy and gate.called else (gate.sent - gate.told) / span if gate.greedy else 0)
        hungry = 0 if not gate.greedy else gate.hungry if gate.rate else gate.greedy
        report = LeaseReport("c", RATE, PLACES, int(gate.sent), use, hungry, min(gate.greedy, PLACES), 0, PLACES)
        gate.told, gate.told_at, gate.hungry = gate.sent, now, 0
        answer = self.table.exchange(now, gate.name, [report]).answers[0]
        if lost_back:
            self._unanswered(gate)
        else:
            self._answered(gate, answer)

    def _unanswered(self, gate: ModelGate) -> None:
        gate.rate = min(gate.rate, RATE)
        if not gate.rate:
            gate.due = self.now + 0.1
            if self.now - gate.joined_at >= 0.5:
                gate.rate = RATE / min(len(self.gates), 4)

    def _answered(self, gate: ModelGate, answer: LeaseAnswer) -> None:
        gate.rate, gate.alone, gate.called = answer.rate, answer.alone, False
        if answer.alone:
            gate.due = self.now + INTERVAL
        elif answer.awaited:
            gate.due = self.now + SOON

    def errors(self, seconds: float = 10.0, skip: float = 1.0) -> tuple[float, float]:
        """The largest error, below and above the rate, of any saturated time of so long."""
        size, first = round(seconds / STEP), round(skip / STEP)
        found = [
            sum(self.output[at : at + size]) / seconds / RATE - 1
            for at in range(first, len(self.output) - size + 1, 10)
            if all(self.saturated[at : at + size])
        ]
        return min(found, default=0.0), max(found, default=0.0)

    def worst_second(self) -> float:
        size = round(1 / STEP)
        return max(sum(self.output[at : at + size]) for at in range(0, len(self.output) - size + 1)) / RATE
