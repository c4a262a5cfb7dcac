"""Static files as browsers get them: named by their hash and compressed, made anew only when something has changed."""

from __future__ import annotations

import hashlib
import os
from importlib.metadata import version
from pathlib import Path

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command

_STAMP = ".collected"


def collect() -> bool:
    """Run `collectstatic`, unless what it would make is there already. Returns whether it ran.

    It takes three seconds of a processor, most of them for compressing: too long for each start of the portal.
    """
    stamp = Path(settings.STATIC_ROOT, _STAMP)
    if stamp.is_file() and stamp.read_text() == _fingerprint():
        return False
    stamp.unlink(missing_ok=True)  # not while it is made
    call_command("collectstatic", interactive=False, verbosity=0)
    stamp.write_text(_fingerprint())
    return True


def _fingerprint() -> str:
    """Of the sources, of who makes the files, and of what was made of them last, by whomever."""
    sources = []
    for finder in get_finders():
        for path, storage in finder.list([]):
            found = os.stat(storage.path(path))
            sources.append((path, storage.path(path), found.st_size, found.st_mtime_ns))
    makers = (version("Django"), version("whitenoise"), settings.STORAGES["staticfiles"])
    manifest = Path(settings.STATIC_ROOT, "staticfiles.json")
    made = manifest.read_bytes() if manifest.is_file() else b""
    return hashlib.sha256(repr((makers, sorted(sources))).encode() + made).hexdigest()
