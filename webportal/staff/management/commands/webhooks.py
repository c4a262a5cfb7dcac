from __future__ import annotations

import signal
from typing import Any

from django.core.management.base import BaseCommand

from webportal.jobs.webhooks import Worker


class Command(BaseCommand):
    help = "Send webhooks until Ctrl-C or SIGTERM. The portal does so by itself; this is for more, or for another server."

    def handle(self, *args: Any, **options: Any) -> None:
        worker = Worker()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: worker.stop())
        worker.run()
