"""One client judged from outside: what `grant show` says, beside what the client knows that it has read. No clock, no process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.trials.counting import Verdict
from tests.trials.spans import Span, length, less, merged

PROMPT = 2.0
"""Seconds in which a client that holds all is to be complete."""


@dataclass(slots=True)
class Story:
    """What a client program tells of itself.

    Attributes:
        runs: `[start, position]` of each connection: read from its socket from `start` to `position`.
        ahead: what its TLS library had read besides, in a record of which the program had not read all.
        held_at: when it read the last byte that it lacked (`time.monotonic`); None while it lacks some.
        cuts: connections that it ended before their ends.
        manner: how it behaves, in words.
        failed: why it did not do what it was to do; empty when it did.
        skipped: ranges that it left out on purpose: a player that seeks.
        more: what else is to be counted, name -> number; summed up over the clients of a row.
    """

    runs: list[list[int]] = field(default_factory=list)
    ahead: list[Span] = field(default_factory=list)
    held_at: float | None = None
    cuts: int = 0
    manner: str = ""
    failed: str = ""
    skipped: list[Span] = field(default_factory=list)
    more: dict[str, int] = field(default_factory=dict)

    def run(self, start: int) -> list[int]:
        """A connection that begins at `start`; raise the second number as it is read."""
        self.runs.append([start, start])
        return self.runs[-1]

    def read(self) -> list[Span]:
        """What the program has."""
        return merged(self.runs)

    def taken(self) -> list[Span]:
        """What has left the kernel's buffers: nobody but the client itself can tell that from what the program has."""
        return merged([*self.runs, *self.ahead])


class Judge:
    """Collects what is seen of one grant of one item with one file.

    Attributes:
        covered: as it was last seen.
        excess: what was credited and not read, when that was most.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.covered: list[Span] = []
        self.excess: list[Span] = []
        self._unconfirmed: list[Span] = []
        self._complete = False
        self._complete_at: float | None = None
        self._false = self._nearly = False

    @property
    def complete(self) -> bool:
        return self._complete

    def look(self, document: Mapping[str, Any], read: list[Span], taken: list[Span], now: float) -> None:
        """Compare what `grant show` printed with what the client had read by then, or later; see `Story.taken`."""
        (item,) = document["items"]
        (file,) = item["files"]
        self.covered = merged(file["covered"])
        self._unconfirmed = merged(file.get("unconfirmed", ()))
        self._complete = item["complete"]
        if self._complete and self._complete_at is None:
            self._complete_at = now
        excess = less(self.covered, read)
        if length(excess) > length(self.excess):
            self.excess = excess
        self._false |= self._complete and bool(self.lacking(taken))
        self._nearly |= self._complete and bool(self.lacking(read))

    def lacking(self, read: list[Span]) -> list[Span]:
        return less([(0, self.size)], read)

    def verdict(self, story: Story) -> Verdict:
        held = not self.lacking(story.read())
        prompt = (
            self._complete_at is not None and story.held_at is not None and self._complete_at - story.held_at <= PROMPT + 0.05
        )
        return Verdict(
            held=held,
            complete=self._complete,
            prompt=held and prompt,
            false=self._false,
            nearly=self._nearly and not self._false,
            over=length(self.excess),
            cuts=story.cuts,
            confirmable=held and not self._complete and not less(self.lacking(self.covered), self._unconfirmed),
            failed=story.failed,
        )
