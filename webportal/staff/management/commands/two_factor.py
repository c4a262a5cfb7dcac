from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from webportal.accounts.models import User
from webportal.two_factor.services import reset, standing_of


class Command(BaseCommand):
    help = "Tell which second factors a user has set up, or reset them for somebody who has lost them all."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("user", metavar="NAME")
        parser.add_argument("--reset", action="store_true", help="remove them all, and sign the user out everywhere")

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(username=options["user"]).first()
        if user is None:
            raise CommandError(f"there is no user {options['user']!r}")
        if options["reset"]:
            said = "removed; the password alone is asked for" if reset(user) else "there was nothing to reset"
        else:
            standing = standing_of(user)
            app = "an authenticator app" if standing.authenticator else "no authenticator app"
            said = f"{app}, passkeys: {len(standing.passkeys)}, recovery codes left: {standing.recovery_codes}"
        self.stdout.write(f"{user.username}: {said}")
