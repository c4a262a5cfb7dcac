"""Landlock: a process gives up, for good, what it does not need of the file system.

The kernel's interface as in landlock(7), landlock_create_ruleset(2), landlock_add_rule(2) and landlock_restrict_self(2), and in
include/uapi/linux/landlock.h. Linux has it since 5.13; each version (ABI) restricts more. The C library has no functions for it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

from ftpgate.translatable import os_reason

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture but Alpha
_ASK_VERSION = 1
"""LANDLOCK_CREATE_RULESET_VERSION"""
_PATH_BENEATH = 1
"""LANDLOCK_RULE_PATH_BENEATH"""
_ALL_THREADS = 1 << 3, 8
"""LANDLOCK_RESTRICT_SELF_TSYNC, and the version that brought it (Linux 7.0)."""
_NO_NEW_PRIVILEGES = 38
"""PR_SET_NO_NEW_PRIVS of prctl(2), which landlock_restrict_self(2) asks of unprivileged processes."""
_RULESET, _RULE = struct.Struct("=Q"), struct.Struct("=Qi")
"""`landlock_ruleset_attr`, of which only the first field is used here, and the packed `landlock_path_beneath_attr`."""

# LANDLOCK_ACCESS_FS_…
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _REMOVE_DIR, _REMOVE_FILE = (1 << bit for bit in range(6))
_MAKE_CHAR, _MAKE_DIR, _MAKE_REG, _MAKE_SOCK, _MAKE_FIFO, _MAKE_BLOCK, _MAKE_SYM = (1 << bit for bit in range(6, 13))
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_OF_VERSION = {1: (1 << 13) - 1, 2: _REFER, 3: _TRUNCATE, 5: _IOCTL_DEV}
"""What each version restricts beyond those before it; what later ones do, of sockets for example, stays as it is."""
_READING = _READ_FILE | _READ_DIR
_WRITING = _READING | _WRITE_FILE | _TRUNCATE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _REFER
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
"""What a rule for anything but a folder may name (landlock_add_rule(2): EINVAL)."""
_WHY_NOT = {
    errno.ENOSYS: "the kernel has no Landlock",
    errno.EOPNOTSUPP: "Landlock is switched off (the kernel's parameter lsm=)",
    errno.EPERM: "a filter of system calls refuses landlock_create_ruleset, landlock_add_rule or landlock_restrict_self",
}

_LIBC = ctypes.CDLL(None, use_errno=True)


class NotRestricted(Exception):
    """The process is as it was; `str()` says why.

    Attributes:
        absent: the kernel offers no Landlock: nothing that the process or its user could change.
    """

    def __init__(self, text: str, *, absent: bool = False) -> None:
        super().__init__(text)
        self.absent = absent


def version() -> int:
    """The version of Landlock that the kernel has, 1 or higher.

    Raises:
        NotRestricted: it has none, or does not say.
    """
    if sys.platform != "linux":
        raise NotRestricted("only Linux has Landlock", absent=True)
    try:
        return _call(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_ASK_VERSION))
    except OSError as error:
        raise _not_restricted(error) from error


def restrict(readable: Iterable[Path], writable: Iterable[Path]) -> int:
    """Let this thread, and those that it starts from now on, use nothing of the file system but what is named.

    Only what is opened from now on is restricted, and only its content: `stat` and O_PATH are free (landlock(7)). Nothing can be
    executed. Paths that are not there are left out. A rule holds for the folder that is at a path now: not for one that takes
    its place, nor for a file system that is mounted over it later, but for those that are mounted beneath it. Returns the version
    of Landlock.

    Args:
        readable: files and folders to read, with all that is beneath.
        writable: the same to read and to write; beneath folders, files and folders can be made, renamed and removed.

    Raises:
        NotRestricted: the kernel cannot do it, or refuses it.
    """
    found = version()
    handled = sum(rights for since, rights in _OF_VERSION.items() if since <= found)
    flag, since = _ALL_THREADS
    try:
        ruleset = _create(handled)
        try:
            for rights, paths in ((_READING, readable), (_WRITING, writable)):
                for path in paths:
                    _allow(ruleset, path, rights & handled)
            if _LIBC.prctl(_NO_NEW_PRIVILEGES, ctypes.c_ulong(1), *[ctypes.c_ulong(0)] * 3):
                raise _failure()
            _call(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(flag if found >= since else 0))
        finally:
            os.close(ruleset)
    except OSError as error:
        raise _not_restricted(error) from error
    return found


def restricts_all_threads(found: int) -> bool:
    """Does this version restrict threads that run already too, or only those that start later?"""
    return found >= _ALL_THREADS[1]


def _create(handled: int) -> int:
    attributes = ctypes.create_string_buffer(_RULESET.pack(handled), _RULESET.size)
    return _call(_CREATE_RULESET, attributes, ctypes.c_size_t(_RULESET.size), ctypes.c_uint32(0))


def _allow(ruleset: int, path: Path, rights: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        rule = _RULE.pack(rights if path.is_dir() else rights & _OF_FILES, fd)
        _call(_ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(_PATH_BENEATH), rule, ctypes.c_uint32(0))
    finally:
        os.close(fd)


def _call(number: int, *arguments: object) -> int:
    """A system call. Raises OSError."""
    result: int = _LIBC.syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        raise _failure()
    return result


def _failure() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))


def _not_restricted(error: OSError) -> NotRestricted:
    text = _WHY_NOT.get(error.errno or 0, f"the kernel refuses it ({os_reason(error)})")
    return NotRestricted(text, absent=error.errno in (errno.ENOSYS, errno.EOPNOTSUPP))
