"""Which plaintext of a TLS connection has arrived, of the ciphertext that has: exact to a record. Pure: no socket.

OpenSSL cuts each batch that it is given into records of RECORD bytes and a last, shorter one, and adds the same few bytes to
each (RFC 8446 section 5.2). How many is learned from the first ones. Other records (tickets, a KeyUpdate), or shorter ones that
a client has asked for (RFC 6066 section 4), are noticed, since the kernel has taken more than was expected then; what was sent
until then is not known exactly.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

RECORD = 16_384
"""Bytes of plaintext in one TLS record at the most (RFC 8446 section 5.1)."""
KEPT = 256
"""Batches remembered that are not acknowledged; of older ones nothing exact is known. A socket's buffer holds some thirty."""
_OVERHEAD = range(17, 65)
"""Bytes that a record may add: a header of 5 and a tag of 16, a byte for the type or 8 for a nonce."""


class _Batch(NamedTuple):
    """`length` bytes of plaintext, and where their first one is."""

    plain: int
    cipher: int
    length: int


class TlsRecords:
    """Positions of one connection: plaintext from its first byte on, ciphertext as its kernel counts."""

    __slots__ = ("_batches", "_cipher", "_count", "_from", "_overhead", "_plain")

    def __init__(self, cipher: int) -> None:
        """The kernel has taken `cipher` bytes, of the handshake; plaintext is next."""
        self._plain = 0
        self._cipher: int | None = cipher
        """Where the ciphertext of byte `_plain` begins, or of byte `_from` while the overhead is not known; or None."""
        self._overhead = 0
        """Bytes that each record adds; 0 while not known."""
        self._from = 0
        self._count = 0
        """While that is not known: the plaintext from `_from` on is in so many records."""
        self._batches: deque[_Batch] = deque()

    @property
    def learned(self) -> bool:
        """Is it known how long records are?"""
        return self._overhead > 0

    def sealed(self, count: int) -> None:
        """A batch of `count` bytes was handed to the kernel, all of it."""
        if self._cipher is not None and self._overhead:
            self._batches.append(_Batch(self._plain, self._cipher, count))
            self._cipher += self._ciphertext(count)
            if len(self._batches) > KEPT:
                self._batches.popleft()
        else:
            self._count += _records(count)
        self._plain += count

    def measured(self, cipher: int, ahead: int) -> None:
        """The kernel has taken `cipher` bytes, among them a part of a batch of `ahead` bytes that is not sealed yet."""
        if self._cipher is None or not self._overhead:
            if not ahead:
                self._learn(cipher)
        elif not self._cipher <= cipher <= self._cipher + self._ciphertext(ahead):
            self._batches.clear()
            self._cipher = None if ahead else cipher

    def opened(self, cipher: int, ahead: int = 0) -> int | None:
        """The plaintext in whole records of the first `cipher` bytes; None where that is not known.

        Args:
            ahead: the bytes of a batch that the kernel has taken a part of.
        """
        if self._cipher is None or not self._overhead:
            return None
        for plain, start, length in self._batches:
            if cipher < start:
                return None
            if cipher < start + self._ciphertext(length):
                return plain + (cipher - start) // (RECORD + self._overhead) * RECORD
        if cipher < self._cipher:
            return None
        return self._plain + min((cipher - self._cipher) // (RECORD + self._overhead) * RECORD, ahead)

    def arrived(self, cipher: int) -> None:
        """The first `cipher` bytes are acknowledged: nobody asks for what is before them any more."""
        batches = self._batches
        while batches and batches[0].cipher + self._ciphertext(batches[0].length) <= cipher:
            batches.popleft()

    def _learn(self, cipher: int) -> None:
        if self._cipher is not None and self._count:
            added, rest = divmod(cipher - self._cipher - (self._plain - self._from), self._count)
            if not rest and added in _OVERHEAD:
                self._overhead = added
        self._cipher, self._from, self._count = cipher, self._plain, 0

    def _ciphertext(self, length: int) -> int:
        """Bytes of ciphertext of a batch."""
        return length + self._overhead * _records(length)


def _records(length: int) -> int:
    return -(-length // RECORD)
