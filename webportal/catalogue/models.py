from __future__ import annotations

import unicodedata
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils.crypto import get_random_string
from django.utils.translation import gettext_lazy as _

from ftpgate.tokens import ALPHABET
from ftpgate.translatable import TranslatableText
from webportal.core.translatable import LONGEST_CODE, restored, translated

ITEM_ID_LENGTH = 8
"""Characters: 39 bits, so that ids cannot be told by counting."""
_LONGEST_SEARCH = 50_000
"""Characters of an item's words: titles of some thousand tracks. A box set must not be all of the index."""
_LONGEST_WORD = 100  # PostgreSQL's index refuses words of more than 2 kB


def new_item_id() -> str:
    """A random public id, without the characters that are hard to tell apart."""
    return get_random_string(ITEM_ID_LENGTH, ALPHABET)


def searchable(text: str) -> str:
    """Text as the search column and queries hold it: words of letters and digits, one space between them.

    Case and marks above and below letters are left out (é is e, ё is е), so that every database compares alike.
    """
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    kept = (c if c.isalnum() else "" if unicodedata.combining(c) else " " for c in plain)
    return " ".join(word[:_LONGEST_WORD] for word in "".join(kept).split())


_ON_OFFER = Q(withdrawn_at=None, hidden_at=None)


class ItemQuerySet(models.QuerySet["Item"]):
    def on_offer(self) -> ItemQuerySet:
        """What customers and shops find, can put in a cart and check out."""
        return self.filter(_ON_OFFER)


class Item(models.Model):
    """An album: what is offered as one thing.

    A hidden one is off the shelf until it is shown again; grants that have it go on. A withdrawn one is off the shelf and
    the disk; its history stays.
    """

    public_id = models.CharField(_("id"), max_length=ITEM_ID_LENGTH, unique=True, default=new_item_id, editable=False)
    title = models.CharField(_("title"), max_length=500)
    artist = models.CharField(_("artist"), max_length=500, blank=True)
    year = models.SmallIntegerField(_("year"), null=True, blank=True)
    folder = models.CharField(_("folder"), max_length=255, help_text=_("The name of its folder as customers see it"))
    source = models.CharField(_("source"), max_length=1000, unique=True, help_text=_("Its folder, relative to the media folder"))
    cover = models.ImageField(_("cover"), upload_to="items", blank=True)
    search = models.TextField(editable=False, default="")
    revision = models.IntegerField(editable=False, default=0)  # counted up when its files' stamps were taken anew
    added_at = models.DateTimeField(_("added"), auto_now_add=True)
    hidden_at = models.DateTimeField(_("off the shelf since"), null=True, blank=True, editable=False)
    withdrawn_at = models.DateTimeField(_("withdrawn"), null=True, editable=False)

    objects = ItemQuerySet.as_manager()

    class Meta:
        verbose_name = _("item")
        verbose_name_plural = _("items")
        ordering = ("artist", "year", "title", "pk")
        constraints = (
            models.CheckConstraint(condition=~Q(title="") & ~Q(folder="") & ~Q(source=""), name="item_is_named"),
            models.CheckConstraint(condition=Q(year=None) | Q(year__range=(1, 9999)), name="item_year_in_range"),
        )
        indexes = (
            models.Index(fields=("artist", "year", "title", "id"), condition=_ON_OFFER, name="item_order"),
            models.Index(fields=("title", "artist", "id"), condition=_ON_OFFER, name="item_by_title"),
            models.Index(fields=("-added_at", "-id"), condition=_ON_OFFER, name="item_newest"),
            models.Index(fields=("-year", "artist", "title", "id"), condition=_ON_OFFER, name="item_by_year"),
        )

    def __str__(self) -> str:
        return " – ".join(part for part in (self.artist, self.title) if part)

    def save(self, *args: Any, **kwargs: Any) -> None:
        tracks = self.files.exclude(title="").values_list("title", flat=True) if self.pk else ()
        words = (self.artist, self.title, str(self.year or ""), *tracks)
        self.search = searchable(" ".join(word for word in words if word))[:_LONGEST_SEARCH]
        if kwargs.get("update_fields") is not None:
            kwargs["update_fields"] = {*kwargs["update_fields"], "search"}
        super().save(*args, **kwargs)

    @property
    def on_offer(self) -> bool:
        return self.hidden_at is None and self.withdrawn_at is None


class File(models.Model):
    """One file of an item, as it was at import."""

    item = models.ForeignKey(Item, models.CASCADE, related_name="files", verbose_name=_("item"))
    position = models.IntegerField(_("position"))
    path = models.CharField(_("path"), max_length=1000, help_text=_("As customers see it, within the item's folder"))
    media = models.CharField(_("media"), max_length=1500, help_text=_("Where its bytes lie, relative to the media folder"))
    size = models.BigIntegerField(_("bytes"))
    mtime_ns = models.BigIntegerField(_("changed, ns"))
    # Empty where they are not known: of imports before 2026-12, and for numbers that do not last (ftpgate.ondisk).
    ctime_ns = models.BigIntegerField(_("status changed, ns"), null=True, blank=True)
    inode = models.BigIntegerField(_("inode"), null=True, blank=True)
    sha256 = models.BinaryField(_("SHA-256"), max_length=32)
    crc32 = models.BigIntegerField(_("CRC-32"))
    title = models.CharField(_("title"), max_length=500, blank=True)
    artist = models.CharField(_("artist"), max_length=500, blank=True)
    disc = models.IntegerField(_("disc"), null=True, blank=True)
    track = models.IntegerField(_("track"), null=True, blank=True)
    duration = models.FloatField(_("seconds"), null=True, blank=True)

    class Meta:
        verbose_name = _("file")
        verbose_name_plural = _("files")
        ordering = ("item", "position")
        constraints = (
            models.UniqueConstraint(fields=("item", "path"), name="file_path_once_in_item"),
            models.UniqueConstraint(fields=("item", "position"), name="file_position_once_in_item"),
            models.CheckConstraint(condition=Q(size__gte=0), name="file_size_not_negative"),
            models.CheckConstraint(condition=Q(crc32__range=(0, 0xFFFF_FFFF)), name="file_crc32_in_range"),
            models.CheckConstraint(condition=~Q(path="") & ~Q(media=""), name="file_is_named"),
        )

    def __str__(self) -> str:
        return self.path


class ImportJob(models.Model):
    """A folder that staff import from the browser, and how far it has got. `read` and `total` are bytes.

    `notes` are what whoever imports it should know, each as `webportal.core.translatable.stored` writes a text.
    """

    class State(models.TextChoices):
        RUNNING = "running", _("running")
        DONE = "done", _("done")
        FAILED = "failed", _("failed")

    folder = models.CharField(_("folder"), max_length=1000)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+", verbose_name=_("user"))
    item = models.ForeignKey(Item, models.SET_NULL, null=True, related_name="+", verbose_name=_("item"))
    state = models.CharField(_("state"), max_length=7, choices=State, default=State.RUNNING)
    read = models.BigIntegerField(_("read, bytes"), default=0)
    total = models.BigIntegerField(_("bytes"), default=0)
    notes = models.JSONField(_("notes"), default=list, blank=True)
    started_at = models.DateTimeField(_("started"))
    heard_at = models.DateTimeField(_("last sign of life"))

    class Meta:
        verbose_name = _("import")
        verbose_name_plural = _("imports")
        ordering = ("-pk",)
        constraints = (
            models.UniqueConstraint(fields=("folder",), condition=Q(state="running"), name="import_once_at_a_time"),
            models.CheckConstraint(condition=Q(state__in=("running", "done", "failed")), name="import_state_known"),
        )

    def __str__(self) -> str:
        return self.folder

    @property
    def texts(self) -> list[TranslatableText]:
        return [restored(note["code"], note["parameters"]) for note in self.notes]


class FileReport(models.Model):
    """A file that is not on disk as it was imported, and is refused until it is."""

    file = models.OneToOneField(File, models.CASCADE, related_name="report", verbose_name=_("file"))
    reason_code = models.CharField(_("reason"), max_length=LONGEST_CODE)
    reason_parameters = models.JSONField(_("parameters of the reason"), default=dict, blank=True)
    reported_at = models.DateTimeField(_("reported"))

    class Meta:
        verbose_name = _("changed file")
        verbose_name_plural = _("changed files")
        ordering = (F("reported_at").desc(),)

    def __str__(self) -> str:
        return f"{self.file}: {translated(self.reason)}"

    @property
    def reason(self) -> TranslatableText:
        """Completes a sentence about the file."""
        return restored(self.reason_code, self.reason_parameters)
