"""The grammar of `ftpgate user …`."""

from __future__ import annotations

import argparse
import getpass
import sys

from ftpgate.commands import grammar
from ftpgate.commands.grammar import Commands, show
from ftpgate.errors import UserError


def add_to(commands: Commands[argparse.ArgumentParser]) -> None:
    user = grammar.group(commands, "user", "users")
    add = grammar.add(user, "add", _add, "make a user", of="user")
    add.add_argument("name", metavar="NAME")
    add.add_argument("--tier", metavar="TIER", help="its tier (default)")
    add.add_argument("--password-stdin", action="store_true", help="read the password from standard input, one line")
    grammar.add_list(user, _list, "list users, in the order in which they were made", of="user")
    password = grammar.add(user, "password", _password, "give a user another password; asks for it twice", of="user")
    password.add_argument("name", metavar="NAME")
    password.add_argument("--password-stdin", action="store_true", help="read it from standard input, one line")


def _add(options: argparse.Namespace) -> int:
    password = _read_line() if options.password_stdin else None
    return show(options, grammar.shop().user_add(options.name, options.tier, password))


def _list(options: argparse.Namespace) -> int:
    return show(options, grammar.shop().user_list(grammar.page(options)))


def _password(options: argparse.Namespace) -> int:
    if not options.password_stdin and not sys.stdin.isatty():
        raise UserError("standard input is no terminal to ask at", "write the password there as one line, with --password-stdin")
    return show(options, grammar.shop().user_password(options.name, _read_line if options.password_stdin else _ask_twice))


def _read_line() -> str:
    password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise UserError("there is no password on standard input", "write it there, as one line")
    return password


def _ask_twice() -> str:
    try:
        password = getpass.getpass("New password: ")
        again = getpass.getpass("The same again: ")
    except EOFError:
        raise UserError("no password was typed", "try again") from None
    if not password:
        raise UserError("no password was typed", "try again")
    if password != again:
        raise UserError("the two passwords differ", "try again")
    return password
