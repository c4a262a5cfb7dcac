"""The module that `FTPGATE_BRIDGE` names.

It has `make_bridge` for gates, `further_paths` where the bridge needs files of its own, and `make_commands` where the shop has
commands.
"""

from __future__ import annotations

import importlib
import reprlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from ftpgate.errors import UserError
from ftpgate.grants import BridgePaths
from ftpgate.settings import Settings


def factory(settings: Settings, name: str, lacking: str, hint: str) -> Callable[[Settings], Any]:
    """A function of that module.

    Args:
        lacking: what is said of a module that has no function of this name.
        hint: what to do then.

    Raises:
        UserError: there is no such module, or no such function in it.
    """
    made: Callable[[Settings], Any] | None = getattr(_module(settings), name, None)
    if made is None:
        raise UserError(f"FTPGATE_BRIDGE={settings.bridge} {lacking}", hint)
    return made


def further_paths(settings: Settings) -> BridgePaths:
    """What the module's `further_paths(settings)` names; nothing when it has no such function.

    Raises:
        UserError: there is no such module, or it names something else.
    """
    named = getattr(_module(settings), "further_paths", None)
    if named is None:
        return BridgePaths()
    paths = named(settings)
    if not (isinstance(paths, BridgePaths) and all(isinstance(path, Path) for each in paths for path in each)):
        cause = f"FTPGATE_BRIDGE={settings.bridge}: further_paths(settings) returns {reprlib.repr(paths)}"
        raise UserError(cause, "return a ftpgate.grants.BridgePaths of pathlib.Path")
    return paths


def _module(settings: Settings) -> ModuleType:
    try:
        return importlib.import_module(settings.bridge)
    except ModuleNotFoundError as error:
        if error.name is not None and not f"{settings.bridge}.".startswith(f"{error.name}."):
            raise  # the module is there, what it needs is not
        raise UserError(f"FTPGATE_BRIDGE={settings.bridge} cannot be imported ({error})", "name an installed module") from None
