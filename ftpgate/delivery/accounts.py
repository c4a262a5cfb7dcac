"""Who downloads: a customer with one rate and a number of connections, and the grants in use with their coverage."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from ftpgate.coverage import Span, SpanSet
from ftpgate.delivery.alarm import Alarm, CallLater
from ftpgate.delivery.doubt import DoubtBook
from ftpgate.delivery.pacing import SOONEST, Pacer, Sender
from ftpgate.errors import DeadToken, TooManyConnections
from ftpgate.grants import Doubt, File, Grant, GrantState, GrantStatus, Item, Tier
from ftpgate.sources import Resource
from ftpgate.tree import GrantTree

if TYPE_CHECKING:
    from ftpgate.delivery.transfer import Transfer

DOUBTS_EVERY = 2.0
"""Seconds between two writings of a grant's zones of doubt, which only a gate that dies leaves to the next."""
DOUBTS = 64
"""Zones, and again running transfers, that are written for one resource."""
RANGES = 8_000
"""Separate ranges of one file that are kept. What lies apart from all of them is not credited any more: whoever asks for
single bytes here and there, by the million, fetches them again. Below what the bridge keeps (10,000), so that it never
forgets what this gate takes for delivered and would not tell it again."""


class Ledger(Protocol):
    """Where credited bytes are written down; see `ftpgate.process.ledger`."""

    def credit(self, grant: str, file: int, start: int, end: int) -> None:
        """Bytes `[start, end)` of a file were delivered under a grant."""
        ...

    def used(self, token: bytes) -> None:
        """A token, by its digest, has let a client in: not worth a transaction of its own."""
        ...

    def hurry(self) -> None:
        """An item seems complete: do not wait for the next round."""
        ...


class Throttle:
    """The limit of the whole gate, `FTPGATE_TOTAL_RATE`, shared evenly between the customers who want to send."""

    __slots__ = ("_alarm", "_pacer")

    def __init__(self, rate: int, call_later: CallLater) -> None:
        self._alarm = Alarm(call_later, self._turn)
        self._pacer = Pacer(rate, time.monotonic())

    def join(self, customer: Customer) -> None:
        self._pacer.join(customer)
        if not self._alarm.pending:
            self._alarm.within(SOONEST)

    def _turn(self) -> None:
        delay = self._pacer.run(time.monotonic())
        if delay is not None:
            self._alarm.within(max(delay, SOONEST))


class Customer:
    """One user, over all connections, grants and both protocols.

    Unlimited, a connection sends whenever its socket takes more. With a rate, or under the gate's total, it sends when
    its turn comes: the customer's alarm wakes the ring by itself, or lets it stand in the ring of the gate.
    """

    __slots__ = ("_alarm", "_pacer", "_queued", "_throttle", "connections", "name", "tier", "transfers")

    def __init__(self, name: str, tier: Tier, call_later: CallLater, throttle: Throttle | None = None) -> None:
        self.name = name
        self.tier = tier
        self.connections = 0
        self.transfers: set[Transfer] = set()
        self._alarm = Alarm(call_later, self._turn)
        self._throttle = throttle
        self._pacer = Pacer(tier.rate, time.monotonic())
        self._queued = False
        """Does it stand in the ring of the gate?"""

    @property
    def idle(self) -> bool:
        return not self.connections and not self.transfers

    @property
    def paced(self) -> bool:
        """Do connections have to wait for their turn?"""
        return bool(self.tier.rate) or self._throttle is not None

    def connect(self) -> None:
        """Take one of the tier's connections.

        Raises:
            TooManyConnections: all are in use.
        """
        if self.connections >= self.tier.connections:
            raise TooManyConnections()
        self.connections += 1

    def disconnect(self) -> None:
        self.connections -= 1

    def change(self, tier: Tier) -> None:
        """Another tier, or another rate of the same: running transfers follow at once."""
        if tier == self.tier:
            return
        paced, self.tier = self.paced, tier
        self._pacer.change(tier.rate, time.monotonic())
        if paced != self.paced:
            for transfer in tuple(self.transfers):
                self._pacer.leave(transfer)
                transfer.pace_changed()
        if self._pacer and not self._queued:
            self._alarm.within(SOONEST)  # at the old rate it may be far off

    def queue(self, sender: Sender) -> None:
        """`sender` waits for its turn; only while `paced`."""
        self._pacer.join(sender)
        if not self._queued and not self._alarm.pending:
            self._alarm.within(SOONEST)

    def leave(self, sender: Sender) -> None:
        """`sender` is gone."""
        self._pacer.leave(sender)

    def send(self, budget: int) -> int:
        """A turn in the ring of the gate: pass it on to the connections."""
        sent = self._pacer.give(time.monotonic(), budget)
        delay = self._pacer.delay()
        self._queued = delay == 0
        if delay:
            self._alarm.within(delay)
        return sent

    @property
    def ready(self) -> bool:
        """Does it stay in the ring of the gate?"""
        return self._queued

    def _turn(self) -> None:
        if self._throttle is not None:
            if self._pacer and not self._queued:
                self._queued = True
                self._throttle.join(self)
            return
        delay = self._pacer.run(time.monotonic()) if self.paced else None
        if delay is not None:
            self._alarm.within(max(delay, SOONEST))


class OpenGrant:
    """A grant in use on this gate: its tree, its coverage as recorded and as credited here, its zones of doubt."""

    __slots__ = (
        "_books",
        "_closed",
        "_doubts_at",
        "_files",
        "_inherited",
        "_ledger",
        "_whole",
        "coverage",
        "customer",
        "grant",
        "sessions",
        "status",
        "transfers",
        "tree",
    )

    def __init__(self, grant: Grant, customer: Customer, ledger: Ledger, doubts: Mapping[str, Sequence[Span]]) -> None:
        """`doubts`: zones by `Resource.key` that earlier times left open."""
        self.grant = grant
        self.status = grant.status
        self.customer = customer
        self.tree = GrantTree(grant.items)
        self.coverage = {file: SpanSet(spans) for file, spans in grant.covered.items()}
        self.transfers: set[Transfer] = set()
        self.sessions = 0
        """FTP sessions and others that hold on to this grant without a transfer."""
        self._ledger = ledger
        self._books: dict[str, tuple[Resource, DoubtBook]] = {}
        self._whole: set[str] = set()
        """Those whose resource is covered whole: to be closed when nothing runs in them any more."""
        self._closed: set[str] = set()
        """Those closed since the zones were last written."""
        self._doubts_at = 0.0
        self._inherited = dict(doubts)
        self._files = {file.id: item for item in grant.items for file in item.files}

    @property
    def id(self) -> str:
        return self.grant.id

    @property
    def in_use(self) -> bool:
        return bool(self.transfers or self.sessions)

    def check_open(self, now: float, grace: float) -> None:
        """Raises `DeadToken` when new transfers may not start. `now` is Unix time."""
        if not self.status.opens(now, grace):
            raise DeadToken()

    def book(self, resource: Resource) -> DoubtBook:
        """The book of doubt of one resource."""
        held_book = self._books.get(resource.key)
        if held_book is None:
            inherited = self._inherited.pop(resource.key, ())
            # Of a zip only what is fetched as a zip from now on is known in its own bytes; that costs a repeat at the worst.
            held = () if resource.sha256 is None else self.coverage.get(resource.files[0].id, ())
            book = DoubtBook(resource.size, held=held, inherited=inherited)
            held_book = self._books[resource.key] = (resource, book)
            if all(map(self._covered, resource.files)):
                self._whole.add(resource.key)
        return held_book[1]

    def quiet(self, now: float) -> None:
        """Called every second: settle what only silence can, and close the books that are of no use any more."""
        for resource, book in self._books.values():
            for start, end in book.quiet(now):
                self.credit(resource, start, end)
        for key in tuple(self._whole):
            if self._books[key][1].idle():
                del self._books[key]
                self._whole.discard(key)
                self._closed.add(key)

    def open_doubts(self) -> dict[str, Sequence[Span]]:
        """The zones that nothing has settled yet, for the next time this grant is used."""
        zones = {key: tuple(book.zones()) for key, (_, book) in self._books.items()}
        return {**self._inherited, **{key: spans for key, spans in zones.items() if spans}}

    def credit(self, resource: Resource, start: int, end: int) -> None:
        """Bytes `[start, end)` of `resource` were delivered."""
        scattered = False
        for file, first, last in resource.covered(start, end):
            spans = self.coverage.get(file.id)
            if spans is None:
                spans = self.coverage[file.id] = SpanSet()
            before = len(spans)
            if not spans.add(first, last):
                continue
            if len(spans) > before >= RANGES:
                spans.remove(first, last)  # one more than before: it touches none of the others
                scattered = True
                continue
            self._ledger.credit(self.id, file.id, first, last)
            if spans.size == file.size:
                self._file_is_whole(resource, file)
        if not scattered and (known := self._books.get(resource.key)) is not None:
            known[1].hold(start, end)

    def _file_is_whole(self, resource: Resource, file: File) -> None:
        if resource.key in self._books and all(map(self._covered, resource.files)):
            self._whole.add(resource.key)
        if self.is_whole(self._files[file.id]):
            self._ledger.hurry()

    def doubts(self, now: float) -> list[Doubt]:
        """What would be in doubt if this gate died now: open zones, and as far as each running transfer may get meanwhile.

        Asked with every batch of the ledger; worth doing every DOUBTS_EVERY seconds only, so it answers [] in between.
        """
        if now - self._doubts_at < DOUBTS_EVERY:
            return []
        self._doubts_at = now
        spans: dict[str, list[Span]] = {key: list(book.zones())[-DOUBTS:] for key, (_, book) in self._books.items()}
        for transfer in self.transfers:
            for resource, start, end in transfer.horizon(DOUBTS_EVERY + 2.0):
                if len(found := spans.setdefault(resource.key, [])) < 2 * DOUBTS:
                    found.append((start, end))
        for key in self._closed - spans.keys():
            spans[key] = []
        self._closed.clear()
        return [Doubt(self.id, key, tuple(found)) for key, found in spans.items()]

    def is_whole(self, item: Item) -> bool:
        """Is every file of `item` covered, as far as this gate knows?"""
        return all(map(self._covered, item.files))

    def _covered(self, file: File) -> bool:
        return not file.size or ((spans := self.coverage.get(file.id)) is not None and spans.size == file.size)

    def delivered(self, item: Item) -> int:
        """Bytes of `item` that are covered, as far as this gate knows."""
        return sum(spans.size for file in item.files if (spans := self.coverage.get(file.id)) is not None)

    def delivered_by_item(self) -> Mapping[str, int]:
        """The same of every item that anything of is covered, by id; no dearer than the files that are."""
        found: dict[str, int] = {}
        for file, spans in self.coverage.items():
            item = self._files[file].id
            found[item] = found.get(item, 0) + spans.size
        return found

    def change(self, status: GrantStatus) -> None:
        """The shop says that something has changed. Revoking ends what is running, by reset."""
        self.status = status
        self.customer.change(status.tier)
        if status.state is GrantState.REVOKED:
            for transfer in tuple(self.transfers):
                transfer.abort("revoked")

    def renew(self, grant: Grant) -> None:
        """The shop has the same files, with other time stamps: what starts from now on is held to them."""
        self.grant, self.tree = grant, GrantTree(grant.items)

    def merge(self, file: int, spans: tuple[Span, ...]) -> None:
        """Coverage that was recorded elsewhere."""
        self.coverage.setdefault(file, SpanSet()).update(spans)
