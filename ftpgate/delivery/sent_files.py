"""The files of one transfer whose bytes were sent and are not credited yet: they count only if nobody has written to them since.

`sendfile` sends from the page cache: what is overwritten there changes in the socket's queue, too. So a file is compared after
the client has acknowledged its bytes and before they are credited.
"""

from __future__ import annotations

from ftpgate.delivery.files import STEP, FileStore, OpenFile


class SentFiles:
    """In the order of the transfer's stream. Positions are bytes of the stream, 0 at its first."""

    __slots__ = ("_files", "_looked", "_store")

    def __init__(self, store: FileStore) -> None:
        self._store = store
        self._looked = 0
        """Up to where bytes were to be credited when all paths were asked."""
        self._files: list[tuple[int, int, OpenFile]] = []

    def sending(self, opened: OpenFile, start: int, end: int) -> None:
        """From `start` to `end` the stream comes from this file. It may be released before it is credited."""
        self._files.append((start, end, opened))

    def unchanged(self, upto: int) -> bool:
        """May the bytes before `upto` be credited? Files that end there are forgotten then.

        The file that is being sent is asked, too, so that one that changed is noticed while nothing is credited.
        """
        done = 0
        path = upto - self._looked >= STEP
        if path:
            self._looked = upto
        for start, end, opened in self._files:
            if start >= upto:
                break
            if not self._store.unchanged(opened, path=path or end <= upto):
                return False
            done += end <= upto
        del self._files[:done]
        if not self._files or self._files[-1][0] < upto:
            return True
        return self._store.unchanged(self._files[-1][2])
