"""The grammar of `ftpgate tier …`."""

from __future__ import annotations

import argparse

from ftpgate.commands import grammar
from ftpgate.commands.grammar import Commands, show


def add_to(commands: Commands[argparse.ArgumentParser]) -> None:
    tier = grammar.group(commands, "tier", "tiers")
    set_ = grammar.add(tier, "set", _set, "make or change a tier", of="tier")
    set_.add_argument("name", metavar="NAME")
    set_.add_argument(
        "--rate", type=grammar.rate, required=True, metavar="RATE", help="bytes a second, such as 512k; 0: no limit"
    )
    set_.add_argument("--connections", type=int, metavar="N", help="connections at once (64)")
    grammar.add_list(tier, _list, "list tiers, in the order in which they were made", of="tier")


def _set(options: argparse.Namespace) -> int:
    return show(options, grammar.shop().tier_set(options.name, options.rate, options.connections))


def _list(options: argparse.Namespace) -> int:
    return show(options, grammar.shop().tier_list(grammar.page(options)))
