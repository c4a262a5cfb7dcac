"""The shop's part of the commands, for `webportal.bridge.make_commands`.

Each method does one command of the contract and returns the document that it prints. It knows nothing of the terminal.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import django
from django.apps import apps
from django.db import Error as DatabaseError

from ftpgate.commands.shop import Document, Shop
from ftpgate.errors import UserError
from ftpgate.settings import Settings
from webportal.config import environment
from webportal.core.errors import ServiceError

if TYPE_CHECKING:  # models can be imported only after Django was set up
    from webportal.grants.models import Grant

P = ParamSpec("P")
T = TypeVar("T")

_LEAN = "webportal.config.lean"


def make_commands(settings: Settings) -> Shop:
    """The commands over the database of these settings. Django is set up, lean, when a command first needs it."""
    environment.use(settings)
    return _Commands(settings)


def _with_django(settings_module: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Sets Django up before a command; says in plain words when the database is not there, and what to do about a refusal."""

    def decorate(method: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(method)
        def run(*args: P.args, **kwargs: P.kwargs) -> T:
            if not apps.ready:
                os.environ["DJANGO_SETTINGS_MODULE"] = settings_module
                django.setup()
            try:
                return method(*args, **kwargs)
            except DatabaseError as error:
                raise _explained(error) from error
            except ServiceError as error:
                from webportal.staff.hints import terminal_hint

                raise UserError(error.text, terminal_hint(error.text)) from error

        return run

    return decorate


def _explained(error: Exception) -> UserError:
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    if "no such table" in first or "does not exist" in first or "no such column" in first:
        return UserError(f"the database has not (all of) its tables ({first})", "run: ftpgate manage migrate")
    return UserError(f"the database does not do as asked ({first})", "see that it runs, or correct FTPGATE_DATABASE_URL")


class _Commands:
    """`ftpgate.commands.shop.Shop` over the services."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @_with_django(_LEAN)
    def user_add(self, name: str, tier: str | None, password: str | None) -> Document:
        from webportal.accounts.models import DEFAULT_TIER
        from webportal.accounts.services import add_user

        user = add_user(name, tier=DEFAULT_TIER if tier is None else tier, password=password)
        return {"user": user.username, "tier": user.tier.name}

    @_with_django(_LEAN)
    def tier_set(self, name: str, rate: int, connections: int | None) -> Document:
        from webportal.accounts.services import set_tier

        tier = set_tier(name, rate=rate, connections=connections)
        return {"tier": tier.name, "rate": tier.rate, "connections": tier.connections}

    @_with_django(_LEAN)
    def item_add(
        self, folder: Path, title: str | None, artist: str | None, year: int | None, tag_encoding: str | None, copy: bool
    ) -> tuple[Document, Sequence[str]]:
        from webportal.catalogue.importing import Overrides, import_item

        overrides = Overrides(title, artist, year, tag_encoding)
        imported = import_item(folder, self._settings.media_root, overrides=overrides, copy=copy)
        item = imported.item
        files = [
            {"path": path, "bytes": size, "sha256": bytes(sha256).hex()}
            for path, size, sha256 in item.files.order_by("position").values_list("path", "size", "sha256")
        ]
        left_out = [left._asdict() for left in imported.left_out]
        return {"id": item.public_id, "title": item.title, "files": files, "left_out": left_out}, imported.warnings

    @_with_django(_LEAN)
    def item_verify(self, item: str | None) -> Document:
        from webportal.catalogue.importing.verifying import verify_item
        from webportal.catalogue.models import Item

        items = [_item(item)] if item is not None else list(Item.objects.order_by("pk"))
        verified = [(item, item.files.count(), verify_item(item, self._settings.media_root)) for item in items]
        return {
            "items": [
                {
                    "id": item.public_id,
                    "title": item.title,
                    "files": count,
                    "problems": [{"path": problem.path, "problem": problem.problem} for problem in problems],
                }
                for item, count, problems in verified
            ]
        }

    @_with_django(_LEAN)
    def grant_issue(self, user: str, items: Sequence[str], expires: int) -> Document:
        from webportal.accounts.models import User
        from webportal.fulfilment.services import issue_grant
        from webportal.grants.documents import token_document

        found = User.objects.filter(username=user).first()
        if found is None:
            raise UserError(f"there is no user {user!r}", f"make one with: ftpgate user add {user}")
        grant, token = issue_grant(
            found, [_item(item) for item in items], expires_at=_in(expires), made_for="ftpgate grant issue"
        )
        return token_document(grant, token)

    @_with_django(_LEAN)
    def grant_show(self, grant: str) -> Document:
        from webportal.grants.documents import grant_document

        found = _grant(grant)
        return grant_document(found, found.user.username)

    @_with_django(_LEAN)
    def grant_revoke(self, grant: str) -> Document:
        from webportal.fulfilment.services import revoke_grant

        found = revoke_grant(_grant(grant))
        return {"grant": found.public_id, "state": found.present_state.value}

    @_with_django(_LEAN)
    def grant_renew(self, grant: str, expires: int) -> Document:
        from webportal.fulfilment.services import renew_grant
        from webportal.grants.documents import rfc3339

        found = renew_grant(_grant(grant), expires_at=_in(expires))
        return {"grant": found.public_id, "state": found.present_state.value, "expires_at": rfc3339(found.expires_at)}

    @_with_django(_LEAN)
    def grant_token(self, grant: str) -> Document:
        from webportal.fulfilment.services import add_token
        from webportal.grants.documents import token_document

        found = _grant(grant)
        return token_document(found, add_token(found, made_for="ftpgate grant token"))

    @_with_django(_LEAN)
    def running_gates(self) -> Sequence[Document]:
        from webportal.grants.documents import gate_document
        from webportal.grants.selectors import running_gates

        return [gate_document(gate) for gate in running_gates()]

    def checks(self) -> Sequence[tuple[str, Callable[[], str]]]:
        from webportal import doctor

        return [(name, functools.partial(_with_django(_LEAN)(check), self._settings)) for name, check in doctor.CHECKS.items()]

    def manage(self, arguments: Sequence[str]) -> int:
        from webportal.portal import manage

        try:
            return manage(arguments)
        except DatabaseError as error:
            raise _explained(error) from error

    def portal(self) -> int:
        from webportal.portal import serve

        return serve(self._settings)

    def portal_answers(self) -> bool:
        from webportal.doctor import portal_answers

        return portal_answers(self._settings.portal)

    @_with_django("webportal.config.settings")
    def demo(self) -> Document:
        from django.core.management import call_command

        from webportal.demo import make_demo

        call_command("migrate", interactive=False, verbosity=0)
        return make_demo(self._settings)


def _item(public_id: str) -> Any:
    from webportal.catalogue.models import Item

    item = Item.objects.filter(public_id=public_id).first()
    if item is None:
        raise UserError(f"there is no item {public_id!r}", "use an id that ftpgate item add printed")
    return item


def _grant(public_id: str) -> Grant:
    from webportal.grants.models import Grant

    # A whole token is understood, but never repeated: people paste what they have at hand.
    grant = Grant.objects.filter(public_id=public_id.partition("-")[0]).select_related("user").first()
    if grant is None:
        raise UserError(f"there is no grant {public_id.partition('-')[0][:40]!r}", "use an id that ftpgate grant issue printed")
    return grant


def _in(seconds: int) -> datetime:
    from webportal.core import clock

    return clock.now() + timedelta(seconds=seconds)
