"""How soon a revocation ends downloads on two gates: while PostgreSQL pushes, and while all that listens there is cut off."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from tests.support.postgres import PostgresServer
from tests.trials.lab import Lab, Target
from tests.trials.promptness import CONNECTIONS, SIZE, Download, Reader
from tests.trials.trial import Run, Trial

CUSTOMERS, LONG_CUSTOMERS = 30, 150
PUSHED_GOAL, BROKEN_GOAL = 0.3, 30.0
"""Seconds from the end of the command to the end of the last connection on both gates."""
BROKEN = 5
"""Customers whose grants are revoked while the push is broken."""
CUT_EVERY = 0.05
RATE = "200k"


@contextmanager
def _broken_push(server: PostgresServer) -> Iterator[None]:
    """Connections that listen are cut as soon as they are there."""
    stopped = threading.Event()

    def cut() -> None:
        while not stopped.wait(CUT_EVERY):
            server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%%'")

    thread = threading.Thread(target=cut)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def _revoke(lab: Lab, target: Target, downloads: list[Download]) -> float:
    lab.desk.json("grant", "revoke", target.grant)
    began = time.monotonic()
    while any(download.ended_at is None for download in downloads) and time.monotonic() < began + 2 * BROKEN_GOAL:
        time.sleep(0.002)
    return max(0.0, max(download.ended_at or time.monotonic() for download in downloads) - began)


def _note(trial: Run, what: str, taken: list[float], goal: float) -> None:
    taken.sort()
    verdict = "reached" if taken[-1] <= goal else "NOT reached"
    trial.notes.append(
        f"{len(taken)} revocations of grants with {CONNECTIONS} downloads on each of two gates, {what}: "
        f"{taken[-1]:.3f} s at the worst, {taken[len(taken) // 2]:.3f} s in the middle (goal {goal:g} s: {verdict})."
    )
    trial.say(trial.notes[-1])


def run(trial: Run) -> None:
    customers = LONG_CUSTOMERS if trial.long else CUSTOMERS
    server = trial.labs.own_postgres()
    lab = trial.labs.make("postgres", server=server)
    with ExitStack() as stack:
        stack.callback(lab.close)
        lab.start(SIZE)
        other = stack.enter_context(lab.another_gate())
        assert other.gate is not None
        lab.desk.json("tier", "set", "steady", "--rate", RATE)
        targets = [lab.target(SIZE, "steady") for _ in range(customers)]
        downloads = [
            [
                Download(at, number)
                for at in (target, replace(target, addresses={"http": other.gate.http}))
                for number in range(CONNECTIONS)
            ]
            for target in targets
        ]
        with Reader(downloads):
            time.sleep(3)  # every gate knows its grants, and hears its own notices
            pairs = list(zip(targets, downloads, strict=True))
            _note(trial, "told by the push", [_revoke(lab, *pair) for pair in pairs[BROKEN:]], PUSHED_GOAL)
            with _broken_push(server):
                time.sleep(1)
                _note(
                    trial,
                    "while its connections are cut all the time",
                    [_revoke(lab, *pair) for pair in pairs[:BROKEN]],
                    BROKEN_GOAL,
                )


TRIAL = Trial("Revocations over two gates, with the push and without.", run, 0, 0, apart=True)
