from __future__ import annotations

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ftpgate.settings import parse_duration
from webportal.fulfilment.prune import prune_transfers


class Command(BaseCommand):
    help = "Delete transfers that ended long ago. Completions and coverage stay; receipts are then without those transfers."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--keep", default="400d", metavar="AGE", help="how long transfers are kept (400d)")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            age = parse_duration(options["keep"])
        except ValueError as error:
            raise CommandError(f"--keep {options['keep']!r:.80} is {error}") from None
        self.stdout.write(f"{prune_transfers(timedelta(seconds=age))} rows of transfers deleted")
