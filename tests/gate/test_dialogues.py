"""Dialogues of FTP clients that do not run here, in the order of commands that their sources, manuals and logs show.

A line is `command => reply`, or `command => reply => data`. PASV, EPSV and PORT lead to a data connection as the client makes it.
Data are `names: a, b` (what a listing names), `file: PATH` or `file: PATH from BYTE`. `{token}` and such are filled in.
Every dialogue fetches the whole album, so that the grant completes.
"""

from __future__ import annotations

import re
import socket
import ssl
import unicodedata
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Literal, NamedTuple

import pytest

from tests.gate import tlsgate
from tests.support.inprocess import InProcessGate
from tests.support.media import write_album
from tests.support.rawftp import RawFtp, read_all
from tests.support.waiting import wait_until

ALBUM = "Ёлка & Café [live]"
FILES = {"01 one.ogg": 300_000, "CD 2/02 Été.ogg": 70_000}


class Dialogue(NamedTuple):
    """Attributes:
    lines: as above.
    connects: when the client opens its data connection: once it knows where to (`early`), or after the command (`late`).
    resumes: does it resume the control connection's TLS session there?
    """

    lines: str
    connects: Literal["early", "late"] = "early"
    resumes: bool = True


# FileZilla 3: asks for TLS first. Its second connection fetches: it walks there by an absolute path and names the file alone.
FILEZILLA_LOGIN = """
    USER {token} => 331
    PASS x => 230
    SYST => 215 UNIX
    FEAT => 211
    CLNT FileZilla => 200
    OPTS UTF8 ON => 200
"""
FILEZILLA_REST = """
    PWD => 257 "/"
    TYPE I => 200
    PASV => 227
    MLSD => 226 => names: {album}
    CWD {album} => 250
    PWD => 257 "/{album}"
    PASV => 227
    MLSD => 226 => names: 01 one.ogg, CD 2
    NOOP => 200
    TYPE I => 200
    PWD => 257 "/{album}"
    CWD /{album} => 250
    PWD => 257 "/{album}"
    TYPE I => 200
    PASV => 227
    RETR 01 one.ogg => 226 => file: 01 one.ogg
    MDTM 01 one.ogg => 213
    CWD /{album}/CD 2 => 250
    PWD => 257 "/{album}/CD 2"
    SIZE 02 Été.ogg => 213 70000
    MDTM 02 Été.ogg => 213
    PASV => 227
    REST 40000 => 350
    RETR 02 Été.ogg => 226 => file: CD 2/02 Été.ogg from 40000
    PASV => 227
    REST 0 => 350
    RETR 02 Été.ogg => 226 => file: CD 2/02 Été.ogg
    NOOP => 200
    QUIT => 221
"""

# WinSCP: lists in TYPE A, walks by absolute paths, and keeps the session alive by commands without effect, chosen at random.
WINSCP_LOGIN = """
    USER {token} => 331
    PASS x => 230
    SYST => 215 UNIX
    FEAT => 211
    CLNT WinSCP-release-6.3.5 => 200
    OPTS UTF8 ON => 200
"""
WINSCP_REST = """
    PWD => 257 "/"
    CWD / => 250
    PWD => 257 "/"
    TYPE A => 200
    PASV => 227
    MLSD => 226 => names: {album}
    CWD /{album}/ => 250
    PWD => 257 "/{album}"
    TYPE A => 200
    PASV => 227
    LIST -a => 226 => names: 01 one.ogg, CD 2
    NOOP => 200
    TYPE A => 200
    MLST /{album}/01 one.ogg => 250
    PWD => 257
    TYPE I => 200
    SIZE 01 one.ogg => 213 300000
    PASV => 227
    RETR 01 one.ogg => 226 => file: 01 one.ogg
    HASH 01 one.ogg => 213 SHA-256
    XSHA256 "/{album}/01 one.ogg" => 250
    XCRC "/{album}/01 one.ogg" => 250
    CWD CD 2 => 250
    PASV => 227
    REST 1 => 350
    RETR /{album}/CD 2/02 Été.ogg => 226 => file: CD 2/02 Été.ogg from 1
    PASV => 227
    RETR 02 Été.ogg => 226 => file: CD 2/02 Été.ogg
    QUIT => 221
"""

# Cyberduck: asks for features before the log-in, and tries STAT before MLSD where a server lists so.
CYBERDUCK_LOGIN = """
    FEAT => 211
    USER {token} => 331
    PASS x => 230
    OPTS UTF8 ON => 200
    SYST => 215 UNIX
"""
CYBERDUCK_REST = """
    PWD => 257 "/"
    STAT /{album} => 213
    CWD /{album} => 250
    TYPE A => 200
    PASV => 227
    MLSD => 226 => names: 01 one.ogg, CD 2
    PASV => 227
    LIST -a => 226 => names: 01 one.ogg, CD 2
    PASV => 227
    LIST => 226 => names: 01 one.ogg, CD 2
    TYPE I => 200
    PASV => 227
    RETR /{album}/01 one.ogg => 226 => file: 01 one.ogg
    NOOP => 200
    TYPE I => 200
    PASV => 227
    REST 35000 => 350
    RETR /{album}/CD 2/02 Été.ogg => 226 => file: CD 2/02 Été.ogg from 35000
    PASV => 227
    RETR /{album}/CD 2/02 Été.ogg => 226 => file: CD 2/02 Été.ogg
    QUIT => 221
"""

TLS = """
    PBSZ 0 => 200
    PROT P => 200
"""

PLAIN = {
    "FileZilla": Dialogue("AUTH TLS => 502\nAUTH SSL => 502" + FILEZILLA_LOGIN + FILEZILLA_REST),
    "FileZilla, active": Dialogue(
        FILEZILLA_LOGIN + FILEZILLA_REST.replace("PASV => 227", "PORT {port} => 200"), connects="late"
    ),
    "WinSCP": Dialogue(WINSCP_LOGIN + WINSCP_REST, connects="late"),
    "Cyberduck": Dialogue("AUTH TLS => 502" + CYBERDUCK_LOGIN + CYBERDUCK_REST),
    # Explorer (WinINet): commands in small letters, LIST without a path, SIZE before RETR, and a NOOP before each step.
    "Windows Explorer": Dialogue("""
        USER anonymous => 331
        PASS IEUser@ => 530
        USER {token} => 331
        PASS x => 230
        opts utf8 on => 200
        syst => 215 UNIX
        site help => 214
        PWD => 257 "/"
        noop => 200
        CWD / => 250
        TYPE A => 200
        PASV => 227
        LIST => 226 => names: {album}
        noop => 200
        CWD /{album}/ => 250
        TYPE A => 200
        PASV => 227
        LIST => 226 => names: 01 one.ogg, CD 2
        noop => 200
        CWD / => 250
        TYPE I => 200
        PASV => 227
        SIZE /{album}/01 one.ogg => 213 300000
        RETR /{album}/01 one.ogg => 226 => file: 01 one.ogg
        noop => 200
        CWD /{album}/CD 2/ => 250
        TYPE A => 200
        PASV => 227
        LIST => 226 => names: 02 Été.ogg
        TYPE I => 200
        PASV => 227
        SIZE 02 Été.ogg => 213 70000
        RETR 02 Été.ogg => 226 => file: CD 2/02 Été.ogg
        MKD New folder => 550
        DELE 02 Été.ogg => 550
        QUIT => 221
    """),
    # ftp.exe of Windows: active mode only, and old names of commands.
    "Windows ftp.exe": Dialogue(
        """
        OPTS UTF8 ON => 200
        USER {token} => 331
        PASS x => 230
        XPWD => 257 "/"
        PORT {port} => 200
        NLST => 226 => names: {album}
        CWD {album} => 250
        PORT {port} => 200
        LIST => 226 => names: 01 one.ogg, CD 2
        TYPE I => 200
        PORT {port} => 200
        RETR 01 one.ogg => 226 => file: 01 one.ogg
        PORT {port} => 200
        RETR CD 2/02 Été.ogg => 226 => file: CD 2/02 Été.ogg
        QUIT => 221
        """,
        connects="late",
    ),
    # Finder (the ftp file system of macOS): extended passive mode, and looks for files of its own that are not there.
    "Finder": Dialogue("""
        USER {token} => 331
        PASS x => 230
        SYST => 215 UNIX
        PWD => 257 "/"
        FEAT => 211
        TYPE I => 200
        CWD / => 250
        EPSV => 229
        LIST => 226 => names: {album}
        SIZE /.DS_Store => 550
        SIZE /.hidden => 550
        MDTM /._.  => 550
        CWD /{album} => 250
        EPSV => 229
        LIST => 226 => names: 01 one.ogg, CD 2
        SIZE /{album}/01 one.ogg => 213 300000
        MDTM /{album}/01 one.ogg => 213
        EPSV => 229
        REST 0 => 350
        RETR 01 one.ogg => 226 => file: 01 one.ogg
        CWD /{album}/CD 2 => 250
        EPSV => 229
        NLST => 226 => names: 02 Été.ogg
        EPSV => 229
        REST 65536 => 350
        RETR 02 Été.ogg => 226 => file: CD 2/02 Été.ogg from 65536
        EPSV => 229
        RETR 02 Été.ogg => 226 => file: CD 2/02 Été.ogg
        EPSV => 229
        STOR .DS_Store => 550
        QUIT => 221
    """),
    # Apple's names come decomposed (NFD).
    "Finder, decomposed names": Dialogue("""
        USER {token} => 331
        PASS x => 230
        CWD /{nfd_album} => 250
        EPSV 1 => 229
        RETR 01 one.ogg => 226 => file: 01 one.ogg
        EPSV ALL => 200
        EPSV => 229
        RETR /{nfd_album}/CD 2/{nfd_second} => 226 => file: CD 2/02 Été.ogg
        QUIT => 221
    """),
}  # fmt: skip

SECURE = {
    "FileZilla": Dialogue(FILEZILLA_LOGIN + TLS + FILEZILLA_REST),
    "WinSCP": Dialogue(WINSCP_LOGIN + TLS + WINSCP_REST, connects="late"),
    "Cyberduck": Dialogue(CYBERDUCK_LOGIN + TLS + CYBERDUCK_REST, resumes=False),
    "Cyberduck, resuming": Dialogue(CYBERDUCK_LOGIN + TLS + CYBERDUCK_REST),
}


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    media = tmp_path_factory.mktemp("dialogues") / "media"
    write_album(media / ALBUM, FILES)
    return media


@pytest.fixture(scope="module")
def plain(media: Path) -> Iterator[InProcessGate]:
    with InProcessGate(media, {"ftp": tlsgate.LISTEN["ftp"]}) as gate:
        yield gate


@pytest.fixture(scope="module", params=["allow", "require"])
def secure(media: Path, request: pytest.FixtureRequest) -> Iterator[InProcessGate]:
    settings = {"FTPGATE_FTPS_REUSE": request.param}
    with InProcessGate(media, tlsgate.LISTEN, settings=settings, certificate=True) as gate:
        yield gate


class _Client:
    """Speaks one dialogue."""

    def __init__(self, gate: InProcessGate, session: RawFtp, dialogue: Dialogue, stack: ExitStack) -> None:
        self.gate, self.session, self.dialogue = gate, session, dialogue
        self.stack = stack
        self.protected = False
        self.to: tuple[str, int] | None = None
        self.listening: socket.socket | None = None
        self.connected: socket.socket | None = None

    def say(self, command: str, reply: str, data: str) -> None:
        if not data:
            return self.announced(command.split(" ")[0], self.session.do(command, reply))
        self.session.do(command, "150")
        received = self.received()
        self.session.expect(reply)
        self.check(data, received)

    def announced(self, verb: str, reply: str) -> None:
        """Go where a reply says that the data will be; a client that connects early does so at once."""
        if verb == "PROT":
            self.protected = True
        found = re.search(r"\|\|\|(\d+)\|", reply) or re.search(r",(\d+),(\d+)\)", reply)
        if verb not in ("PASV", "EPSV") or found is None:
            return
        numbers = [int(number) for number in found.groups()]
        self.to = (self.session.socket.getpeername()[0], numbers[0] if len(numbers) == 1 else numbers[0] * 256 + numbers[1])
        if self.dialogue.connects == "early":
            self.connected = socket.create_connection(self.to, 20)

    def port(self) -> str:
        """What PORT says of a port that is listened on from now on."""
        self.listening = self.stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        number = self.listening.getsockname()[1]
        return f"127,0,0,1,{number >> 8},{number & 255}"

    def received(self) -> bytes:
        if self.listening is not None:
            sock, self.listening = self.listening.accept()[0], None
        else:
            assert self.to is not None
            sock, self.connected = self.connected or socket.create_connection(self.to, 20), None
        if self.protected:
            control = self.session.socket
            assert isinstance(control, ssl.SSLSocket)
            session = control.session if self.dialogue.resumes else None
            sock = control.context.wrap_socket(sock, server_hostname="localhost", session=session)
        with sock:
            return read_all(sock)

    def check(self, data: str, received: bytes) -> None:
        kind, _, what = data.partition(": ")
        if kind == "names":
            lines = received.decode().splitlines()
            for name in what.split(", "):
                assert any(line == name or line.endswith(f" {name}") for line in lines), f"{name!r} is not in {lines}"
            assert all(line.endswith(tuple(what.split(", "))) for line in lines), lines
        else:
            path, _, offset = what.partition(" from ")
            assert received == (self.gate.media / ALBUM / path).read_bytes()[int(offset or 0) :]


def _replay(gate: InProcessGate, dialogue: Dialogue, *, tls: bool) -> None:
    token = gate.shop.issue([gate.item(ALBUM)])
    values = {
        "token": token.reveal(), "album": ALBUM, "nfd_album": unicodedata.normalize("NFD", ALBUM),
        "nfd_second": unicodedata.normalize("NFD", "02 Été.ogg"),
    }  # fmt: skip
    with ExitStack() as stack:
        session = stack.enter_context(RawFtp(gate.address("ftp")))
        if tls:
            tlsgate.secured(session, gate)
        client = _Client(gate, session, dialogue, stack)
        for line in filter(None, map(str.strip, dialogue.lines.splitlines())):
            command, reply, *data = (part.strip() for part in line.split(" => "))
            if "{port}" in command:
                values["port"] = client.port()
            client.say(command.format(**values), reply.format(**values), "".join(data).format(**values))
        assert session.closed()
    wait_until(lambda: token.grant in gate.shop.completed, 10, "completion")


@pytest.mark.parametrize("client", PLAIN)
def test_plain(plain: InProcessGate, client: str) -> None:
    _replay(plain, PLAIN[client], tls=False)


@pytest.mark.parametrize("client", SECURE)
def test_over_tls(secure: InProcessGate, client: str) -> None:
    dialogue = SECURE[client]
    if secure.gate.settings.ftps_reuse == "require" and not dialogue.resumes:
        with pytest.raises((AssertionError, OSError)):
            _replay(secure, dialogue, tls=True)
    else:
        _replay(secure, dialogue, tls=True)
