"""The command line: its grammar, and how results and errors are shown.

What a command needs is imported when it runs: most need no Django, and each pays for what it starts.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ftpgate import __version__, private
from ftpgate import settings as settings_module
from ftpgate.errors import UserError
from ftpgate.settings import Settings, database_file, parse_address, parse_lasting, parse_rate

if TYPE_CHECKING:
    from ftpgate.commands.shop import Document, Shop

T = TypeVar("T")
Command = Callable[[argparse.Namespace], int]


def run(arguments: Sequence[str]) -> int:
    """Run one command; returns the exit status: 0, 1 for an error (one line on stderr), 2 for wrong usage."""
    try:
        if arguments[:1] == ["manage"]:  # what follows is Django's, options included
            return _shop(settings_module.load()).manage(arguments[1:])
        options = _parser().parse_args(arguments)
        command: Command = options.command
        status = command(options)
        sys.stdout.flush()
        return status
    except UserError as error:
        print(f"ftpgate: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains once more at its end
        return 1
    except KeyboardInterrupt:
        print("ftpgate: interrupted", file=sys.stderr)
        return 130


# ------------------------------------------------------------------------------------------ commands


def _shop(settings: Settings) -> Shop:
    from ftpgate.commands.shop import load_shop

    return load_shop(_closed(settings))


def _closed(settings: Settings) -> Settings:
    """The same settings, once other users of the machine can no longer read what an older ftpgate let them."""
    from ftpgate.commands.text import listed

    could_be_read = private.close(settings.state_dir, database_file(settings.database_url))
    if could_be_read:
        print(f"ftpgate: other users of this machine could read {listed(could_be_read)}; they cannot any more", file=sys.stderr)
    return settings


def _demo(options: argparse.Namespace) -> int:
    from ftpgate.commands.demo import demo

    return demo(state_dir=options.state_dir, portal=options.portal, ftp=options.ftp, http=options.http)


def _portal(options: argparse.Namespace) -> int:
    return _shop(settings_module.load()).portal()


def _serve(options: argparse.Namespace) -> int:
    if options.worker is not None:
        from ftpgate.process.serve import serve_as_worker

        return serve_as_worker(options.worker)
    settings = _closed(settings_module.load())
    if options.alone:
        from ftpgate.process.serve import serve_alone

        return serve_alone(settings, ftp=options.ftp, http=options.http)
    from ftpgate.process.parent import serve

    return serve(ftp=options.ftp, http=options.http)


def _reload(options: argparse.Namespace) -> int:
    from ftpgate.commands.reload import reload

    return _show(options, reload(settings_module.load(), environment=options.environment))


def _user_add(options: argparse.Namespace) -> int:
    password = sys.stdin.readline().rstrip("\r\n") if options.password_stdin else None
    if options.password_stdin and not password:
        raise UserError("there is no password on standard input", "write it there, as one line")
    return _show(options, _shop(settings_module.load()).user_add(options.name, options.tier, password))


def _tier_set(options: argparse.Namespace) -> int:
    return _show(options, _shop(settings_module.load()).tier_set(options.name, options.rate, options.connections))


def _item_add(options: argparse.Namespace) -> int:
    shop = _shop(settings_module.load())
    document, warnings = shop.item_add(
        options.folder, options.title, options.artist, options.year, options.tag_encoding, options.copy
    )
    for warning in warnings:
        print(f"ftpgate: {warning}", file=sys.stderr)
    return _show(options, document)


def _item_verify(options: argparse.Namespace) -> int:
    document = _shop(settings_module.load()).item_verify(options.item)
    _show(options, document)
    return 1 if any(item["problems"] for item in document["items"]) else 0


def _grant_issue(options: argparse.Namespace) -> int:
    settings = settings_module.load()
    expires = settings.expires if options.expires is None else options.expires
    return _show(options, _shop(settings).grant_issue(options.user, options.items, expires))


def _grant_show(options: argparse.Namespace) -> int:
    return _show(options, _shop(settings_module.load()).grant_show(options.grant))


def _grant_revoke(options: argparse.Namespace) -> int:
    return _show(options, _shop(settings_module.load()).grant_revoke(options.grant))


def _grant_renew(options: argparse.Namespace) -> int:
    return _show(options, _shop(settings_module.load()).grant_renew(options.grant, options.expires))


def _grant_token(options: argparse.Namespace) -> int:
    return _show(options, _shop(settings_module.load()).grant_token(options.grant))


def _receipt_verify(options: argparse.Namespace) -> int:
    from ftpgate.commands.receipt import verify

    return _show(options, verify(options.file, options.key, settings_module.load()))


def _status(options: argparse.Namespace) -> int:
    from ftpgate.commands.status import status

    return _show(options, status(_shop(settings_module.load()).running_gates()))


def _doctor(options: argparse.Namespace) -> int:
    from ftpgate.commands.doctor import examine

    document = examine()
    _show(options, document)
    return 0 if document["ok"] else 1


def _show(options: argparse.Namespace, document: Document) -> int:
    if options.json:
        print(json.dumps(document, ensure_ascii=False))
    else:
        from ftpgate.commands.text import text

        print(text(options.name_of_command, document))
    return 0


# ------------------------------------------------------------------------------------------ grammar


def _value(parse: Callable[[str], T]) -> Callable[[str], T]:
    """A parser of settings for argparse, which shows the message of only one kind of error."""

    def convert(text: str) -> T:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text[:80]!r} is {error}") from None

    return convert


_rate, _duration, _address = _value(parse_rate), _value(parse_lasting), _value(parse_address)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ftpgate", description="Albums by one-time tokens, over FTP and HTTP.", allow_abbrev=False,
        epilog="Settings are FTPGATE_… in the environment or in .env; docs/pages/settings.md lists them.",
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"ftpgate {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    demo = _add(commands, "demo", _demo, "run everything with a demo catalogue until Ctrl-C", json=False)
    demo.add_argument("--state-dir", type=Path, metavar="DIR", help="where the demo keeps its data (FTPGATE_STATE_DIR)")
    for name in ("portal", "ftp", "http"):
        demo.add_argument(f"--{name}", type=_address, metavar="H:P", help=f"a loopback address (FTPGATE_{name.upper()})")
    commands.add_parser("manage", help="Django's management commands (migrate, createsuperuser, …)", add_help=False)
    _add(commands, "portal", _portal, "run the portal", json=False)
    serve = _add(commands, "serve", _serve, "run a gate", json=False)
    for name in ("ftp", "http"):
        serve.add_argument(f"--{name}", type=_address, metavar="H:P", help=f"instead of FTPGATE_{name.upper()}; port 0: any")

    serve.add_argument("--alone", action="store_true", help="as one process without a parent, for a debugger: no reload")
    serve.add_argument("--worker", type=int, metavar="FD", help=argparse.SUPPRESS)
    reload = _add(commands, "reload", _reload, "have the running gate go on with new code and settings, without a cut")
    reload.add_argument(
        "--environment", action="store_true", help="with the FTPGATE_… of this command's environment in place of the gate's"
    )

    user = _group(commands, "user", "users")
    add = _add(user, "add", _user_add, "make a user", of="user")
    add.add_argument("name", metavar="NAME")
    add.add_argument("--tier", metavar="TIER", help="its tier (default)")
    add.add_argument("--password-stdin", action="store_true", help="read the password from standard input, one line")

    tier = _group(commands, "tier", "tiers")
    set_ = _add(tier, "set", _tier_set, "make or change a tier", of="tier")
    set_.add_argument("name", metavar="NAME")
    set_.add_argument("--rate", type=_rate, required=True, metavar="RATE", help="bytes a second, such as 512k; 0: no limit")
    set_.add_argument("--connections", type=int, metavar="N", help="connections at once (64)")

    item = _group(commands, "item", "items")
    add = _add(item, "add", _item_add, "import a folder as an item", of="item")
    add.add_argument("folder", type=Path, metavar="DIR")
    add.add_argument("--title", help="instead of the tags'")
    add.add_argument("--artist", help="instead of the tags'")
    add.add_argument("--year", type=int, help="instead of the tags'")
    add.add_argument("--tag-encoding", metavar="NAME", help="of tags that do not tell theirs, such as cp1251 (Latin-1)")
    add.add_argument("--copy", action="store_true", help="copy the folder into the media folder first")
    verify = _add(item, "verify", _item_verify, "read files again, name those that changed or are missing", of="item")
    verify.add_argument("item", metavar="ID", nargs="?", help="one item (all)")

    grant = _group(commands, "grant", "grants")
    issue = _add(grant, "issue", _grant_issue, "issue a grant", of="grant")
    issue.add_argument("--user", required=True, metavar="NAME")
    issue.add_argument("--item", required=True, action="append", dest="items", metavar="ID", help="may be given several times")
    issue.add_argument("--expires", type=_duration, metavar="TIME", help="such as 7d (FTPGATE_EXPIRES)")
    renew = _add(grant, "renew", _grant_renew, "open an expired grant again, or give an open one more time", of="grant")
    renew.add_argument("grant", metavar="GRANT")
    renew.add_argument("--expires", type=_duration, required=True, metavar="TIME", help="from now on, such as 7d")
    for name, command, about in (
        ("show", _grant_show, "what a grant holds and how much of it was delivered"),
        ("revoke", _grant_revoke, "end a grant and its transfers"),
        ("token", _grant_token, "give a grant another token"),
    ):
        _add(grant, name, command, about, of="grant").add_argument("grant", metavar="GRANT")

    receipt = _group(commands, "receipt", "receipts of deliveries")
    verify = _add(receipt, "verify", _receipt_verify, "check that a receipt is the shop's and unchanged", of="receipt")
    verify.add_argument("file", type=Path, metavar="FILE", help="its JSON file; - for standard input")
    verify.add_argument("--key", metavar="KEY", help="the shop's public key, from its page (this installation's)")

    _add(commands, "status", _status, "gates and live transfers")
    _add(commands, "doctor", _doctor, "say what is wrong with this installation and how to correct it")
    return parser


def _group(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, about: str
) -> argparse._SubParsersAction[argparse.ArgumentParser]:
    return commands.add_parser(name, help=about, allow_abbrev=False).add_subparsers(metavar="COMMAND", required=True)


def _add(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    command: Command,
    about: str,
    *,
    of: str = "",
    json: bool = True,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=about, description=about, allow_abbrev=False)
    parser.set_defaults(command=command, name_of_command=f"{of} {name}".strip())
    if json:
        parser.add_argument("--json", action="store_true", help="write one JSON document")
    return parser
