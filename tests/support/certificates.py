"""Certificates of a CA that only the test knows, and what clients need to believe them."""

from __future__ import annotations

import ssl
from datetime import datetime
from pathlib import Path

import trustme


class Certificate:
    """A certificate for `localhost` and 127.0.0.1, in a folder.

    Attributes:
        chain, key: PEM files for a server.
        ca: a PEM file for its clients.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.chain, self.key, self.ca = folder / "chain.pem", folder / "key.pem", folder / "ca.pem"
        self._authority = trustme.CA()
        self._authority.cert_pem.write_to_path(str(self.ca))
        self.renew()

    def renew(self, not_after: datetime | None = None) -> None:
        """Another certificate and key of the same CA in the same files."""
        made = self._authority.issue_cert("localhost", "127.0.0.1", not_after=not_after)
        self.chain.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
        made.private_key_pem.write_to_path(str(self.key))

    def trusted(self, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        """A client's context that believes it; `version`: and speaks only that one."""
        context = ssl.create_default_context(cafile=str(self.ca))
        if version is not None:
            context.minimum_version = context.maximum_version = version
        return context
