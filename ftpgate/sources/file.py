"""A file as it lies on the disk."""

from __future__ import annotations

from collections.abc import Iterator

from ftpgate.grants import File
from ftpgate.sources import Slice, check_span
from ftpgate.sources.media_types import media_type


class PlainFile:
    """One file of an item; a `Resource`. `name` is what it is shown as."""

    __slots__ = ("content_type", "file", "name")

    def __init__(self, file: File, name: str) -> None:
        self.file = file
        self.name = name
        self.content_type = media_type(name)

    @property
    def key(self) -> str:
        return f"f{self.file.id}"

    @property
    def size(self) -> int:
        return self.file.size

    @property
    def etag(self) -> str:
        return f'"{self.file.sha256.hex()}"'

    @property
    def modified(self) -> float:
        return self.file.mtime_ns / 1e9

    @property
    def files(self) -> tuple[File, ...]:
        return (self.file,)

    @property
    def sha256(self) -> bytes:
        return self.file.sha256

    def pieces(self, start: int, end: int) -> Iterator[Slice]:
        check_span(start, end, self.file.size)
        return iter((Slice(self.file, start, end),) if start < end else ())

    covered = pieces

    def __repr__(self) -> str:
        return f"PlainFile({self.name!r}, {self.size} bytes)"
