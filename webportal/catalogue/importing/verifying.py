"""Are an item's files still as they were imported?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from django.db import transaction
from django.db.models import F

from ftpgate.sentences import Sentence
from webportal.catalogue.importing.hashing import FileError, hash_each, stamp
from webportal.catalogue.models import File, Item
from webportal.catalogue.services import report_changed, withdraw_reports


class Problem(NamedTuple):
    """`path` is the file's in its item; `problem` completes a sentence about it (Sentence("is missing"))."""

    path: str
    problem: Sentence


def verify_item(item: Item, media_root: Path) -> list[Problem]:
    """Read every file of an item anew and say which are not as imported; staff's list of changed files follows.

    A file with the same bytes and another time stamp (a restored backup) is fine: its stamp is taken anew, so that gates
    serve it again.
    """
    return _verify(item, list(item.files.order_by("position")), media_root)


def refresh_stamps(item: Item, media_root: Path) -> list[Problem]:
    """As `verify_item`, but reads only files whose size or time stamp differs from the import."""
    differing = [
        file for file in item.files.order_by("position") if _stamp(media_root / file.media) != (file.size, file.mtime_ns)
    ]
    return _verify(item, differing, media_root)


def _verify(item: Item, files: Sequence[File], media_root: Path) -> list[Problem]:
    problems: dict[int, Problem] = {}
    fresh: list[File] = []
    readable = []
    for file in files:
        found = _stamp(media_root / file.media)
        if found is None:
            problems[file.pk] = Problem(file.path, Sentence("is missing"))
        elif found[0] != file.size:
            size = Sentence("has %(found)d bytes, %(imported)d were imported", found=found[0], imported=file.size)
            problems[file.pk] = Problem(file.path, size)
        else:
            readable.append(file)
    digests = hash_each([(file.path, media_root / file.media) for file in readable])
    for file, digest in zip(readable, digests, strict=True):
        if isinstance(digest, FileError):
            problems[file.pk] = Problem(file.path, digest.problem)
        elif digest.sha256 != bytes(file.sha256) or digest.size != file.size:
            problems[file.pk] = Problem(file.path, Sentence("has changed"))
        elif digest.mtime_ns != file.mtime_ns:
            file.mtime_ns = digest.mtime_ns
            fresh.append(file)
    with transaction.atomic():
        report_changed({key: problem.problem for key, problem in problems.items()})
        withdraw_reports([file.pk for file in files if file.pk not in problems])
        if fresh:
            File.objects.bulk_update(fresh, ["mtime_ns"], batch_size=500)
            Item.objects.filter(pk=item.pk).update(revision=F("revision") + 1)
    return list(problems.values())


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        return stamp(path)
    except OSError:
        return None
