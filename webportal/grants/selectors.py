from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from django.db.models import QuerySet, Sum

from ftpgate.naming import shown_paths, unique_folders
from ftpgate.proof.coverage import Span, SpanSet
from webportal.accounts.models import User
from webportal.catalogue.models import File
from webportal.grants.models import Coverage, Gate, Grant, GrantItem, Segment
from webportal.grants.states import State


@dataclass(frozen=True, slots=True)
class FileDetail:
    """A file of a grant. `path` is shown in the item's folder.

    `spans` are its covered bytes, `[start, end)`; `unconfirmed` are bytes that were sent without proof that they arrived,
    apart from those.
    """

    path: str
    size: int
    covered: int
    spans: tuple[Span, ...]
    unconfirmed: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class ItemDetail:
    """An item of a grant. `folder` is its folder's name at the top; sizes are bytes.

    `proof` is a `webportal.history.models.Proof` of a complete one. `unconfirmed` counts bytes; `unconfirmed_since` is when the
    last transfer ended that sent some of them, None when there are none.
    """

    id: str
    title: str
    artist: str
    folder: str
    size: int
    delivered: int
    completed_at: datetime | None
    proof: str | None
    files: tuple[FileDetail, ...]
    unconfirmed: int
    unconfirmed_since: datetime | None

    @property
    def lacks_only_unconfirmed(self) -> bool:
        """Is it incomplete, and was everything sent that it lacks?"""
        return self.completed_at is None and 0 < self.unconfirmed == self.size - self.delivered


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a grant has got, in bytes, and how many of its items are complete."""

    size: int
    delivered: int
    items: int
    complete: int


def grants_of(user: User) -> QuerySet[Grant]:
    """A user's grants, newest first, with `grant_items` and their `item` and `completion` fetched."""
    return Grant.objects.filter(user=user).prefetch_related("grant_items__item", "grant_items__completion")


def grant_of(user: User, public_id: str) -> Grant:
    """One grant of a user's own.

    Raises:
        Grant.DoesNotExist: there is none, or it is another's.
    """
    return grants_of(user).get(public_id=public_id)


def progress(grants: Iterable[Grant]) -> dict[str, Progress]:
    """The progress of grants by their public ids, in a handful of queries however many they are."""
    by_key = {grant.pk: grant.public_id for grant in grants}
    entries = GrantItem.objects.filter(grant__in=by_key)
    sizes = dict(entries.values_list("grant_id").annotate(Sum("item__files__size", default=0)).order_by())
    delivered = dict(Coverage.objects.filter(grant__in=by_key).values_list("grant_id").annotate(Sum("covered")).order_by())
    items: dict[int, list[bool]] = {key: [] for key in by_key}
    for key, completion in entries.values_list("grant_id", "completion").order_by():
        items[key].append(completion is not None)
    return {
        public_id: Progress(int(sizes.get(key, 0)), int(delivered.get(key, 0)), len(items[key]), sum(items[key]))
        for key, public_id in by_key.items()
    }


def details(grant: Grant) -> tuple[ItemDetail, ...]:
    """Everything in a grant, in its order, named as the gate shows it, with what has been delivered."""
    entries = list(GrantItem.objects.filter(grant=grant).select_related("item", "completion").order_by("position"))
    files: dict[int, list[File]] = {entry.item_id: [] for entry in entries}
    shown = File.objects.filter(item__in=files).order_by("item_id", "position").only("item_id", "position", "path", "size")
    for file in shown:
        files[file.item_id].append(file)
    covered = {
        file: SpanSet((start, end) for start, end in spans)
        for file, spans in Coverage.objects.filter(grant=grant).values_list("file_id", "spans")
    }
    unconfirmed = _unconfirmed(grant, covered)
    folders = unique_folders(entry.item.folder for entry in entries)
    return tuple(
        _item_detail(entry, folder, files[entry.item_id], covered, unconfirmed)
        for entry, folder in zip(entries, folders, strict=True)
    )


class _Unconfirmed(NamedTuple):
    spans: SpanSet
    since: datetime


def _unconfirmed(grant: Grant, covered: Mapping[int, SpanSet]) -> dict[int, _Unconfirmed]:
    """By file: what its segments sent without proof, apart from its coverage; files without such bytes are left out."""
    sent: defaultdict[int, SpanSet] = defaultdict(SpanSet)
    since: dict[int, datetime] = {}
    for unconfirmed, ended_at in Segment.objects.filter(grant=grant).order_by("ended_at").values_list("unconfirmed", "ended_at"):
        for name, spans in unconfirmed.items():
            sent[int(name)].update((start, end) for start, end in spans)
            since[int(name)] = ended_at
    apart = {file: spans.without(covered.get(file, SpanSet())) for file, spans in sent.items()}
    return {file: _Unconfirmed(spans, since[file]) for file, spans in apart.items() if spans}


def _item_detail(
    entry: GrantItem, folder: str, files: list[File], covered: Mapping[int, SpanSet], unconfirmed: Mapping[int, _Unconfirmed]
) -> ItemDetail:
    found = []
    for file, path in zip(files, shown_paths(file.path for file in files), strict=True):
        spans = covered.get(file.pk, SpanSet())
        lacking = unconfirmed[file.pk].spans if file.pk in unconfirmed else SpanSet()
        found.append(FileDetail(path, file.size, spans.size, tuple(spans), tuple(lacking)))
    return ItemDetail(
        id=entry.item.public_id,
        title=entry.item.title,
        artist=entry.item.artist,
        folder=folder,
        size=sum(file.size for file in found),
        delivered=sum(file.covered for file in found),
        completed_at=entry.completed_at,
        proof=entry.proof,
        files=tuple(found),
        unconfirmed=sum(unconfirmed[file.pk].spans.size for file in files if file.pk in unconfirmed),
        unconfirmed_since=max((unconfirmed[file.pk].since for file in files if file.pk in unconfirmed), default=None),
    )


def awaiting_word(grants: Iterable[Grant]) -> set[str]:
    """Public ids of those of these grants that are open and lack nothing but unconfirmed bytes."""
    following = {grant.pk: grant for grant in grants if grant.present_state is State.OPEN}
    with_segments = Segment.objects.filter(grant__in=following).order_by().values_list("grant", flat=True).distinct()
    return {following[key].public_id for key in with_segments if lacks_only_unconfirmed(details(following[key]))}


def lacks_only_unconfirmed(items: Iterable[ItemDetail]) -> bool:
    """Has everything been sent that these items lack, and is there anything?"""
    lacking = [item for item in items if item.completed_at is None]
    return bool(lacking) and all(item.lacks_only_unconfirmed for item in lacking)


def running_gates() -> list[Gate]:
    """Gates that run or drain, the newest first, with `silence`: those that are heard of, and have not ended on this machine."""
    return [gate for gate in Gate.objects.heard().order_by("-started_at", "-pk") if not gate.has_ended]
