"""The bytes of a body, in order: from memory, and from files whose first bytes are fetched off the loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain

from ftpgate.delivery.files import AHEAD, FileStore, OpenFile
from ftpgate.delivery.sections import BodyPart
from ftpgate.delivery.sent_files import SentFiles
from ftpgate.errors import ChangedFile, GateError
from ftpgate.grants import File
from ftpgate.net.sockets import Sink
from ftpgate.sources import Piece, Slice

PIECES = 6
"""Pieces of a body that are begun in one turn: of a zip of a thousand small files hundreds would fit into its bytes, and take ten
milliseconds."""


class BodyReader:
    """What a transfer sends next.

    Args:
        files: where descriptors come from.
        parts: what is sent, in order; `length` bytes of it.
        ready: called on the loop once what `send` did not have at hand has come.
        failed: called instead when it cannot be had.

    Attributes:
        written: bytes that the sink has taken.
        loading: something is fetched; `send` has nothing until then.
    """

    __slots__ = (
        "_at", "_begun", "_end", "_failed", "_file", "_files", "_length", "_literal", "_pieces", "_ready", "_sent", "_warmed",
        "loading", "written",
    )  # fmt: skip

    def __init__(
        self, files: FileStore, parts: Sequence[BodyPart], length: int, *,
        ready: Callable[[], None], failed: Callable[[], None],
    ) -> None:  # fmt: skip
        self._files = files
        self._pieces: Iterator[Piece] = iter(_pieces(parts[0])) if len(parts) == 1 else chain.from_iterable(map(_pieces, parts))
        self._length = length
        self._ready = ready
        self._failed = failed
        self._sent = SentFiles(files)
        self._literal: memoryview | None = None
        self._file: OpenFile | None = None
        self._at = self._end = 0
        """What is left of the current slice, in bytes of `_file`."""
        self._warmed = 0
        """From which byte of `_file` on the disk has to be asked for more."""
        self._begun = 0
        self.loading = False
        self.written = 0

    def begin_turn(self) -> None:
        """What `send` may begin in one turn is counted from here."""
        self._begun = 0

    def send(self, sink: Sink, budget: int) -> int:
        """Hand at most `budget` bytes to `sink` in one call; returns how many it took. 0 at the end, while `loading`, and when it
        has begun `PIECES` pieces in this turn.

        Raises:
            BlockingIOError: the sink takes nothing just now.
            OSError: the connection is broken.
            ChangedFile: the file ends before its imported size. What is missing is never padded.
        """
        while self._literal is None and self._file is None:
            if self._begun >= PIECES or not self._next_piece():
                return 0
            self._begun += 1
        if self._literal is not None:
            count = sink.send(self._literal[:budget], self.written + len(self._literal) < self._length)
            self._literal = self._literal[count:] if count < len(self._literal) else None
        elif self._file is not None and self._file.may_block:
            self._read(self._file)
            return 0
        elif self._file is not None:
            count = sink.sendfile(self._file.fd, self._at, min(budget, self._end - self._at))
            if not count:
                self._sent.unchanged(self.written)  # reports it
                raise ChangedFile
            self._advance(count)
            if self._file is not None and self._at >= self._warmed:
                self._warm(self._file)
        self.written += count
        return count

    def unchanged(self, upto: int) -> bool:
        """May the bytes before `upto` be credited: is every file of theirs the one that was opened? Never waits."""
        return self._sent.unchanged(upto)

    def close(self) -> None:
        """Nothing more is sent, and nobody is called."""
        if self._file is not None:
            self._files.release(self._file)
            self._file = None
        self._literal = None
        self._pieces = iter(())
        self._ready = self._failed = _nobody  # else it and its transfer would hold each other
        self.loading = False

    def _next_piece(self) -> bool:
        """Make the next piece current. False when there is none, or it has to be fetched first."""
        piece = next(self._pieces, None)
        if piece is None:
            return False
        if isinstance(piece, bytes):
            self._literal = memoryview(piece)
            return True
        return self._open(piece)

    def _open(self, piece: Slice) -> bool:
        self._at, self._end = piece.start, piece.end
        opened = self._acquire(piece.file)
        if opened is not None:
            return self._at_hand(opened)
        self.loading = True

        def fetched(error: GateError | None) -> None:
            if not self.loading:
                return
            self.loading = False
            opened = self._acquire(piece.file) if error is None else None
            if opened is None:
                self._failed()
            elif self._at_hand(opened):
                self._ready()

        try:
            self._files.fetch(piece.file, fetched)
        except GateError as error:
            fetched(error)
        return False

    def _acquire(self, file: File) -> OpenFile | None:
        opened = self._file = self._files.acquire(file)
        if opened is not None:
            self._sent.sending(opened, self.written, self.written + self._end - self._at)
        return opened

    def _at_hand(self, opened: OpenFile) -> bool:
        """Are the first bytes of the slice in memory? If not, they are fetched: `sendfile` would stop the loop."""
        if self._files.warm(opened, self._at, self._come):
            self._warmed = self._at + AHEAD // 2
            self.loading = True
            return False
        self._warm(opened)
        return True

    def _warm(self, opened: OpenFile) -> None:
        self._warmed = self._at + AHEAD // 2
        self._files.warm(opened, self._warmed)

    def _come(self) -> None:
        if self.loading:
            self.loading = False
            self._ready()

    def _read(self, opened: OpenFile) -> None:
        """Have the next bytes of a file read off the loop, which it would stop; they are sent from memory."""
        self.loading = True

        def read(data: bytes | None) -> None:
            if not self.loading:
                return
            self.loading = False
            if data is None:
                return self._failed()
            self._literal = memoryview(data)
            self._advance(len(data))
            self._ready()

        self._files.read(opened, self._at, self._end, read)

    def _advance(self, count: int) -> None:
        """Bytes of the current file were sent, or read."""
        assert self._file is not None
        self._at += count
        if self._at == self._end:
            self._files.release(self._file)
            self._file = None


def _nobody() -> None:
    pass


def _pieces(part: BodyPart) -> Iterable[Piece]:
    if isinstance(part, bytes):
        return (part,) if part else ()
    return part.resource.pieces(part.start, part.end)
