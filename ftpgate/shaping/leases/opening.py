"""Which store of leases a gate uses."""

from __future__ import annotations

from pathlib import Path

from ftpgate.grants import Bridge
from ftpgate.leases import LeaseStore, OffersLeases
from ftpgate.settings import Settings, database_file
from ftpgate.shaping.leases.sqlite import SqliteLeases
from ftpgate.shaping.leases.valkey import ValkeyLeases


def open_store(settings: Settings, bridge: Bridge) -> LeaseStore:
    """What `FTPGATE_LEASES` names, or the bridge's database, or a file that gates of one machine share: beside their SQLite
    database, or in their state folder.

    Nothing is connected to before the first call.

    Raises:
        UserError: the client of what the setting names is not installed.
    """
    if settings.leases is not None:
        return ValkeyLeases(settings.leases)
    offered = bridge.lease_store() if isinstance(bridge, OffersLeases) else None
    database = database_file(settings.database_url)
    beside = settings.state_dir / "leases.sqlite3" if database is None else Path(f"{database}-leases")
    return offered or SqliteLeases(beside)
