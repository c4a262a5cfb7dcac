"""A download manager: one file in pieces over several connections, each ended where it meets the next; stopped, and resumed.

Like lftp's pget, aria2 and axel: over FTP a piece is a RETR without an end, cut when it has arrived; over HTTP a range,
closed or open; whoever is done takes over half of the longest piece that still runs.
"""

from __future__ import annotations

import contextlib
import random
import selectors
import socket
import threading
import time
from collections import deque
from dataclasses import dataclass

from tests.trials.crowd import Talk
from tests.trials.judging import Story
from tests.trials.spans import less
from tests.trials.wire import Connector, Stream, close

AGAIN = 0.3
"""Seconds before a connection that broke, or was refused, is tried again."""


@dataclass(frozen=True, slots=True)
class Manner:
    """What tells one manager from another.

    Attributes:
        connections: at the most at once.
        pieces: that the file is cut into at first.
        closed: HTTP ranges have an end.
        first_alone: the others begin once the first one's answer is there.
        divides: whoever is done takes half of the longest piece that runs.
        reads: where a piece ends: `exact` reads no byte beyond it, `over` whatever comes, `beyond` waits for a byte beyond.
        step: bytes of a read.
        cut: how a connection is left in the midst: `data first`, `control first`, `reset`, or `keep` the session for the next.
        keeps: HTTP connections serve more than one piece.
        anew: a resumed download is cut into pieces anew.
        stays: seconds that connections are left open once everything has arrived.
    """

    connections: int
    pieces: int
    closed: bool
    first_alone: bool
    divides: bool
    reads: str
    step: int
    cut: str
    keeps: bool
    anew: bool
    stays: float


def draw_manner(rng: random.Random) -> Manner:
    connections = rng.choice([2, 3, 4, 5, 8, 8, 12, 16])
    return Manner(
        connections=connections,
        pieces=connections * rng.choice([1, 1, 1, 3]),
        closed=rng.random() < 0.7,
        first_alone=rng.random() < 0.6,
        divides=rng.random() < 0.5,
        reads=rng.choice(["exact", "exact", "over", "over", "beyond"]),
        step=rng.choice([4_096, 16_384, 65_536, 65_536, 262_144]),
        cut=rng.choice(["data first", "control first", "control first", "reset", "keep"]),
        keeps=rng.random() < 0.5,
        anew=rng.random() < 0.3,
        stays=rng.choice([0, 0, 0, 2.5]),
    )


class Piece:
    """Bytes `[start, end)` of the file; those before `position` are held."""

    __slots__ = ("again_at", "end", "position", "start")

    def __init__(self, start: int, end: int) -> None:
        self.start = self.position = start
        self.end = end
        self.again_at = 0.0

    @property
    def done(self) -> bool:
        return self.position >= self.end


@dataclass(frozen=True, slots=True)
class Stop:
    """When the user stops it: after so many seconds, or bytes; how: by resets, or by closing everything."""

    seconds: float = float("inf")
    bytes: float = float("inf")
    reset: bool = False


class Manager:
    """One manager with one file.

    Attributes:
        pieces: what is held of them survives a stop.
    """

    def __init__(self, connector: Connector, story: Story, manner: Manner) -> None:
        self.connector = connector
        self.story = story
        self.manner = manner
        self.size = connector.target.size
        self.pieces = self._cut([(0, self.size)], manner.pieces)
        self._streams: dict[Piece, Stream] = {}
        self._opening: set[Piece] = set()
        self._threads: list[threading.Thread] = []
        self._opened: deque[tuple[Piece, Stream | Exception]] = deque()
        self._kept: list[tuple[socket.socket, bool]] = []
        self._stopped = False

    def session(self, stop: Stop | None = None) -> bool:
        """Run until everything is held (True), or the user stops it."""
        stop = stop or Stop()
        self._stopped = False
        if self.manner.anew:
            self.pieces = self._cut(self._lacking(), self.manner.pieces)
        began, read = time.monotonic(), self._total()
        ours, theirs = socket.socketpair()
        with selectors.DefaultSelector() as selector, ours, theirs:
            ours.setblocking(False)
            selector.register(ours, selectors.EVENT_READ)
            while not all(piece.done for piece in self.pieces):
                if time.monotonic() - began >= stop.seconds or self._total() - read >= stop.bytes:
                    self._stop(stop.reset)
                    return False
                self._begin_pieces(theirs)
                self._turn(selector, ours, began + stop.seconds)
        return True

    def end(self, talk: Talk) -> None:
        """Everything is held, just now: close what is open."""
        talk.holds_all(self.manner.stays)
        for stream in self._streams.values():
            stream.leave()
        self._streams.clear()
        self._drop_kept()
        self._join()

    # ------------------------------------------------------------------------------------------ one turn
    def _begin_pieces(self, wake: socket.socket) -> None:
        now = time.monotonic()
        for piece in self._waiting(now):
            busy = len(self._streams) + len(self._opening)
            alone = self.manner.first_alone and not self._streams and self._opening
            if busy >= self.manner.connections or alone:
                break
            self._opening.add(piece)
            kept = self._kept.pop() if self._kept else None
            thread = threading.Thread(target=self._open, args=(piece, kept, wake), daemon=True)
            self._threads.append(thread)
            thread.start()
        if self.manner.divides and len(self._streams) + len(self._opening) < self.manner.connections:
            self._divide()

    def _waiting(self, now: float) -> list[Piece]:
        busy = self._streams.keys() | self._opening
        return [piece for piece in self.pieces if not piece.done and piece not in busy and now >= piece.again_at]

    def _divide(self) -> None:
        if any(not piece.done and piece not in self._streams for piece in self.pieces):
            return
        longest = max(self._streams, key=lambda piece: piece.end - piece.position, default=None)
        if longest is None or longest.end - longest.position < 512 * 1024:
            return
        middle = (longest.position + longest.end) // 2
        self.pieces.append(Piece(middle, longest.end))
        longest.end = middle

    def _open(self, piece: Piece, kept: tuple[socket.socket, bool] | None, wake: socket.socket) -> None:
        """In a thread of its own: all connections are begun at once."""
        try:
            end = piece.end if self.manner.closed else None
            on, owes = kept or (None, False)
            result: Stream | Exception = self.connector.get(piece.position, end, on=on, owes=owes)
        except (OSError, AssertionError, ValueError) as error:
            result = error.with_traceback(None)  # its frames would keep sockets open
            if kept is not None:
                close(kept[0])
        if isinstance(result, Stream):
            if self._stopped:
                result.leave()
            else:
                result.socket.setblocking(False)
        self._opened.append((piece, result))
        with contextlib.suppress(OSError):
            wake.send(b"x")

    def _turn(self, selector: selectors.BaseSelector, wake: socket.socket, until: float) -> None:
        timeout = 0.0 if any(stream.pending() for stream in self._streams.values()) else min(0.1, until - time.monotonic())
        ready = {key.data for key, _ in selector.select(max(timeout, 0))} | {
            piece for piece, stream in self._streams.items() if stream.pending()
        }
        if None in ready:
            wake.recv(1_000)
            ready.discard(None)
        while self._opened:
            self._take(selector, *self._opened.popleft())
        for piece in ready:
            if piece in self._streams:
                self._read(selector, piece)

    def _take(self, selector: selectors.BaseSelector, piece: Piece, result: Stream | Exception) -> None:
        self._opening.discard(piece)
        if isinstance(result, Stream):
            self._streams[piece] = result
            selector.register(result.socket, selectors.EVENT_READ, piece)
        else:
            piece.again_at = time.monotonic() + AGAIN
            self.story.more["refused or broken"] = self.story.more.get("refused or broken", 0) + 1

    def _read(self, selector: selectors.BaseSelector, piece: Piece) -> None:
        stream = self._streams[piece]
        count = self.manner.step
        if self.manner.reads == "exact" and piece.end < self.size:
            count = min(count, piece.end - piece.position)
        got = stream.read(count)
        if got is None:
            return
        piece.position = max(piece.position, min(stream.position, piece.end))
        beyond = self.manner.reads == "beyond" and piece.end < min(self.size, stream.end)
        ended = got == 0 or (stream.whole and not self.connector.is_ftp)
        if not ended and not (stream.position >= piece.end + beyond and not self._waits_for_end(piece)):
            return
        selector.unregister(stream.socket)
        del self._streams[piece]
        if stream.whole:
            self._finish(stream)
        else:
            self._leave(stream, broken=got == 0)
            if not piece.done:
                piece.again_at = time.monotonic() + AGAIN

    def _waits_for_end(self, piece: Piece) -> bool:
        """The last bytes of a file are followed by the end of the data connection, which FTP clients wait for."""
        return self.connector.is_ftp and piece.end == self.size

    # ------------------------------------------------------------------------------------------ ends of connections
    def _finish(self, stream: Stream) -> None:
        """Its body has come to its end."""
        if stream.control is not None:
            stream.leave_data()
            if stream.last_reply():
                self._kept.append((stream.control, False))
        elif self.manner.keeps or self.manner.stays:
            self._kept.append((stream.socket, False))
        else:
            stream.say_goodbye()

    def _leave(self, stream: Stream, *, broken: bool) -> None:
        if not broken:
            self.story.cuts += 1
        if self.manner.cut == "keep" and stream.control is not None and not broken:
            stream.leave_data()
            self._kept.append((stream.control, True))
        else:
            stream.leave(reset=self.manner.cut == "reset", control_first=self.manner.cut == "control first")

    def _stop(self, reset: bool) -> None:
        """The user presses Ctrl-C: everything is closed at once, as at the end of a process."""
        self._stopped = True
        for stream in self._streams.values():
            stream.leave(reset=reset)
        self.story.cuts += len(self._streams)
        self._streams.clear()
        self._drop_kept()
        self._join()
        self._opening.clear()
        self._opened.clear()

    def _drop_kept(self) -> None:
        for sock, _ in self._kept:
            close(sock)
        self._kept.clear()

    def _join(self) -> None:
        for thread in self._threads:
            thread.join()
        self._threads.clear()
        while self._opened:
            _, result = self._opened.popleft()
            if isinstance(result, Stream):
                result.leave()

    # ------------------------------------------------------------------------------------------ pieces
    def _total(self) -> int:
        return sum(piece.position - piece.start for piece in self.pieces)

    def _lacking(self) -> list[tuple[int, int]]:
        """What it does not hold. Bytes that were read beyond a piece's end were dropped, and are not held."""
        return less([(0, self.size)], [(piece.start, piece.position) for piece in self.pieces] + self._held_before())

    def _held_before(self) -> list[tuple[int, int]]:
        return less([(0, self.size)], [(piece.start, piece.end) for piece in self.pieces])

    def _cut(self, holes: list[tuple[int, int]], count: int) -> list[Piece]:
        """Pieces of about the same length, on borders of 16 KiB."""
        total = sum(end - start for start, end in holes)
        length = max(-(-total // max(count, 1) // 16_384) * 16_384, 65_536)
        return [Piece(at, min(at + length, end)) for start, end in holes for at in range(start, end, length)]
