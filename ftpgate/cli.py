"""The command line: its grammar, and how errors are shown. The commands of a noun are in a module of `ftpgate.commands`.

What a command needs is imported when it runs: most need no Django, and each pays for what it starts.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ftpgate import __version__
from ftpgate import settings as settings_module
from ftpgate.commands import grammar, grants, installation, items, tiers, users
from ftpgate.commands.grammar import Command, Commands, show
from ftpgate.errors import UserError


def run(arguments: Sequence[str]) -> int:
    """Run one command; returns the exit status: 0, 1 for an error (one line on stderr), 2 for wrong usage."""
    try:
        if arguments[:1] == ["manage"]:  # what follows is Django's, options included
            return grammar.shop().manage(arguments[1:])
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


def _demo(options: argparse.Namespace) -> int:
    from ftpgate.commands.demo import demo

    return demo(state_dir=options.state_dir, portal=options.portal, ftp=options.ftp, http=options.http)


def _portal(options: argparse.Namespace) -> int:
    return grammar.shop().portal()


def _serve(options: argparse.Namespace) -> int:
    if options.worker is not None:
        from ftpgate.process.serve import serve_as_worker

        return serve_as_worker(options.worker)
    settings = grammar.closed(settings_module.load())
    if options.alone:
        from ftpgate.process.serve import serve_alone

        return serve_alone(settings, ftp=options.ftp, http=options.http)
    from ftpgate.process.parent import serve

    return serve(ftp=options.ftp, http=options.http)


def _reload(options: argparse.Namespace) -> int:
    from ftpgate.commands.reload import reload

    return show(options, reload(settings_module.load(), environment=options.environment))


def _receipt_verify(options: argparse.Namespace) -> int:
    from ftpgate.commands.receipt import verify

    return show(options, verify(options.file, options.key, settings_module.load()))


def _status(options: argparse.Namespace) -> int:
    from ftpgate.commands.status import status

    return show(options, status(grammar.shop().running_gates()))


def _doctor(options: argparse.Namespace) -> int:
    from ftpgate.commands.doctor import examine

    document = examine()
    show(options, document)
    return 0 if document["ok"] else 1


def _completion(options: argparse.Namespace) -> int:
    from ftpgate.commands.completion import script

    print(script(_parser(), options.shell))
    return 0


# ------------------------------------------------------------------------------------------ grammar


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ftpgate", description="Albums by one-time tokens, over FTP and HTTP.", allow_abbrev=False,
        epilog="Settings are FTPGATE_… in the environment or in .env; docs/pages/settings.md lists them.",
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"ftpgate {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_programs(commands)
    for noun in (users, tiers, items, grants):
        noun.add_to(commands)
    receipt = grammar.group(commands, "receipt", "receipts of deliveries")
    verify = grammar.add(receipt, "verify", _receipt_verify, "check that a receipt is the shop's and unchanged", of="receipt")
    verify.add_argument("file", type=Path, metavar="FILE", help="its JSON file; - for standard input")
    verify.add_argument("--key", metavar="KEY", help="the shop's public key, from its page (this installation's)")
    installation.add_to(commands)
    grammar.add(commands, "status", _status, "gates and live transfers")
    grammar.add(commands, "doctor", _doctor, "say what is wrong with this installation and how to correct it")
    completion = grammar.add(commands, "completion", _completion, "print a script that completes commands in a shell", json=False)
    completion.add_argument("shell", choices=("bash", "zsh", "fish"), metavar="SHELL", help="bash, zsh or fish")
    return parser


def _add_programs(commands: Commands[argparse.ArgumentParser]) -> None:
    """What runs until it is stopped, and Django's commands."""
    demo = grammar.add(commands, "demo", _demo, "run everything with a demo catalogue until Ctrl-C", json=False)
    demo.add_argument("--state-dir", type=Path, metavar="DIR", help="where the demo keeps its data (FTPGATE_STATE_DIR)")
    for name in ("portal", "ftp", "http"):
        about = f"a loopback address (FTPGATE_{name.upper()})"
        demo.add_argument(f"--{name}", type=grammar.address, metavar="H:P", help=about)
    commands.add_parser("manage", help="Django's management commands (migrate, createsuperuser, …)", add_help=False)
    grammar.add(commands, "portal", _portal, "run the portal", json=False)
    serve = grammar.add(commands, "serve", _serve, "run a gate", json=False)
    for name in ("ftp", "http"):
        serve.add_argument(
            f"--{name}", type=grammar.address, metavar="H:P", help=f"instead of FTPGATE_{name.upper()}; port 0: any"
        )
    serve.add_argument("--alone", action="store_true", help="as one process without a parent, for a debugger: no reload")
    serve.add_argument("--worker", type=int, metavar="FD", help=argparse.SUPPRESS)
    reload = grammar.add(commands, "reload", _reload, "have the running gate go on with new code and settings, without a cut")
    reload.add_argument(
        "--environment", action="store_true", help="with the FTPGATE_… of this command's environment in place of the gate's"
    )
