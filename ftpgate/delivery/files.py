"""One descriptor per file, shared by all its downloads; opened and checked off the loop.

A file that is not as it was imported (size, time stamp) is refused and reported, however long its descriptor has been
open. Every transfer has its files looked at before it begins; those that begin together share one look. Within a transfer
a look is good for a second. The loop only ever reads through `sendfile`, and has cold pages fetched ahead of itself.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import logging
import math
import os
import stat
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from ftpgate.errors import ChangedFile, GateError, Unavailable
from ftpgate.grants import File
from ftpgate.sentences import Sentence, os_reason

T = TypeVar("T")
_log = logging.getLogger(__name__)

FRESH = 1.0
"""Seconds that a transfer under way relies on the last check of a file that it comes to; a new transfer never does."""
KEPT = 256
"""Descriptors kept open while nobody uses them."""
KEPT_FOR = 60.0
"""Seconds that they are: a file that was taken off the disk must not take room there any longer."""
AHEAD = 4 * 1024 * 1024
"""Bytes that are fetched ahead of a reader on a cold disk."""
AWAITED = 262_144
"""Bytes of them that are waited for before the reader begins: the largest turn."""

_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}

Done = Callable[[GateError | None], None]


class OffLoop(Protocol):
    """Runs blocking work in a thread, then `done(result, error)` on the loop. Raises `Unavailable` when its queue is full."""

    def submit(self, work: Callable[[], T], done: Callable[[T | None, GateError | None], None]) -> None: ...


class OpenFile:
    """An open descriptor, and how many transfers use it."""

    __slots__ = ("fd", "id", "size", "users")

    def __init__(self, file: File, fd: int) -> None:
        self.id = file.id
        self.size = file.size
        self.fd = fd
        self.users = 0


class FileStore:
    """The media folder, as the gate reads it.

    Args:
        root: the media root; `File.media` is relative to it.
        offloop: where blocking calls run.
        report: told of files that are refused, by id with the reason.
    """

    def __init__(self, root: Path, offloop: OffLoop, report: Callable[[Mapping[int, str]], None]) -> None:
        self._root = str(root)
        self._offloop = offloop
        self._report = report
        self._open: dict[int, OpenFile] = {}
        self._spare: OrderedDict[int, float] = OrderedDict()
        """Descriptors that nobody uses, and since when."""
        self._checked: dict[int, float] = {}
        """When a file was last found as it was imported; what is no longer fresh is dropped, the oldest stand first."""
        self._waiting: dict[Hashable, list[Done]] = {}

    def prepare(self, files: Sequence[File], done: Done) -> None:
        """Check that every file is as it was imported, then `done(None)` or `done(error)` on the loop.

        However lately they were checked: a file that was written to a moment ago must not be served once more.

        Raises:
            Unavailable: too much waits already.
        """
        if len(files) == 1:
            return self.fetch(files[0], done)
        key = tuple(file.id for file in files)
        self._once(key, lambda: {file.id: self._changed(file) for file in files}, self._looked_at, done)

    def fetch(self, file: File, done: Done) -> None:
        """Open `file`, or check it anew, so that `acquire` finds it; then `done`. One call to the disk, however many ask.

        Raises:
            Unavailable: too much waits already.
        """
        self._once(file.id, lambda: self._opened(file), partial(self._fetched, file), done)

    def acquire(self, file: File) -> OpenFile | None:
        """The open descriptor, counted as used, or None when it has to be fetched first: opened, or checked anew."""
        opened = self._open.get(file.id)
        if opened is None or not self._fresh(file):
            return None
        if not opened.users:
            self._spare.pop(file.id, None)
        opened.users += 1
        return opened

    def release(self, opened: OpenFile) -> None:
        opened.users -= 1
        if opened.users:
            return
        if self._open.get(opened.id) is not opened:
            os.close(opened.fd)  # another one has taken its place
            return
        self._spare[opened.id] = time.monotonic()
        if len(self._spare) > KEPT:
            self._drop(next(iter(self._spare)))

    def warm(self, opened: OpenFile, offset: int, done: Callable[[], None] | None = None) -> bool:
        """Have the pages at `offset` read off the loop when they are not in memory yet.

        True when they are: then `done` is called on the loop as soon as the first of them have come. False when there is
        nothing to wait for.
        """
        if offset >= opened.size or not hasattr(os, "RWF_NOWAIT"):
            return False
        try:
            os.preadv(opened.fd, [bytearray(1)], offset, os.RWF_NOWAIT)
            return False
        except BlockingIOError:
            pass
        except OSError:
            return False  # a file system that does not know the question

        def read() -> None:
            os.posix_fadvise(opened.fd, offset, AHEAD, os.POSIX_FADV_WILLNEED)
            if done is not None:
                os.pread(opened.fd, AWAITED, offset)

        def finished(_result: None, _error: GateError | None) -> None:
            self.release(opened)
            if done is not None:
                done()

        opened.users += 1  # so that it is not closed meanwhile
        try:
            self._offloop.submit(read, finished)
        except GateError:
            self.release(opened)
            return False
        return True

    def tidy(self) -> None:
        """Close what nobody has used for long; called every few seconds."""
        since = time.monotonic() - KEPT_FOR
        for file in tuple(itertools.takewhile(lambda file: self._spare[file] < since, self._spare)):
            self._drop(file)

    def close(self) -> None:
        """Close every descriptor; at the end of the process."""
        for opened in self._open.values():
            with contextlib.suppress(OSError):
                os.close(opened.fd)
        self._open.clear()
        self._spare.clear()

    def _once(self, key: Hashable, work: Callable[[], T], take: Callable[[T], GateError | None], done: Done) -> None:
        """Do `work` off the loop, `take` its result, and tell all who asked for the same meanwhile what was wrong with it."""
        waiting = self._waiting.get(key)
        if waiting is not None:
            waiting.append(done)
            return

        def answer(result: T | None, error: GateError | None) -> None:
            asked = self._waiting.pop(key)
            if error is None:
                error = take(result)  # type: ignore[arg-type]
            for told in asked:
                try:
                    told(error)
                except Exception:  # one connection's error must not leave the others waiting for ever
                    _log.exception("a front met an error when it was told of its file")

        self._offloop.submit(work, answer)
        self._waiting[key] = [done]

    def _fetched(self, file: File, opened: OpenFile | str) -> GateError | None:
        if isinstance(opened, str):
            return self._looked_at({file.id: opened})
        held = self._open.get(file.id)
        if held is not None and os.path.sameopenfile(held.fd, opened.fd):
            os.close(opened.fd)
        else:
            self._drop(file.id)
            self._open[file.id] = opened
            opened.users += 1
            self.release(opened)  # enters it among the spare ones until somebody acquires it
        return self._looked_at({file.id: ""})

    def _looked_at(self, found: Mapping[int, str]) -> GateError | None:
        """Files by id, each with why it is refused, or ''."""
        now = time.monotonic()
        changed = {}
        for file, why in found.items():
            self._checked.pop(file, None)
            if why:
                changed[file] = why
                self._drop(file)
            else:
                self._checked[file] = now
        for file in tuple(itertools.takewhile(lambda file: now - self._checked[file] > FRESH, self._checked)):
            del self._checked[file]
        if not changed:
            return None
        self._report(changed)
        return ChangedFile()

    def _drop(self, file: int) -> None:
        """Close a descriptor if nobody uses it."""
        if file in self._spare:
            del self._spare[file]
            os.close(self._open.pop(file).fd)

    def _fresh(self, file: File) -> bool:
        return time.monotonic() - self._checked.get(file.id, -math.inf) <= FRESH

    def _opened(self, file: File) -> OpenFile | str:
        """Off the loop: an open file, or why it is refused."""
        try:
            fd = os.open(os.path.join(self._root, file.media), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            if error.errno in _EXHAUSTED:
                raise Unavailable() from error  # that is not the file's fault
            return Sentence("cannot be opened (%(reason)s)", reason=os_reason(error))
        why = _difference(file, os.fstat(fd))
        if why:
            os.close(fd)
            return why
        with contextlib.suppress(OSError, AttributeError):
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        return OpenFile(file, fd)

    def _changed(self, file: File) -> str:
        """Off the loop: why this file is refused, or ''."""
        try:
            return _difference(file, os.stat(os.path.join(self._root, file.media)))
        except OSError as error:
            return Sentence("cannot be read (%(reason)s)", reason=os_reason(error))


def _difference(file: File, found: os.stat_result) -> str:
    if not stat.S_ISREG(found.st_mode):
        return Sentence("is no regular file any more")
    if found.st_size != file.size:
        return Sentence("has %(found)d bytes, %(imported)d were imported", found=found.st_size, imported=file.size)
    if found.st_mtime_ns != file.mtime_ns:
        return Sentence("was written to since it was imported")
    return ""
