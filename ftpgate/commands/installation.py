"""The grammar of `ftpgate backup` and `ftpgate restore`."""

from __future__ import annotations

import argparse
from pathlib import Path

from ftpgate import settings as settings_module
from ftpgate.commands import grammar
from ftpgate.commands.grammar import Commands, show


def add_to(commands: Commands[argparse.ArgumentParser]) -> None:
    for name, command, about, folder in (
        ("backup", _backup, "save database, covers, keys and journal, while everything runs", "a new folder"),
        ("restore", _restore, "fill an empty installation from a backup", "a folder that ftpgate backup has made"),
    ):
        parser = grammar.add(commands, name, command, about)
        parser.add_argument("folder", type=Path, metavar="DIR", help=folder)
        about = "the state folder of a gate that has its own, for the journal (FTPGATE_STATE_DIR)"
        parser.add_argument("--gate-state-dir", type=Path, metavar="DIR", help=about)


def _backup(options: argparse.Namespace) -> int:
    from ftpgate.commands.backup import backup

    settings = settings_module.load()
    return show(options, backup(options.folder, settings, grammar.shop_of(settings), options.gate_state_dir))


def _restore(options: argparse.Namespace) -> int:
    from ftpgate.commands.restore import restore

    settings = settings_module.load()
    return show(options, restore(options.folder, settings, grammar.shop_of(settings), options.gate_state_dir))
