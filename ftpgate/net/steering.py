"""Which of several sockets at one address a client's connections go to: always the same one, by the client's address.

Sockets with SO_REUSEPORT at one address are a group. By itself the kernel spreads connections by address and port, so that the
connections of one client would go to all of them. A small program (classic BPF, since Linux 4.5) chooses by the address alone.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import sys

_ATTACH = 51
"""SO_ATTACH_REUSEPORT_CBPF of asm-generic/socket.h."""
_NET = 0x1_0000_0000 - 0x10_0000
"""SKF_NET_OFF of linux/filter.h: offsets from here on are within the network header."""
_MIX = 0x9E37_79B1
"""2^32 divided by the golden ratio, to an odd number (Knuth, The Art of Computer Programming, section 6.4): addresses that
follow each other are spread."""
_LOAD_BYTE, _LOAD_WORD = 0x30, 0x20
_SHIFT_RIGHT, _MULTIPLY, _MODULO, _XOR_X = 0x74, 0x24, 0x94, 0xAC
_TO_X, _JUMP_IF_EQUAL, _JUMP, _RETURN_A = 0x07, 0x15, 0x05, 0x16
_INSTRUCTION = struct.Struct("=HBBI")


def steer(sock: socket.socket, among: int) -> bool:
    """Have the first `among` sockets of the group of `sock`, in the order in which they began to listen, take the clients.

    All connections from one IPv4 address go to one of them, and all from one /64 of IPv6, which counts as one client
    (`net.addresses`). A socket that takes IPv4 as well as IPv6 sees IPv4's own headers. False where the kernel cannot do that.
    """
    if sys.platform != "linux":
        return False
    program = b"".join(_INSTRUCTION.pack(*each) for each in _program(among))
    code = ctypes.create_string_buffer(program, len(program))
    try:
        sock.setsockopt(socket.SOL_SOCKET, _ATTACH, struct.pack("HP", len(program) // 8, ctypes.addressof(code)))
    except OSError:
        return False
    return True


def _program(among: int) -> list[tuple[int, int, int, int]]:
    """The instructions: what to do, how many to skip if equal, how many if not, and with which number."""
    return [
        (_LOAD_BYTE, 0, 0, _NET),  # the version, in the upper four bits
        (_SHIFT_RIGHT, 0, 0, 4),
        (_JUMP_IF_EQUAL, 2, 0, 6),
        (_LOAD_WORD, 0, 0, _NET + 12),  # the source of IPv4
        (_JUMP, 0, 0, 4),
        (_LOAD_WORD, 0, 0, _NET + 8),  # the first half of the source of IPv6
        (_MULTIPLY, 0, 0, _MIX),
        (_TO_X, 0, 0, 0),
        (_LOAD_WORD, 0, 0, _NET + 12),
        # IPv4 comes in here; X is 0 then.
        (_XOR_X, 0, 0, 0),
        (_MULTIPLY, 0, 0, _MIX),
        (_SHIFT_RIGHT, 0, 0, 16),
        (_MODULO, 0, 0, among),
        (_RETURN_A, 0, 0, 0),
    ]
