"""Bytes of a control connection to commands. Pure."""

from __future__ import annotations

import re

from ftpgate.errors import GateError
from ftpgate.ftp.commands import ALIASES

LINE = 8_192
"""Bytes of one command."""

# IAC and its command, with the option of WILL, WONT, DO and DONT (RFC 854): many clients send IAC IP IAC DM before ABOR.
_TELNET = re.compile(rb"\xff(?:[\xfb-\xfe].?|.?)", re.DOTALL)
_ABOR = re.compile(rb"(?:\A|(?<=\n))[\x80-\xff]*ABOR *\r?\n", re.IGNORECASE)
_RESIDUE = bytes(range(0x80, 0x100))


class CommandTooLong(GateError):
    http, ftp = 400, 500
    text = "The command is too long."


class CommandBuffer:
    """What has arrived and is not run yet.

    Attributes:
        held: its bytes; whoever feeds it bounds them.
    """

    __slots__ = ("_end", "_skipping", "held")

    def __init__(self) -> None:
        self.held = b""
        self._end = 0
        """Where the command ends that `peek` has shown."""
        self._skipping = False
        """Does it begin within a command that was too long?"""

    def feed(self, received: bytes) -> None:
        self.held += received

    def clear(self) -> None:
        self.held = b""

    def peek(self) -> tuple[str, str] | None:
        """Name and argument of the next command, which stays until it is taken; None when no whole one is there.

        Raises:
            CommandTooLong: once for each that is; the next call goes on behind it.
        """
        while True:
            end = self.held.find(b"\n")  # some clients send no CR before it
            line = self.held[:end] if end >= 0 else self.held
            if len(line) > LINE and not self._skipping and len(line.removesuffix(b"\r")) > LINE:
                self._skipping = True
                raise CommandTooLong
            if end < 0:
                if self._skipping:
                    self.held = b""
                return None
            if not self._skipping:
                self._end = end + 1
                return _parsed(line)
            self._skipping = False
            self.held = self.held[end + 1 :]

    def take(self) -> None:
        """The command that `peek` has shown is run."""
        self.held = self.held[self._end :]

    def take_abort(self) -> bool:
        """Take the first ABOR out of what is held, wherever it stands. False when there is none."""
        found = _ABOR.search(self.held)
        if found is None:
            return False
        self.held = self.held[: found.start()] + self.held[found.end() :]
        return True


def _parsed(line: bytes) -> tuple[str, str]:
    text = _TELNET.sub(b"", line.removesuffix(b"\r")).lstrip(_RESIDUE).decode("utf-8", "replace")
    name, _, argument = text.partition(" ")
    name = name.upper()
    return ALIASES.get(name, name), argument
