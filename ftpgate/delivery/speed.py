"""How fast a transfer is. Pure: time is passed in."""

from __future__ import annotations


class Speed:
    """Bytes a second, over the last second or more."""

    __slots__ = ("_bytes", "_since", "bytes_per_s")

    def __init__(self, now: float) -> None:
        self._bytes, self._since = 0, now
        self.bytes_per_s = 0.0

    def measure(self, count: int, now: float) -> bool:
        """`count` bytes have been acknowledged by `now`. True when there is a new figure."""
        if now - self._since < 1.0:
            return False
        self.bytes_per_s = (count - self._bytes) / (now - self._since)
        self._bytes, self._since = count, now
        return True
