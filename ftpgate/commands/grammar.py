"""What the parsers of all commands share: options that mean the same everywhere, and how a document is shown."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from ftpgate import private
from ftpgate import settings as settings_module
from ftpgate.settings import Settings, database_file, parse_address, parse_lasting, parse_rate

if TYPE_CHECKING:
    from ftpgate.commands.shop import Document, Page, Shop

T = TypeVar("T")
Command = Callable[[argparse.Namespace], int]
Commands = argparse._SubParsersAction  # which argparse has no public name for

_USUAL_LIMIT, _LARGEST_LIMIT = 100, 1_000
"""Rows of a page of a list."""


def group(commands: Commands[argparse.ArgumentParser], name: str, about: str) -> Commands[argparse.ArgumentParser]:
    """The commands of one noun."""
    return commands.add_parser(name, help=about, description=about, allow_abbrev=False).add_subparsers(
        metavar="COMMAND", required=True
    )


def add(
    commands: Commands[argparse.ArgumentParser], name: str, command: Command, about: str, *, of: str = "", json: bool = True
) -> argparse.ArgumentParser:
    """A command, of a noun or on its own.

    Args:
        json: does it print a document?
    """
    parser = commands.add_parser(name, help=about, description=about, allow_abbrev=False)
    parser.set_defaults(command=command, name_of_command=f"{of} {name}".strip())
    if json:
        parser.add_argument("--json", action="store_true", help="write one JSON document")
    return parser


def add_list(commands: Commands[argparse.ArgumentParser], command: Command, about: str, *, of: str) -> argparse.ArgumentParser:
    """A command that lists what there is of a noun, page by page."""
    parser = add(commands, "list", command, about, of=of)
    about = f"rows at the most, 1 to {_LARGEST_LIMIT} ({_USUAL_LIMIT})"
    parser.add_argument("--limit", type=_limit, default=_USUAL_LIMIT, metavar="N", help=about)
    parser.add_argument("--cursor", metavar="CURSOR", help="go on behind the page that ended with it")
    return parser


def page(options: argparse.Namespace) -> Page:
    """The page that the options of a list ask for."""
    from ftpgate.commands.shop import Page

    return Page(options.cursor, options.limit)


# ------------------------------------------------------------------------------------------ values


def value(parse: Callable[[str], T]) -> Callable[[str], T]:
    """A parser of settings for argparse, which shows the message of only one kind of error."""

    def convert(text: str) -> T:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text[:80]!r} is {error}") from None

    return convert


def _parse_limit(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= _LARGEST_LIMIT:
        raise ValueError(f"not a number from 1 to {_LARGEST_LIMIT}")
    return int(text)


rate, duration, address = value(parse_rate), value(parse_lasting), value(parse_address)
_limit = value(_parse_limit)


# ------------------------------------------------------------------------------------------ running


def shop() -> Shop:
    """The shop of this process's settings."""
    return shop_of(settings_module.load())


def shop_of(settings: Settings) -> Shop:
    from ftpgate.commands.shop import load_shop

    return load_shop(closed(settings))


def closed(settings: Settings) -> Settings:
    """The same settings, once other users of the machine can no longer read what an older ftpgate let them."""
    from ftpgate.commands.text import listed

    could_be_read = private.close(settings.state_dir, database_file(settings.database_url))
    if could_be_read:
        print(f"ftpgate: other users of this machine could read {listed(could_be_read)}; they cannot any more", file=sys.stderr)
    return settings


def show(options: argparse.Namespace, document: Document) -> int:
    """Print what a command has made; returns the exit status 0."""
    if options.json:
        print(json.dumps(document, ensure_ascii=False))
    else:
        from ftpgate.commands.text import text

        print(text(options.name_of_command, document))
    return 0
