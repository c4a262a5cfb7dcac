"""Which store of leases a gate uses."""

from __future__ import annotations

from ftpgate.grants import Bridge
from ftpgate.leases import LeaseStore, OffersLeases
from ftpgate.settings import Settings, database_file
from ftpgate.shaping.leases.sqlite import SqliteLeases
from ftpgate.shaping.leases.valkey import ValkeyLeases


def open_store(settings: Settings, bridge: Bridge) -> LeaseStore:
    """What `FTPGATE_LEASES` names, or the bridge's database, or a file that gates of one machine share: those with one SQLite
    database, or one state folder.

    Nothing is connected to before the first call.

    Raises:
        UserError: the client of what the setting names is not installed.
    """
    if settings.leases is not None:
        return ValkeyLeases(settings.leases)
    offered = bridge.lease_store() if isinstance(bridge, OffersLeases) else None
    database = database_file(settings.database_url)
    return offered or SqliteLeases(settings.state_dir if database is None else database.parent)
