"""The gates that `ftpgate status` and `ftpgate doctor` ask."""

from __future__ import annotations

from collections.abc import Sequence

from ftpgate.commands.shop import Document
from webportal.grants import selectors
from webportal.grants.documents import gate_document


def running() -> Sequence[Document]:
    return [gate_document(gate) for gate in selectors.running_gates()]
