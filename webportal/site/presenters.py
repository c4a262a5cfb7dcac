"""Grants as pages and scripts show them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.utils import timezone
from django.utils.functional import cached_property

from ftpgate.tokens import Token
from webportal.gateway.live import gates_status
from webportal.grants.models import Grant
from webportal.grants.places import Links, links, watching
from webportal.grants.selectors import FileDetail, ItemDetail, Progress
from webportal.grants.states import State
from webportal.site import bytemap, clients

QUIET = timedelta(seconds=5)
"""After the last transfer that left bytes unconfirmed: a client that goes on has begun to by then."""
MOST_FILES = 20
"""Files that are named one by one for being fetched again."""


@dataclass(frozen=True)
class ShownItem:
    """An item with the map of its bytes; `zip`, `folder` and those in `lacking` are addresses, empty without a token.

    `offered` is set when the customer is asked about what is unconfirmed: fetch it again, or "I have everything".
    """

    detail: ItemDetail
    zip: str = ""
    folder: str = ""
    lacking: tuple[tuple[FileDetail, str], ...] = ()
    offered: bool = False

    @cached_property
    def ground(self) -> str:
        return bytemap.ground([file.size for file in self.detail.files])

    @cached_property
    def arrived(self) -> str:
        return bytemap.arrived([file.size for file in self.detail.files], [file.spans for file in self.detail.files])

    @cached_property
    def unconfirmed(self) -> str:
        return bytemap.unconfirmed([file.size for file in self.detail.files], [file.unconfirmed for file in self.detail.files])


@dataclass(frozen=True)
class Ways:
    """The ways to fetch a grant with one token. Secret as the token is."""

    links: Links
    addresses: clients.Addresses
    items: tuple[clients.Item, ...]

    @classmethod
    def of(cls, token: Token, customer: str, details: tuple[ItemDetail, ...]) -> Ways:
        """`customer` is the user name of the grant's owner."""
        found = links(token, customer)
        items = tuple(clients.Item(detail.title, detail.folder) for detail in details)
        return cls(found, clients.Addresses(found.http, found.ftp, found.metalink), items)

    @cached_property
    def curl(self) -> list[clients.Command]:
        return clients.curl(self.addresses, self.items)

    @cached_property
    def wget(self) -> list[clients.Command]:
        return clients.wget(self.addresses, self.items)

    @cached_property
    def aria2(self) -> list[clients.Command]:
        return clients.aria2(self.addresses, self.items)

    @cached_property
    def lftp(self) -> list[clients.Command]:
        return clients.lftp(self.addresses, self.items)

    @cached_property
    def rclone(self) -> list[clients.Command]:
        return clients.rclone(self.addresses, self.items)

    @cached_property
    def login(self) -> clients.Login:
        return self.addresses.login()

    def item(self, detail: ItemDetail, *, offered: bool) -> ShownItem:
        named = clients.Item(detail.title, detail.folder)
        lacking = tuple((file, self.addresses.file(named, file.path)) for file in unconfirmed_files(detail))
        return ShownItem(detail, self.addresses.zip(named), self.addresses.folder(named), lacking, offered)


def shown_item(detail: ItemDetail, ways: Ways | None, *, offered: bool) -> ShownItem:
    """An item, with addresses where there are ways to fetch it."""
    if ways is not None:
        return ways.item(detail, offered=offered)
    return ShownItem(detail, lacking=tuple((file, "") for file in unconfirmed_files(detail)), offered=offered)


def unconfirmed_files(detail: ItemDetail) -> list[FileDetail]:
    """Files with unconfirmed bytes, at most `MOST_FILES`."""
    return [file for file in detail.files if file.unconfirmed][:MOST_FILES]


def offered(grant: Grant, details: Sequence[ItemDetail]) -> set[str]:
    """Ids of the items that can be closed by the customer's word: nothing lacks but unconfirmed bytes, nothing of them runs."""
    if grant.present_state not in (State.OPEN, State.EXPIRED):
        return set()
    before = timezone.now() - QUIET
    quiet = {
        item.id for item in details if item.lacks_only_unconfirmed and item.unconfirmed_since and item.unconfirmed_since <= before
    }
    if not quiet:
        return quiet
    return quiet - {row["item"] for row in gates_status()["transfers"] if row["grant"] == grant.public_id}


def condition(state: State, progress: Progress, *, unconfirmed: bool = False) -> str:
    """What a customer wants to know of a grant: an open one waits for its first byte or pauses; scripts see more.

    Args:
        unconfirmed: nothing lacks but unconfirmed bytes.
    """
    if state is not State.OPEN:
        return state.value
    if unconfirmed:
        return "unconfirmed"
    return "paused" if progress.delivered else "waiting"


def document(grant: Grant, details: tuple[ItemDetail, ...]) -> dict[str, Any]:
    """The recorded state of a grant, in the form of the gate's own `progress`, without transfers: those only a gate knows.

    `stream` is where to ask the gate from now on, empty when nothing will move any more.
    """
    return {
        "stream": watching([grant]).addresses.get(grant.public_id, ""),
        "grant": grant.public_id,
        "state": grant.present_state.value,
        "items": [
            {
                "id": item.id,
                "title": item.title,
                "folder": item.folder,
                "bytes": item.size,
                "delivered": item.delivered,
                "unconfirmed": item.unconfirmed,
                "complete": item.completed_at is not None,
                "files": [
                    {"path": file.path, "bytes": file.size, "covered": file.spans, "unconfirmed": file.unconfirmed}
                    for file in item.files
                ],
            }
            for item in details
        ],
    }
