"""One rate for one customer, over every connection and both protocols. Pure: time is passed in.

A token bucket (RFC 2697 calls it a meter) that starts empty, so that nobody gets a free first second, and holds little:
a late wake-up is made up for, but what was saved in a quiet time never goes out in one burst, which a client's window
would hide (`credit.py`). Who wants to send is in a run queue and gets
one quantum a turn: the connections of a customer share evenly, and what one leaves the others get.
"""

from __future__ import annotations

import contextlib
from collections import deque
from typing import Protocol

from ftpgate.proof.credit import PACED_CHUNK, PACED_RATE

FAST_CHUNK = 262_144
"""Bytes of one turn of a customer faster than PACED_RATE."""
BURST = 0.02
"""Seconds of the rate that the bucket holds, where that is more than SAVED."""
LATE = 0.2
"""Seconds of the rate that are made up for when the loop comes late to connections that wait for their turn."""
SAVED = 131_072
"""Bytes that it holds otherwise, if they are not more than a tenth of a second's."""
ROUND = 0.2
"""Seconds in which every connection of a customer should have its turn, where the quantum allows."""
LEAST = 16_384
"""Bytes below which a turn is not worth its wake-up, unless a round of such turns would take longer than LONGEST."""
LONGEST = 60 / 30.5
"""Seconds that a round may take at the most: very slow connections get smaller turns. Of a number of turns and a half, a minute
holds half a turn more or less, 1.6 %; of a whole number, a late one makes it a whole turn."""
SEGMENT = 1_460
"""Bytes of one full TCP segment: less is not worth a turn, unless a round of such turns takes longer than LONGEST_SILENCE."""
LONGEST_SILENCE = 20.0
"""Seconds in which every connection gets something, however slow the customer: aria2 gives up one that is silent for 60."""
SOONEST = 0.004
"""Seconds between two wake-ups of one customer at the least: several turns are given in one."""
TOGETHER = 0.1
"""Seconds between two wake-ups of a customer with many slow connections: a wake-up costs more than a turn. It serves an
eighth of them at the most, so that what comes stays as even as it was."""
LATELY = 0.1
"""Seconds for which who was hungry, or has sent, is taken to be so still."""
GRID = 0.05
"""Seconds: those who have time wake on multiples of it, so that a wake-up of the loop, and of the machine, serves many."""


class Sender(Protocol):
    def send(self, budget: int) -> int:
        """Send up to `budget` bytes now; return how many went. One that can send no more leaves the run queue by itself."""
        ...

    @property
    def ready(self) -> bool:
        """Does it want another turn?"""
        ...


class Pacer:
    """A token bucket and a run queue. `rate` is in bytes a second; 0 is no limit of its own, only the run queue.

    A customer's pacer gives turns to his connections. Under a limit of the whole gate, that limit's pacer gives turns to
    the customers: so it is shared between customers first, whatever the number of their connections.
    """

    __slots__ = ("_hungry", "_hungry_at", "_queue", "_sent_at", "_tokens", "_updated", "_waited", "rate", "sent")

    def __init__(self, rate: int, now: float) -> None:
        self.rate = rate
        self._queue: deque[Sender] = deque()
        self._tokens = 0.0
        self._updated = now
        self._waited = False
        """Has somebody waited for tokens since the last time? Then what came in is owed, not saved."""
        self.sent = 0
        """Bytes, of all turns."""
        self._hungry = 0
        """Senders that waited for tokens, at the most since `take_demand`, and when they last did."""
        self._hungry_at = self._sent_at = -LATELY

    def change(self, rate: int, now: float) -> None:
        """Another rate from now on; what has been saved up is worth no more than its burst."""
        self._refill(now)
        self.rate = rate
        self._tokens = min(self._tokens, self._capacity())

    def adjust(self, rate: int, now: float) -> None:
        """Another part of the same rate from now on, as several times a second: what is owed to those who wait stays so."""
        self._refill(now)
        self.rate = rate
        self._tokens = min(self._tokens, self._most())

    def take_demand(self, now: float) -> tuple[int, bool]:
        """How many senders would have taken more since the last time, none when that is over; and whether any sends."""
        hungry, self._hungry = self._hungry, 0
        waits = bool(self._queue)
        return hungry if waits or now - self._hungry_at <= LATELY else 0, waits or now - self._sent_at <= LATELY

    def join(self, sender: Sender) -> None:
        """`sender` wants to send: it gets its turn behind those who wait already."""
        self._queue.append(sender)

    def leave(self, sender: Sender) -> None:
        """`sender` is gone. Not being in the run queue is fine."""
        with contextlib.suppress(ValueError):
            self._queue.remove(sender)

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def hungry(self) -> bool:
        """Has anybody waited for tokens since `take_demand`?"""
        return self._hungry > 0

    def quantum(self) -> int:
        """Bytes of one turn, for as many as are in the run queue now."""
        if not self.rate:
            return FAST_CHUNK
        share = self.rate / max(len(self._queue), 1)
        least = max(min(LEAST, share * LONGEST), min(SEGMENT, share * LONGEST_SILENCE), 1)
        most = PACED_CHUNK if self.rate <= PACED_RATE else FAST_CHUNK
        return int(min(max(share * ROUND, least), most, self._capacity()))

    def give(self, now: float, budget: int) -> int:
        """Give turns as long as there are tokens and `budget` for one. Returns bytes sent."""
        self._refill(now)
        queue, spent, idle = self._queue, 0, 0
        quantum = self.quantum()
        while idle < len(queue) and spent < budget:
            if self.rate and self._tokens < quantum:
                break
            sender = queue.popleft()
            sent = sender.send(min(quantum, budget - spent))
            spent += sent
            if self.rate:
                self._tokens -= sent
            idle = 0 if sent else idle + 1
            if sender.ready:
                queue.append(sender)
        self._waited = bool(queue)
        if spent:
            self.sent += spent
            self._sent_at = now
        if queue and self.rate and self._tokens < quantum:
            self._hungry = max(self._hungry, len(queue))
            self._hungry_at = now
        return spent

    def delay(self) -> float | None:
        """Seconds from the last `give` until the next turn can be given; 0 at once, None when nobody waits."""
        if not self._queue:
            return None
        if not self.rate:
            return 0.0
        quantum = self.quantum()
        lacking = quantum - self._tokens
        if lacking <= 0:
            return 0.0
        part = len(self._queue) * quantum / self.rate / 8
        return max(lacking / self.rate, SOONEST, min(part, TOGETHER))

    def run(self, now: float) -> float | None:
        """Give out what has come in since the last time. Returns seconds until the next turn, None when nobody waits."""
        self.give(now, 1 << 62)
        delay = self.delay()
        return delay if delay is None or delay < TOGETHER else delay + -(now + delay) % GRID

    def _refill(self, now: float) -> None:
        self._tokens = min(self._tokens + (now - self._updated) * self.rate, self._most())
        self._updated = now

    def _most(self) -> float:
        """Tokens that may be there: what is owed to those who wait, or what may be saved."""
        return self.quantum() + self.rate * LATE if self._waited else self._capacity()

    def _capacity(self) -> float:
        return max(min(self.rate * 0.1, max(self.rate * BURST, SAVED)), SEGMENT)
