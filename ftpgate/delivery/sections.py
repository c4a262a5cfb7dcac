"""What a transfer's own stream means for the resources in it: segments, and the evidence that is kept of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from ftpgate.access.open_grant import OpenGrant, describe
from ftpgate.proof.credit import Credit, Phase
from ftpgate.proof.segments import Evidence
from ftpgate.sources import Resource


class Part(NamedTuple):
    """Bytes `[start, end)` of a resource: one part of what a transfer sends."""

    resource: Resource
    start: int
    end: int


BodyPart = bytes | Part


class EvidenceTable(Protocol):
    """Where the evidence of running segments is kept for the case that this process is killed."""

    def add(self, evidence: Evidence) -> int | None:
        """Returns the row's number; None when there is no room."""
        ...

    def update(self, slot: int, acknowledged: int, shown: int, hidden_bytes: int, credited: int) -> None: ...

    def offered(self, slot: int, offered: int) -> None:
        """The bytes before `offered` are about to be handed to the kernel."""
        ...

    def written(self, slot: int, written: int, offered: int) -> None:
        """The kernel has taken the bytes before `written`, and some of those before `offered` perhaps."""
        ...

    def remove(self, slot: int) -> None: ...


class Section:
    """One part of a transfer, and where it lies in the transfer's stream."""

    __slots__ = ("_grant", "_slot", "_table", "resource", "segment", "stream")

    def __init__(
        self, grant: OpenGrant, table: EvidenceTable, id: str, part: Part, stream: int, now: float, *, precise: bool
    ) -> None:
        self._grant = grant
        self._table = table
        self.resource = part.resource
        self.stream = stream
        self.segment = segment = grant.begin(part.resource, id, part.start, part.end, now)
        segment.paced = precise
        self._slot = table.add(describe(grant.id, part.resource, segment))

    @property
    def stream_end(self) -> int:
        return self.stream + self.segment.end - self.segment.start

    def reached(self, position: int) -> int:
        """The resource's byte that the stream's `position` has come to in this section."""
        return self.segment.start + max(min(position, self.stream_end) - self.stream, 0)

    def offer(self, position: int) -> None:
        """The stream up to `position` is about to be handed to the kernel, which may take it and this process end at once."""
        if self._slot is not None:
            self._table.offered(self._slot, self.reached(position))

    def wrote(self, position: int, ahead: int = 0) -> None:
        """The kernel has taken the stream up to `position`: so much the client may receive, whatever becomes of this process.

        Args:
            ahead: bytes after them that it may have taken a part of (`net.tcp_info.TcpProbe`).
        """
        self.segment.sent = sent = self.reached(position)
        if self._slot is not None:
            self._table.written(self._slot, sent, self.reached(position + ahead))

    def moved(self, credit: Credit, now: float, *, precise: bool) -> bool:
        """There is news of the connection. True when more of this section was acknowledged.

        Args:
            precise: the client's window tells precisely what is unread.
        """
        segment = self.segment
        if segment.orderly or credit.acknowledged < self.stream:
            return False
        before, segment.acknowledged = segment.acknowledged, self.reached(credit.acknowledged)
        if segment.acknowledged > before:
            segment.moved = now
        segment.shown = self.reached(credit.shown)
        segment.hidden_bytes, segment.paced = credit.hidden, precise
        last = self.reached(credit.credited)
        if last > segment.credited:
            self._grant.credit(self.resource, segment.credited, last)
            segment.credited = last
        if credit.phase is Phase.CREDITED:
            segment.end = last  # its client may have ended it at a line
        if last == segment.end:
            segment.orderly = True
            self.ended(credit, now)
            return True
        if self._slot is not None:
            self._table.update(self._slot, segment.acknowledged, segment.shown, segment.hidden_bytes, last)
        self._grant.observe(self.resource, segment)
        return segment.acknowledged > before

    def ended(self, credit: Credit, now: float) -> None:
        """Nothing more is sent of it, or will be acknowledged."""
        segment = self.segment
        if segment.ended:
            return
        segment.ended = True
        segment.moved = now
        segment.sent = max(self.reached(credit.sent), segment.credited)
        self._grant.observe(self.resource, segment)
        if segment.unconfirmed is not None:
            self._grant.unproven(self.resource, segment)
        if self._slot is not None:
            self._table.remove(self._slot)
            self._slot = None


class Stream:
    """What one transfer sends, from its first byte to its last: some of it bytes of resources, each part a section.

    Args:
        grant: under which it is sent.
        table: where the evidence of its segments is kept.
        new_id: gives each segment its id.
        precise: the client's window tells precisely what is unread.

    Attributes:
        length: its bytes.
    """

    __slots__ = ("_sections", "length")

    def __init__(
        self, grant: OpenGrant, table: EvidenceTable, new_id: Callable[[], str], parts: Sequence[BodyPart], now: float, *,
        precise: bool,
    ) -> None:  # fmt: skip
        sections: list[Section] = []
        self.length = 0
        for part in parts:
            if isinstance(part, bytes):
                self.length += len(part)
            elif part.end > part.start:
                sections.append(Section(grant, table, new_id(), part, self.length, now, precise=precise))
                self.length += part.end - part.start
        self._sections = tuple(sections)

    @property
    def only(self) -> Section | None:
        """Its section, if it has just one."""
        return self._sections[0] if len(self._sections) == 1 else None

    @property
    def start(self) -> int:
        """First byte of the first resource that is sent."""
        return self._sections[0].segment.start if self._sections else 0

    @property
    def end(self) -> int:
        """The byte behind the last one, or where its client ended it in order."""
        return self._sections[-1].segment.end if self._sections else 0

    @property
    def whole(self) -> bool:
        """Does it send a resource from its first byte to its last?"""
        only = self.only
        return only is not None and not self.start and self.end == only.resource.size

    def offer(self, position: int) -> None:
        """See `Section.offer`."""
        for section in self._sections:
            section.offer(position)

    def wrote(self, position: int, ahead: int) -> None:
        """See `Section.wrote`."""
        for section in self._sections:
            section.wrote(position, ahead)

    def moved(self, credit: Credit, now: float, *, precise: bool) -> bool:
        """There is news of the connection. True when more of it was acknowledged."""
        moved = False
        for section in self._sections:
            moved |= section.moved(credit, now, precise=precise)
        return moved

    def ended(self, credit: Credit, now: float) -> None:
        """Nothing more is sent, or will be acknowledged."""
        for section in self._sections:
            section.ended(credit, now)
