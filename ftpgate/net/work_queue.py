"""What the loop does for clients beside moving bytes, bounded in each of its turns.

Answers from threads, pipelined commands and requests, pages and listings that are made piece by piece: each is a step in
one queue. Served until the queue is empty, a few clients that pipeline would keep it filled for ever, and nothing else
would run. So a turn of the loop takes steps for `BUDGET` seconds and leaves the rest to the next one; running downloads,
timers and new connections have theirs in between.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable

from ftpgate.net.addresses import network
from ftpgate.net.fair_queue import FairQueue
from ftpgate.net.timer import CallLater

_log = logging.getLogger(__name__)

BUDGET = 0.002
"""Seconds of one turn of the loop. A step takes some 0.1 ms, a poll with nothing to do 0.01 ms: more would gain nothing."""
CHARGE = 0.0002
"""Seconds that a step is charged at the most. A customer's page takes ten times as long as a stranger's NOOP: charged whole, the
next one would wait until each of the strangers had been served ten times."""

Step = Callable[[], object]
"""A short piece of work. It is called again, after everybody else's next step, as long as it returns something true."""


class WorkQueue:
    """All of one gate. Lives on the loop's thread.

    Args:
        call_later: the loop's.
        clock: seconds of a monotonic clock.
    """

    def __init__(self, call_later: CallLater, clock: Callable[[], float] = time.monotonic) -> None:
        self._call_later = call_later
        self._clock = clock
        self._clients: FairQueue[Step] = FairQueue()
        self._answers: deque[Step] = deque()
        self._scheduled = False

    def __len__(self) -> int:
        """Steps that wait."""
        return len(self._clients) + len(self._answers)

    def add(self, address: str, step: Step) -> None:
        """Run `step` in its turn. Addresses get the same share of the time, and the steps of one address keep their order.

        Args:
            address: of the client that it is for; the addresses of one IPv6 /64 share their share.
        """
        self._clients.push(network(address), step)
        self._schedule()

    def add_answers(self, step: Step) -> None:
        """Run `step`, which passes on answers from a thread: one before each client's step, since clients wait for them."""
        self._answers.append(step)
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._call_later(0, self._turn)

    def _turn(self) -> None:
        until = self._clock() + BUDGET
        while self:
            if self._answers:
                step = self._answers.popleft()
                if _run(step):
                    self._answers.append(step)
            if self._clients:
                self._serve_client()
            if self._clock() >= until:
                break
        self._scheduled = False
        if self:
            self._schedule()

    def _serve_client(self) -> None:
        client, step = self._clients.pop()
        began = self._clock()
        if _run(step):
            self._clients.push(client, step)
        self._clients.charge(client, min(self._clock() - began, CHARGE))


def _run(step: Step) -> object:
    """One client's error must not reach the others. Who adds a step that can fail handles that itself."""
    try:
        return step()
    except Exception:
        _log.exception("a step of the loop's work met an error")
        return False
