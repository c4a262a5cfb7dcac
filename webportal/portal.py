"""The portal as a process: Django's commands, and gunicorn."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence
from typing import Any

import django
from django.core.management import call_command, execute_from_command_line
from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger

from ftpgate.errors import UserError
from ftpgate.sentences import os_reason
from ftpgate.settings import Settings

_WORKERS = 2
_THREADS = 8


def manage(arguments: Sequence[str]) -> int:
    """One of Django's management commands. Django itself tells of an error and ends the process."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "webportal.config.settings"
    execute_from_command_line(["ftpgate manage", *arguments])
    return 0


def serve(settings: Settings) -> int:
    """Serve the portal at `settings.portal` until it is told to stop.

    Raises:
        UserError: the address cannot be listened on.
    """
    address = settings.portal
    try:
        socket.create_server(address, family=socket.AF_INET6 if ":" in address.host else socket.AF_INET).close()
    except OSError as error:
        raise UserError(
            f"FTPGATE_PORTAL={address} cannot be listened on ({os_reason(error)})", "free the port or choose another"
        ) from None
    os.environ["DJANGO_SETTINGS_MODULE"] = "webportal.config.serving"
    django.setup()
    call_command("collectstatic", interactive=False, verbosity=0)
    _Server(settings).run()
    return 0


class _Log(Logger):
    """gunicorn's own lines, in the form and place of all others."""

    def setup(self, cfg: Any) -> None:
        self.error_log.setLevel("INFO")
        self.error_log.propagate = True


def _start_sending(worker: Any) -> None:
    """Every serving process sends webhooks and mails too: they go out as long as the portal runs, with nothing else to set up."""
    from webportal.jobs.mails import start_postman
    from webportal.jobs.webhooks import start_worker

    worker.stop_sending = (start_worker(), start_postman())


def _stop_sending(_arbiter: Any, worker: Any) -> None:
    for stop in getattr(worker, "stop_sending", ()):
        stop()


class _Server(BaseApplication):
    """gunicorn, told what to do by our settings instead of files and arguments of its own."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        super().__init__(prog="ftpgate portal")

    def load_config(self) -> None:
        options: dict[str, Any] = {
            "bind": str(self._settings.portal),
            "worker_class": "gthread",
            "workers": _WORKERS,
            "threads": _THREADS,
            "control_socket_disable": True,  # nobody asked for a socket in the home folder
            "keepalive": 15,
            "timeout": 60,
            "graceful_timeout": 10,
            "worker_tmp_dir": "/dev/shm" if os.path.isdir("/dev/shm") else None,  # noqa: S108 (its heartbeat must not wait for a disk)
            "logger_class": _Log,
            "post_worker_init": _start_sending,
            "worker_exit": _stop_sending,
            "proc_name": "ftpgate-portal",
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        from webportal.config.wsgi import application

        return application

    def run(self) -> None:
        sys.argv = ["ftpgate portal"]  # gunicorn would read our arguments as its own
        super().run()
