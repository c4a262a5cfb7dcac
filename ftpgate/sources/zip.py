"""An item as one stored (uncompressed) zip that is laid out before a byte of it is read.

Sizes and CRC-32s are known since import, so that every offset is arithmetic and any range can be made by itself. The
format is PKWARE's APPNOTE 6.3.10 (sections 4.3, 4.5.3); the time stamps in UTC are Info-ZIP's extra field 0x5455.

    header · data · header · data · … · central directory · [ZIP64 end · its locator] · end
"""

from __future__ import annotations

import hashlib
import struct
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from time import gmtime

from ftpgate.grants import File, Item
from ftpgate.naming import ZIP_SUFFIX, shown_paths
from ftpgate.sources import LITERAL_LIMIT, Piece, Slice, check_span
from ftpgate.sources.media_types import ZIP

LAYOUT = 1
"""Goes into every entity tag: count it up when the bytes of any archive would change, or resumed downloads would be spoilt."""

_LOCAL = struct.Struct("<4sHHHHHLLLHH")
_CENTRAL = struct.Struct("<4sHHHHHHLLLHHHHHLL")
_END64 = struct.Struct("<4sQHHLLQQQQ")
_LOCATOR64 = struct.Struct("<4sLQL")
_END = struct.Struct("<4sHHHHLLH")
_TIME = struct.Struct("<HHBL")
_ZIP64_SIZES = struct.Struct("<HHQQ")

_FULL16 = 0xFFFF  # in a field: look into the ZIP64 record
_FULL32 = 0xFFFFFFFF
"""In a field of 32 bits: the value stands in the ZIP64 extra field (APPNOTE 4.4.8)."""
_PLAIN, _ZIP64 = 20, 45  # version needed to extract: 2.0 (folders), 4.5
_UNIX = 3 << 8
_UTF8 = 1 << 11
_REGULAR_0644 = 0o100644 << 16
"""Made on Unix (APPNOTE 4.4.2), names in UTF-8 (4.4.4, bit 11), and the mode of each file (4.4.15, as Info-ZIP uses it)."""
_NAME_LIMIT = 16 * 1024  # bytes of a path: far above any file system's, and a header stays within LITERAL_LIMIT
_DOS_FIRST, _DOS_LAST = 315_532_800, 4_354_819_198  # 1980-01-01 00:00:00 and 2107-12-31 23:59:58
_LAST_TIME = 0x7FFFFFFF  # Info-ZIP reads the field as signed, 7-Zip as unsigned: only what is the same to both is stored


class ZipArchive:
    """The zip of one item, a `Resource`; every member lies in one folder named `folder`.

    Holds two offsets for each member; headers are made when they are asked for. Laying out costs about four
    microseconds a member, the entity tag as much again when it is first asked for.

    Raises:
        ValueError: the path of a member is longer than 16 KiB.
    """

    __slots__ = (
        "_central", "_central_start", "_etag", "_paths", "_prefix", "_starts", "_trailer", "_trailer_start",
        "files", "key", "modified", "name", "size",
    )  # fmt: skip

    content_type = ZIP
    sha256 = None

    def __init__(self, item: Item, folder: str) -> None:
        self.key = f"z{item.id}"
        self.name = folder + ZIP_SUFFIX
        self.files = item.files
        self.modified = max((file.mtime_ns for file in item.files), default=0) / 1e9
        self._prefix = f"{folder}/".encode()
        self._paths = shown_paths(file.path for file in item.files)
        self._starts = array("Q")  # of each member's header in the archive
        self._central = array("Q")  # of each member's entry in the central directory
        self._etag = ""
        offset = central = 0
        for file, path in zip(self.files, self._paths, strict=True):
            name = len(self._prefix) + (len(path) if path.isascii() else len(path.encode()))
            if name > _NAME_LIMIT:
                raise ValueError(
                    f"the path {path[:60]!r}… has {name} bytes, more than {_NAME_LIMIT}: import it under a shorter one"
                )
            self._starts.append(offset)
            self._central.append(central)
            time = _TIME.size if 0 <= file.mtime_ns // 1_000_000_000 <= _LAST_TIME else 0
            large, far = file.size >= _FULL32, offset >= _FULL32
            offset += _LOCAL.size + name + time + (_ZIP64_SIZES.size if large else 0) + file.size
            central += _CENTRAL.size + name + time + (4 + 16 * large + 8 * far if large or far else 0)
        self._central_start = offset
        self._trailer_start = offset + central
        self._trailer = _trailer(len(self.files), offset, central)
        self.size = self._trailer_start + len(self._trailer)

    @property
    def etag(self) -> str:
        """Bound to the contents' digests and the directory, which tells all else: paths, sizes, CRCs, times, offsets."""
        if not self._etag:
            digest = hashlib.sha256(f"ftpgate zip {LAYOUT}\n".encode())
            digest.update(b"".join(file.sha256 for file in self.files))
            for piece in self._pieces(self._central_start, self.size):
                assert isinstance(piece, bytes)
                digest.update(piece)
            self._etag = f'"{digest.hexdigest()}"'
        return self._etag

    def pieces(self, start: int, end: int) -> Iterator[Piece]:
        check_span(start, end, self.size)
        return self._pieces(start, end)

    def covered(self, start: int, end: int) -> Iterator[Slice]:
        check_span(start, end, self.size)
        return self._covered(start, end)

    def _pieces(self, start: int, end: int) -> Iterator[Piece]:
        """Literal parts are collected, so that the headers of a thousand empty files are one piece, not a thousand."""
        made: list[bytes] = []
        held = 0
        for piece in self._parts(start, end):
            if isinstance(piece, Slice) or held + len(piece) > LITERAL_LIMIT:
                if made:
                    yield b"".join(made)
                    made, held = [], 0
                if isinstance(piece, Slice):
                    yield piece
                    continue
            made.append(piece)
            held += len(piece)
        if made:
            yield b"".join(made)

    def _parts(self, start: int, end: int) -> Iterator[Piece]:
        """As `pieces`, with each header by itself."""
        starts, files = self._starts, self.files
        if start < self._central_start:
            for at in range(bisect_right(starts, start) - 1, len(files)):
                header = starts[at]
                if header >= end:
                    return
                file = files[at]
                data = self._end(at) - file.size
                if start < data:
                    yield self._header(at)[max(start - header, 0) : end - header]
                first, last = max(start - data, 0), min(end - data, file.size)
                if first < last:
                    yield Slice(file, first, last)
            start = self._central_start
        if start >= end:
            return
        central = self._central
        if start < self._trailer_start:
            for at in range(bisect_right(central, start - self._central_start) - 1, len(central)):
                entry = central[at] + self._central_start
                if entry >= end:
                    return
                yield self._entry(at)[max(start - entry, 0) : end - entry]
            start = self._trailer_start
        if start < end:
            yield self._trailer[start - self._trailer_start : end - self._trailer_start]

    def _covered(self, start: int, end: int) -> Iterator[Slice]:
        starts, files = self._starts, self.files
        if start >= min(end, self._central_start):
            return
        for at in range(bisect_right(starts, start) - 1, len(files)):
            if starts[at] >= end:
                return
            file = files[at]
            data = self._end(at) - file.size
            first, last = max(start - data, 0), min(end - data, file.size)
            if first < last:
                yield Slice(file, first, last)

    def _end(self, at: int) -> int:
        """Where the data of a member ends: where the next thing begins."""
        return self._starts[at + 1] if at + 1 < len(self._starts) else self._central_start

    def _header(self, at: int) -> bytes:
        """Local file header (APPNOTE 4.3.7)."""
        file, name = self.files[at], self._prefix + self._paths[at].encode()
        large = file.size >= _FULL32
        extra = _ZIP64_SIZES.pack(0x0001, 16, file.size, file.size) if large else b""
        time, day, stamp = _times(file)
        extra += stamp
        size = _FULL32 if large else file.size
        needed = _ZIP64 if large else _PLAIN
        head = _LOCAL.pack(b"PK\x03\x04", needed, _UTF8, 0, time, day, file.crc32, size, size, len(name), len(extra))
        return head + name + extra

    def _entry(self, at: int) -> bytes:
        """Entry of the central directory (APPNOTE 4.3.12); its ZIP64 field holds only what does not fit (4.5.3)."""
        file, name, offset = self.files[at], self._prefix + self._paths[at].encode(), self._starts[at]
        large, far = file.size >= _FULL32, offset >= _FULL32
        wide = ([file.size, file.size] if large else []) + ([offset] if far else [])
        extra = struct.pack(f"<HH{len(wide)}Q", 0x0001, 8 * len(wide), *wide) if wide else b""
        time, day, stamp = _times(file)
        extra += stamp
        size = _FULL32 if large else file.size
        needed = _ZIP64 if wide else _PLAIN
        head = _CENTRAL.pack(
            b"PK\x01\x02", _UNIX | _ZIP64, needed, _UTF8, 0, time, day, file.crc32, size, size, len(name), len(extra),
            0, 0, 0, _REGULAR_0644, _FULL32 if far else offset,
        )  # fmt: skip
        return head + name + extra

    def __repr__(self) -> str:
        return f"ZipArchive({self.name!r}, {len(self.files)} members, {self.size} bytes)"


def _times(file: File) -> tuple[int, int, bytes]:
    """MS-DOS time and date (two seconds, 1980 to 2107) in UTC, so that no time zone changes a byte; the field 0x5455."""
    seconds = file.mtime_ns // 1_000_000_000
    stamp = _TIME.pack(0x5455, 5, 1, seconds) if 0 <= seconds <= _LAST_TIME else b""
    at = gmtime(min(max(seconds, _DOS_FIRST), _DOS_LAST))
    return at.tm_hour << 11 | at.tm_min << 5 | at.tm_sec >> 1, (at.tm_year - 1980) << 9 | at.tm_mon << 5 | at.tm_mday, stamp


def _trailer(count: int, offset: int, size: int) -> bytes:
    """The ends of the archive (APPNOTE 4.3.14 to 4.3.16) for a directory of `count` entries and `size` bytes at `offset`."""
    wide = b""
    if count >= _FULL16 or offset >= _FULL32 or size >= _FULL32:
        wide = _END64.pack(b"PK\x06\x06", _END64.size - 12, _UNIX | _ZIP64, _ZIP64, 0, 0, count, count, size, offset)
        wide += _LOCATOR64.pack(b"PK\x06\x07", 0, offset + size, 1)
    short = min(count, _FULL16)
    return wide + _END.pack(b"PK\x05\x06", 0, 0, short, short, min(size, _FULL32), min(offset, _FULL32), 0)
