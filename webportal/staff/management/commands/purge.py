from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import Sum

from webportal.core.errors import PurgeError
from webportal.core.formats import size
from webportal.fulfilment.purging import purge, purgeable
from webportal.staff.hints import for_terminal


class Command(BaseCommand):
    help = "List items that everybody has received who waited for them; with --remove take their files off the disk."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("items", nargs="*", metavar="ID", help="only these items")
        parser.add_argument("--remove", action="store_true", help="withdraw them and remove their files")

    def handle(self, *args: Any, **options: Any) -> None:
        found = purgeable().annotate(bytes=Sum("files__size"))
        if options["items"]:
            unknown = set(options["items"]) - set(found.values_list("public_id", flat=True))
            if unknown:
                raise CommandError(f"not safe to remove, or not there: {', '.join(sorted(unknown))}")
            found = found.filter(public_id__in=options["items"])
        failed = False
        for item in found:
            if not options["remove"]:
                self.stdout.write(f"{item.public_id}  {size(item.bytes or 0):>10}  {item}")
                continue
            try:
                purged = purge(item)
            except PurgeError as error:
                self.stderr.write(for_terminal(error.text))
                failed = True
                continue
            self.stdout.write(f"{item.public_id}  {size(purged.freed):>10} freed  {item}")
            for reason in purged.kept:
                self.stderr.write(f"  kept {reason}")
                failed = True
        if failed:
            raise CommandError("not everything could be removed")
