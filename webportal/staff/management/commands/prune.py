from __future__ import annotations

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from ftpgate.settings import parse_duration
from webportal.fulfilment.prune import prune_transfers


class Command(BaseCommand):
    help = "Delete transfers that ended long ago. Completions and coverage stay; receipts are then without those transfers."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--keep", metavar="AGE", help="how long transfers are kept (FTPGATE_KEEP_TRANSFERS)")

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(f"rows of transfers deleted: {prune_transfers(timedelta(seconds=_age(options['keep'])))}")


def _age(keep: str | None) -> int:
    """Seconds."""
    if keep is None:
        kept: int = settings.FTPGATE.keep_transfers
        if not kept:
            raise CommandError("FTPGATE_KEEP_TRANSFERS=0 keeps all transfers; to delete some, say how old: --keep 400d")
        return kept
    try:
        return parse_duration(keep)
    except ValueError as error:
        raise CommandError(f"--keep {keep!r:.80} is {error}") from None
