"""The workers of one start or reload: processes of the same interpreter, settings and sockets."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from enum import auto

from ftpgate.moves import StateEnum, check_move
from ftpgate.net.listening import bind
from ftpgate.process.channel import Lines, Order, line
from ftpgate.process.sockets import Places
from ftpgate.settings import Address, Settings
from ftpgate.translatable import os_reason

_log = logging.getLogger("ftpgate.gate")

START_SECONDS = 60.0
"""In which a worker has to accept connections; one that hangs longer never will."""
STEADY = 10.0
"""Seconds after which a worker that ends is replaced at once. One that ended sooner may do so again."""
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 30.0
"""Seconds before a worker is replaced that had not lived for long; doubled each time."""


class WorkerState(StateEnum):
    """What a worker process does, as the parent knows it."""

    STARTING = auto()
    SERVING = auto()
    LEAVING = auto()
    """It accepts no more and lets its clients finish."""
    ENDED = auto()


MOVES = {
    WorkerState.STARTING: frozenset({WorkerState.SERVING, WorkerState.LEAVING, WorkerState.ENDED}),
    WorkerState.SERVING: frozenset({WorkerState.LEAVING, WorkerState.ENDED}),
    WorkerState.LEAVING: frozenset({WorkerState.ENDED}),
    WorkerState.ENDED: frozenset[WorkerState](),
}


class Worker:
    """One process.

    Attributes:
        number: its place among the workers, from 0 on.
        accepted: it has come so far as to accept connections.
        dropped: it was ended on purpose before it had any clients.
        problem: why it could not start, as it says itself: cause and hint.
        status: its exit status, negative for a signal; None while it runs.
    """

    def __init__(self, order: Order, passed: Iterable[int]) -> None:
        self.number = order.number
        self.state = WorkerState.STARTING
        self.accepted = self.dropped = False
        self.problem: tuple[str, str] | None = None
        self.status: int | None = None
        self.began = time.monotonic()
        self.channel, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ftpgate", "serve", "--worker", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=2,  # the ready line is the parent's
                pass_fds=[theirs.fileno(), *passed],
            )
        self._lines = Lines(self.channel)
        with contextlib.suppress(OSError):  # it has ended already
            self.channel.sendall(order.line())
        self.channel.setblocking(False)

    @property
    def pid(self) -> int:
        return self._process.pid

    def move(self, to: WorkerState) -> None:
        check_move(MOVES, self.state, to)
        self.state = to

    def heard(self) -> bool:
        """Take what it says. False when it will say no more."""
        try:
            for document in self._lines.receive():
                if "ready" in document and self.state is WorkerState.STARTING:
                    self.accepted = True
                    self.move(WorkerState.SERVING)
                elif "cause" in document:
                    self.problem = str(document["cause"]), str(document.get("hint", ""))
        except EOFError:
            return False
        return True

    def ended(self) -> bool:
        """Has it just ended?"""
        if self.state is WorkerState.ENDED or self._process.poll() is None:
            return False
        self.heard()
        self.status = self._process.returncode
        self.move(WorkerState.ENDED)
        return True

    @property
    def is_awaited(self) -> bool:
        """Is it to accept yet?"""
        return self.state is WorkerState.STARTING and not self.dropped

    def late(self) -> bool:
        return self.is_awaited and time.monotonic() - self.began > START_SECONDS

    def leave(self) -> None:
        """Have it accept no more, and let all its clients finish: another one takes new ones."""
        if self.state is WorkerState.STARTING:
            self.drop()
        elif self.state is WorkerState.SERVING:
            self.move(WorkerState.LEAVING)
            with contextlib.suppress(OSError):
                self.channel.send(line({"told": "leave"}))

    def stop(self) -> None:
        """As SIGTERM does; one that has not started yet ends at once."""
        if self.state is WorkerState.STARTING:
            self.drop()
        elif self.state is not WorkerState.ENDED:
            self.signal(signal.SIGTERM)
            if self.state is WorkerState.SERVING:
                self.move(WorkerState.LEAVING)

    def drop(self) -> None:
        """End it at once, for it has no clients."""
        self.dropped = True
        self.signal(signal.SIGKILL)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)

    def signal(self, number: int) -> None:
        if self.state is not WorkerState.ENDED:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


class Generation:
    """All workers that were started together, and those that have replaced some of them.

    Args:
        given: the settings as text, for the workers.
        settings: the same, parsed.
        places: where they listen.
        leaving: where workers of earlier generations are asked for what they still do.
        password: what all workers of the parent show each other.
    """

    def __init__(
        self, given: Mapping[str, str], settings: Settings, places: Places, leaving: Sequence[str], password: str
    ) -> None:
        self.settings = settings
        self.places = places
        self._given = given
        self._leaving = leaving
        self._password = password
        self._own = [_own_socket() for _ in range(settings.workers)]
        self._failures = [0] * settings.workers
        self._due: dict[int, float] = {}
        """When which worker is to be replaced, by the monotonic clock."""
        self._failed_starts = 0
        """Workers in a row that have ended before they accepted."""
        self.running: list[Worker] = []

    @property
    def addresses(self) -> dict[str, str]:
        return {name: str(place.address) for name, place in self.places.items()}

    @property
    def own(self) -> list[str]:
        """Where its workers are asked."""
        return [_where(sock) for sock in self._own if sock.fileno() >= 0]

    @property
    def pids(self) -> list[int]:
        return [worker.pid for worker in sorted(self.running, key=lambda worker: worker.number)]

    @property
    def ready(self) -> bool:
        """Do all accept connections?"""
        serving = {worker.number for worker in self.running if worker.state is WorkerState.SERVING}
        return len(serving) == self.settings.workers

    @property
    def serving(self) -> bool:
        """Does any?"""
        return any(worker.state is WorkerState.SERVING for worker in self.running)

    @property
    def due(self) -> list[float]:
        """When workers are to be replaced, by the monotonic clock."""
        return list(self._due.values())

    def start(self) -> None:
        for number in range(self.settings.workers):
            self.start_worker(number)

    def start_worker(self, number: int) -> Worker:
        workers = self.settings.workers
        sockets = {name: place.of_worker(number, workers) for name, place in self.places.items()}
        order = Order(
            number=number, workers=workers, settings=self._given, sockets=sockets, own=self._own[number].fileno(),
            siblings=self.own, leaving=list(self._leaving), password=self._password,
        )  # fmt: skip
        passed = [fd for descriptors in sockets.values() for fd in descriptors]
        worker = Worker(order, [*passed, order.own])
        self.running.append(worker)
        return worker

    def ended(self, worker: Worker) -> None:
        """It has; nobody had it stop. Another one takes its place, and its sockets, soon."""
        lived = time.monotonic() - worker.began
        self._failed_starts = 0 if worker.accepted else self._failed_starts + 1
        self._failures[worker.number] = failures = 0 if lived >= STEADY else self._failures[worker.number] + 1
        pause = min(FIRST_PAUSE * 2 ** (failures - 1), LONGEST_PAUSE) if failures > 1 else 0.0
        self._due[worker.number] = time.monotonic() + pause
        _log.error("worker %d (process %d) %s; another one starts in %.1f s", worker.number, worker.pid, how(worker), pause)

    def hopeless(self, limit: int) -> bool:
        """Does no worker accept, and have `limit` in a row not come so far?"""
        return self._failed_starts >= limit and not self.serving

    def replace(self) -> list[Worker]:
        """Start those that are due."""
        now = time.monotonic()
        started = []
        for number in [number for number, when in self._due.items() if when <= now]:
            self._due[number] = now + LONGEST_PAUSE
            try:
                started.append(self.start_worker(number))
                del self._due[number]
            except OSError as error:
                _log.error("worker %d cannot be started (%s); tried again in %.0f s", number, os_reason(error), LONGEST_PAUSE)
        return started

    def close_own(self, number: int) -> None:
        """That worker is asked no more."""
        self._own[number].close()

    def close(self) -> None:
        for sock in self._own:
            sock.close()


def how(worker: Worker) -> str:
    """How it ended, for the log."""
    if worker.problem is not None:
        return f"cannot start ({worker.problem[0]})"
    status = worker.status or 0
    return f"was ended by {signal.Signals(-status).name}" if status < 0 else f"has ended with {status}"


def _own_socket() -> socket.socket:
    """Where one worker answers the others, on loopback; its port is known before any of them runs."""
    sock = bind(Address("127.0.0.1", 0))
    sock.setblocking(False)
    sock.listen(64)
    return sock


def _where(sock: socket.socket) -> str:
    return str(Address(*sock.getsockname()[:2]))
