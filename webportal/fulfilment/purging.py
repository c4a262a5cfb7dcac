"""What can be taken off the disk: items that everybody has received who has them in a cart or in a grant that is open."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from django.conf import settings
from django.contrib.admin.models import DELETION, LogEntry
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext_noop

from ftpgate.settings import Settings
from ftpgate.translatable import TranslatableText, os_reason
from webportal.accounts.models import User
from webportal.cart.models import CartItem
from webportal.catalogue.models import File, Item
from webportal.core import clock
from webportal.core.errors import PurgeError
from webportal.core.texts import Text
from webportal.grants.models import GrantItem
from webportal.grants.states import State
from webportal.history.models import Completion

_log = logging.getLogger(__name__)

_LATE = timedelta(minutes=5)
"""After the grace of a complete grant: transfers that began in it end."""


class Purged(NamedTuple):
    """`freed` is bytes; `kept` names files that could not be removed, with the reason."""

    item: Item
    freed: int
    kept: Sequence[TranslatableText]


def purgeable() -> QuerySet[Item]:
    """Items on offer that were delivered at least once and that nobody waits for: they are in no cart, in no open grant
    without having arrived, and in no complete grant that still serves."""
    now = clock.expiry_time()
    of: Settings = settings.FTPGATE
    granted = GrantItem.objects.filter(item=OuterRef("pk"))
    # An expired grant can be renewed, but until then nobody is promised anything.
    waiting = granted.filter(grant__state=State.OPEN, grant__expires_at__gt=now, completion=None)
    serving = granted.filter(
        Q(grant__state=State.OPEN, grant__expires_at__gt=now)
        | Q(grant__state=State.COMPLETE, grant__completed_at__gt=now - timedelta(seconds=of.grace) - _LATE),
    )
    return Item.objects.filter(
        ~Exists(CartItem.objects.filter(item=OuterRef("pk"))),
        ~Exists(waiting),
        ~Exists(serving),
        Exists(Completion.objects.filter(grant_item__item=OuterRef("pk"))),
        withdrawn_at=None,
    ).order_by("artist", "year", "title", "pk")


def purge(item: Item, *, by: User | None = None) -> Purged:
    """Withdraw an item and remove its files from the disk. Its history and receipts stay, and so do files that another
    item on offer has too, such as one that was imported from a folder around this one's.

    Args:
        by: the member of staff in whose name the audit log has it.

    Raises:
        PurgeError: somebody waits for it again, or nobody ever received it.
    """
    with transaction.atomic():
        Item.objects.select_for_update().get(pk=item.pk)  # the full lock: it waits for rows that refer to the item
        if not purgeable().filter(pk=item.pk).exists():
            raise PurgeError(Text.NOT_PURGEABLE(item=item.public_id))
        item.withdrawn_at = timezone.now()
        item.save(update_fields=["withdrawn_at"])
        if by is not None:
            LogEntry.objects.log_actions(by.pk, [item], DELETION, gettext_noop("purged"), single_object=True)
    of: Settings = settings.FTPGATE
    root = of.media_root.resolve()
    needed = _media_of_others(item)
    freed, kept = 0, list[TranslatableText]()
    for file in item.files.exclude(media__in=needed).order_by("position"):
        path = root / file.media
        try:
            if not path.resolve().is_relative_to(root):
                kept.append(Text.FILE_KEPT(file=file.media, reason=Text.OUTSIDE_MEDIA()))
                continue
            path.unlink()
            freed += file.size
        except FileNotFoundError:
            continue
        except OSError as error:
            kept.append(Text.FILE_KEPT(file=file.media, reason=os_reason(error)))
    _remove_empty_folders(root / item.source, root)
    _log.info("purged the item %s: %d bytes", item.public_id, freed)
    return Purged(item, freed, kept)


def _media_of_others(item: Item) -> QuerySet[File, str]:
    others = File.objects.filter(item__withdrawn_at=None).exclude(item=item)
    return others.filter(media__in=item.files.order_by().values("media")).values_list("media", flat=True).order_by()


def _remove_empty_folders(folder: Path, root: Path) -> None:
    """The folder and those in it, as far as nothing is left in them."""
    if not folder.is_dir() or folder.resolve() == root or not folder.resolve().is_relative_to(root):
        return
    for inner in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
        _remove_if_empty(inner)
    _remove_if_empty(folder)


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):  # something else lies in it
        folder.rmdir()
