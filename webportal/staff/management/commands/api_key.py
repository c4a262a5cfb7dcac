from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from webportal.accounts.models import DEFAULT_TIER
from webportal.core.errors import ServiceError
from webportal.shops.models import ApiKey, Scope, Shop
from webportal.shops.services import make_key, make_shop, revoke_key, set_origins
from webportal.staff.hints import for_terminal


class Command(BaseCommand):
    help = "Make an API key for a shop (which is made too, when there is none of the name) and print it, this once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("shop", metavar="NAME", help="the shop's: small letters, digits and hyphens")
        parser.add_argument("--scope", action="append", choices=Scope.values, help="may be given several times")
        parser.add_argument("--label", default="", help="where the key is used")
        parser.add_argument("--tier", default=DEFAULT_TIER, help="of the customers of a shop that is made")
        parser.add_argument(
            "--origin",
            action="append",
            help="pages that may call from a browser, as https://shop.example; may be given several times",
        )
        parser.add_argument("--revoke", metavar="ID", help="end this key of the shop instead")

    def handle(self, *args: Any, **options: Any) -> None:
        shop = Shop.objects.filter(name=options["shop"]).first()
        try:
            if options["revoke"]:
                self._revoke(shop, options["revoke"])
            elif not options["scope"]:
                raise CommandError("name what the key may do with --scope: " + ", ".join(Scope.values))
            else:
                shop = shop or make_shop(options["shop"], tier=options["tier"])
                if options["origin"]:
                    set_origins(shop, options["origin"])
                self.stdout.write(make_key(shop, options["scope"], label=options["label"])[1])
        except ServiceError as error:
            raise CommandError(for_terminal(error.text)) from None

    def _revoke(self, shop: Shop | None, public_id: str) -> None:
        # People paste what they have at hand; of a whole key only the id is looked at, and repeated.
        parts = public_id.split("_")
        wanted = parts[1] if len(parts) == 3 else public_id
        key = ApiKey.objects.filter(shop=shop, public_id=wanted).first()
        if shop is None or key is None:
            raise CommandError(f"the shop has no key {wanted[:40]!r}")
        revoke_key(key)
        self.stdout.write(f"{key.public_id} is revoked")
