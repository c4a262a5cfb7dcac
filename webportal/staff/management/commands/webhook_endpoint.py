from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from webportal.core.errors import ServiceError
from webportal.shops.models import Shop
from webportal.staff.hints import for_terminal
from webportal.webhooks.models import EventType
from webportal.webhooks.services import add_endpoint


class Command(BaseCommand):
    help = "Add a webhook endpoint to a shop, and print its id and the secret that its signatures are verified with."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("shop")
        parser.add_argument("url")
        parser.add_argument(
            "--kind", action="append", choices=EventType.values, help="may be given several times; all by default"
        )
        parser.add_argument(
            "--allow-internal", action="store_true", help="let it be an address of this machine or network, http:// too"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        shop = Shop.objects.filter(name=options["shop"]).first()
        if shop is None:
            raise CommandError(f"there is no shop {options['shop']!r}: make it with ftpgate manage api_key")
        try:
            endpoint, secret = add_endpoint(
                shop, options["url"], options["kind"] or EventType.values, allow_internal=options["allow_internal"]
            )
        except ServiceError as error:
            raise CommandError(for_terminal(error.text)) from None
        self.stdout.write(f"{endpoint.public_id} {secret}")
