"""From a folder to an item: found, hashed, tagged, ordered, and stored in one transaction."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from django.core.files.base import ContentFile
from django.db import IntegrityError, transaction

from ftpgate.naming import FOLDER_LIMIT, folder_name, legal_name, shown_paths
from ftpgate.translatable import TranslatableText, os_reason
from webportal.catalogue.importing.copying import copied, umask_of
from webportal.catalogue.importing.covers import find_cover
from webportal.catalogue.importing.hashing import Digest, hash_files, stamp
from webportal.catalogue.importing.tags import Tags, album_tags, disc_of, is_audio, parse_encoding, read_tags
from webportal.catalogue.importing.verifying import refresh_stamps
from webportal.catalogue.importing.walking import LONGEST_PATH, Found, LeftOut, find_files, natural, too_long
from webportal.catalogue.models import File, Item
from webportal.catalogue.thumbnails import cover_name, make_thumbnail
from webportal.core.errors import ImportRefused
from webportal.core.texts import Text


class Overrides(NamedTuple):
    """What is to be said of an item instead of what its tags say, and the encoding of tags that do not tell theirs."""

    title: str | None = None
    artist: str | None = None
    year: int | None = None
    tag_encoding: str | None = None


_NONE = Overrides()
LONGEST_FOR_WINDOWS = 240
"""Characters of a path; with those of the folder that it is saved in, Windows takes 260 (learn.microsoft.com, MAX_PATH)."""
_LONGEST_SAMPLE = 60
"""Characters of a tag that a warning shows."""
_MOST_REFUSED = 3
"""Pictures whose refusal is worth a warning: an album of scans has dozens."""
_LAST = 100_000
"""After every disc and track."""


class Imported(NamedTuple):
    """`new` is False for an item that was there before. `warnings` are for whoever imports it."""

    item: Item
    new: bool
    warnings: Sequence[TranslatableText] = ()
    left_out: Sequence[LeftOut] = ()


def import_item(
    folder: Path,
    media_root: Path,
    *,
    overrides: Overrides = _NONE,
    copy: bool = False,
    read: Callable[[int], None] | None = None,
) -> Imported:
    """Import a folder under the media root as an item; with `copy` one from elsewhere, which is copied there first.

    The same folder again, with the same files, changes nothing, but that a withdrawn item is on offer again, and that a
    `tag_encoding` has its tags read again; a copy of it with other overrides is another item. Nothing half-imported stays
    after an error.

    Args:
        read: told of every number of bytes that was read.

    Raises:
        ImportRefused: the folder or a file in it cannot be imported, or is not as it was when it was imported before.
    """
    if not folder.is_dir():
        raise ImportRefused(Text.NO_FOLDER(folder=str(folder)))
    overrides = _checked(overrides)
    folder, media_root = folder.resolve(), media_root.resolve()
    if folder == media_root:
        raise ImportRefused(Text.MEDIA_FOLDER_ITSELF(folder=str(folder)))
    if media_root.is_relative_to(folder):
        raise ImportRefused(Text.HOLDS_MEDIA_FOLDER(folder=str(folder)))
    if folder.is_relative_to(media_root):
        return _import_in_place(folder, media_root, overrides, read)
    if not copy:
        raise ImportRefused(Text.NOT_UNDER_MEDIA_FOLDER(folder=str(folder), media=str(media_root)))
    return _import_copy(folder, media_root, overrides, read)


def _import_in_place(folder: Path, media_root: Path, overrides: Overrides, read: Callable[[int], None] | None) -> Imported:
    files, left_out = find_files(folder)
    source = _source(folder, media_root)
    before = Item.objects.filter(source=source).first()
    if before is not None:
        _check_same(before, [file.real.relative_to(media_root).as_posix() for file in files], media_root)
        Item.objects.filter(pk=before.pk).update(withdrawn_at=None)
        again = overrides.tag_encoding is not None
        warnings = _read_tags_again(before, files, media_root, overrides, folder.name) if again else ()
        return Imported(before, new=False, warnings=warnings, left_out=left_out)
    paths = [(file.path, file.real.relative_to(media_root).as_posix()) for file in files]
    digests = dict(zip((file.path for file in files), hash_files(media_root, paths, read), strict=True))
    return _store(files, digests, folder, media_root, overrides, folder.name)._replace(left_out=left_out)


def _import_copy(folder: Path, media_root: Path, overrides: Overrides, read: Callable[[int], None] | None) -> Imported:
    files, left_out = find_files(folder)
    with umask_of(media_root), copied(files, media_root) as unfinished:
        # Hashed from the copy: what was written is what will be served.
        inside = [Found(file.path, unfinished / file.path) for file in files]
        paths = [(file.path, file.path) for file in files]
        digests = dict(zip((file.path for file in files), hash_files(unfinished, paths, read), strict=True))
        target, before = _place(folder.name, media_root, digests, overrides)
        if before is not None:
            _put_back(inside, unfinished, target)
            return _import_in_place(target, media_root, overrides, read)._replace(left_out=left_out)
        unfinished.rename(target)
        try:
            stored = _store(find_files(target).files, digests, target, media_root, overrides, folder.name)
            return stored._replace(left_out=left_out)
        except BaseException:
            target.rename(unfinished)  # whence it is removed
            raise


def _put_back(files: Sequence[Found], copy: Path, folder: Path) -> None:
    """Move from a copy what its folder lacks: after a purge all, or what could be removed. Nothing is overwritten."""
    for file in files:
        place = folder / file.path
        if not os.path.lexists(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            (copy / file.path).rename(place)


def _place(name: str, media_root: Path, digests: Mapping[str, Digest], overrides: Overrides) -> tuple[Path, Item | None]:
    """Where a copy of a folder goes: to the item that is made of exactly these files, or to a place that nobody has.

    The item has to be as it is wanted for, too.

    A purged item keeps the place that it had on the disk.
    """
    name, number = legal_name(name, limit=FOLDER_LIMIT), 1
    target = media_root / name
    while True:
        item = Item.objects.filter(source=_source(target, media_root)).first()
        if item is not None and _holds(item, digests) and _matches(item, overrides):
            return target, item
        if item is None and not os.path.lexists(target):
            return target, None
        number += 1
        target = media_root / legal_name(f"{name} ({number})")


def _store(
    files: Sequence[Found], digests: Mapping[str, Digest], folder: Path, media_root: Path, overrides: Overrides, name: str
) -> Imported:
    tags = {file.path: read_tags(file.real, overrides.tag_encoding) for file in files}
    files = _ordered(files, tags)
    album = album_tags([tags[file.path] for file in files], name)
    title = overrides.title or album.title
    artist = album.artist if overrides.artist is None else overrides.artist
    year = album.year if overrides.year is None else overrides.year
    item = Item(
        title=title, artist=artist, year=year, folder=folder_name(title, artist, year), source=_source(folder, media_root)
    )
    rows = [
        _row(item, position, file.real.relative_to(media_root).as_posix(), shown, digests[file.path], tags[file.path])
        for position, (file, shown) in enumerate(zip(files, shown_paths(file.path for file in files), strict=True), 1)
    ]
    cover = find_cover(files)
    stored = None
    try:
        with transaction.atomic():
            if cover.picture:
                stored = cover_name(cover.picture, item.public_id)
                item.cover.save(stored, ContentFile(cover.picture), save=False)
            item.save(force_insert=True)
            File.objects.bulk_create(rows, batch_size=500)
            item.save(update_fields=["search"])  # with the tracks' titles
            for file in files:
                if stamp(media_root, file.real.relative_to(media_root).as_posix()) != digests[file.path].stamp:
                    raise ImportRefused(Text.FILE_CHANGED_AT_IMPORT(file=file.path))
    except BaseException as error:
        if stored:
            item.cover.delete(save=False)
        if isinstance(error, IntegrityError):
            raise ImportRefused(Text.IMPORTED_BY_ANOTHER(folder=str(folder))) from None
        if isinstance(error, OSError):
            raise ImportRefused(Text.FOLDER_NOT_IMPORTED(folder=str(folder), reason=os_reason(error))) from None
        raise
    if stored:
        make_thumbnail(Path(item.cover.path))
    warnings = [*_tag_warnings(files, tags), *cover.refused[:_MOST_REFUSED], *_path_warnings(item, rows)]
    return Imported(item, new=True, warnings=warnings)


def _tag_warnings(files: Sequence[Found], tags: Mapping[str, Tags]) -> Iterator[TranslatableText]:
    broken = [file.path for file in files if tags[file.path].unreadable]
    if broken:
        yield Text.TAGS_UNREADABLE(files=_listed(broken))
    doubtful = [file.path for file in files if tags[file.path].doubtful]
    if doubtful:
        yield Text.TAGS_DOUBTFUL(
            files=_listed(doubtful),
            sample=tags[doubtful[0]].doubtful[:_LONGEST_SAMPLE],
        )


def _path_warnings(item: Item, rows: Sequence[File]) -> Iterator[TranslatableText]:
    """As Windows counts: UTF-16 units of the path as customers get it."""
    paths = [f"{item.folder}/{row.path}" for row in rows]
    long = [path for path in paths if len(path.encode("utf-16-le")) // 2 > LONGEST_FOR_WINDOWS]
    if long:
        yield Text.PATHS_LONG_FOR_WINDOWS(
            count=len(long),
            most=LONGEST_FOR_WINDOWS,
            path=long[0],
        )


def _listed(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(map(repr, names[:most])) + (" …" if len(names) > most else "")


def _read_tags_again(
    item: Item, files: Sequence[Found], media_root: Path, overrides: Overrides, name: str
) -> Sequence[TranslatableText]:
    """Take an item's words from its tags by another encoding. Customers may have its folder, whose name stays."""
    found = {file.real.relative_to(media_root).as_posix(): file for file in files}
    rows = [row for row in item.files.order_by("position") if row.media in found]
    tags = {found[row.media].path: read_tags(found[row.media].real, overrides.tag_encoding) for row in rows}
    for row in rows:
        row.title, row.artist = tags[found[row.media].path].title, tags[found[row.media].path].artist
    album = album_tags([*tags.values()], name)
    item.title = overrides.title or album.title
    item.artist = album.artist if overrides.artist is None else overrides.artist
    item.year = album.year if overrides.year is None else overrides.year
    with transaction.atomic():
        File.objects.bulk_update(rows, ["title", "artist"], batch_size=500)
        item.save(update_fields=["title", "artist", "year"])
    return [*_tag_warnings([found[row.media] for row in rows], tags)]


def _row(item: Item, position: int, media: str, shown: str, digest: Digest, tags: Tags) -> File:
    return File(
        item=item,
        position=position,
        path=shown,
        media=media,
        **digest.stamp._asdict(),
        sha256=digest.sha256,
        crc32=digest.crc32,
        title=tags.title,
        artist=tags.artist,
        disc=tags.disc,
        track=tags.track,
        duration=tags.duration,
    )


def _ordered(files: Sequence[Found], tags: Mapping[str, Tags]) -> Sequence[Found]:
    """Disc, track, then path. What has no track (a booklet, an untagged file) comes last of its disc.

    What is on no disc either comes last of all, when others have numbers. Where no file is tagged, audio beside a folder
    `CD2` is the first disc, and beside no such folder all are one disc.
    """
    discs = {file.path: disc_of(file.path, tags[file.path]) for file in files}
    numbered = any(tags[file.path].track is not None or tags[file.path].disc is not None for file in files)
    several = any(disc is not None and disc > 1 for disc in discs.values())

    def order(file: Found) -> tuple[object, ...]:
        disc, track = discs[file.path], tags[file.path].track
        if disc is None:
            apart = numbered or (several and not is_audio(file.path))
            disc = _LAST if track is None and apart else 1
        return disc, _LAST if track is None else track, natural(file.path)

    return sorted(files, key=order)


def _checked(overrides: Overrides) -> Overrides:
    if overrides.title is not None and not 0 < len(overrides.title.strip()) <= 500:
        raise ImportRefused(Text.TITLE_LENGTH(most=500))
    if overrides.artist is not None and len(overrides.artist) > 500:
        raise ImportRefused(Text.ARTIST_LENGTH(most=500))
    if overrides.tag_encoding is not None:
        try:
            parse_encoding(overrides.tag_encoding)
        except ValueError as error:
            raise ImportRefused(Text.TAG_ENCODING(encoding=overrides.tag_encoding[:80], reason=str(error))) from None
    if overrides.year is not None and not 1 <= overrides.year <= 9999:
        raise ImportRefused(Text.YEAR_RANGE(year=overrides.year))
    return overrides


def _source(folder: Path, media_root: Path) -> str:
    source = folder.relative_to(media_root).as_posix()
    try:
        size = len(source.encode())
    except UnicodeEncodeError:
        raise ImportRefused(Text.FOLDER_NAME_NOT_UTF8(path=source)) from None
    if size > LONGEST_PATH:
        raise too_long(source)
    return source


def _holds(item: Item, digests: Mapping[str, Digest]) -> bool:
    """Is an item made of exactly these files?"""
    kept = sorted((bytes(digest), size) for digest, size in item.files.values_list("sha256", "size"))
    names = {media.removeprefix(item.source + "/") for media in item.files.values_list("media", flat=True)}
    return names == set(digests) and kept == sorted((digest.sha256, digest.stamp.size) for digest in digests.values())


def _matches(item: Item, overrides: Overrides) -> bool:
    wanted = (overrides.title, overrides.artist, overrides.year)
    return all(
        wanted is None or wanted == value for wanted, value in zip(wanted, (item.title, item.artist, item.year), strict=True)
    )


def _check_same(item: Item, media: Sequence[str], media_root: Path) -> None:
    """Raises ImportRefused when the files on disk are not those that were imported."""
    known = set(item.files.values_list("media", flat=True))
    added = sorted(set(media) - known)
    if added:
        raise ImportRefused(Text.FILE_ADDED(file=added[0], item=item.public_id))
    problems = refresh_stamps(item, media_root)
    if problems:
        path, problem = problems[0]
        raise ImportRefused(Text.ITEM_CHANGED(file=path, item=item.public_id, problem=problem))
