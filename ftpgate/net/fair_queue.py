"""A queue that gives every client the same share of the service, however much one of them has waiting. Pure."""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from itertools import count
from typing import Generic, TypeVar

T = TypeVar("T")

NEW_IN_A_ROW = 8
"""New clients that are served before one with a backlog is."""


class FairQueue(Generic[T]):
    """Items of one client in the order of arrival, and of all clients the one that has had least.

    Between clients with a backlog this is start-time fair queueing (Goyal, Vin, Cheng, SIGCOMM 1996): time is what such a
    client has been served, and a client comes up when time has reached the end of its last item. One that had nothing
    waiting when it came up is new again: new clients go first, as in RFC 8290 section 4.2, so that a single request does
    not wait for all that others have pipelined. But not all the time: new ones without end starve nobody.
    """

    __slots__ = ("_count", "_items", "_new", "_new_in_a_row", "_now", "_old", "_order")

    def __init__(self) -> None:
        self._items: dict[str, deque[T]] = {}
        self._new: deque[str] = deque()
        self._old: list[tuple[float, int, str]] = []
        """A heap: when each of the others comes up, whether it has anything waiting or not."""
        self._order = count()
        self._now = 0.0
        self._new_in_a_row = 0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def push(self, client: str, item: T) -> None:
        """Add one item behind those of the same client."""
        waiting = self._items.get(client)
        if waiting is None:
            waiting = self._items[client] = deque()
            self._new.append(client)
        waiting.append(item)
        self._count += 1

    def pop(self) -> tuple[str, T]:
        """Take the next item, with its client; what it has cost is told by `charge`, before the next one is taken.

        Raises:
            IndexError: the queue is empty.
        """
        while True:
            client = self._next_client()
            waiting = self._items[client]
            if waiting:
                self._count -= 1
                return client, waiting.popleft()
            del self._items[client]

    def charge(self, client: str, cost: float) -> None:
        """The item of `client` that was taken last has cost so much, in any unit."""
        heappush(self._old, (self._now + cost, next(self._order), client))
        while self._old and not self._items[self._old[0][2]]:
            del self._items[heappop(self._old)[2]]  # it would come up next, and has nothing

    def drop(self, client: str) -> T | None:
        """Make room for an item of `client`: take out the newest item of the client with the most, and return it.

        None, and nothing is taken out, when no other client has more waiting than `client`.
        """
        longest = max(self._items, key=lambda name: len(self._items[name]), default=client)
        if len(self._items.get(longest, ())) <= len(self._items.get(client, ())):
            return None
        self._count -= 1
        return self._items[longest].pop()

    def _next_client(self) -> str:
        if self._new and (self._new_in_a_row < NEW_IN_A_ROW or not self._old):
            self._new_in_a_row += 1
            return self._new.popleft()
        self._new_in_a_row = 0
        self._now, _, client = heappop(self._old)
        return client
