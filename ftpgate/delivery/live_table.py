"""What is known of the transfers that run, in a file mapped into memory, so that it outlives the gate.

A store into the mapping takes 0.4 to 1 µs, needs no thread and no system call, and is in the page cache at once: a gate
ended by `kill -9` loses none of it. The kernel writes the pages to the disk in its own time, about every 30 s. Syncing them
more often would let stores wait for the disk (up to 20 ms on one of 25 writes a second, 4 ms without), and after a loss of power
their clients' positions prove nothing; what was credited is in the journal.

The file has a header and rows of a fixed size, each within one page. It is sparse and mapped whole from the beginning, and
disk space is reserved before a row is used, because a store into a page that the disk has no room for ends the process
(SIGBUS). While the gate lives it holds a lock on the file: a file that can be locked is of a gate that has ended.
"""

from __future__ import annotations

import array
import contextlib
import errno
import fcntl
import mmap
import os
import secrets
import threading
from collections.abc import Sequence
from pathlib import Path
from struct import Struct
from typing import Any, Final

from ftpgate.proof.segments import Evidence

ROWS = 65_536
"""Rows at the most; transfers beyond them are not kept, which costs their clients a repeat if the gate is killed."""
FIRST_ROWS = 4_096
"""Rows that space is reserved for at the start; doubled whenever three quarters are in use."""
NO_SLOT: Final = -1
"""The slot of what is not kept; it may be updated and removed as any other."""

_MAGIC, _VERSION = b"ftpglive", 2
_HEADER = Struct("@8sII36s")
"""Magic, version, bytes of a row, boot id. Native byte order: the file never leaves the machine."""
_HEADER_SIZE = 4_096
"""Bytes: one page, so that no row shares one with it."""
_ROW_SIZE = 256
"""Bytes: four cache lines, and 16 rows in a page."""
_SEEN = Struct("@6Q")
"""Stamp, acknowledged, shown, hidden_bytes, credited, stamp again. Fields are stored one by one in this order, each by a single
instruction. Stamp 0: the row is free. Two stamps that differ: the gate was ended in the middle of an update."""
_WRITTEN = Struct("@QQ")
"""Written, offered."""
_WRITTEN_AT = _SEEN.size
_OFFERED = Struct("@Q")
_OFFERED_AT = _WRITTEN_AT + _OFFERED.size
_FIXED = Struct("@QQ4B")
"""Start, end, paced, and the lengths of id, grant and resource, which follow."""
_FIXED_AT = _WRITTEN_AT + _WRITTEN.size
_TEXT_AT = _FIXED_AT + _FIXED.size
_TEXT_SIZE = _ROW_SIZE - _TEXT_AT
_FILE_SIZE = _HEADER_SIZE + ROWS * _ROW_SIZE
_GET_FLAGS, _SET_FLAGS, _NO_COPY_ON_WRITE = 0x8008_6601, 0x4008_6602, 0x0080_0000
"""FS_IOC_GETFLAGS, FS_IOC_SETFLAGS and FS_NOCOW_FL of linux/fs.h, as on x86-64 and ARM."""


class LiveTable:
    """The rows of one running gate. It has none until `reserve` has made the file and `extend` has taken them.

    All methods are called on the loop but `hold` and `reserve`, which may block.

    Args:
        path: the file to make.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.used = 0
        """Rows in use."""
        self.left_out = 0
        """Transfers that were not kept, for want of room."""
        self.rows = 0
        """Rows that there is space for."""
        self._stamp = 0
        self._free: list[int] = []
        self._fd = -1
        self._making = threading.Lock()
        self._map: Any = None  # a mapping, once there are rows

    def add(self, evidence: Evidence) -> int:
        """Keep what is known of a transfer that begins; returns its slot, or `NO_SLOT` when there is no room."""
        texts = (evidence.id.encode(), evidence.grant.encode(), evidence.resource.encode())
        text = b"".join(texts)
        if not self._free or len(text) > _TEXT_SIZE:
            self.left_out += 1
            return NO_SLOT
        slot = self._free.pop()
        _FIXED.pack_into(self._map, slot + _FIXED_AT, evidence.start, evidence.end, evidence.paced, *map(len, texts))
        self._map[slot + _TEXT_AT : slot + _TEXT_AT + len(text)] = text
        self.used += 1
        self.written(slot, evidence.sent, evidence.sent)
        self.update(slot, evidence.acknowledged, evidence.shown, evidence.hidden_bytes, evidence.credited)
        return slot

    def update(self, slot: int, acknowledged: int, shown: int, hidden_bytes: int, credited: int) -> None:
        """The same fields as of `Evidence`."""
        if slot >= 0:
            self._stamp = stamp = self._stamp + 1
            _SEEN.pack_into(self._map, slot, stamp, acknowledged, shown, hidden_bytes, credited, stamp)

    def offered(self, slot: int, offered: int) -> None:
        """The bytes before `offered` are about to be handed to the kernel."""
        if slot >= 0:
            _OFFERED.pack_into(self._map, slot + _OFFERED_AT, offered)

    def written(self, slot: int, written: int, offered: int) -> None:
        """The kernel has taken the bytes before `written`, and some of those before `offered` perhaps."""
        if slot >= 0:
            _WRITTEN.pack_into(self._map, slot + _WRITTEN_AT, written, offered)

    def remove(self, slot: int) -> None:
        """The transfer has ended, and what is known of it is kept elsewhere."""
        if slot >= 0:
            _SEEN.pack_into(self._map, slot, 0, 0, 0, 0, 0, 0)  # so that nobody takes these for the next one's
            _WRITTEN.pack_into(self._map, slot + _WRITTEN_AT, 0, 0)
            self.used -= 1
            self._free.append(slot)

    @property
    def wanted(self) -> int:
        """So many rows there should be space for: more than `rows` when it becomes crowded."""
        return min(self.rows * 2 or FIRST_ROWS, ROWS) if self.used * 4 >= self.rows * 3 else self.rows

    def hold(self) -> None:
        """Make the file and lock it, if that was not done yet: from now on nobody takes this gate for one that has ended.

        Raises:
            OSError: it cannot be made, or not be locked.
        """
        with self._making:
            if self._fd < 0:
                self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._fd = _make(self.path)

    def reserve(self, rows: int) -> int:
        """Reserve disk space for so many rows. `extend` takes what it returns.

        Raises:
            OSError: there is none.
        """
        self.hold()
        start, end = _HEADER_SIZE + self.rows * _ROW_SIZE, _HEADER_SIZE + rows * _ROW_SIZE
        # Written, not only reserved (posix_fallocate): the first store into that still takes space of the file system's own.
        while start < end:
            start += os.pwrite(self._fd, bytes(min(end - start, 1 << 20)), start)
        return rows

    def extend(self, rows: int) -> None:
        """Use rows that space was reserved for."""
        if self._map is None:
            self._map = mmap.mmap(self._fd, _FILE_SIZE)
        added = range(_HEADER_SIZE + self.rows * _ROW_SIZE, _HEADER_SIZE + rows * _ROW_SIZE, _ROW_SIZE)
        self._free[:0] = reversed(added)
        self.rows = max(self.rows, rows)

    def close(self) -> None:
        """The gate ends: delete the file unless something in it is still to be taken over by the next one."""
        if self._fd < 0:
            return
        if not self.used:
            self.path.unlink(missing_ok=True)
        if self._map is not None:
            self._map.close()
        os.close(self._fd)
        self._fd = -1


def read(path: Path) -> list[Evidence]:
    """The transfers that ran when the gate whose file this is ended; may block.

    `exact` is true unless the machine was restarted since: then their clients got less, and the rows may be half a minute old.
    A row that the gate was just updating is known by what was written and credited alone, which are whole at any moment.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no such file, or another version's.
    """
    data = path.read_bytes()
    if not data:
        return []  # its gate ended while it started
    if len(data) < _HEADER_SIZE:
        raise ValueError(f"{path} is cut short")
    magic, version, row_size, boot = _HEADER.unpack_from(data)
    if (magic, version, row_size) != (_MAGIC, _VERSION, _ROW_SIZE):
        raise ValueError(f"{path} is not a table of transfers as this version writes it")
    exact = bool(boot.strip(b"\0")) and boot == _boot_id()
    stamps = memoryview(data)[: len(data) // 8 * 8].cast("Q")[_HEADER_SIZE // 8 :: _ROW_SIZE // 8]
    used = (_HEADER_SIZE + row * _ROW_SIZE for row, stamp in enumerate(stamps) if stamp)
    return [found for at in used if at + _ROW_SIZE <= len(data) and (found := _evidence(data, at, exact)) is not None]


def _evidence(data: bytes, at: int, exact: bool) -> Evidence | None:
    """The row at `at`; None when it makes no sense, as after a loss of power in the middle of its being written."""
    stamp, acknowledged, shown, hidden_bytes, credited, again = _SEEN.unpack_from(data, at)
    written, offered = _WRITTEN.unpack_from(data, at + _WRITTEN_AT)
    start, end, paced, *lengths = _FIXED.unpack_from(data, at + _FIXED_AT)
    written, credited = max(written, start), max(credited, start)
    sent = max(written, offered)
    if stamp != again:
        acknowledged, shown, hidden_bytes = credited, credited, 0
    try:
        id_, grant, resource = _texts(data, at + _TEXT_AT, lengths)
    except ValueError:
        return None
    if not (id_ and grant and resource and credited <= written <= sent <= end):
        return None
    acknowledged = written if exact else min(max(acknowledged, start), written)  # the kernel goes on without the gate
    return Evidence(
        id_, grant, resource, start, end, sent, acknowledged, shown, hidden_bytes, credited, paced=bool(paced), exact=exact
    )


def _texts(data: bytes, at: int, lengths: Sequence[int]) -> tuple[str, str, str]:
    if sum(lengths) > _TEXT_SIZE:
        raise ValueError("texts longer than the row")
    first, second = at + lengths[0], at + lengths[0] + lengths[1]
    return data[at:first].decode(), data[first:second].decode(), data[second : second + lengths[2]].decode()


def lock(path: Path) -> int | None:
    """Lock the table of a gate that has ended; returns a descriptor that holds the lock until it is closed.

    None when the gate runs, another one is taking it over, or the file is gone.

    Raises:
        OSError: the file cannot be opened.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        if _try_lock(fd) and os.path.samestat(os.fstat(fd), os.stat(path)):
            return fd
    except FileNotFoundError:
        pass  # taken over between our two looks
    os.close(fd)
    return None


def _make(path: Path) -> int:
    """The new file, locked before it has its name, so that nobody ever takes it for that of a gate that has ended."""
    unnamed = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    fd = os.open(unnamed, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        if not _try_lock(fd):
            raise OSError(errno.EAGAIN, "cannot be locked", str(path))
        _write_in_place(fd)
        os.ftruncate(fd, _FILE_SIZE)
        os.pwrite(fd, _HEADER.pack(_MAGIC, _VERSION, _ROW_SIZE, _boot_id()).ljust(_HEADER_SIZE, b"\0"), 0)
        os.rename(unnamed, path)
    except OSError:
        os.unlink(unnamed)
        os.close(fd)
        raise
    return fd


def _write_in_place(fd: int) -> None:
    """Have btrfs write pages where they lie: it takes new space for each writing otherwise, and stores on a full disk end in
    SIGBUS (tried; ext4 is fine). Other file systems do not know the flag."""
    flags = array.array("l", [0])
    with contextlib.suppress(OSError):
        fcntl.ioctl(fd, _GET_FLAGS, flags)
        flags[0] |= _NO_COPY_ON_WRITE
        fcntl.ioctl(fd, _SET_FLAGS, flags)


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _boot_id() -> bytes:
    """36 characters that are others after every start of the machine; zeros where the system has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_bytes().strip()[:36].ljust(36, b"\0")
    except OSError:
        return bytes(36)
