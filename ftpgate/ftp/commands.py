"""The commands of the FTP front: what each takes, when it may run, and which answer 550 because they write."""

from __future__ import annotations

from typing import NamedTuple


class Command(NamedTuple):
    """One command.

    Attributes:
        help: its syntax, for HELP.
        argument: must it have one (True), must it not (False), or may it (None)?
        login: is it only for those who are logged in?
        waits: does it use the data connection or the account, so that it waits until a running transfer has its reply?
    """

    help: str
    argument: bool | None
    login: bool = True
    waits: bool = False


COMMANDS = {
    # RFC 959, with what RFC 1123 4.1.2 makes of it
    "USER": Command("USER <SP> name", True, login=False, waits=True),
    "PASS": Command("PASS [<SP> password]", None, login=False, waits=True),
    "ACCT": Command("ACCT <SP> account", True, login=False),
    "CWD": Command("CWD [<SP> folder]", None),
    "CDUP": Command("CDUP", False),
    "QUIT": Command("QUIT", False, login=False),
    "REIN": Command("REIN", False, waits=True),
    "PORT": Command("PORT <SP> h1,h2,h3,h4,p1,p2", True, waits=True),
    "PASV": Command("PASV", False, waits=True),
    "TYPE": Command("TYPE <SP> A | I | L 8", True),
    "STRU": Command("STRU <SP> F", True),
    "MODE": Command("MODE <SP> S", True),
    "RETR": Command("RETR <SP> file", True, waits=True),
    "ALLO": Command("ALLO <SP> bytes", True),
    "REST": Command("REST <SP> offset", True),
    "ABOR": Command("ABOR", False),
    "PWD": Command("PWD", False),
    "LIST": Command("LIST [<SP> path]", None, waits=True),
    "NLST": Command("NLST [<SP> path]", None, waits=True),
    "SITE": Command("SITE <SP> HELP", True),
    "SYST": Command("SYST", False, login=False),
    "STAT": Command("STAT [<SP> path]", None, login=False),
    "HELP": Command("HELP [<SP> command]", None, login=False),
    "NOOP": Command("NOOP", None, login=False),
    # RFC 2389
    "FEAT": Command("FEAT", False, login=False),
    "OPTS": Command("OPTS <SP> command [<SP> options]", True, login=False),
    # RFC 2428
    "EPRT": Command("EPRT <SP> |protocol|address|port|", True, waits=True),
    "EPSV": Command("EPSV [<SP> 1 | 2 | ALL]", None, waits=True),
    # RFC 3659
    "SIZE": Command("SIZE <SP> file", True),
    "MDTM": Command("MDTM <SP> file", True),
    "MLST": Command("MLST [<SP> path]", None),
    "MLSD": Command("MLSD [<SP> folder]", None, waits=True),
    # draft-bryan-ftpext-hash
    "HASH": Command("HASH <SP> file", True),
    # draft-bryan-ftp-range
    "RANG": Command("RANG <SP> first <SP> last", True),
    # What clients asked before there was HASH; no RFC has them.
    "XCRC": Command("XCRC <SP> file", True),
    "XSHA256": Command("XSHA256 <SP> file", True),
    # RFC 4217; they may run only where there is a certificate
    "AUTH": Command("AUTH <SP> TLS | TLS-C | TLS-P | SSL", True, login=False, waits=True),
    "PBSZ": Command("PBSZ <SP> 0", True, login=False),
    "PROT": Command("PROT <SP> C | P", True, login=False, waits=True),
    "CCC": Command("CCC", False, login=False),
    # Sent by many clients to say who they are; no RFC has it.
    "CLNT": Command("CLNT <SP> name", True, login=False),
}

ALIASES = {"XCUP": "CDUP", "XCWD": "CWD", "XPWD": "PWD", "XMKD": "MKD", "XRMD": "RMD"}
"""Old names that RFC 1123 4.1.3.1 wants understood."""

WRITES = frozenset(
    {
        "APPE", "COMB", "DELE", "MFCT", "MFF", "MFMT", "MKD", "RMD", "RMDA", "RNFR", "RNTO", "STOR", "STOU",
        "SITE-CHGRP", "SITE-CHMOD", "SITE-CHOWN", "SITE-COPY", "SITE-CPFR", "SITE-CPTO", "SITE-MKDIR", "SITE-RMDIR",
        "SITE-SYMLINK", "SITE-UMASK", "SITE-UTIME",
    }
)  # fmt: skip
"""Commands that would change something: all answer 550."""

FACTS = ("type", "size", "modify", "perm", "unique")
"""Facts of MLST and MLSD (RFC 3659 section 7.5), in the order in which they are given."""


def features(facts: tuple[str, ...], tls: bool) -> list[str]:
    """The lines of FEAT; `facts` are those that MLST shows at present, marked by a star. `tls`: is there a certificate?"""
    shown = "".join(f"{fact}*;" if fact in facts else f"{fact};" for fact in FACTS)
    lines = [
        "CLNT", "EPRT", "EPSV", "HASH SHA-256*", "MDTM", f"MLST {shown}", "RANG STREAM", "REST STREAM", "SIZE", "TVFS", "UTF8",
        "XCRC", "XSHA256",
    ]  # fmt: skip
    return sorted([*lines, "AUTH TLS", "PBSZ", "PROT"]) if tls else lines
