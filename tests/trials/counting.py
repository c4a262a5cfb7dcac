"""What is counted of a class of clients, and how sure a count is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

RECORD = 16_384
"""Plaintext of a TLS record, at the most (RFC 8446, 5.1): a client's library may have read one that the client has not yet."""


def bounds(count: int, of: int) -> tuple[float, float]:
    """The exact 95 % confidence bounds (Clopper and Pearson) of a share of which `count` in `of` were seen."""
    if not of:
        return 0.0, 1.0
    low = 0.0 if count == 0 else _root(lambda share: 1 - _at_most(count - 1, of, share) - 0.025)
    high = 1.0 if count == of else _root(lambda share: 0.025 - _at_most(count, of, share))
    return low, high


def _at_most(count: int, of: int, share: float) -> float:
    """The probability of `count` or fewer successes in `of` trials."""
    if not 0 < share < 1:
        return 1.0 if share <= 0 or count >= of else 0.0
    log, other = math.log(share), math.log1p(-share)
    whole = math.lgamma(of + 1)
    return math.fsum(
        math.exp(whole - math.lgamma(k + 1) - math.lgamma(of - k + 1) + k * log + (of - k) * other) for k in range(count + 1)
    )


def _root(rising: Callable[[float], float]) -> float:
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return (low + high) / 2


@dataclass(slots=True)
class Verdict:
    """What was found out about one client.

    Attributes:
        held: it has read every byte.
        complete: its item was complete when it was last looked at.
        prompt: and had been within two seconds of the last byte's reading.
        false: it was complete while the client lacked bytes.
        nearly: it was complete while all that the client lacked was in records that its TLS library had read.
        over: the most bytes that were credited and that it had not read just then.
        cuts: connections that it ended before their ends.
        confirmable: it was missed, and all that lacks is shown as unconfirmed.
        failed: why it did not do what it was to do; empty when it did.
    """

    held: bool = False
    complete: bool = False
    prompt: bool = False
    false: bool = False
    nearly: bool = False
    over: int = 0
    cuts: int = 0
    confirmable: bool = False
    failed: str = ""

    @property
    def missed(self) -> bool:
        return self.held and not self.complete and not self.failed

    @property
    def wrong(self) -> bool:
        """Is it worth looking at?"""
        return self.missed or self.false or self.over > 0 or bool(self.failed)


@dataclass(slots=True)
class Row:
    """The counts of one class of clients. `more`: figures that only this class has, name -> value."""

    name: str
    clients: int = 0
    held: int = 0
    complete: int = 0
    prompt: int = 0
    missed: int = 0
    confirmable: int = 0
    false: int = 0
    nearly: int = 0
    over: int = 0
    over_more: int = 0
    over_most: int = 0
    over_sum: int = 0
    failed: int = 0
    more: dict[str, Any] = field(default_factory=dict)

    def add(self, verdict: Verdict) -> None:
        self.clients += 1
        self.held += verdict.held
        self.complete += verdict.held and verdict.complete
        self.prompt += verdict.held and verdict.prompt
        self.missed += verdict.missed
        self.confirmable += verdict.confirmable
        self.false += verdict.false
        self.nearly += verdict.nearly
        self.over += verdict.over > 0
        self.over_more += verdict.over > RECORD * max(verdict.cuts, 1)
        self.over_most = max(self.over_most, verdict.over)
        self.over_sum += verdict.over
        self.failed += bool(verdict.failed)

    def line(self) -> str:
        """The counts in one line, for a terminal."""
        if not self.clients:
            return f"{self.name}: {self._more()}"
        counts = f"{self.clients} clients, {self.held} hold all: {self.complete} complete ({self.prompt} within 2 s), "
        counts += f"{self.missed} missed; {self.false} false; {self.over} over-credited, {self.over_most:,} bytes at the most"
        more = f"; {self._more()}" if self.more else ""
        return f"{self.name}: {counts}{f'; {self.failed} failed' if self.failed else ''}{more}"

    def _more(self) -> str:
        return "; ".join(
            f"{name} {value:,}" if isinstance(value, int) else f"{name} {value}" for name, value in self.more.items()
        )
