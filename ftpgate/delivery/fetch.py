"""How a client fetches a file: admitted, found, prepared, checked again, started. The same behind both fronts.

Admission is `access.grant_cache`, finding `tree`. Between any two of these steps the loop may have served others: the grant can
be revoked, the token replaced and the gate told to end meanwhile. So all of it is asked again before the first byte.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ftpgate.access.open_grant import OpenGrant
from ftpgate.delivery.context import DeliveryContext
from ftpgate.delivery.sections import BodyPart
from ftpgate.delivery.transfer import Carrier, Transfer
from ftpgate.errors import DeadToken, GateError, Unavailable
from ftpgate.grants import GrantState
from ftpgate.tree import Leaf


class Fetch:
    """One file for one client.

    Args:
        gate: which it is fetched from.
        grant: under which the client was admitted.
        token: `Token.digest()` of what it was admitted with.
        leaf: the file, or zip.
    """

    __slots__ = ("_gate", "_token", "grant", "leaf")

    def __init__(self, gate: DeliveryContext, grant: OpenGrant, token: bytes, leaf: Leaf) -> None:
        self._gate = gate
        self._token = token
        self.grant = grant
        self.leaf = leaf

    def check(self) -> None:
        """May it be fetched, still?

        Raises:
            DeadToken: the grant, or the token, opens nothing any more.
            Unavailable: the gate is about to end.
        """
        self._gate.grant_cache.check_open(self.grant, self._token)
        if self._gate.refusing:
            raise Unavailable()

    def prepare(self, done: Callable[[GateError | None], None]) -> None:
        """Have the files compared with their import, then `done(error)` on the loop. Call `check` before and after.

        Raises:
            Unavailable: too much waits already.
        """
        self._gate.engine.files.prepare(self.leaf.resource.files, done)

    def start(self, carrier: Carrier, parts: Sequence[BodyPart], *, protocol: str, peer: str, client: str) -> Transfer:
        """Begin to send `parts` over `carrier`.

        Args:
            protocol: `ftp`, `ftps`, `http` or `https`.
            peer: the client's address.
            client: what the client calls itself.

        Raises:
            DeadToken: the grant was revoked since it was checked, when no transfer was there to be ended.
        """
        if self.grant.status.state is GrantState.REVOKED:
            raise DeadToken()
        return self._gate.engine.start(
            carrier, self.grant, parts, item=self.leaf.item.id, path=self.leaf.path, protocol=protocol, peer=peer, client=client
        )
