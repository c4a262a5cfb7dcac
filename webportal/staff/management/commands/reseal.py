from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db.models import Model

from webportal.core import sealing
from webportal.two_factor.models import PURPOSE as AUTHENTICATOR
from webportal.two_factor.models import Authenticator
from webportal.webhooks.models import Endpoint
from webportal.webhooks.services import PURPOSE as WEBHOOK

_SEALED: tuple[tuple[type[Model], str, str], ...] = (
    (Endpoint, "secret", WEBHOOK),
    (Endpoint, "previous_secret", WEBHOOK),
    (Authenticator, "sealed_key", AUTHENTICATOR),
)


class Command(BaseCommand):
    help = "Encrypt the secrets in the database with FTPGATE_SECRET_KEY, so that earlier keys are not needed for them any more."

    def handle(self, *args: Any, **options: Any) -> None:
        done = lost = 0
        for model, field, purpose in _SEALED:
            for key, sealed in model._default_manager.exclude(**{field: ""}).values_list("pk", field):
                try:
                    again = sealing.resealed(purpose, sealed)
                except sealing.Unreadable:
                    lost += 1
                    continue
                # Not over a secret that was replaced meanwhile.
                done += model._default_manager.filter(**{"pk": key, field: sealed}).update(**{field: again})
        self.stdout.write(f"{done} secrets are encrypted with FTPGATE_SECRET_KEY")
        if lost:
            raise CommandError(f"{lost} secrets open with none of the keys; add theirs to FTPGATE_SECRET_KEY_FALLBACKS")
