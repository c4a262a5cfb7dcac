"""Where one transfer stops, so that no byte is sent that another one of its client is to fetch."""

from __future__ import annotations

from ftpgate.access.open_grant import OpenGrant
from ftpgate.delivery.sections import Section

LINE_TIMEOUT = 0.25
"""Seconds that a client is given to end at a line, once everything before it is acknowledged. Measured: one that wants no more
ends 0.4 to 1 ms after that over loopback, later where a machine is busy."""
NUDGE = 1_024
"""Bytes that are sent beyond a line at first: they fit in one segment, and are read together with what is before them."""
GENTLE_FROM = 4 * 1024 * 1024
GENTLE_AFTER = 1024 * 1024
"""Bytes after which a transfer without a limit, of GENTLE_FROM bytes and more to the end of its file, waits once for its client's
other connections. Over a loopback or a LAN it would have passed their places before they exist."""


class StopLines:
    """The lines of one transfer: where another segment of its resource begins, or delivered coverage.

    Args:
        section: the transfer's only part; None when it has several, which stop nowhere.
        length: bytes of the transfer.

    Attributes:
        detached: nobody wants what lies behind the next line.
        nudged: a little was sent beyond the line where it stands.
    """

    __slots__ = ("_gentle", "_section", "detached", "nudged")

    def __init__(self, section: Section | None, length: int) -> None:
        self._section = section
        self._gentle = section is not None and length > GENTLE_FROM and section.segment.end == section.resource.size
        """Is it to wait once for segments that may begin further on?"""
        self.detached = False
        self.nudged = False

    def ahead(self, *, paced: bool) -> int | None:
        """The byte of the stream where it has to stop next; None when it runs to its end."""
        if self._section is None:
            return None
        segment = self._section.segment
        stop = None if segment.line >= segment.end else self._section.stream + segment.line - segment.start
        if self._gentle and not paced and (stop is None or stop > GENTLE_AFTER):
            return GENTLE_AFTER
        return stop

    def waits_for_others(self, written: int, *, paced: bool) -> bool:
        """Does it stop at `written` only to wait, once, for its client's other connections?"""
        if not self._gentle or paced or self.detached or written < GENTLE_AFTER:
            return False
        self._gentle = False
        return True

    def go_on(self, grant: OpenGrant) -> None:
        """The client has not ended at the line: it gets a little more, and after another while the rest.

        A client that knows where to end, but only looks when a byte beyond it arrives (lftp's first chunk), ends then.
        """
        assert self._section is not None
        segment = self._section.segment
        if self.nudged:
            grant.reconciler(self._section.resource).passed(segment, segment.sent)
        else:
            segment.line = segment.sent + NUDGE
        self.nudged = not self.nudged
