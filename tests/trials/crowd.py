"""Client programs in processes of their own, several at a time, and the judging of each as it goes along.

A process per client: what hangs or fails is one client, and closing its sockets is what the end of a program does.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import random
import signal
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from tests.support.tools import CACHE
from tests.trials.counting import Row
from tests.trials.judging import PROMPT, Judge, Story
from tests.trials.lab import Lab, Target
from tests.trials.spans import common

EVER = 10.0
"""Seconds after which a client that holds all and is not complete is missed."""
SURE = 5.0
"""Seconds after which nothing is credited any more to a client that has gone."""
WRONG = CACHE / "trials" / "wrong.jsonl"
"""Every client that was missed, over-credited or failed, with what it had read: to be looked at."""
_fork = multiprocessing.get_context("fork")  # this process has one thread; a forked child has nothing to import


class OutOfTime(Exception):
    """The client did not end within its time."""


class Talk:
    """A client's line to the judge.

    Attributes:
        story: what it tells of itself.
    """

    def __init__(self, pipe: Connection, story: Story) -> None:
        self._pipe = pipe
        self.story = story

    def holds_all(self, seconds: float = 0.0) -> None:
        """It has read its last byte just now, and leaves its connections open for a while."""
        self.story.held_at = time.monotonic()
        if seconds:
            self._pipe.send(("pause", self.story))
            time.sleep(seconds)

    def pause(self, seconds: float) -> None:
        """Do nothing for a while: no connection is open, so that what is credited can be compared with what was read."""
        self._pipe.send(("pause", self.story))
        time.sleep(seconds)
        self._pipe.send(("go", None))
        self._pipe.recv()


Behaviour = Callable[[Target, random.Random, Talk], None]
"""A client program: fetches as it likes, and tells `talk.story`."""


@dataclass(frozen=True, slots=True)
class Job:
    """One client to be.

    Attributes:
        row: the class that it is counted in.
        seed: of its behaviour; its number is part of it.
        size, rate: of the file and the customer.
        seconds: its time, after which it has failed.
    """

    row: str
    seed: str
    size: int
    rate: str
    behaviour: Behaviour
    seconds: float = 60.0


class _Client:
    """One that runs or is still looked at."""

    def __init__(self, job: Job, target: Target) -> None:
        self.job = job
        self.target = target
        self.judge = Judge(target.size)
        self.story: Story | None = None
        self.paused: Story | None = None
        self.paused_at = 0.0
        self.next_look = 0.0
        self.late_at = math.inf
        self.ended_at = 0.0
        self.pipe, theirs = _fork.Pipe()
        self.process = _fork.Process(target=_live, args=(job, target, theirs), daemon=True)
        self.process.start()
        theirs.close()


class Crowd:
    """Runs jobs in a lab and counts them into rows.

    Args:
        rows: name -> counts; rows are added as they come.
        ever: seconds to wait for a completion.
    """

    def __init__(self, lab: Lab, rows: dict[str, Row], *, ever: float = EVER) -> None:
        self._lab = lab
        self._rows = rows
        self._ever = ever
        self.blind = False
        """Look at nothing: the database is away. Until `see_again`."""
        self._running: list[_Client] = []
        self._looked_at: list[_Client] = []

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def busy(self) -> bool:
        return bool(self._running or self._looked_at)

    def run(self, jobs: Iterable[Job], at_once: int, until: float) -> None:
        """Start jobs, so many at once, until they are all done or the time (`time.monotonic`) has come; then wait for all."""
        for job in jobs:
            while self.running >= at_once:
                self.step()
            if time.monotonic() >= until:
                break
            self.start(job)
        self.finish()

    def start(self, job: Job) -> None:
        self.prepare(job)()

    def prepare(self, job: Job) -> Callable[[], None]:
        """Issue the grant and start the process, but not its behaviour: what is returned does that."""
        client = _Client(job, self._lab.target(job.size, job.rate))

        def begin() -> None:
            client.late_at = time.monotonic() + job.seconds + 5
            self._running.append(client)
            client.pipe.send(None)

        return begin

    def targets(self) -> list[Target]:
        """Of those that have begun and are not counted yet."""
        return [client.target for client in (*self._running, *self._looked_at)]

    def forget_ended(self) -> None:
        """Do not count those whose programs have ended."""
        self._looked_at.clear()

    def finish(self) -> None:
        while self.busy:
            self.step()

    def see_again(self) -> None:
        """The database is back; the time of those that have ended counts from now."""
        self.blind = False
        for client in self._looked_at:
            client.ended_at = time.monotonic()

    def look_at_all(self) -> None:
        """Look at the grants of all whose programs have ended, or pause."""
        for client in (*self._running, *self._looked_at):
            self._look(client)

    def step(self, seconds: float = 0.05) -> None:
        """Hear what the clients say, and look at what is to be looked at."""
        pipes: dict[Any, _Client] = {client.pipe: client for client in self._running}
        if not pipes:
            time.sleep(seconds)
        for pipe in wait(list(pipes), seconds) if pipes else ():
            self._hear(pipes[pipe])
        now = time.monotonic()
        for client in self._running:
            if now > client.late_at:
                client.process.kill()  # the pipe ends, and it has failed
            elif client.paused is not None and now >= client.next_look:
                self._look(client)
                client.next_look = _next_look(now, client.paused_at, client.paused.held_at)
        for client in tuple(self._looked_at):
            if now >= client.next_look:
                self._look_again(client)

    def _hear(self, client: _Client) -> None:
        try:
            what, told = client.pipe.recv()
        except (EOFError, OSError):
            what, told = "end", Story(failed="it did not end in time, and was killed")
        if what == "pause":
            client.paused, client.paused_at, client.next_look = told, time.monotonic(), 0.0
        elif what == "go":
            self._look(client)
            client.paused = None
            with suppress(OSError):
                client.pipe.send(None)
        else:
            client.story, client.ended_at, client.next_look = told, time.monotonic(), 0.0
            self._running.remove(client)
            self._looked_at.append(client)
            client.pipe.close()
            client.process.join(5)
            if client.process.is_alive():
                client.process.kill()
                client.process.join()
            client.process.close()

    def _look(self, client: _Client) -> None:
        story, now = client.story or client.paused, time.monotonic()
        if story is None or self.blind:
            return
        try:
            document = self._lab.show(client.target.grant)
        except AssertionError as error:  # there will be others
            print(f"  {client.job.seed}: {error}", file=sys.stderr, flush=True)
        else:
            client.judge.look(document, story.read(), story.taken(), now)

    def _look_again(self, client: _Client) -> None:
        story = client.story
        assert story is not None
        self._look(client)
        now = time.monotonic()
        client.next_look = _next_look(now, client.ended_at, story.held_at)
        if self.blind:
            return
        over = now > client.ended_at + (SURE if story.held_at is None else self._ever)
        if over or story.failed or (client.judge.complete and now > client.ended_at + 0.5):
            self._looked_at.remove(client)
            self._count(client, story)

    def _count(self, client: _Client, story: Story) -> None:
        job, judge = client.job, client.judge
        verdict = judge.verdict(story)
        row = self._rows.setdefault(job.row, Row(job.row))
        row.add(verdict)
        credited = sum(bool(common([stretch], judge.excess)) for stretch in story.skipped)
        more = {
            **story.more,
            **({"stretches skipped": len(story.skipped), "of them credited": credited} if story.skipped else {}),
        }
        for name, value in more.items():
            row.more[name] = row.more.get(name, 0) + value
        if verdict.wrong:
            note = {
                "row": job.row, "seed": job.seed, "grant": client.target.grant, "size": job.size, "rate": job.rate,
                "manner": story.manner,
                "verdict": asdict(verdict), "over": judge.excess, "lacking": judge.lacking(judge.covered),
                "read": story.read(), "runs": story.runs,
            }  # fmt: skip
            WRONG.parent.mkdir(parents=True, exist_ok=True)
            with WRONG.open("a") as file:
                file.write(json.dumps(note) + "\n")


def _next_look(now: float, since: float, held_at: float | None) -> float:
    """Often at first, and just when a client that holds all is to be complete."""
    following = now + max(0.1, min(now - since, 2.0) / 2)
    return held_at + PROMPT if held_at is not None and now < held_at + PROMPT < following else following


def _live(job: Job, target: Target, pipe: Connection) -> None:
    """The process of one client."""

    def out_of_time(*_: object) -> None:
        raise OutOfTime

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pipe.recv()
    signal.signal(signal.SIGALRM, out_of_time)
    signal.setitimer(signal.ITIMER_REAL, job.seconds)
    talk = Talk(pipe, Story())
    try:
        job.behaviour(target, random.Random(job.seed), talk)
    except OutOfTime:
        talk.story.failed = f"not done within {job.seconds:g} s"
    except Exception as error:  # what went wrong with one client is told, and counted
        talk.story.failed = f"{type(error).__name__}: {error}"[:2_000]
    signal.setitimer(signal.ITIMER_REAL, 0)
    pipe.send(("end", talk.story))
