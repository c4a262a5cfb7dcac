"""Commands that are answered at once, from what the session knows: the reply's text, and no socket touched.

Each function takes the session and the command's argument and returns the reply, of one line or several, without the
last line end. A refusal is raised as a `GateError`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Protocol

from ftpgate.errors import BadRequest, NotForThisParameter, NotFound, ReadOnly
from ftpgate.ftp.commands import ALIASES, COMMANDS, FACTS, WRITES, features
from ftpgate.ftp.filesystem import GrantFS, fact_list, list_lines, stamp
from ftpgate.sources import Resource

CLIENT_LIMIT = 200
"""Characters kept of what a client calls itself."""
STAT_ENTRIES = 500
"""Entries of a folder that STAT tells: they are made at once, and must not keep others waiting."""
_LARGEST = 1 << 62
"""Bytes that REST takes: beyond any file, and within 64 bits."""
_WHOLE_ONLY = "Hashes are stored of whole files only."

Range = tuple[int, int | None]
"""From which byte a file is sent, and up to which, that one not; None is its end."""
WHOLE: Range = (0, None)


class SessionValues(Protocol):
    """What these commands know and change of a session."""

    facts: tuple[str, ...]
    client: str
    range: Range
    binary: bool

    @property
    def fs(self) -> GrantFS:
        """The working folder, once logged in."""
        ...

    @property
    def tls_offered(self) -> bool: ...

    def status(self) -> Sequence[str]:
        """Lines for STAT."""
        ...


def size(session: SessionValues, path: str) -> str:
    return f"213 {session.fs.file(path).resource.size}"


def mdtm(session: SessionValues, path: str) -> str:
    return f"213 {stamp(session.fs.file(path).resource.modified)}"


def mlst(session: SessionValues, path: str) -> str:
    found = session.fs.find(path or session.fs.cwd)
    return f"250-Listing {found.path}\r\n {fact_list(found, session.facts)} {found.path}\r\n250 End."


def file_hash(session: SessionValues, path: str) -> str:
    """draft-bryan-ftpext-hash section 3.2, of the whole file."""
    resource = session.fs.file(path).resource
    (start, end), session.range = session.range, WHOLE
    if end is not None and (start or end < resource.size):  # RANG stands for HASH too
        raise NotForThisParameter(_WHOLE_ONLY)
    return f"213 SHA-256 0-{resource.size} {_digest(resource).hex()} {path}"


def xcrc(session: SessionValues, argument: str) -> str:
    """As Globalscape and SmartFTP have it: the CRC-32 in eight digits."""
    resource = _checked(session.fs, argument)
    _digest(resource)
    return f"250 {resource.files[0].crc32:08X}"


def xsha256(session: SessionValues, argument: str) -> str:
    return f"250 {_digest(_checked(session.fs, argument)).hex().upper()}"


def _digest(resource: Resource) -> bytes:
    if resource.sha256 is None:
        raise NotForThisParameter("A zip is made on the fly and has no stored hash; its files have.")
    return resource.sha256


def _checked(fs: GrantFS, argument: str) -> Resource:
    """The file of `path`, `"path"`, `path end` or `path start end`; a path may hold blanks and digits of its own.

    Raises:
        NotForThisParameter: that is not the whole of it.
    """
    quoted = re.fullmatch(r'"(.+)"((?:,? +[0-9]{1,19}){0,2})', argument)
    if quoted is not None:
        resource, numbers = fs.file(quoted[1]).resource, quoted[2]
    else:
        try:
            return fs.file(argument).resource
        except NotFound:
            bare = re.fullmatch(r"(.+?)((?:,? +[0-9]{1,19}){1,2})", argument)
            if bare is None:
                raise
            resource, numbers = fs.file(bare[1]).resource, bare[2]
    *before, end = (int(number) for number in re.findall("[0-9]+", numbers) or (resource.size,))
    start = before[0] if before else 0
    if start or end not in (resource.size, resource.size - 1):  # servers disagree whether the last byte is within
        raise NotForThisParameter(_WHOLE_ONLY)
    return resource


def pwd(session: SessionValues, _argument: str) -> str:
    return '257 "{}" is the current folder.'.format(session.fs.cwd.replace('"', '""'))


def cwd(session: SessionValues, path: str) -> str:
    session.fs.change(path or "/")
    return f"250 Now in {session.fs.cwd}"


def cdup(session: SessionValues, _argument: str) -> str:
    return cwd(session, "..")


def rest(session: SessionValues, argument: str) -> str:
    """In any TYPE: files are sent as stored, so that an offset means the same in all of them."""
    start = _offset(argument)
    session.range = start, None
    return f"350 Restarting at {start}."


def rang(session: SessionValues, argument: str) -> str:
    """draft-bryan-ftp-range section 3: both ends, the last byte is within; `RANG 1 0` is the whole file."""
    session.range = WHOLE
    first, _, last = argument.partition(" ")
    start, end = _offset(first), _offset(last) + 1
    if (start, end) == (1, 1):
        return "350 The whole file is sent."
    if start >= end:
        raise BadRequest("RANG takes the first and the last byte.")
    session.range = start, end
    return f"350 Restarting at {start}, ending at {end - 1}."


def _offset(digits: str) -> int:
    if not (digits.isascii() and digits.isdigit()) or int(digits[:20]) > _LARGEST:
        raise BadRequest("REST takes a number of bytes; RANG takes two.")
    return int(digits)


def representation(session: SessionValues, argument: str) -> str:
    """TYPE, which changes nothing but what is said of it."""
    kind = " ".join(argument.upper().split())
    if kind not in ("A", "A N", "I", "L 8", "L8"):
        raise NotForThisParameter("Only TYPE A, I and L 8 are possible.")
    session.binary = not kind.startswith("A")
    return "200 Type is I." if session.binary else "200 Type is A; files are sent as they are stored."


def structure(_session: SessionValues, argument: str) -> str:
    if argument.upper() != "F":
        raise NotForThisParameter("Only STRU F is possible.")
    return "200 Structure is F."


def mode(_session: SessionValues, argument: str) -> str:
    if argument.upper() != "S":
        raise NotForThisParameter("Only MODE S is possible.")
    return "200 Mode is S."


def opts(session: SessionValues, argument: str) -> str:
    command, _, options = argument.partition(" ")
    command = command.upper()
    if command in ("UTF8", "UTF-8"):
        if options.upper() not in ("", "ON"):
            raise NotForThisParameter("Names are always in UTF-8.")
        return "200 Names are in UTF-8."
    if command == "MLST":
        wanted = {fact.lower() for fact in options.split(";")}
        session.facts = tuple(fact for fact in FACTS if fact in wanted)
        return "200 MLST OPTS " + "".join(f"{fact};" for fact in session.facts)
    if command == "HASH":
        if options.upper() not in ("", "SHA-256"):
            raise NotForThisParameter("Only SHA-256 is stored.")
        return "200 SHA-256"
    raise BadRequest("There are options for HASH, MLST and UTF8.")


def feat(session: SessionValues, _argument: str) -> str:
    return "\r\n ".join(["211-Features:", *features(session.facts, session.tls_offered)]) + "\r\n211 End."


def help_text(_session: SessionValues, argument: str) -> str:
    name = ALIASES.get(argument.upper(), argument.upper())
    if name in COMMANDS:
        return f"214 Syntax: {COMMANDS[name].help}"
    if name in WRITES:
        return f"214 {name} is refused: nothing can be written here."
    if name:
        raise BadRequest("There is no such command.")
    names = sorted(COMMANDS)
    rows = [" ".join(f"{name:5}" for name in names[start : start + 8]).rstrip() for start in range(0, len(names), 8)]
    return "\r\n ".join(["214-These commands are understood:", *rows]) + "\r\n214 HELP and a command tells its syntax."


def site(session: SessionValues, argument: str) -> str:
    name = argument.split(" ")[0].upper()
    if f"SITE-{name}" in WRITES:
        raise ReadOnly
    if name != "HELP":
        raise NotForThisParameter("There is no such SITE command.")
    return "214 There are no SITE commands but this one."


def stat(session: SessionValues, path: str) -> str:
    if not path:
        return "\r\n ".join(["211-Status:", *session.status()]) + "\r\n211 End."
    entries = session.fs.listed(path).entries
    if len(entries) > STAT_ENTRIES:
        raise NotForThisParameter("There is too much in this folder for STAT: use MLSD or LIST.")
    lines = [line.decode().removesuffix("\r\n") for line in list_lines(entries)]
    return "\r\n ".join([f"213-{path}:", *lines]) + "\r\n213 End."


def clnt(session: SessionValues, name: str) -> str:
    session.client = "".join(c for c in name[:CLIENT_LIMIT] if c.isprintable())
    return "200 Noted."


def syst(_session: SessionValues, _argument: str) -> str:
    return "215 UNIX Type: L8"


def noop(_session: SessionValues, _argument: str) -> str:
    return "200 OK."


def allo(_session: SessionValues, _argument: str) -> str:
    return "202 Nothing is stored here."


def acct(_session: SessionValues, _argument: str) -> str:
    return "202 No account is needed."


REPLIES: dict[str, Callable[[SessionValues, str], str]] = {
    "ACCT": acct, "ALLO": allo, "CDUP": cdup, "CLNT": clnt, "CWD": cwd, "FEAT": feat, "HASH": file_hash, "HELP": help_text,
    "MDTM": mdtm, "MLST": mlst, "MODE": mode, "NOOP": noop, "OPTS": opts, "PWD": pwd, "RANG": rang, "REST": rest, "SITE": site,
    "SIZE": size, "STAT": stat, "STRU": structure, "SYST": syst, "TYPE": representation, "XCRC": xcrc, "XSHA256": xsha256,
}  # fmt: skip
