from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from webportal.core import messages


class Command(BaseCommand):
    help = "Bring the translation files (webportal/locale) up to date with the code, and compile them."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        for language in messages.LANGUAGES:
            catalog = messages.translated(language)
            messages.po_file(language).write_bytes(messages.po_text(catalog))
            messages.mo_file(language).write_bytes(messages.mo_bytes(catalog))
            for text in messages.missing(catalog):
                self.stderr.write(f"{language}: not translated: {text}")
