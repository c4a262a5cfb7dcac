"""Files below the media root: opened without leaving it, and compared with what was recorded of them.

The portal uses this at import, the gate whenever it serves. Every function here calls the file system and may wait for it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import sys
from typing import NamedTuple, Protocol

from ftpgate.translatable import FileProblem, TranslatableText, os_reason

READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
"""To open for reading; a FIFO or a terminal neither blocks nor takes over."""
LOOK = getattr(os, "O_PATH", READ) | os.O_CLOEXEC
"""To open for `fstat` alone."""


class _How(ctypes.Structure):
    """`struct open_how` of openat2(2)."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_OPENAT2 = 437  # the same on every architecture (Linux 5.6)
_RESOLVE_BENEATH = 0x08
"""Of openat2(2): no component may lead out of the folder."""
_HOWS = {flags: _How(flags, 0, _RESOLVE_BENEATH) for flags in (READ, LOOK)}
_NOT_THERE = (errno.ENOSYS, errno.EPERM)  # the latter from seccomp filters that are older than the call
_MOST_LINKS = 40  # as the kernel has it (path_resolution(7))
_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.syscall.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(_How), ctypes.c_size_t)
_INODE_BITS = (1 << 63) - 1
"""Of an inode number: SQLite and PostgreSQL have signed integers of 64 bits."""
_STATFS_BYTES = 256
"""Room for struct statfs, which has 120 bytes on x86-64 (statfs(2))."""

_TMPFS, _RAMFS = 0x01021994, 0x858458F6
_IN_MEMORY = frozenset({_TMPFS, _RAMFS})
_UNKNOWN = -1
"""The type of a file system that does not tell it."""
_VOLATILE_INODES = frozenset({_UNKNOWN, 0x65735546, 0x517B, 0xFF534D42, 0xFE534D42, 0x4D44, 0x2011BAB0})
"""FUSE, SMB (three drivers), FAT, exFAT: the same file may have another inode number after each mount (statfs(2))."""


class NoRegularFile(OSError):
    """A folder, a device or the like is where a file should be."""


class Recorded(Protocol):
    """What is recorded of a file at its import. None was not recorded, and is not compared."""

    @property
    def size(self) -> int: ...

    @property
    def mtime_ns(self) -> int: ...

    @property
    def ctime_ns(self) -> int | None: ...

    @property
    def inode(self) -> int | None: ...


class Identity(NamedTuple):
    """A file as it is found. Nobody can write to it, or put another one in its place, and keep all of this.

    `inode` is at most 63 bits, as databases hold integers. `device` is of use within one process only: the numbers change
    with the order of mounts, and from machine to machine.
    """

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    device: int

    @classmethod
    def of(cls, found: os.stat_result) -> Identity:
        return cls(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino & _INODE_BITS, found.st_dev)


def open_below(root: str, path: str, flags: int = READ) -> int:
    """A descriptor of the file at `path`, relative to `root`, which itself may be a link.

    Links are followed as far as they stay below the root, whatever is exchanged for a link meanwhile.

    Args:
        flags: READ or LOOK.

    Raises:
        OSError: it cannot be opened; EXDEV where a link leads out.
    """
    top = os.open(root, LOOK | os.O_DIRECTORY)
    try:
        if sys.platform != "linux":
            return _open_resolved(root, path, flags)
        try:
            return _openat2(top, path, flags)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EAGAIN, *_NOT_THERE):
                raise
        return _walk(top, root, path, flags)
    finally:
        os.close(top)


def stat_below(root: str, path: str) -> os.stat_result:
    """As `os.stat`, but finds nothing outside of `root`. Raises OSError."""
    fd = open_below(root, path, LOOK)
    try:
        return os.fstat(fd)
    finally:
        os.close(fd)


def difference(recorded: Recorded, found: os.stat_result, fd: int) -> TranslatableText | None:
    """How a file differs from what was recorded; completes a sentence about it. None when it does not.

    Args:
        fd: a descriptor of the file that `found` was told of.
    """
    if not stat.S_ISREG(found.st_mode):
        return FileProblem.FILE_NOT_REGULAR()
    if found.st_size != recorded.size:
        return FileProblem.FILE_SIZE(found=found.st_size, imported=recorded.size)
    if found.st_mtime_ns != recorded.mtime_ns:
        return FileProblem.FILE_WRITTEN()
    if recorded.inode not in (None, found.st_ino & _INODE_BITS) and has_lasting_inodes(fd):
        return FileProblem.FILE_REPLACED()
    if recorded.ctime_ns not in (None, found.st_ctime_ns):
        return FileProblem.FILE_STATUS()
    return None


def why_not(error: OSError) -> TranslatableText:
    """What is wrong with a file that could not be opened or read; completes a sentence about it."""
    if isinstance(error, NoRegularFile):
        return FileProblem.FILE_NOT_REGULAR()
    if error.errno == errno.EXDEV:
        return FileProblem.FILE_OUTSIDE()
    return FileProblem.FILE_UNREADABLE(reason=os_reason(error))


def has_lasting_inodes(fd: int) -> bool:
    """Does the file keep its inode number for as long as it is there?"""
    return _file_system(fd) not in _VOLATILE_INODES


def may_block(fd: int) -> bool:
    """Can nobody tell whether reading this file would wait? So it is on FUSE, NFS, SMB and overlay file systems."""
    if _file_system(fd) in _IN_MEMORY:
        return False
    try:
        os.preadv(fd, [bytearray(1)], 0, os.RWF_NOWAIT)
    except BlockingIOError:
        return False
    except (OSError, AttributeError):
        return True
    return False


def _file_system(fd: int) -> int:
    """Its magic number (statfs(2)); 0 on other systems than Linux."""
    if sys.platform != "linux":
        return 0
    found = ctypes.create_string_buffer(_STATFS_BYTES)
    if _LIBC.fstatfs(fd, found):
        return _UNKNOWN
    return int.from_bytes(found.raw[:8], sys.byteorder) & 0xFFFFFFFF


def _openat2(top: int, path: str, flags: int) -> int:
    how = _HOWS[flags]
    while True:
        fd: int = _LIBC.syscall(_OPENAT2, top, os.fsencode(path), how, ctypes.sizeof(how))
        if fd >= 0:
            return fd
        number = ctypes.get_errno()
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number), path)


def _walk(top: int, root: str, path: str, flags: int) -> int:
    """Folder by folder: for kernels without openat2, and for absolute links back to below the root, which it refuses."""
    folders = [top]
    names = path.split("/")[::-1]
    links = 0
    try:
        while names:
            name = names.pop()
            if name in ("", "."):
                continue
            if name == "..":
                if len(folders) == 1:
                    raise _leads_out(path)
                os.close(folders.pop())
                continue
            fd = os.open(name, LOOK | os.O_NOFOLLOW, dir_fd=folders[-1])
            folders.append(fd)
            if stat.S_ISLNK(os.fstat(fd).st_mode):
                target = os.readlink("", dir_fd=fd)
                os.close(folders.pop())
                links += 1
                if links > _MOST_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
                if target.startswith("/"):
                    target = _below(root, target, path)
                    while len(folders) > 1:
                        os.close(folders.pop())
                names += target.split("/")[::-1]
            elif not names:
                return os.open(name, flags | os.O_NOFOLLOW, dir_fd=folders[-2])
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    finally:
        for fd in folders[1:]:
            os.close(fd)


def _below(root: str, target: str, path: str) -> str:
    """An absolute link's target, relative to the root."""
    for top in (os.path.abspath(root), os.path.realpath(root)):
        if target.startswith(top + "/"):
            return target[len(top) + 1 :]
    raise _leads_out(path)


def _open_resolved(root: str, path: str, flags: int) -> int:
    """Where there is no O_PATH: what is exchanged for a link between these calls is not noticed, but for the last name."""
    top, real = os.path.realpath(root), os.path.realpath(os.path.join(root, path))
    if not real.startswith(top + "/"):
        raise _leads_out(path)
    return os.open(real, flags | os.O_NOFOLLOW)


def _leads_out(path: str) -> OSError:
    return OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
