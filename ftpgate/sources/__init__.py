"""What a grant serves, as bytes made on the fly and slices of files on the disk. Nothing here opens a file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from ftpgate.grants import File


class Slice(NamedTuple):
    """Bytes `[start, end)` of a file on the disk, `start < end`."""

    file: File
    start: int
    end: int


Piece = bytes | Slice


class Resource(Protocol):
    """Something with a fixed number of fixed bytes, any range of which can be had without what comes before it."""

    @property
    def key(self) -> str:
        """Unique within a grant, the same after a restart: `f<file id>` or `z<item id>`."""
        ...

    @property
    def name(self) -> str:
        """The last component of its path."""
        ...

    @property
    def size(self) -> int: ...

    @property
    def etag(self) -> str:
        """A strong entity tag with its quotes (RFC 9110 section 8.8.3): other bytes, other tag."""
        ...

    @property
    def modified(self) -> float:
        """Unix seconds; of a zip, those of its newest file."""
        ...

    @property
    def content_type(self) -> str: ...

    @property
    def files(self) -> tuple[File, ...]:
        """What must be on the disk as it was imported for this to be served."""
        ...

    @property
    def sha256(self) -> bytes | None:
        """32 bytes; None for a zip."""
        ...

    def pieces(self, start: int, end: int) -> Iterator[Piece]:
        """The bytes `[start, end)` in order, made as they are asked for. No piece is empty; bytes come in at most
        `LITERAL_LIMIT` at a time. Raises ValueError, at once, outside `0 <= start <= end <= size`.
        """
        ...

    def covered(self, start: int, end: int) -> Iterator[Slice]:
        """Which bytes of files lie in bytes `[start, end)` of this: the slices of `pieces`, without the cost of the rest."""
        ...


LITERAL_LIMIT = 64 * 1024
"""Bytes: no piece that is not a slice is longer."""


def check_span(start: int, end: int, size: int) -> None:
    """Raises ValueError unless `0 <= start <= end <= size`."""
    if not 0 <= start <= end <= size:
        raise ValueError(f"bytes [{start}, {end}) are not within [0, {size}): clamp the range before asking for its pieces")
