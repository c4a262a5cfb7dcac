"""What a process is refused, and a kernel that refuses what this machine's does not, by a filter of system calls (seccomp(2))."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Callable


def refuse_landlock(number: int) -> None:
    """Have the kernel answer landlock_create_ruleset(2) with an error, in this process and for good."""
    load, jump_equal, answer = 0x20, 0x15, 0x06  # BPF_LD|BPF_W|BPF_ABS, BPF_JMP|BPF_JEQ|BPF_K, BPF_RET|BPF_K
    program = b"".join(
        struct.pack("=HBBI", *each)
        for each in (
            (load, 0, 0, 0), (jump_equal, 0, 1, 444), (answer, 0, 0, 0x0005_0000 | number), (answer, 0, 0, 0x7FFF_0000),
        )
    )  # fmt: skip
    code = ctypes.create_string_buffer(program, len(program))
    filter_ = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    no_new_privileges, seccomp, with_filter = 38, 22, 2
    assert libc.prctl(no_new_privileges, *map(ctypes.c_ulong, (1, 0, 0, 0))) == 0
    assert libc.prctl(seccomp, ctypes.c_ulong(with_filter), filter_) == 0, os.strerror(ctypes.get_errno())


def refusal(attempt: Callable[[], object]) -> str | None:
    """The name of the error that an attempt meets; None when it succeeds."""
    try:
        attempt()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return None
