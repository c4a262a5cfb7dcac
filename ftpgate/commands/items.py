"""The grammar of `ftpgate item …`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ftpgate.commands import grammar
from ftpgate.commands.grammar import Commands, show


def add_to(commands: Commands[argparse.ArgumentParser]) -> None:
    item = grammar.group(commands, "item", "items")
    add = grammar.add(item, "add", _add, "import a folder as an item", of="item")
    add.add_argument("folder", type=Path, metavar="DIR")
    add.add_argument("--title", help="instead of the tags'")
    add.add_argument("--artist", help="instead of the tags'")
    add.add_argument("--year", type=int, help="instead of the tags'")
    add.add_argument("--tag-encoding", metavar="NAME", help="of tags that do not tell theirs, such as cp1251 (Latin-1)")
    add.add_argument("--copy", action="store_true", help="copy the folder into the media folder first")
    list_ = grammar.add_list(item, _list, "list items, oldest first, hidden and withdrawn ones too", of="item")
    list_.add_argument(
        "query", metavar="QUERY", nargs="?", default="", help="beginnings of words of title, artist or tracks (all)"
    )
    for name, command, about in (
        ("show", _show, "show an item and its files"),
        ("hide", _hide, "take an item off the shelf; grants that have it go on"),
        ("unhide", _unhide, "put a hidden item on the shelf again"),
    ):
        grammar.add(item, name, command, about, of="item").add_argument("item", metavar="ID")
    verify = grammar.add(item, "verify", _verify, "read files again, name those that changed or are missing", of="item")
    verify.add_argument("item", metavar="ID", nargs="?", help="one item (all)")


def _add(options: argparse.Namespace) -> int:
    document, warnings = grammar.shop().item_add(
        options.folder, options.title, options.artist, options.year, options.tag_encoding, options.copy
    )
    for warning in warnings:
        print(f"ftpgate: {warning}", file=sys.stderr)
    return show(options, document)


def _list(options: argparse.Namespace) -> int:
    return show(options, grammar.shop().item_list(options.query, grammar.page(options)))


def _show(options: argparse.Namespace) -> int:
    return show(options, grammar.shop().item_show(options.item))


def _hide(options: argparse.Namespace) -> int:
    return show(options, grammar.shop().item_hide(options.item, True))


def _unhide(options: argparse.Namespace) -> int:
    return show(options, grammar.shop().item_hide(options.item, False))


def _verify(options: argparse.Namespace) -> int:
    document = grammar.shop().item_verify(options.item)
    show(options, document)
    return 1 if any(item["problems"] for item in document["items"]) else 0
