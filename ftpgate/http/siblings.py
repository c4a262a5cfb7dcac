"""What all workers of one gate say together: the one that is asked asks every worker, itself too, in a thread.

Each has a listener of its own for that, on loopback, which answers to whoever names the password that only they know.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from ftpgate.errors import Unavailable
from ftpgate.net.asking import Answer, ask
from ftpgate.net.executor import Executor
from ftpgate.settings import parse_address

_SECONDS = 2.0
"""That a worker has to answer in: one that hangs must not hide the others."""
_AT_ONCE = 16
"""Workers that are asked at the same time."""
_SUMS = ("connections", "transfers", "bytes_per_s", "rss_bytes")
"""What of the workers' figures adds up."""


@dataclass(frozen=True, slots=True)
class Siblings:
    """The workers of one gate.

    Attributes:
        number: of this one.
        workers: where each of them is asked, `H:P`, by number.
        leaving: the same of those that let their clients finish after a reload.
        password: what they know.
        executor: where they are asked.
    """

    number: int
    workers: Sequence[str]
    leaving: Sequence[str]
    password: str
    executor: Executor

    @property
    def alone(self) -> bool:
        return len(self.workers) == 1

    def status(self) -> bytes:
        """All of them and all their transfers, as JSON; those that do not answer are left out. May block."""
        answers = self._ask([*self.workers, *self.leaving], "GET", "status")
        documents: list[dict[str, Any]] = [json.loads(answer.body) for answer in answers if answer and answer.status == 200]
        gates = [gate for document in documents for gate in document["gates"]]
        transfers = [transfer for document in documents for transfer in document["transfers"]]
        return json.dumps({"transfers": transfers, "gates": gates, "total": total(gates)}, ensure_ascii=False).encode() + b"\n"

    def health(self) -> str:
        """What is wrong with any of them, in one line; '' when nothing is. May block."""
        answers = self._ask(self.workers, "GET", "health")
        wrong = (
            f"worker {number}: {answer.body.decode().strip() if answer else 'does not answer'}"
            for number, answer in enumerate(answers)
            if answer is None or answer.status != 200
        )
        return "; ".join(wrong)

    def metrics(self, written: Callable[[Iterator[Metric]], bytes]) -> bytes:
        """Those of all workers. May block.

        Args:
            written: makes the text.
        """
        families: dict[str, Metric] = {}
        for answer in self._ask(self.workers, "GET", "metrics"):
            if answer is None or answer.status != 200:
                continue
            for family in text_string_to_metric_families(answer.body.decode()):
                families.setdefault(family.name, Metric(family.name, family.documentation, family.type)).samples += family.samples
        return written(iter(families.values()))

    def end(self, permit: str) -> int:
        """Have all cut what a signed link names; how many transfers that were. May block."""
        answers = self._ask([*self.workers, *self.leaving], "POST", f"end/{permit}")
        return sum(int(json.loads(answer.body)["ended"]) for answer in answers if answer and answer.status == 200)

    def _ask(self, where: Sequence[str], method: str, path: str) -> list[Answer | None]:
        def one(place: str) -> Answer | None:
            return ask(parse_address(place), method, f"/{self.password}/{path}", seconds=_SECONDS)

        with ThreadPoolExecutor(_AT_ONCE) as threads:
            answers = list(threads.map(one, where))
        if not any(answers):
            raise Unavailable
        return answers


def total(gates: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The sum of what gates say, and the worst of their lags."""
    found: dict[str, Any] = {name: sum(gate[name] for gate in gates) for name in _SUMS}
    return {**found, "loop_lag_ms": max((gate["loop_lag_ms"] for gate in gates), default=0.0)}
