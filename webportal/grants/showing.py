"""Grants as pages and scripts show them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils.functional import cached_property

from ftpgate.tokens import Token
from webportal.grants import bytemap, clients
from webportal.grants.models import Grant, State
from webportal.grants.selectors import ItemDetail, Links, Progress, links, watch_addresses


@dataclass(frozen=True)
class ShownItem:
    """An item with the map of its bytes; `zip` and `folder` are addresses, empty without a token."""

    detail: ItemDetail
    zip: str = ""
    folder: str = ""

    @cached_property
    def ground(self) -> str:
        return bytemap.ground([file.size for file in self.detail.files])

    @cached_property
    def arrived(self) -> str:
        return bytemap.arrived([file.size for file in self.detail.files], [file.spans for file in self.detail.files])


@dataclass(frozen=True)
class Ways:
    """The ways to fetch a grant with one token. Secret as the token is."""

    links: Links
    addresses: clients.Addresses
    items: tuple[clients.Item, ...]

    @classmethod
    def of(cls, token: Token, details: tuple[ItemDetail, ...]) -> Ways:
        found = links(token)
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
    def login(self) -> clients.Login:
        return self.addresses.login()

    def item(self, detail: ItemDetail) -> ShownItem:
        named = clients.Item(detail.title, detail.folder)
        return ShownItem(detail, self.addresses.zip(named), self.addresses.folder(named))


def condition(state: State, progress: Progress) -> str:
    """What a customer wants to know of a grant: an open one waits for its first byte or pauses; scripts see more."""
    if state is not State.OPEN:
        return state.value
    return "paused" if progress.delivered else "waiting"


def document(grant: Grant, details: tuple[ItemDetail, ...]) -> dict[str, Any]:
    """The recorded state of a grant, in the form of the gate's own `progress`, without transfers: those only a gate knows.

    `stream` is where to ask the gate from now on, empty when nothing will move any more.
    """
    return {
        "stream": watch_addresses([grant]).get(grant.public_id, ""),
        "grant": grant.public_id,
        "state": grant.present_state.value,
        "items": [
            {
                "id": item.id,
                "title": item.title,
                "folder": item.folder,
                "bytes": item.size,
                "delivered": item.delivered,
                "complete": item.completed_at is not None,
                "files": [{"path": file.path, "bytes": file.size, "covered": file.spans} for file in item.files],
            }
            for item in details
        ],
    }
