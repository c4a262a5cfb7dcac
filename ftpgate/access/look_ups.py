"""Look-ups of tokens in fair order, off the loop: addresses take turns, and doubtful ones have a slower line of their own.

Threads serve what they are given in order of arrival. So only a few look-ups are with them at a time; the others wait
here, where one address cannot get in front of another by asking for more, and the refreshing of grants in use overtakes
them all.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from ftpgate.errors import GateError, Unavailable
from ftpgate.net.addresses import network
from ftpgate.net.executor import Executor
from ftpgate.net.fair_queue import FairQueue
from ftpgate.net.timer import CallLater

AT_ONCE = 4
"""Look-ups with the threads: two for each of them, so that none waits for the loop."""
WAITING = 2_000
"""Look-ups that wait in each line; the newest of the address with the most gives way to one of another."""
PAUSES = 3.0
"""How many times as long as a look-up of a doubtful address took the next one waits: they take a quarter of one thread at the
most, and as much less of the interpreter, which the loop needs too."""
LONGEST_PAUSE = 0.25
"""Seconds. While the database is slow, that is the database's doing."""


class LookUp(NamedTuple):
    """One that waits.

    Attributes:
        ask: the look-up itself, for a thread.
        done: gets its result, or what went wrong, on the loop.
        wanted: does anybody still wait for it?
    """

    ask: Callable[[], Any]
    done: Callable[[Any, GateError | None], None]
    wanted: Callable[[], bool]


class LookUps:
    """All of one gate. Lives on the loop's thread.

    Args:
        offloop: where look-ups run.
        call_later: the loop's.
    """

    def __init__(self, executor: Executor, call_later: CallLater) -> None:
        self._executor = executor
        self._call_later = call_later
        self._line: FairQueue[LookUp] = FairQueue()
        self._doubtful: FairQueue[LookUp] = FairQueue()
        self._running = 0
        self._pausing = False
        """Is a look-up of a doubtful address under way, or the pause after it?"""
        self.asked = 0
        """Look-ups that were begun."""

    def add(self, address: str, look_up: LookUp, *, doubtful: bool) -> None:
        """Have `look_up` done in its turn; of those that nobody wants any more `done` is told `Unavailable`.

        Raises:
            Unavailable: too many wait, and none of an address that has more of them than this one.
        """
        line = self._doubtful if doubtful else self._line
        client = network(address)
        given_up = None
        if len(line) >= WAITING:
            given_up = line.drop(client)
            if given_up is None:
                raise Unavailable(retry_after=5)
        line.push(client, look_up)
        if given_up is not None:
            given_up.done(None, Unavailable(retry_after=5))
        self._go_on()

    def _go_on(self) -> None:
        while self._running < AT_ONCE and (look_up := _next(self._line)) is not None:
            self._running += 1
            self._start(look_up, self._ended)
        if not self._pausing and (look_up := _next(self._doubtful)) is not None:
            self._pausing = True
            self._start(look_up, self._pause)

    def _start(self, look_up: LookUp, ended: Callable[[float], None]) -> None:
        self.asked += 1
        took = 0.0

        def ask() -> Any:
            nonlocal took
            began = time.monotonic()
            try:
                return look_up.ask()
            finally:
                took = time.monotonic() - began

        def done(result: Any, error: GateError | None) -> None:
            ended(took)
            self._go_on()
            look_up.done(result, error)

        try:
            self._executor.submit(ask, done)
        except GateError as error:
            ended(took)
            look_up.done(None, error)

    def _ended(self, _took: float) -> None:
        self._running -= 1

    def _pause(self, took: float) -> None:
        self._call_later(min(took * PAUSES, LONGEST_PAUSE), self._paused)

    def _paused(self) -> None:
        self._pausing = False
        self._go_on()


def _next(line: FairQueue[LookUp]) -> LookUp | None:
    """The next one that somebody waits for."""
    while line:
        client, look_up = line.pop()
        line.charge(client, 1.0)
        if look_up.wanted():
            return look_up
        look_up.done(None, Unavailable())
    return None
