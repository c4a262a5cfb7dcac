"""The grammar of `ftpgate grant …`."""

from __future__ import annotations

import argparse

from ftpgate import settings as settings_module
from ftpgate.commands import grammar
from ftpgate.commands.grammar import Commands, show
from ftpgate.grants import GrantState


def add_to(commands: Commands[argparse.ArgumentParser]) -> None:
    grant = grammar.group(commands, "grant", "grants")
    issue = grammar.add(grant, "issue", _issue, "issue a grant", of="grant")
    issue.add_argument("--user", required=True, metavar="NAME")
    issue.add_argument("--item", required=True, action="append", dest="items", metavar="ID", help="may be given several times")
    issue.add_argument("--expires", type=grammar.duration, metavar="TIME", help="such as 7d (FTPGATE_EXPIRES)")
    list_ = grammar.add_list(grant, _list, "list grants, newest first", of="grant")
    list_.add_argument("--user", metavar="NAME", help="only this user's")
    list_.add_argument("--state", choices=[state.value for state in GrantState], help="only those in this state")
    renew = grammar.add(grant, "renew", _renew, "open an expired grant again, or give an open one more time", of="grant")
    renew.add_argument("grant", metavar="GRANT")
    renew.add_argument("--expires", type=grammar.duration, required=True, metavar="TIME", help="from now on, such as 7d")
    for name, command, about in (
        ("show", _show, "what a grant holds and how much of it was delivered"),
        ("revoke", _revoke, "end a grant and its transfers"),
        ("token", _token, "give a grant another token"),
    ):
        grammar.add(grant, name, command, about, of="grant").add_argument("grant", metavar="GRANT")


def _issue(options: argparse.Namespace) -> int:
    settings = settings_module.load()
    expires = settings.expires if options.expires is None else options.expires
    return show(options, grammar.shop_of(settings).grant_issue(options.user, options.items, expires))


def _list(options: argparse.Namespace) -> int:
    return show(options, grammar.shop().grant_list(options.user, options.state, grammar.page(options)))


def _show(options: argparse.Namespace) -> int:
    return show(options, grammar.shop().grant_show(options.grant))


def _revoke(options: argparse.Namespace) -> int:
    return show(options, grammar.shop().grant_revoke(options.grant))


def _renew(options: argparse.Namespace) -> int:
    return show(options, grammar.shop().grant_renew(options.grant, options.expires))


def _token(options: argparse.Namespace) -> int:
    return show(options, grammar.shop().grant_token(options.grant))
