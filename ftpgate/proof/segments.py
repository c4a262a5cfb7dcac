"""A segment: the bytes of one resource that one transfer sends, and what its connection shows of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ftpgate.coverage import Span


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is kept of a segment beyond its transfer: in the journal while it runs, in the database once it has ended without proof.

    Positions are bytes of the resource (`Resource.key`): `start <= credited <= sent` and `start <= acknowledged <= sent <= end`.

    Attributes:
        id: unique over all gates and restarts.
        start, end: the range asked for; of an FTP `RETR` the end is the resource's.
        sent: the client can have received nothing from here on.
        acknowledged: its TCP has acknowledged the bytes before.
        shown: its window shows the bytes before as read.
        concealed: so many bytes before `shown` the window may hide.
        credited: the bytes before are delivered.
        paced: the customer had a rate at which windows hide little.
        exact: the gate ended and the client was left with all that had been written: who read everything resumes just at `sent`.
        unconfirmed: the ranges between `credited` and `sent` by `File.id`, in bytes of the file; empty while the transfer runs.
    """

    id: str
    grant: str
    resource: str
    start: int
    end: int
    sent: int
    acknowledged: int
    shown: int
    concealed: int
    credited: int
    paced: bool
    exact: bool = False
    unconfirmed: Mapping[int, Sequence[Span]] = field(default_factory=dict)
