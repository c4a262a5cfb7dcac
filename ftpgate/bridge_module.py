"""The module that `FTPGATE_BRIDGE` names: it has `make_bridge` for gates and, if the shop has commands, `make_commands`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from ftpgate.errors import UserError
from ftpgate.settings import Settings


def factory(settings: Settings, name: str, lacking: str, hint: str) -> Callable[[Settings], Any]:
    """A function of that module.

    Args:
        lacking: what is said of a module that has no function of this name.
        hint: what to do then.

    Raises:
        UserError: there is no such module, or no such function in it.
    """
    try:
        module = importlib.import_module(settings.bridge)
    except ModuleNotFoundError as error:
        if error.name is not None and not f"{settings.bridge}.".startswith(f"{error.name}."):
            raise  # the module is there, what it needs is not
        raise UserError(f"FTPGATE_BRIDGE={settings.bridge} cannot be imported ({error})", "name an installed module") from None
    made: Callable[[Settings], Any] | None = getattr(module, name, None)
    if made is None:
        raise UserError(f"FTPGATE_BRIDGE={settings.bridge} {lacking}", hint)
    return made
