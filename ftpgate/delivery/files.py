"""One descriptor per file, shared by all its downloads; opened and checked off the loop.

A file that is not as it was imported is refused and reported, however long its descriptor has been open. Every transfer has its
files compared before it begins; those that begin together share one comparison, and within a transfer it is good for a second.
What is being sent is compared again before it is credited (`sent_files.py`).

The loop sends by `sendfile`, and has cold pages fetched ahead of itself. Where the file system cannot say whether a read would
wait (FUSE, NFS, SMB), the loop never touches the file: it is read, compared and closed by threads of its own.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import logging
import math
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from ftpgate.errors import ChangedFile, GateError, Unavailable
from ftpgate.grants import File
from ftpgate.net.executor import BoundedExecutor, Executor
from ftpgate.ondisk import LOOK, Identity, difference, may_block, open_below, stat_below, why_not
from ftpgate.translatable import FileProblem, TranslatableText

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
PART, LEAST_PART = 1024 * 1024, 16 * 1024
PARTS = 64 * 1024 * 1024
"""Bytes of a file that may block that are read for a transfer at a time, and of all such transfers together: with 64 of them
each has PART, with 4,096 and more LEAST_PART."""
STEP = 4 * 1024 * 1024
"""Bytes of a transfer after which the path of its file is looked at again, however fast it is."""
READING = 64
"""Reads that are handed to the threads at a time; no more wait for that than there are transfers."""

_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}

Done = Callable[[GateError | None], None]


class OpenFile:
    """An open descriptor, and how many use it.

    Attributes:
        fd: -1 once it is closed.
        identity: of the file when it was opened.
        may_block: nobody can tell whether reading it would wait; the loop must not touch it.
        changed: it was found not to be what was opened.
        looked_at: when its path was last found to lead to it; by the monotonic clock.
    """

    __slots__ = ("changed", "fd", "id", "identity", "looked_at", "may_block", "media", "size", "users")

    def __init__(self, file: File, fd: int, found: os.stat_result) -> None:
        self.id = file.id
        self.media = file.media
        self.size = file.size
        self.fd = fd
        self.identity = Identity.of(found)
        self.may_block = may_block(fd)
        self.changed = False
        self.looked_at = time.monotonic()
        self.users = 0


class FileStore:
    """The media folder, as the gate reads it.

    Args:
        root: the media root; `File.media` is relative to it.
        offloop: where blocking calls run.
        report: told of files that are refused, by id with the reason.
        slow: where the calls run that may wait for a file system long after a file was opened; `executor` when None.
        confined: this process may read no other folder than the one that is at `root` now.
    """

    def __init__(
        self,
        root: Path,
        executor: Executor,
        report: Callable[[Mapping[int, str]], None],
        slow: Executor | None = None,
        *,
        confined: bool = False,
    ) -> None:
        self._root = str(root)
        self._confined_to = _folder_at(self._root) if confined else None
        self._confined = confined
        self._told_exchange = False
        self._executor = executor
        self._slow = BoundedExecutor(slow or executor, READING)
        self._report = report
        self._open: dict[int, OpenFile] = {}
        self._spare: OrderedDict[int, float] = OrderedDict()
        """Descriptors that nobody uses, and since when."""
        self._checked: dict[int, float] = {}
        """When a file was last found as it was imported; what is no longer fresh is dropped, the oldest stand first."""
        self._waiting: dict[Hashable, list[Done]] = {}
        self._slow_users = 0

    def prepare(self, files: Sequence[File], done: Done) -> None:
        """Check that every file is as it was imported, then `done(None)` or `done(error)` on the loop.

        However lately they were checked: a file that was written to a moment ago must not be served once more.

        Raises:
            Unavailable: too much waits already.
        """
        if len(files) == 1:
            return self.fetch(files[0], done)
        key = tuple(file.id for file in files)
        self._once(key, lambda: {file.id: self._compared(file) for file in files}, self._looked_at, done)

    def fetch(self, file: File, done: Done) -> None:
        """Open `file`, or check it anew, so that `acquire` finds it; then `done`. One call to the disk, however many ask.

        Raises:
            Unavailable: too much waits already.
        """
        self._once(file.id, lambda: self._opened(file), partial(self._fetched, file), done)

    def acquire(self, file: File) -> OpenFile | None:
        """The open descriptor, counted as used, or None when it has to be fetched first: opened, or checked anew."""
        opened = self._open.get(file.id)
        if opened is None or opened.changed or not self._fresh(file):
            return None
        self._use(opened)
        return opened

    def release(self, opened: OpenFile) -> None:
        opened.users -= 1
        self._slow_users -= opened.may_block
        if opened.users:
            return
        if self._open.get(opened.id) is not opened:
            self._close(opened)  # another one has taken its place
            return
        self._spare[opened.id] = time.monotonic()
        if opened.changed or len(self._spare) > KEPT:
            self._drop(opened.id if opened.changed else next(iter(self._spare)))

    def unchanged(self, opened: OpenFile, *, path: bool = False) -> bool:
        """May what was sent of this file until now be credited? What is not, is reported.

        Never waits. What `may_block` was compared after each read, when its bytes were in our memory already. Else the
        descriptor is asked every time (its pages are sent from where anybody may write to them until they have left), and
        the path once a second for all its transfers.

        Args:
            path: ask the path in any case.
        """
        if not opened.changed and not opened.may_block:
            # The open descriptor holds the folders of its path in memory: nothing of it is looked for on the disk, unless
            # something else has taken its place.
            why = self._altered(opened, path=path or time.monotonic() - opened.looked_at > FRESH)
            if why is not None:
                self._spoilt(opened, why)
        return not opened.changed

    def read(self, opened: OpenFile, start: int, end: int, done: Callable[[bytes | None], None]) -> None:
        """Read on from `start`, not beyond `end`, off the loop, then `done(data)` on the loop.

        `done(None)` when the file is not what was opened any more, or cannot be read. For files that `may_block`.
        """
        count = min(end - start, max(PARTS // max(self._slow_users, 1), LEAST_PART), PART)

        def work() -> bytes | TranslatableText:
            try:
                data = os.pread(opened.fd, count, start)
            except OSError as error:
                return why_not(error)
            at = start + len(data)
            path = at >= end or at // STEP > start // STEP or time.monotonic() - opened.looked_at > FRESH
            why = self._altered(opened, path=path)
            if why is None and not data:
                why = FileProblem.FILE_SIZE(found=start, imported=opened.size)
            if why is None and start + count < end:
                _read_ahead(opened.fd, start + count, 2 * count)
            return data if why is None else why

        def finished(result: bytes | TranslatableText | None, _error: GateError | None) -> None:
            if isinstance(result, TranslatableText):
                self._spoilt(opened, result)
            self.release(opened)
            done(result if isinstance(result, bytes) else None)

        self._use(opened)  # so that it is not closed meanwhile
        self._slow.submit(work, finished)

    def warm(self, opened: OpenFile, offset: int, done: Callable[[], None] | None = None) -> bool:
        """Have the pages at `offset` read off the loop when they are not in memory yet.

        True when they are: then `done` is called on the loop as soon as the first of them have come. False when there is
        nothing to wait for.
        """
        if offset >= opened.size or opened.may_block:
            return False
        try:
            os.preadv(opened.fd, [bytearray(1)], offset, os.RWF_NOWAIT)
            return False
        except BlockingIOError:
            pass
        except OSError:
            return False  # a file system that is in memory itself

        def read() -> None:
            os.posix_fadvise(opened.fd, offset, AHEAD, os.POSIX_FADV_WILLNEED)
            if done is not None:
                os.pread(opened.fd, AWAITED, offset)

        def finished(_result: None, _error: GateError | None) -> None:
            self.release(opened)
            if done is not None:
                done()

        self._use(opened)  # so that it is not closed meanwhile
        try:
            self._executor.submit(read, finished)
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
            if not opened.may_block:  # those the end of the process closes
                self._close(opened)
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

        self._executor.submit(work, answer)
        self._waiting[key] = [done]

    def _fetched(self, file: File, opened: OpenFile | TranslatableText) -> GateError | None:
        if isinstance(opened, TranslatableText):
            return self._looked_at({file.id: opened})
        refused = self._looked_at({file.id: opened.identity})
        if file.id in self._open:
            self._close(opened)
        else:
            self._open[file.id] = opened
            self._use(opened)
            self.release(opened)  # enters it among the spare ones until somebody acquires it
        return refused

    def _looked_at(self, found: Mapping[int, Identity | TranslatableText]) -> GateError | None:
        """Files by id, each as it is, or with why it is refused."""
        now = time.monotonic()
        changed = {}
        for file, now_there in found.items():
            self._checked.pop(file, None)
            if isinstance(now_there, TranslatableText):
                changed[file] = now_there
                self._drop(file)
                continue
            self._checked[file] = now
            held = self._open.get(file)
            if held is not None and (held.changed or held.identity != now_there):
                held.changed = True  # for who uses it; what has taken its place is as imported
                self._drop(file)
                self._open.pop(file, None)
            elif held is not None:
                held.looked_at = now
        for file in tuple(itertools.takewhile(lambda file: now - self._checked[file] > FRESH, self._checked)):
            del self._checked[file]
        if not changed:
            return None
        self._report(changed)
        return ChangedFile()

    def _spoilt(self, opened: OpenFile, why: TranslatableText) -> None:
        """A file is not what was opened: nothing more of it is served from this descriptor."""
        if opened.changed:
            return
        opened.changed = True
        if self._open.get(opened.id) is opened:  # else what is there now has been compared with the import since
            self._looked_at({opened.id: why})

    def _use(self, opened: OpenFile) -> None:
        if not opened.users:
            self._spare.pop(opened.id, None)
        opened.users += 1
        self._slow_users += opened.may_block

    def _drop(self, file: int) -> None:
        """Close a descriptor if nobody uses it."""
        if file in self._spare:
            del self._spare[file]
            self._close(self._open.pop(file))

    def _close(self, opened: OpenFile) -> None:
        fd, opened.fd = opened.fd, -1
        if opened.may_block:  # FUSE is told of every close, and asked for an answer
            self._slow.submit(partial(_close, fd), lambda _result, _error: None)
        else:
            _close(fd)

    def _fresh(self, file: File) -> bool:
        return time.monotonic() - self._checked.get(file.id, -math.inf) <= FRESH

    def _opened(self, file: File) -> OpenFile | TranslatableText:
        """Off the loop: an open file, or why it is refused."""
        try:
            fd = open_below(self._root, file.media)
        except OSError as error:
            if error.errno == errno.EACCES and self._root_exchanged():
                raise Unavailable() from error
            return _refused(error)
        try:
            found = os.fstat(fd)
            why = difference(file, found, fd)
            if why is None:
                with contextlib.suppress(OSError, AttributeError):
                    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
                return OpenFile(file, fd, found)
        except OSError as error:
            why = why_not(error)
        _close(fd)
        return why

    def _compared(self, file: File) -> Identity | TranslatableText:
        """Off the loop: the file as it is, or why it is refused."""
        try:
            fd = open_below(self._root, file.media, LOOK)
        except OSError as error:
            return _refused(error)
        try:
            found = os.fstat(fd)
            return difference(file, found, fd) or Identity.of(found)
        except OSError as error:
            return why_not(error)
        finally:
            _close(fd)

    def _root_exchanged(self) -> bool:
        """Is another folder at the root than the one that may be read, as after a mount over it? No file is to blame for that."""
        if not self._confined or (self._confined_to is not None and _folder_at(self._root) == self._confined_to):
            return False
        if not self._told_exchange:
            self._told_exchange = True
            _log.error("%s is not the folder that was there at the start, and cannot be read: restart the gate", self._root)
        return True

    def _altered(self, opened: OpenFile, *, path: bool) -> TranslatableText | None:
        """Why this is not the file any more that was opened, or None. With `path`, or without a descriptor, ask the path too."""
        try:
            found = os.fstat(opened.fd) if opened.fd >= 0 else None
            if found is None or (path and Identity.of(found) == opened.identity):
                opened.looked_at = time.monotonic()
                found = stat_below(self._root, opened.media)
        except OSError as error:
            return None if error.errno in _EXHAUSTED else why_not(error)
        if Identity.of(found) == opened.identity:
            return None
        return difference(opened.identity, found, opened.fd) or FileProblem.FILE_REPLACED()


def _refused(error: OSError) -> TranslatableText:
    """Why a file is refused that cannot be opened. Raises Unavailable when that is not the file's fault."""
    if error.errno in _EXHAUSTED:
        raise Unavailable() from error
    return why_not(error)


def _folder_at(path: str) -> tuple[int, int] | None:
    """What tells the folder at a path from others, as long as this process runs; None when there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _close(fd: int) -> None:
    with contextlib.suppress(OSError):  # it is closed all the same (close(2))
        os.close(fd)


def _read_ahead(fd: int, start: int, count: int) -> None:
    with contextlib.suppress(OSError, AttributeError):
        os.posix_fadvise(fd, start, count, os.POSIX_FADV_WILLNEED)
