"""What no good client sends: requests and commands that are mutated, cut, mixed, too long, or no such thing. Pure.

Everything is drawn from the generator that is given, so that a seed stands for all the bytes of a connection.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any
from urllib.parse import quote

from ftpgate.ftp.commands import ALIASES, COMMANDS, WRITES

MOST = 60
"""Inputs of one connection, at the most."""
SCRAPS = (
    b"\0", b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\n\n", b" ", b"\t", b"\x0b", b"\x7f", b"\xff", b"\xc0\x80", b"\xed\xa0\x80",
    b"\xff\xf4\xff\xf2",
    b"%", b"%0", b"%00", b"%0d%0a", b"%2e%2e%2f", b"%2F", b"%FF", b"%25%32%46", b"%c0%ae", b"../", b"..\\", b"/./", b"//",
    b"~", b"*",
    b"?", b"#", b";", b":", b",", b"=", b'"', b"'", b"\\", b"-", b"--", b"-1", b"0", b"00", b"+1", b"1e9", b"0x10", b"9" * 20,
    b"9" * 400,
    "é".encode(), "e\u0301".encode(), "\u202e".encode(), "１".encode(), "\U0001f3b5".encode(), b"{}", b"%s%n", b"${x}",
    b"A" * 300,
    b"bytes=", b"chunked", b"close", b"HTTP/1.1", b"GET / ", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Known:
    """What there is to be asked for.

    Attributes:
        tokens: that open something, or do not any more.
        paths: files, folders and zips of the grant.
        pages: of the portal; targets of requests that lead to something.
        keys: of its API.
        documents: that are sent to it.
        host: the server's name.
    """

    tokens: Sequence[str]
    paths: Sequence[str]
    pages: Sequence[str] = ()
    keys: Sequence[str] = ()
    documents: Sequence[bytes] = ()
    host: str = "gate"


def mutated(rng: Random, data: bytes) -> bytes:
    """With one to four changes anywhere."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(len(data) + 1)
        end = min(at + rng.choice((1, 1, 2, 8, 40)), len(data))
        change = rng.randrange(7)
        if change == 0 and at < len(data):
            data = data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
        elif change == 1:
            data = data[:at] + data[end:]
        elif change == 2:
            data = data[:at] + data[at:end] * rng.choice((2, 3, 50)) + data[end:]
        elif change == 3:
            data = data[:at] + rng.randbytes(rng.choice((1, 2, 16))) + data[at:]
        elif change == 4:
            data = data[:at]
        else:
            data = data[:at] + rng.choice(SCRAPS) + data[at if change == 5 else end :]
    return data


def odd_document(rng: Random, template: Any) -> Any:
    """A JSON document like `template`, with some of its values and names replaced by what does not belong there."""
    if rng.random() < 0.15:
        return rng.choice(_VALUES_OF_JSON)
    if isinstance(template, dict):
        odd = {name: odd_document(rng, value) for name, value in template.items() if rng.random() < 0.9}
        if rng.random() < 0.1:
            odd[rng.choice(("", "id", "customer", "\0", "x" * 300, "__proto__"))] = rng.choice(_VALUES_OF_JSON)
        return odd
    if isinstance(template, list):
        return [odd_document(rng, value) for value in template] * rng.choice((1, 1, 1, 0, 2, 1_100))
    return template


_VALUES_OF_JSON: tuple[Any, ...] = (
    None, True, 0, -1, 1.5, 1e308, 10**30, 1 << 63, "", " ", "\0", "x", "x" * 5_000, "\ud800", "\u202e", "é" * 300, "0d", "-7d",
    "99999999d", "2026-11-31T25:00:00Z", "9999-12-31T23:59:59Z", "http://[", "https://127.0.0.1/", "https://user@shop.example:99999/",
    "javascript:x", "a@b@c", "@", [], {}, [[[[[]]]]], [None], {"": {}}, ["x"] * 200,
)  # fmt: skip


# ---------------------------------------------------------------------------------------------------- HTTP
def http_inputs(rng: Random, known: Known) -> list[bytes]:
    """What is sent on one connection, one request or scrap after the other."""
    if rng.random() < 0.05:
        return [_rubbish(rng)]
    inputs = [_http_input(rng, known) for _ in range(rng.choice((1, 2, 5, 20, MOST)))]
    if rng.random() < 0.1:
        inputs[-1] = inputs[-1][: rng.randrange(len(inputs[-1]) + 1)]  # half of one
    return inputs


def _http_input(rng: Random, known: Known) -> bytes:
    # What cannot be read ends the connection: most inputs are odd in what they say, not in how they say it.
    data = _request(rng, known)
    return mutated(rng, data) if rng.random() < 0.1 else data


def _request(rng: Random, known: Known) -> bytes:
    method = rng.choices((b"GET", b"HEAD", b"POST", rng.choice(_METHODS)), (8, 2, 8 if known.documents else 0, 1))[0]
    version = rng.choices((b"HTTP/1.1", b"HTTP/1.0", rng.choice(_VERSIONS)), (40, 1, 0.2))[0]
    fields = [b"Host: " + (known.host.encode() if rng.random() < 0.98 else rng.choice(_HOSTS))]
    for _ in range(rng.choice((0, 1, 1, 2, 4))):
        fields.append(_field(rng, known))
    if known.keys and rng.random() < 0.8:
        fields.append(b"Authorization: Bearer " + rng.choice(known.keys).encode())
    body = b""
    if known.documents and method in (b"POST", b"PATCH", b"PUT"):
        body = rng.choice(known.documents)
        body = mutated(rng, body) if rng.random() < 0.2 else body
        fields += [b"Content-Type: application/json", b"Content-Length: %d" % len(body)]
    rng.shuffle(fields)
    return b"\r\n".join((b" ".join((method, _target(rng, known), version)), *fields, b"", body))


def _target(rng: Random, known: Known) -> bytes:
    if known.pages:
        target = rng.choice(known.pages).encode()
    else:
        token = rng.choice(known.tokens).encode()
        if rng.random() < 0.1:
            token = _unprintable_quoted(mutated(rng, token))
        path = quote(rng.choice(known.paths)).encode()
        target = rng.choices((b"/d/" + token + b"/" + path, b"/files/" + path, b"/" + path), (12, 1, 1))[0]
    if rng.random() < 0.4:
        at = rng.randrange(len(target) + 1)
        target = target[:at] + _unprintable_quoted(rng.choice(SCRAPS)) + target[at:]
    if rng.random() < 0.2:
        target += b"?" + rng.choice(_NAMES) + b"=" + _unprintable_quoted(rng.choice(SCRAPS))
    return target


def _unprintable_quoted(data: bytes) -> bytes:
    """As it may stand in a target without ending it."""
    return b"".join(bytes([byte]) if 0x21 <= byte < 0x7F else b"%%%02X" % byte for byte in data)


def _field(rng: Random, known: Known) -> bytes:
    name = rng.choice(tuple(_VALUES))
    value = _VALUES[name](rng)
    if name == b"Authorization" and rng.random() < 0.5:
        value = b"Basic " + base64.b64encode(rng.choice(known.tokens).encode() + rng.choice((b":", b":x", b"")))
    if rng.random() < 0.15:
        value = bytes(byte for byte in mutated(rng, value) if byte >= 0x20 or byte == 9)
    return name + b": " + value


def _range(rng: Random) -> bytes:
    spans = [_span(rng) for _ in range(rng.choice((1, 1, 1, 2, 5, 60, 300)))]
    return rng.choices((b"bytes=", rng.choice((b"bytes =", b"BYTES=", b"items=", b"", b"bytes:"))), (9, 1))[0] + b",".join(spans)


def _span(rng: Random) -> bytes:
    first, last = (
        rng.choice((0, 1, 17, 4_999, 5_000, 70_001, 1 << 31, 1 << 63, 10**30)) + rng.choice((-1, 0, 0, 1)) for _ in range(2)
    )
    shapes = (b"%d-%d" % (first, last), b"%d-" % first, b"-%d" % last, b"-", b" %d - %d " % (first, last), b"")
    return rng.choices(shapes, (8, 4, 3, 1, 1, 1))[0]


def _among(*values: bytes) -> Callable[[Random], bytes]:
    return lambda rng: rng.choice(values)


_METHODS = (
    b"POST",
    b"PUT",
    b"PATCH",
    b"DELETE",
    b"OPTIONS",
    b"TRACE",
    b"CONNECT",
    b"PROPFIND",
    b"get",
    b"G\xc9T",
    b"M" * 200,
    b"*",
)
_VERSIONS = (b"HTTP/0.9", b"HTTP/2.0", b"HTTP/1.2", b"HTTP/1.10", b"HTTP/9.9", b"http/1.1", b"FTP/1.0", b"")
_HOSTS = (b"", b"a b", b"[::1]:8080", b"[", b"gate:99999", b"gate, other", b"\xc3\xa9", b"x" * 5_000, b"user@gate", b"gate/")
_NAMES = (b"q", b"page", b"limit", b"cursor", b"state", b"user", b"sort", b"folder", b"next", b"x")
_DATES = _among(
    b"Sun, 06 Nov 1994 08:49:37 GMT", b"Sunday, 06-Nov-94 08:49:37 GMT", b"Sun Nov  6 08:49:37 1994",
    b"Sun, 06 Nov 9999 08:49:37 GMT",
    b"Sun, 99 Nov 1994 08:49:37 GMT", b"Sun, 06 Nov 0000 00:00:00 GMT", b"Sun, 31 Feb 2026 25:61:61 GMT", b"0", b"",
    b"Thu, 01 Jan 1970 00:00:00 +9999",
)  # fmt: skip
_TAGS = _among(
    b"*", b'"x"', b'W/"x"', b'"', b'""', b"x", b'"a", W/"b" , "c"', b'"a" "b"', b",,,", b'"' + b"x" * 4_000 + b'"', b'"\xff"'
)
_NUMBERS = _among(b"0", b"1", b"5", b"-1", b"+5", b"9" * 30, b"5, 5", b"5, 6", b"0x5", b"", b"00", "５".encode())
_VALUES: dict[bytes, Callable[[Random], bytes]] = {
    b"Range": _range,
    b"range": _range,
    b"If-Range": lambda rng: rng.choice((_DATES, _TAGS))(rng),
    b"If-Match": _TAGS,
    b"If-None-Match": _TAGS,
    b"If-Modified-Since": _DATES,
    b"If-Unmodified-Since": _DATES,
    b"Accept": _among(
        b"*/*", b"text/html", b"application/json", b"application/json;q=0", b";q=", b"a/b;q=1.0000001", b",", b"text/html;q=nan"
    ),
    b"Accept-Encoding": _among(b"gzip", b"identity;q=0", b"*;q=0", b"br;q=1e9", b""),
    b"Accept-Language": _among(b"ru", b"en;q=0.1, ru", b"xx-" + b"y" * 300, b";;", b"*"),
    b"Want-Repr-Digest": _among(b"sha-256=1", b"sha-256=9999999999", b"=", b"md5"),
    b"Authorization": _among(
        b"Basic", b"Basic =", b"Basic !!!!", b"Basic " + b"QQ" * 3_000, b"Basic /////w==", b"Bearer x", b"Digest a=b", b""
    ),
    b"Connection": _among(b"keep-alive", b"upgrade", b"Keep-Alive, foo", b",", b"x" * 300),
    b"Upgrade": _among(b"h2c", b"websocket", b"TLS/1.0"),
    b"Expect": _among(b"100-continue", b"200-ok", b""),
    b"Origin": _among(b"null", b"https://shop.example", b"http://[", b"\xff"),
    b"Cookie": _among(b"sessionid=x", b"=", b";;;", b"csrftoken=" + b"x" * 2_000, b"language=\xff"),
    b"X-Forwarded-For": _among(b"1.2.3.4", b"::1", b"x", b"1.2.3.4, " * 100),
    b"Via": _among(b"1.1 proxy", b"\x01", b"x" * 3_000),
    b"Idempotency-Key": _among(b"a", b"", b"x" * 400, b"\xff", b"a b"),
    b"Content-Length": lambda rng: _NUMBERS(rng) if rng.random() < 0.2 else b"0",
    b"Transfer-Encoding": lambda rng: rng.choice((b"chunked", b"gzip", b"identity", b"")) if rng.random() < 0.2 else b"",
    b"X-Odd": lambda rng: b"x" * rng.choice((0, 100, 8_000, 17_000)) if rng.random() < 0.1 else b"x",
    b"TE": _among(b"trailers", b"deflate;q=0.5"),
}


def _rubbish(rng: Random) -> bytes:
    """No request at all."""
    kinds: tuple[Callable[[], bytes], ...] = (
        lambda: rng.randbytes(rng.choice((1, 16, 500, 20_000))),
        lambda: rng.choice(SCRAPS) * rng.choice((1, 100, 2_000)),
        lambda: b"GET /" + b"a" * rng.choice((8_000, 16_384, 40_000)),
        lambda: b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * rng.choice((10, 101, 3_000)),
        lambda: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + rng.randbytes(60),
        lambda: b"\x16\x03\x01" + rng.randbytes(rng.choice((2, 60, 600))),
        lambda: b"\r\n" * rng.choice((1, 50, 9_000)),
        lambda: b"",
    )
    return rng.choice(kinds)()


# ----------------------------------------------------------------------------------------------------- FTP
def ftp_inputs(rng: Random, known: Known) -> list[bytes]:
    """What is sent on one control connection, one command line or scrap after the other."""
    if rng.random() < 0.05:
        return [_ftp_rubbish(rng)]
    inputs = _log_in(rng, known)
    inputs += [_ftp_input(rng, known) for _ in range(rng.choice((1, 5, 20, MOST)))]
    if rng.random() < 0.1:
        inputs[-1] = inputs[-1][: rng.randrange(len(inputs[-1]) + 1)]
    return inputs


def _log_in(rng: Random, known: Known) -> list[bytes]:
    token = rng.choice(known.tokens).encode()
    way = rng.random()
    if way < 0.85:
        return [b"USER " + token + b"\r\n", b"PASS x\r\n"]
    if way < 0.95:
        return [_line(rng, b"USER " + mutated(rng, token)), _line(rng, b"PASS " + rng.choice(SCRAPS))]
    return []


def _ftp_input(rng: Random, known: Known) -> bytes:
    if rng.random() < 0.1:
        return mutated(rng, _line(rng, _command(rng, known)))
    return _line(rng, _command(rng, known))


def _line(rng: Random, command: bytes) -> bytes:
    if rng.random() < 0.97:
        command = command.replace(b"\r\n", b"").replace(b"\n", b"")
    return command + rng.choices((b"\r\n", b"\n", b"\r\0\r\n", b"\r"), (50, 3, 1, 0.2))[0]


def _command(rng: Random, known: Known) -> bytes:
    verb = rng.choices((rng.choice(_COMMON), rng.choice(_VERBS)), (3, 2))[0].encode()
    if rng.random() < 0.05:
        verb = rng.choice((verb.lower(), verb + verb, verb[:2], mutated(rng, verb), b"\xff\xf4\xff\xf2" + verb))
    if verb in (b"QUIT", b"REIN", b"AUTH") and rng.random() < 0.9:
        verb = b"NOOP"  # else few sessions come far
    argument = _ARGUMENTS.get(verb.decode("latin-1").upper(), _any_argument)(rng, known)
    if rng.random() < 0.2:
        argument = mutated(rng, argument)
    return verb + rng.choices((b" ", b"  ", b"\t", b""), (40, 1, 1, 1))[0] + argument if argument else verb


def _path(rng: Random, known: Known) -> bytes:
    path = rng.choice(known.paths).encode()
    return rng.choices(
        (path, b"/" + path, b"", path + rng.choice(SCRAPS), b"-la " + path, b"../" * rng.choice((1, 90)) + path),
        (9, 3, 2, 3, 1, 1),
    )[0]


def _number(rng: Random, _known: Known) -> bytes:
    return rng.choice(
        (b"0", b"1", b"17", b"4999", b"5000", b"70001", b"-1", b"9" * 19, b"9" * 300, b"1.5", b"0x1", b"", "１".encode(), b" 5 ")
    )


def _host_port(rng: Random, _known: Known) -> bytes:
    return rng.choice((
        b"127,0,0,1,0,0", b"127,0,0,1,255,255", b"127,0,0,1,256,1", b"10,0,0,1,200,1", b"1,2,3", b"127,0,0,1,1,1",
        b"0,0,0,0,0,0,0",
        b"a,b,c,d,e,f", b"-1,0,0,1,0,0", b"999,999,999,999,999,999", b"127,0,0,1," + b"9" * 50 + b",1",
        "１２７,0,0,1,9,9".encode(),
    ))  # fmt: skip


def _extended_port(rng: Random, _known: Known) -> bytes:
    return rng.choice((
        b"|1|127.0.0.1|65535|", b"|2|::1|65535|", b"|1|10.0.0.1|80|", b"|3|x|1|", b"|1|127.0.0.1|0|", b"|1|127.0.0.1|99999|",
        b"||||",
        b"|", b"!1!127.0.0.1!65535!", b"|1|127.0.0.1|6553x|", b"|2|fe80::1%lo|5|", b"|1|" + b"1" * 300 + b"|5|",
        b"\xff1\xff127.0.0.1\xff5\xff",
    ))  # fmt: skip


def _any_argument(rng: Random, known: Known) -> bytes:
    kinds = (
        lambda: b"",
        lambda: _path(rng, known),
        lambda: _number(rng, known),
        lambda: rng.choice(SCRAPS),
        lambda: b"A" * rng.choice((600, 9_000)),
    )
    return rng.choices(kinds, (6, 6, 3, 3, 0.3))[0]()


def _one_of(*values: bytes) -> Callable[[Random, Known], bytes]:
    return lambda rng, _known: rng.choice(values)


_VERBS = (*COMMANDS, *ALIASES, *sorted(name.replace("-", " ") for name in WRITES))
_COMMON = (
    "RETR",
    "REST",
    "EPSV",
    "PASV",
    "MLSD",
    "LIST",
    "NLST",
    "CWD",
    "SIZE",
    "MLST",
    "RANG",
    "HASH",
    "PORT",
    "EPRT",
    "STAT",
    "ABOR",
    "MDTM",
    "TYPE",
)
_ARGUMENTS: dict[str, Callable[[Random, Known], bytes]] = {
    **dict.fromkeys(("RETR", "MLSD", "LIST", "NLST", "CWD", "SIZE", "MLST", "HASH", "STAT", "MDTM", "XCRC", "XSHA256"), _path),
    **dict.fromkeys(("REST", "ALLO"), _number),
    "RANG": lambda rng, known: _number(rng, known) + b" " + _number(rng, known),
    "PORT": _host_port,
    "EPRT": _extended_port,
    "EPSV": _one_of(b"", b"", b"1", b"2", b"3", b"ALL", b"all", b"x"),
    "PASV": _one_of(b"", b"", b"x"),
    "TYPE": _one_of(b"I", b"A", b"L 8", b"E", b"A N", b"L 7", b""),
    "OPTS": _one_of(b"UTF8 ON", b"UTF8", b"MLST type;size;", b"MLST " + b"type;" * 900, b"HASH SHA-1", b"HASH", b"X"),
    "USER": lambda rng, known: rng.choice((*known.tokens, "anonymous", "")).encode(),
    "PROT": _one_of(b"P", b"C", b"S", b"E", b""),
    "PBSZ": _one_of(b"0", b"1", b"9" * 40, b"-1", b""),
    "CLNT": _one_of(b"x", b"\x1b[31m" * 90, b"\xff" * 300, b"%s"),
    "ABOR": _one_of(b""),
    "SITE": _one_of(b"HELP", b"CHMOD 777 x", b"x", b"\xff"),
}


def _ftp_rubbish(rng: Random) -> bytes:
    kinds: tuple[Callable[[], bytes], ...] = (
        lambda: rng.randbytes(rng.choice((1, 16, 500, 20_000))),
        lambda: rng.choice(SCRAPS) * rng.choice((1, 100, 2_000)),
        lambda: b"USER " + b"a" * rng.choice((500, 4_096, 70_000)),
        lambda: b"NOOP\r\n" * rng.choice((10, 2_000)),
        lambda: b"\r\n" * 5_000,
        lambda: b"GET / HTTP/1.1\r\nHost: gate\r\n\r\n",
        lambda: b"\x16\x03\x01" + rng.randbytes(60),
        lambda: b"AUTH TLS\r\n" + rng.randbytes(rng.choice((5, 300))),
        lambda: b"",
    )
    return rng.choice(kinds)()
