"""Are an item's files still as they were imported?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from django.db import transaction
from django.db.models import F

from ftpgate.notices import Kind
from ftpgate.ondisk import why_not
from ftpgate.translatable import FileProblem, TranslatableText
from webportal.catalogue.importing.hashing import FileError, Stamp, hash_each, stamp
from webportal.catalogue.models import File, Item
from webportal.catalogue.services import report_changed, withdraw_reports
from webportal.core import push


class Problem(NamedTuple):
    """`path` is the file's in its item; `problem` completes a sentence about it (`FileProblem`)."""

    path: str
    problem: TranslatableText


def verify_item(item: Item, media_root: Path) -> list[Problem]:
    """Read every file of an item anew and say which are not as imported; staff's list of changed files follows.

    A file with the same bytes and other time stamps or another inode (a restored backup, a `chmod`) is fine: they are taken
    anew, so that gates serve it again.
    """
    return _verify(item, list(item.files.order_by("position")), media_root)


def refresh_stamps(item: Item, media_root: Path) -> list[Problem]:
    """As `verify_item`, but reads only files whose size, time stamps or inode differ from the import, or were not recorded."""
    differing = [file for file in item.files.order_by("position") if _found(media_root, file) != _recorded(file)]
    return _verify(item, differing, media_root)


def _verify(item: Item, files: Sequence[File], media_root: Path) -> list[Problem]:
    problems: dict[int, Problem] = {}
    fresh: list[File] = []
    readable = []
    for file in files:
        found = _found(media_root, file)
        if isinstance(found, TranslatableText):
            problems[file.pk] = Problem(file.path, found)
        elif found.size != file.size:
            size = FileProblem.FILE_SIZE(found=found.size, imported=file.size)
            problems[file.pk] = Problem(file.path, size)
        else:
            readable.append(file)
    digests = hash_each(media_root, [(file.path, file.media) for file in readable])
    for file, digest in zip(readable, digests, strict=True):
        if isinstance(digest, FileError):
            problems[file.pk] = Problem(file.path, digest.problem)
        elif digest.sha256 != bytes(file.sha256) or digest.stamp.size != file.size:
            problems[file.pk] = Problem(file.path, FileProblem.FILE_CHANGED())
        elif digest.stamp != _recorded(file):
            _, file.mtime_ns, file.ctime_ns, file.inode = digest.stamp
            fresh.append(file)
    with transaction.atomic():
        report_changed({key: problem.problem for key, problem in problems.items()})
        withdraw_reports([file.pk for file in files if file.pk not in problems])
        if fresh:
            File.objects.bulk_update(fresh, ["mtime_ns", "ctime_ns", "inode"], batch_size=500)
            Item.objects.filter(pk=item.pk).update(revision=F("revision") + 1)
            push.tell(Kind.ITEM, [item.public_id])
    return list(problems.values())


def _recorded(file: File) -> Stamp:
    return Stamp(file.size, file.mtime_ns, file.ctime_ns, file.inode)


def _found(media_root: Path, file: File) -> Stamp | TranslatableText:
    """The file as it is on the disk, or what is wrong with it."""
    try:
        return stamp(media_root, file.media)
    except (FileNotFoundError, NotADirectoryError):
        return FileProblem.FILE_MISSING()
    except OSError as error:
        return why_not(error)
