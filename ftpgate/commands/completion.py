"""`ftpgate completion`: a script by which a shell completes commands, options and names of files, made from the grammar."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import shtab

_PATHS = {"DIR": shtab.DIRECTORY, "FILE": shtab.FILE}
"""What to complete in the place of these metavariables."""


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    for action in _actions(parser):
        if action.metavar in _PATHS:
            action.complete = _PATHS[action.metavar]  # type: ignore[attr-defined]  # where shtab looks for it
    return shtab.complete(parser, shell)


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """All options and arguments of all commands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from _actions(below)
