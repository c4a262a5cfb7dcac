"""The commands that need the shop.

The module that `FTPGATE_BRIDGE` names offers them as `make_commands(settings) -> Shop`, beside `make_bridge`. A shop that
comes without that function has its own tools; these commands then say so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

from ftpgate.bridge_module import factory
from ftpgate.errors import UserError
from ftpgate.settings import Settings

Document = dict[str, Any]
"""What a command prints with `--json`."""


class Page(NamedTuple):
    """Which part of a list is asked for.

    A list's document is `{"users": […], "next": cursor}`, by its noun; `next` is None on the last page.
    """

    cursor: str | None
    """The `next` of the page before; None for the first one."""
    limit: int
    """Rows at the most."""


class Shop(Protocol):
    """Every method raises `UserError` for whatever the caller can correct, a database that is away included."""

    def user_add(self, name: str, tier: str | None, password: str | None) -> Document: ...

    def user_list(self, page: Page) -> Document: ...

    def user_password(self, name: str, password: Callable[[], str]) -> Document:
        """Give a user another password, which `password` asks for once it is sure that there is such a user."""
        ...

    def tier_set(self, name: str, rate: int, connections: int | None) -> Document: ...

    def tier_list(self, page: Page) -> Document: ...

    def item_add(
        self, folder: Path, title: str | None, artist: str | None, year: int | None, tag_encoding: str | None, copy: bool
    ) -> tuple[Document, Sequence[str]]:
        """The item, and warnings for whoever adds it, each a sentence."""
        ...

    def item_verify(self, item: str | None) -> Document: ...

    def item_list(self, query: str, page: Page) -> Document:
        """The items that words find, hidden ones too; all for an empty query."""
        ...

    def item_show(self, item: str) -> Document: ...

    def item_hide(self, item: str, hidden: bool) -> Document:
        """Take an item off the shelf, or put it there again. Grants that have it go on."""
        ...

    def grant_issue(self, user: str, items: Sequence[str], expires: int) -> Document: ...

    def grant_list(self, user: str | None, state: str | None, page: Page) -> Document: ...

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

    def save_database(self, folder: Path) -> Document:
        """Write what the database holds at one moment into `folder`, while it is used; returns what `check_database` needs."""
        ...

    def check_database(self, folder: Path, saved: Document) -> None:
        """Raises `UserError` unless what was saved in `folder` can be loaded into the database, which has to be empty."""
        ...

    def load_database(self, folder: Path) -> None:
        """Load it, whole or not at all."""
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
        UserError: there is no such module, it offers no commands, or later, when it is used, lacks one.
    """
    made = factory(settings, "make_commands", "comes without commands (make_commands)", "use its own tools")(settings)
    return cast(Shop, _Made(made, settings.bridge))


class _Made:
    """A shop of whatever make: one that knows fewer commands than this version says so in a line."""

    def __init__(self, shop: object, bridge: str) -> None:
        self._shop = shop
        self._bridge = bridge

    def __getattr__(self, name: str) -> object:
        try:
            return getattr(self._shop, name)
        except AttributeError:
            raise UserError(f"FTPGATE_BRIDGE={self._bridge} does not know this command ({name})", "use its own tools") from None
