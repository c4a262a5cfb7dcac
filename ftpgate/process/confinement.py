"""What a gate may use of the file system once it has started: it reads the media and writes its state, and executes nothing."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from ftpgate.bridge_module import further_paths
from ftpgate.delivery.context import Confinement
from ftpgate.process.landlock import NotRestricted, restrict, restricts_all_threads
from ftpgate.settings import Settings, database_file

_log = logging.getLogger("ftpgate.gate")

_SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/etc", "/proc", "/run", "/dev/null", "/dev/urandom")
"""What Python, OpenSSL and the C library load when they first need it: modules, time zones, certificates, the names of hosts.
/etc/resolv.conf often leads to /run."""


def confine(settings: Settings) -> Confinement:
    """Restrict this process to the files of its settings, and to those that the bridge's module names.

    It has to be called after the bridge is there and before the gate starts its threads: until version 8 of Landlock, only the
    calling thread and those that it starts later are restricted. A bridge that starts a thread earlier leaves it free.

    Raises:
        UserError: what the bridge's module names are no paths.
    """
    further = further_paths(settings)
    try:
        found = restrict([*_readable(settings), *further.read], [*_writable(settings), *further.write])
    except NotRestricted as error:
        return Confinement(None, str(error), absent=error.absent)
    if threading.active_count() > 1 and not restricts_all_threads(found):
        names = ", ".join(thread.name for thread in threading.enumerate() if thread is not threading.current_thread())
        return Confinement(found, f"threads that the bridge had started before are not confined: {names}")
    return Confinement(found)


def tell(confinement: Confinement) -> None:
    """One line of the log."""
    if confinement.landlock is None:
        _log.log(logging.INFO if confinement.absent else logging.WARNING, "not confined to its files: %s", confinement.problem)
    elif confinement.problem:
        _log.warning("confined to its files, but %s", confinement.problem)
    else:
        _log.info("confined to its files by Landlock (version %d)", confinement.landlock)


def _readable(settings: Settings) -> Iterator[Path]:
    yield settings.media_root
    yield from map(Path, _SYSTEM)
    yield from map(Path, {sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix})
    yield from (Path(entry) for entry in map(os.path.abspath, sys.path) if entry != "/")  # `python -m` puts its folder first
    for module in tuple(sys.modules.values()):  # an editable installation's packages need not be beneath an entry of sys.path
        if module.__name__ in ("ftpgate", settings.bridge.partition(".")[0]):
            yield from map(Path, getattr(module, "__path__", ()))
    for path in (settings.tls_cert, settings.tls_key):
        if path is not None:
            yield from _folders(path)  # a renewed certificate is another file


def _writable(settings: Settings) -> Iterator[Path]:
    yield settings.state_dir
    database = database_file(settings.database_url)
    if database is not None:
        yield from _folders(database)  # SQLite makes files beside it


def _folders(path: Path) -> set[Path]:
    """The folder that a file is in, and that of the file which it leads to when it is a link."""
    return {Path(os.path.abspath(path)).parent, Path(os.path.realpath(path)).parent}
