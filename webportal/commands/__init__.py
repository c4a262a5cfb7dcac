"""The shop's part of the commands, for `webportal.bridge.make_commands`: a module for each noun.

Each function does one command of the contract and returns the document that it prints. It knows nothing of the terminal.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

from django.db import Error as DatabaseError

from ftpgate.commands.shop import Document, Page, Shop
from ftpgate.settings import Settings
from webportal.commands.running import LEAN, WHOLE, explained, with_django
from webportal.config import environment


def make_commands(settings: Settings) -> Shop:
    """The commands over the database of these settings. Django is set up, lean, when a command first needs it."""
    environment.use(settings)
    return _Commands(settings)


class _Commands:
    """`ftpgate.commands.shop.Shop` over the services. The modules here import models, which Django has to be set up for."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @with_django(LEAN)
    def user_add(self, name: str, tier: str | None, password: str | None) -> Document:
        from webportal.commands import users

        return users.add(name, tier, password)

    @with_django(LEAN)
    def user_list(self, page: Page) -> Document:
        from webportal.commands import users

        return users.list_users(page)

    @with_django(LEAN)
    def user_password(self, name: str, password: Callable[[], str]) -> Document:
        from webportal.commands import users

        users.check(name)
        return users.password(name, password())

    @with_django(LEAN)
    def tier_set(self, name: str, rate: int, connections: int | None) -> Document:
        from webportal.commands import tiers

        return tiers.set_tier(name, rate, connections)

    @with_django(LEAN)
    def tier_list(self, page: Page) -> Document:
        from webportal.commands import tiers

        return tiers.list_tiers(page)

    @with_django(LEAN)
    def item_add(
        self, folder: Path, title: str | None, artist: str | None, year: int | None, tag_encoding: str | None, copy: bool
    ) -> tuple[Document, Sequence[str]]:
        from webportal.catalogue.importing import Overrides
        from webportal.commands import items

        return items.add(self._settings.media_root, folder, Overrides(title, artist, year, tag_encoding), copy=copy)

    @with_django(LEAN)
    def item_verify(self, item: str | None) -> Document:
        from webportal.commands import items

        return items.verify(self._settings.media_root, item)

    @with_django(LEAN)
    def item_list(self, query: str, page: Page) -> Document:
        from webportal.commands import items

        return items.list_items(query, page)

    @with_django(LEAN)
    def item_show(self, item: str) -> Document:
        from webportal.commands import items

        return items.show(item)

    @with_django(LEAN)
    def item_hide(self, item: str, hidden: bool) -> Document:
        from webportal.commands import items

        return items.hide(item, hidden=hidden)

    @with_django(LEAN)
    def grant_issue(self, user: str, items: Sequence[str], expires: int) -> Document:
        from webportal.commands import grants

        return grants.issue(user, items, expires)

    @with_django(LEAN)
    def grant_list(self, user: str | None, state: str | None, page: Page) -> Document:
        from webportal.commands import grants

        return grants.list_grants(user, state, page)

    @with_django(LEAN)
    def grant_show(self, grant: str) -> Document:
        from webportal.commands import grants

        return grants.show(grant)

    @with_django(LEAN)
    def grant_revoke(self, grant: str) -> Document:
        from webportal.commands import grants

        return grants.revoke(grant)

    @with_django(LEAN)
    def grant_renew(self, grant: str, expires: int) -> Document:
        from webportal.commands import grants

        return grants.renew(grant, expires)

    @with_django(LEAN)
    def grant_token(self, grant: str) -> Document:
        from webportal.commands import grants

        return grants.token(grant)

    @with_django(LEAN)
    def running_gates(self) -> Sequence[Document]:
        from webportal.commands import gates

        return gates.running()

    def checks(self) -> Sequence[tuple[str, Callable[[], str]]]:
        from webportal import doctor

        return [(name, functools.partial(with_django(LEAN)(check), self._settings)) for name, check in doctor.CHECKS.items()]

    def save_database(self, folder: Path) -> Document:
        from webportal.commands import databases

        return databases.save(self._settings, folder)

    def check_database(self, folder: Path, saved: Document) -> None:
        from webportal.commands import databases

        databases.check(self._settings, folder, saved)

    def load_database(self, folder: Path) -> None:
        from webportal.commands import databases

        databases.load(self._settings, folder)

    def manage(self, arguments: Sequence[str]) -> int:
        from webportal.portal import manage

        try:
            return manage(arguments)
        except DatabaseError as error:
            raise explained(error) from error

    def portal(self) -> int:
        from webportal.portal import serve

        return serve(self._settings)

    def portal_answers(self) -> bool:
        from webportal.doctor import portal_answers

        return portal_answers(self._settings.portal)

    @with_django(WHOLE)
    def demo(self) -> Document:
        from django.core.management import call_command

        from webportal.demo import make_demo

        call_command("migrate", interactive=False, verbosity=0)
        return make_demo(self._settings)
