"""Commands that fetch a grant with the usual download managers, ready to be copied into a shell. Pure.

Every word that comes from a title is quoted for a POSIX shell and percent-encoded in addresses. `TOKEN:x@` is the log-in: the
token as user name; some clients ask for a password when there is none in the address.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

from ftpgate.aria2 import PIECES
from ftpgate.aria2 import commands as all_by_aria2
from ftpgate.naming import ZIP_SUFFIX

EACH_ITEM_UP_TO = 20
"""Above so many items only the commands that fetch everything are shown, where there are such."""


# The zips at the top hold the same files once more; the pages that lead to the files are not kept, and have a name meanwhile that
# no file of an item has (hidden ones are not imported); and robots.txt, which keeps search engines out, is not for customers.
_ZIPS = r"/d/[^/]*/[^/]*\.zip$"
_FOLDERS = ("-c", "-r", "-np", "-nH", "--cut-dirs=2", "-e", "robots=off", "--restrict-file-names=nocontrol")
_RECURSIVE = (*_FOLDERS, "--default-page=.folder", "-R", ".folder*", "--reject-regex", _ZIPS)


_OBSCURED = "dYLgDwOhem4Yn7vtCS-8nSM"
"""`x` as rclone wants passwords: it looks at none that is given in the clear (`rclone reveal`). The token is the user name."""


class Item(NamedTuple):
    """An item as the links show it; `folder` is its folder's name at the top of the grant."""

    title: str
    folder: str


@dataclass(frozen=True, slots=True)
class Command:
    """One command; `title` names the item that it fetches, empty for all of the grant."""

    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Login:
    """What a client with a form for it wants (FileZilla)."""

    host: str
    port: int
    user: str
    password: str
    tls: bool


class Addresses:
    """The addresses of items below the links of a token.

    Args:
        http: `http://H:P/d/TOKEN/`.
        ftp: `ftp://TOKEN:x@H:P/`.
        metalink: of everything.
    """

    def __init__(self, http: str, ftp: str, metalink: str) -> None:
        self.http, self.ftp, self.metalink = http, ftp, metalink

    def zip(self, item: Item) -> str:
        return self.http + _encoded(item.folder + ZIP_SUFFIX)

    def folder(self, item: Item) -> str:
        return f"{self.http}{_encoded(item.folder)}/"

    def file(self, item: Item, path: str) -> str:
        """`path` is the file's in its item's folder."""
        return self.folder(item) + quote(path)

    def ftp_zip(self, item: Item) -> str:
        return self.ftp + _encoded(item.folder + ZIP_SUFFIX)

    def login(self) -> Login:
        parts = urlsplit(self.ftp)
        assert parts.hostname is not None
        assert parts.port is not None
        return Login(
            parts.hostname, parts.port, unquote(parts.username or ""), unquote(parts.password or ""), parts.scheme == "ftps"
        )


def curl(at: Addresses, items: Sequence[Item]) -> list[Command]:
    """Each item's zip; the same command again goes on where it stopped."""
    return [
        Command(
            item.title, _line("curl", "--fail", "--retry", "9", "-C", "-", "-o", _file(item.folder + ZIP_SUFFIX), at.zip(item))
        )
        for item in items
    ]


def wget(at: Addresses, items: Sequence[Item]) -> list[Command]:
    """The folders as they are, then each item's zip."""
    everything = _line("wget", *_RECURSIVE, at.http)
    each = [Command(item.title, _line("wget", "-c", "-O", _file(item.folder + ZIP_SUFFIX), at.zip(item))) for item in items]
    return [Command("", everything), *_few(each)]


def aria2(at: Addresses, items: Sequence[Item]) -> list[Command]:
    """Everything by a list with hashes, which is fetched first; then each item's zip. In up to 16 pieces at once."""
    everything = " && ".join(_line(*words) for words in all_by_aria2(at.http))
    each = [Command(item.title, _line("aria2c", *PIECES, "-o", item.folder + ZIP_SUFFIX, at.zip(item))) for item in items]
    return [Command("", everything), *_few(each)]


def lftp(at: Addresses, items: Sequence[Item]) -> list[Command]:
    """Everything by mirror, then each item's zip by pget, over FTP."""
    mirror = f"open {_lftp(at.ftp)} && mirror --continue --parallel=2 --use-pget-n=8 . ."
    each = [
        Command(
            item.title, _line("lftp", "-c", f"pget -c -n 8 {_lftp(at.ftp_zip(item))} -o {_lftp(_file(item.folder + ZIP_SUFFIX))}")
        )
        for item in items
    ]
    return [Command("", _line("lftp", "-c", mirror)), *_few(each)]


def rclone(at: Addresses, items: Sequence[Item]) -> list[Command]:
    """Everything over HTTP, the same over FTP, then each item's folder. Only the last have words that a shell could misread."""
    login = at.login()
    tls = ("--ftp-tls",) if login.tls else ()
    server = ("--ftp-host", login.host, "--ftp-port", str(login.port), "--ftp-user", login.user, "--ftp-pass", _OBSCURED)
    each = [
        Command(item.title, _line("rclone", "copy", "--http-url", at.folder(item), ":http:", _file(item.folder)))
        for item in items
    ]
    return [
        Command("HTTP", _line("rclone", "copy", "--http-url", at.http, ":http:", ".")),
        Command("FTP", _line("rclone", "copy", *server, *tls, ":ftp:", ".")),
        *_few(each),
    ]


def _few(commands: list[Command]) -> list[Command]:
    return commands if len(commands) <= EACH_ITEM_UP_TO else []


def _line(*words: str) -> str:
    return shlex.join(words)


def _file(name: str) -> str:
    """A file in the present folder, never an option."""
    return f"./{name}" if name.startswith("-") else name


def _lftp(word: str) -> str:
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _encoded(name: str) -> str:
    return quote(name, safe="")
