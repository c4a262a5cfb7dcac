"""The commands that need the shop.

The module that `FTPGATE_BRIDGE` names offers them as `make_commands(settings) -> Shop`, beside `make_bridge`. A shop that
comes without that function has its own tools; these commands then say so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from ftpgate.bridge_module import factory
from ftpgate.settings import Settings

Document = dict[str, Any]
"""What a command prints with `--json`."""


class Shop(Protocol):
    """Every method raises `UserError` for whatever the caller can correct, a database that is away included."""

    def user_add(self, name: str, tier: str | None, password: str | None) -> Document: ...

    def tier_set(self, name: str, rate: int, connections: int | None) -> Document: ...

    def item_add(
        self, folder: Path, title: str | None, artist: str | None, year: int | None, tag_encoding: str | None, copy: bool
    ) -> tuple[Document, Sequence[str]]:
        """The item, and warnings for whoever adds it, each a sentence."""
        ...

    def item_verify(self, item: str | None) -> Document: ...

    def grant_issue(self, user: str, items: Sequence[str], expires: int) -> Document: ...

    def grant_show(self, grant: str) -> Document: ...

    def grant_revoke(self, grant: str) -> Document: ...

    def grant_renew(self, grant: str, expires: int) -> Document: ...

    def grant_token(self, grant: str) -> Document: ...

    def running_gates(self) -> Sequence[Document]:
        """The gates that run or drain: `{"id", "started_at", "ftp", "http", "ftps", "https", "admin"}` and, where the shop knows
        them, `host`, `state`, `heartbeat_age_s`, `advertised`, `connections`, `transfers`, `bytes_per_s`.

        `ftps` and `https` are empty where a gate does not listen for them, `admin` where it cannot be asked from this machine.
        """
        ...

    def checks(self) -> Sequence[tuple[str, Callable[[], str]]]:
        """What `doctor` looks at in the shop: a name, and a function that says what is well or raises `UserError`."""
        ...

    def manage(self, arguments: Sequence[str]) -> int: ...

    def portal(self) -> int: ...

    def portal_answers(self) -> bool:
        """Is it the portal that answers where it is to listen?"""
        ...

    def demo(self) -> Document:
        """Prepare the database and make the demo's catalogue and users, once.

        `{"users": [{"name", "password", "tier", "about"}], "items": [{"id", "title"}]}`
        """
        ...


def load_shop(settings: Settings) -> Shop:
    """The shop's commands.

    Raises:
        UserError: there is no such module, or it offers no commands.
    """
    shop: Shop = factory(settings, "make_commands", "comes without commands (make_commands)", "use its own tools")(settings)
    return shop
