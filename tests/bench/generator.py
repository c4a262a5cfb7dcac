"""The load: many downloads of many customers at once, from one process that costs little.

Read as JSON on stdin, written as JSON on stdout, so that the processor time of the load can be told from the rest:

    python -m tests.bench.generator < work.json
"""

from __future__ import annotations

import heapq
import json
import resource
import select
import ssl
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.bench.accounting import Bill, machine_seconds
from tests.bench.wire import CLIENTS, Refused, Stream, Wait

AGAIN = 0.1
"""Seconds after which a connection that failed is tried again."""
SAMPLE_EVERY = 0.1
BURST = 64
"""Connections opened in one turn of the loop."""
TEXTS = 5
"""Different errors whose text is kept."""


@dataclass(slots=True)
class Group:
    """Connections that do the same.

    Attributes:
        name: for the results.
        protocol: `http`, `https`, `ftp`, `ftps` (AUTH TLS), or `login`: log in over FTP and leave.
        address: of the server.
        path: what is fetched.
        jobs: `[user, password, path]` dealt out to the connections in turn; empty fields where there is none.
        connections: how many at once. With `per_second`: how many at the most.
        keep: fetch again over the same connection or session.
        per_second: start one of them so many times a second and let it end after its first download; 0: all at once, for ever.
    """

    name: str
    protocol: str
    address: tuple[str, int]
    jobs: list[tuple[str, str, str]]
    connections: int = 1
    keep: bool = False
    per_second: float = 0.0


@dataclass(slots=True)
class GroupResult:
    """What one group got in the measured time.

    Attributes:
        received: bytes of each connection.
        finished: downloads or log-ins that ended in order.
        latencies: seconds of each of them, for `per_second`.
        errors: refusals, resets, answers other than 2xx; `texts` holds some of them.
        samples: bytes of the whole group since the start, every SAMPLE_EVERY seconds.
    """

    name: str
    received: list[int] = field(default_factory=list)
    finished: int = 0
    errors: int = 0
    texts: list[str] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    samples: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Load:
    """All that is measured in one go.

    Attributes:
        seconds: of measuring.
        opened_s: until every connection had received something.
        server_cpu_s, client_cpu_s: processor seconds while measuring.
        others_cpu_s: of everything else on the machine: how far the figures can be trusted.
        pss: largest memory of the server that was seen, bytes.
        late: of the connections, how many had received nothing when measuring began.
    """

    seconds: float
    opened_s: float
    server_cpu_s: float
    client_cpu_s: float
    others_cpu_s: float
    pss: int
    late: int
    groups: list[GroupResult]


class Task:
    """One client of a group, and what it has counted."""

    __slots__ = ("_loop", "began", "counted", "events", "generator", "group", "job", "once", "received", "stream")

    def __init__(self, loop: Loop, group: _Running, job: tuple[str, str, str], *, once: bool = False) -> None:
        self._loop = loop
        self.group = group
        self.job = job
        self.once = once
        self.received = 0
        self.counted = 0
        self.began = 0.0
        self.stream: Stream | None = None
        self.events = 0
        self.generator: Wait | None = None

    def body(self, count: int) -> None:
        self.received += count

    def finished(self) -> None:
        self.counted += 1
        self.group.finished += 1
        if self.once:
            self.group.latencies.append(time.monotonic() - self.began)


class _Running:
    """A group at work."""

    def __init__(self, group: Group) -> None:
        self.group = group
        self.tasks: list[Task] = []
        self.finished = 0
        self.errors = 0
        self.texts: list[str] = []
        self.latencies: list[float] = []
        self.dealt = 0

    def deal(self) -> tuple[str, str, str]:
        self.dealt += 1
        return self.group.jobs[(self.dealt - 1) % len(self.group.jobs)]

    def failed(self, text: str) -> None:
        self.errors += 1
        if len(self.texts) < TEXTS and text not in self.texts:
            self.texts.append(text)

    def received(self) -> int:
        return sum(task.received for task in self.tasks)


class Loop:
    """Resumes clients as their sockets get ready, and calls what is due."""

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._tasks: dict[int, Task] = {}
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = 0
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._context.check_hostname = False
        self._context.verify_mode = ssl.CERT_NONE  # what is measured is the server

    def call_at(self, when: float, call: Callable[[], None]) -> None:
        self._numbers += 1
        heapq.heappush(self._due, (when, self._numbers, call))

    def begin(self, task: Task) -> None:
        group, (user, password, path) = task.group.group, task.job
        context = self._context if group.protocol in ("https", "ftps") else None
        task.began = time.monotonic()
        task.generator = CLIENTS[group.protocol](group.address, path, user, password, task, keep=group.keep, context=context)
        self._resume(task)

    def run(self, until: float, done: Callable[[], bool] = lambda: False) -> None:
        while (now := time.monotonic()) < until and not done():
            while self._due and self._due[0][0] <= now:
                heapq.heappop(self._due)[2]()
            wait = min(until, self._due[0][0] if self._due else until) - time.monotonic()
            for fd, _ in self._poll.poll(max(wait, 0), 4096):
                task = self._tasks.get(fd)
                if task is not None:
                    self._resume(task)

    def end(self, task: Task) -> None:
        self._leave(task)
        if task.generator is not None:
            task.generator.close()
            task.generator = None

    def _resume(self, task: Task) -> None:
        assert task.generator is not None
        try:
            stream, events = next(task.generator)
        except StopIteration:
            self._leave(task)
            if not task.once:
                self.call_at(time.monotonic(), lambda: self.begin(task))
            return
        except (OSError, Refused, ssl.SSLError) as error:
            self._leave(task)
            task.group.failed(f"{type(error).__name__}: {error}")
            if not task.once:
                self.call_at(time.monotonic() + AGAIN, lambda: self.begin(task))
            return
        if stream is not task.stream:
            self._leave(task)
            self._poll.register(stream.fd, events)
            self._tasks[stream.fd] = task
            task.stream, task.events = stream, events
        elif events != task.events:
            self._poll.modify(stream.fd, events)
            task.events = events

    def _leave(self, task: Task) -> None:
        if task.stream is None:
            return
        if self._tasks.pop(task.stream.fd, None) is not None and task.stream.socket.fileno() >= 0:
            self._poll.unregister(task.stream.fd)
        task.stream = None


class Generator:
    """Runs groups side by side and measures them.

    Args:
        groups: what is to be done.
        pids: of the server, with all that they have started.
    """

    def __init__(self, groups: Sequence[Group], pids: Sequence[int]) -> None:
        self._loop = Loop()
        self._groups = [_Running(group) for group in groups]
        self._bill = Bill(pids)

    def run(self, seconds: float, opening: float, warm: float = 0.0) -> Load:
        """Open everything, for `opening` seconds at the most; after `warm` seconds more measure for `seconds`."""
        loop, began = self._loop, time.monotonic()
        self._open()
        tasks = [task for group in self._groups for task in group.tasks]
        waiting = list(tasks)

        def all_there() -> bool:
            while waiting and (waiting[-1].received or waiting[-1].counted):
                waiting.pop()
            return not waiting

        loop.run(began + opening, all_there)
        opened = time.monotonic() - began
        loop.run(time.monotonic() + warm)
        late = sum(not (task.received or task.counted) for task in tasks)
        start = time.monotonic()
        for group in self._groups:
            if group.group.per_second:
                self._arrivals(group, start)
        before = [([task.received for task in group.tasks], group.finished, group.errors) for group in self._groups]
        samples: list[list[int]] = [[group.received()] for group in self._groups]
        self._sample(start + SAMPLE_EVERY, samples)
        pss = [self._bill.pss()]
        loop.call_at(start + seconds * 0.7, lambda: pss.append(self._bill.pss()))
        server, mine, busy = self._bill.seconds(), time.process_time(), machine_seconds()
        start = time.monotonic()
        loop.run(start + seconds)
        took = time.monotonic() - start
        server, mine = self._bill.seconds() - server, time.process_time() - mine
        others = max(machine_seconds() - busy - server - mine, 0.0)
        results = [
            GroupResult(
                group.group.name, [task.received - was for task, was in zip(group.tasks, received, strict=False)],
                group.finished - finished, group.errors - (errors if group.group.per_second else 0), group.texts,
                group.latencies, [sample - sampled[0] for sample in sampled],
            )
            for group, (received, finished, errors), sampled in zip(self._groups, before, samples, strict=True)
        ]  # fmt: skip
        for group in self._groups:
            for task in group.tasks:
                loop.end(task)
        return Load(took, opened, server, mine, others, max(pss), late, results)

    def _open(self) -> None:
        """All lasting connections, a burst in each turn of the loop."""
        for group in self._groups:
            if not group.group.per_second:
                group.tasks = [Task(self._loop, group, group.deal()) for _ in range(group.group.connections)]
        tasks = iter([task for group in self._groups for task in group.tasks])

        def some() -> None:
            for count, task in enumerate(tasks, 1):
                self._loop.begin(task)
                if count == BURST:
                    self._loop.call_at(time.monotonic(), some)
                    return

        some()

    def _arrivals(self, group: _Running, start: float) -> None:
        def arrive(number: int) -> None:
            self._loop.call_at(start + (number + 1) / group.group.per_second, lambda: arrive(number + 1))
            self._loop.begin(Task(self._loop, group, group.deal(), once=True))

        arrive(0)

    def _sample(self, when: float, samples: list[list[int]]) -> None:
        def take() -> None:
            for group, taken in zip(self._groups, samples, strict=True):
                taken.append(group.received())
            self._sample(when + SAMPLE_EVERY, samples)

        self._loop.call_at(when, take)


def raise_descriptor_limit() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main() -> None:
    raise_descriptor_limit()
    work: dict[str, Any] = json.load(sys.stdin)
    groups = [Group(**{**group, "address": tuple(group["address"])}) for group in work["groups"]]
    load = Generator(groups, work["pids"]).run(work["seconds"], work["opening"], work["warm"])
    json.dump(asdict(load), sys.stdout)


if __name__ == "__main__":
    main()
