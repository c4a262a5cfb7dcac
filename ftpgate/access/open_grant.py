"""A grant in use: its tree, its coverage, and the segments of its files."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import inf
from typing import Protocol

from ftpgate.access.ledger import Ledger
from ftpgate.errors import DeadToken
from ftpgate.gates import SegmentNews
from ftpgate.grants import File, Grant, GrantState, GrantStatus, Item, TransferInfo
from ftpgate.proof.coverage import Span, SpanSet
from ftpgate.proof.reconciler import Reconciler
from ftpgate.proof.segments import Evidence, RemoteSegment, Segment
from ftpgate.shaping.customer import Customer
from ftpgate.sources import Resource
from ftpgate.tree import GrantTree

RANGES = 8_000
"""Separate ranges of one file that are kept. What lies apart from all of them is not credited any more: whoever asks for
single bytes here and there, by the million, fetches them again. Below what the bridge keeps (10,000), so that it never
forgets what this gate takes for delivered and would not tell it again."""


class Running(Protocol):
    """A transfer, as its grant knows it."""

    info: TransferInfo
    started_at: float
    """Unix time."""
    outcome: str | None
    """How it has ended; None while it runs."""

    @property
    def length(self) -> int:
        """Bytes of its whole stream."""
        ...

    @property
    def bytes_per_s(self) -> float: ...

    @property
    def start(self) -> int:
        """First byte of the resource that it was asked for."""
        ...

    @property
    def end(self) -> int:
        """The byte behind the last one."""
        ...

    @property
    def position(self) -> int:
        """The byte of the resource that the client's TCP has acknowledged up to."""
        ...

    def look(self, now: float) -> None:
        """Ask the kernel how far the client is. `now` is the monotonic clock's."""
        ...

    def cut(self, outcome: str = "cut") -> None:
        """End it by reset, for this reason."""
        ...


class _Followed:
    """A resource of a grant whose segments are followed."""

    __slots__ = ("covered", "reconciler", "resource")

    def __init__(self, resource: Resource, grant: OpenGrant, left: Sequence[Evidence]) -> None:
        self.resource = resource
        self.covered = SpanSet() if resource.sha256 is None else grant.coverage.setdefault(resource.files[0].id, SpanSet())
        """What is delivered of it. Of a zip only what was fetched as a zip since is known in its own bytes."""

        coverage = grant.coverage  # and not the grant, which holds this: it is to be free without a collection of cycles

        def delivered(start: int, end: int) -> bool:
            return all(_covers(coverage, file.id, first, last) for file, first, last in resource.covered(start, end))

        self.reconciler = Reconciler(self.covered, left, delivered, time.monotonic())


class OpenGrant:
    """A grant in use on this gate: its tree, its coverage as recorded and as credited here, its segments."""

    __slots__ = (
        "_files", "_followed", "_ledger", "_left", "_told", "begun", "coverage", "customer", "grant", "known_until", "sessions",
        "status", "transfers", "tree",
    )  # fmt: skip

    def __init__(self, grant: Grant, customer: Customer, ledger: Ledger) -> None:
        self.grant = grant
        self.status = grant.status
        self.customer = customer
        self.tree = GrantTree(grant.items)
        self.coverage = {file: SpanSet(spans) for file, spans in grant.covered.items()}
        self.transfers: set[Running] = set()
        self.sessions = 0
        """FTP sessions and others that hold on to this grant without a transfer."""
        self.begun: Callable[[], None] | None = None
        """Called when a segment begins of which other gates should know soon."""
        self.known_until = inf
        """All that began under it before this time, by the monotonic clock, is known of every gate; see `hear`."""
        self._ledger = ledger
        self._followed: dict[str, _Followed] = {}
        """By `Resource.key`."""
        self._left = {evidence.id: evidence for evidence in grant.segments}
        """What earlier times left without proof, of resources that nobody has asked for since."""
        self._told = {evidence.id: evidence.resource for evidence in grant.segments}
        """The segments without proof that the ledger knows, and their resources."""
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

    def reconciler(self, resource: Resource) -> Reconciler:
        """What follows the segments of one resource."""
        followed = self._followed.get(resource.key)
        if followed is None:
            left = [evidence for evidence in self._left.values() if evidence.resource == resource.key]
            for evidence in left:
                del self._left[evidence.id]
            followed = self._followed[resource.key] = _Followed(resource, self, left)
            followed.reconciler.hear((), self.known_until)
        return followed.reconciler

    def begin(self, resource: Resource, id: str, start: int, end: int, now: float) -> Segment:
        """A transfer is about to send bytes `[start, end)` of `resource`."""
        segment = self.reconciler(resource).begin(id, start, end, now)
        if self.begun is not None:
            self.begun()
        return segment

    def observe(self, resource: Resource, segment: Segment) -> None:
        """There is news of a segment: credit what this proves of others."""
        self._proven(resource, self._followed[resource.key].reconciler.observe(segment))

    def unproven(self, resource: Resource, segment: Segment) -> None:
        """A segment has ended without proof of all that it sent."""
        self._told[segment.id] = resource.key
        self._ledger.segment(describe(self.id, resource, segment))

    def inherit(self, coverage: Mapping[int, Sequence[Span]], left: Sequence[Evidence]) -> None:
        """Take on what ended gates left of this grant. What is known already changes nothing.

        Of segments that ran when their gate ended only positions are known: what was credited of them becomes coverage here.
        """
        for file, spans in coverage.items():
            self.merge(file, tuple(spans))
        for evidence in left:
            resource = self.tree.resource(evidence.resource)
            if resource is None:
                self._ledger.settled(evidence.id)
            elif evidence.id not in self._told:
                self._inherit(resource, evidence)

    def _inherit(self, resource: Resource, evidence: Evidence) -> None:
        self.credit(resource, evidence.start, evidence.credited)
        segment = Segment.left(evidence, time.monotonic())
        if segment.unconfirmed is None:
            return self._ledger.settled(evidence.id)
        self.unproven(resource, segment)
        followed = self._followed.get(resource.key)
        if followed is None:
            self._left[evidence.id] = describe(self.id, resource, segment)
            return
        self._proven(resource, followed.reconciler.inherit(segment))

    # -- segments of other gates that serve this grant too

    def own_segments(self) -> Iterator[tuple[Resource, Segment]]:
        """What this gate can tell others: its segments, and those that were left to it."""
        for followed in self._followed.values():
            for segment in followed.reconciler.own():
                yield followed.resource, segment
        for evidence in self._left.values():
            resource = self.tree.resource(evidence.resource)
            if resource is not None:
                yield resource, Segment.left(evidence)

    def hear(self, told: Iterable[tuple[str, SegmentNews]], heard_at: float, known_until: float) -> None:
        """Other gates have told of their segments: credit what these prove.

        Args:
            told: each with the id of its gate; its seconds count back from `heard_at`.
            heard_at: a time of the monotonic clock.
            known_until: what began before this time, by the same clock, has been told by every gate that serves this grant;
                infinity when no other one does.
        """
        self.known_until = known_until
        by_resource: dict[str, list[RemoteSegment]] = {}
        for gate, news in told:
            by_resource.setdefault(news.evidence.resource, []).append(_remote(gate, news, heard_at))
        for key, segments in by_resource.items():
            resource = self.tree.resource(key)
            if resource is not None:
                self._proven(resource, self.reconciler(resource).hear(segments, known_until))
        for key, followed in tuple(self._followed.items()):
            if key not in by_resource:
                self._proven(followed.resource, followed.reconciler.hear((), known_until))

    def drop(self, gate: str) -> None:
        """That gate serves this grant no longer."""
        for followed in self._followed.values():
            followed.reconciler.drop(gate)

    def _proven(self, resource: Resource, spans: Iterable[Span]) -> None:
        for start, end in spans:
            self.credit(resource, start, end)

    def settle(self) -> None:
        """Called every second: forget the segments that say nothing any more."""
        for key, followed in tuple(self._followed.items()):
            reconciler = followed.reconciler
            for segment in (*reconciler.settle(), *reconciler.forgotten):
                if self._told.pop(segment.id, None) is not None:
                    self._ledger.settled(segment.id)
            reconciler.forgotten.clear()
            if reconciler.idle:
                del self._followed[key]

    def unconfirmed(self) -> dict[int, SpanSet]:
        """By `File.id`: what was sent, without proof that it was read, and not delivered since; files without it are left out."""
        sent = [evidence.unconfirmed for evidence in self._left.values()]
        for followed in self._followed.values():
            sent += [_unconfirmed(followed.resource, segment) for segment in followed.reconciler.unconfirmed()]
        merged: dict[int, SpanSet] = {}
        for ranges in sent:
            for file, spans in ranges.items():
                merged.setdefault(file, SpanSet()).update(spans)
        apart = ((file, spans.without(self.coverage.get(file) or SpanSet())) for file, spans in merged.items())
        return {file: spans for file, spans in apart if spans}

    def credit(self, resource: Resource, start: int, end: int) -> None:
        """Bytes `[start, end)` of `resource` were delivered."""
        for file, first, last in resource.covered(start, end):
            spans = self.coverage.get(file.id)
            if spans is None:
                spans = self.coverage[file.id] = SpanSet()
            before = len(spans)
            if not spans.add(first, last):
                continue
            if len(spans) > before >= RANGES:
                spans.remove(first, last)  # one more than before: it touches none of the others
                continue
            self._ledger.credit(self.id, file.id, first, last)
            if spans.size == file.size and self.is_whole(self._files[file.id]):
                self._ledger.flush_soon()
        followed = self._followed.get(resource.key)
        if followed is not None and resource.sha256 is None and len(followed.covered) < RANGES:
            followed.covered.add(start, end)

    def is_whole(self, item: Item) -> bool:
        """Is every file of `item` covered, as far as this gate knows?"""
        return all(map(self._covered, item.files))

    def may_finish(self, item: Item, length: int) -> bool:
        """May `length` bytes more be all that `item` lacks, but for what is under way?"""
        coming, lacking = length + sum(transfer.length for transfer in self.transfers), 0
        for file in reversed(item.files):  # most clients begin with the first: a few files tell that much is lacking
            spans = self.coverage.get(file.id)
            lacking += file.size - (0 if spans is None else spans.size)
            if lacking > coming:
                return False
        return lacking > 0

    def _covered(self, file: File) -> bool:
        return not file.size or ((spans := self.coverage.get(file.id)) is not None and spans.size == file.size)

    def delivered(self, item: Item) -> int:
        """Bytes of `item` that are covered, as far as this gate knows."""
        return sum(spans.size for file in item.files if (spans := self.coverage.get(file.id)) is not None)

    def delivered_by_item(self) -> Mapping[str, int]:
        """Delivered bytes by item id, of items of which anything is covered. O(files with coverage)."""
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
                transfer.cut("revoked")

    def renew(self, grant: Grant) -> None:
        """The shop has the same files, with other time stamps: what starts from now on is held to them."""
        self.grant, self.tree = grant, GrantTree(grant.items)

    def merge(self, file: int, spans: tuple[Span, ...]) -> None:
        """Coverage that was recorded elsewhere."""
        self.coverage.setdefault(file, SpanSet()).update(spans)


def _covers(coverage: Mapping[int, SpanSet], file: int, start: int, end: int) -> bool:
    """Are bytes `[start, end)` of a file delivered?"""
    spans = coverage.get(file)
    return spans is not None and spans.covers(start, end)


def describe(grant: str, resource: Resource, segment: Segment) -> Evidence:
    """What is kept of `segment`, a segment of `resource` under the grant with this id."""
    return Evidence(
        id=segment.id, grant=grant, resource=resource.key, start=segment.start, end=segment.end, sent=segment.sent,
        acknowledged=segment.acknowledged, shown=segment.shown, hidden_bytes=segment.hidden_bytes, credited=segment.credited,
        paced=segment.paced, exact=segment.exact, unconfirmed=_unconfirmed(resource, segment),
    )  # fmt: skip


def _unconfirmed(resource: Resource, segment: Segment) -> dict[int, list[Span]]:
    """What is unconfirmed of `segment`, by the files' ids and in their bytes."""
    found: dict[int, list[Span]] = {}
    if segment.unconfirmed is not None:
        for file, start, end in resource.covered(*segment.unconfirmed):
            found.setdefault(file.id, []).append((start, end))
    return found


def _remote(gate: str, news: SegmentNews, heard_at: float) -> RemoteSegment:
    return RemoteSegment(
        gate, news.evidence, line=news.line, ended=news.ended, orderly=news.orderly, began=heard_at - (news.began or 0.0),
        moved=heard_at - (news.moved or 0.0),
    )  # fmt: skip
