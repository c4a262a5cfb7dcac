"""Settings: read once, at the edge, from the environment and `.env`; frozen afterwards.

The environment beats `.env`. An unknown `FTPGATE_*` name or a bad value raises `UserError` with a line that names it.
"""

from __future__ import annotations

import contextlib
import hmac
import ipaddress
import os
import re
import secrets
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ftpgate import private
from ftpgate.endpoints import Address as Address
from ftpgate.endpoints import bracketed as bracketed
from ftpgate.endpoints import parse_address as parse_address
from ftpgate.endpoints import parse_advertised
from ftpgate.errors import UserError
from ftpgate.translatable import os_reason

_DECIMAL = {"": 1, "k": 1_000, "m": 1_000_000, "g": 1_000_000_000, "t": 1_000_000_000_000}
_BINARY = {"ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30, "ti": 1 << 40}
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
MOST_WORKERS = 64
_LARGEST = 1 << 62  # fits the database's bigint
_SHORTEST_KEY = 32
"""Characters of a secret key: as many bytes as the SHA-256 of the HMACs that it keys (RFC 7518, section 3.2)."""
_FEWEST_SURPRISES = 16
"""Characters of it that do not follow from those before them. Of 32 random hexadecimal digits some 25 do not."""
_FOLLOWING = ("1234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm")
_EXAMPLES = re.compile(
    r"tokenurlsafe|opensslrand|(?:super|top|very|my|our|not)secret|dontuse|donotuse|notforproduction|loremipsum"
    r"|changeme|replaceme|placeholder|example|insecure|your(?:own)?(?:secret|key)|secretkey|password|correcthorse"
)
_NEW_KEY = """make one with: python3 -c 'import secrets; print(secrets.token_urlsafe(48))'"""
_KEY_HINTS = {
    "FTPGATE_SECRET_KEY": _NEW_KEY,
    "FTPGATE_SECRET_KEY_FALLBACKS": "list earlier keys with commas between, and none that can be guessed",
}


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_rate(text: str) -> int:
    """`512k`, `2M`, `512Ki` or a bare number, to bytes (a second), rounded down. Raises ValueError."""
    match = re.fullmatch(r"([0-9]{1,18})(?:\.([0-9]{1,6}))?\s*([kmgt]?i?)b?(?:/s)?", text.strip().lower())
    if not match or match[3] == "i":
        raise ValueError("not a number of bytes such as 512k, 2M, 512Ki or 0")
    unit, fraction = (_DECIMAL | _BINARY)[match[3]], match[2] or ""
    value: int = int(match[1]) * unit + int(fraction or 0) * unit // 10 ** len(fraction)  # a float ends at 2^53
    if value > _LARGEST:
        raise ValueError("larger than 2^62 bytes")
    return value


def parse_duration(text: str) -> int:
    """`90s`, `15m`, `24h`, `7d` or a bare number, to seconds. Raises ValueError."""
    match = re.fullmatch(r"([0-9]{1,9})\s*([smhdw]?)", text.strip().lower())
    if not match:
        raise ValueError("not a duration such as 90s, 15m, 24h or 7d")
    seconds = int(match[1]) * _SECONDS[match[2]]
    if seconds > 100 * 365 * 86_400:
        raise ValueError("longer than a hundred years")
    return seconds


def _ports(text: str) -> range:
    match = re.fullmatch(r"([0-9]{1,5})\s*-\s*([0-9]{1,5})", text.strip())
    if not match or not 1 <= int(match[1]) <= int(match[2]) <= 65_535:
        raise ValueError("not a range of ports such as 50000-50999")
    return range(int(match[1]), int(match[2]) + 1)


def _workers(text: str) -> int:
    """A number of processes, or `auto`: one for each processor that this process may use. Raises ValueError."""
    if text.strip().lower() == "auto":
        return min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, MOST_WORKERS)
    if not re.fullmatch(r"[0-9]{1,4}", text.strip()) or not 1 <= int(text) <= MOST_WORKERS:
        raise ValueError(f"not a number of workers from 1 to {MOST_WORKERS}, or auto")
    return int(text)


def _choice(*names: str):  # type: ignore[no-untyped-def]
    def parse(text: str) -> str:
        if text.strip().lower() not in names:
            raise ValueError("not one of " + ", ".join(names))
        return text.strip().lower()

    return parse


def parse_lasting(text: str) -> int:
    """As `parse_duration`, but of something that has to last. Raises ValueError."""
    seconds = parse_duration(text)
    if not seconds:
        raise ValueError("no time at all")
    return seconds


def _host(text: str) -> str:
    """A name or an IP address, an IPv6 one with or without brackets; never a port, which has settings of its own."""
    host = text.strip()
    if ":" in host:
        try:
            return str(ipaddress.IPv6Address(host.removeprefix("[").removesuffix("]")))
        except ValueError:
            pass
    elif re.fullmatch(r"[\w.-]{1,253}", host):
        return host
    raise ValueError("not a host such as shop.example.org or 2001:db8::1")


def parse_url(text: str) -> str:
    """The address of a site without anything behind it: `https://shop.example.org` or `http://[::1]:8000`. Raises ValueError."""
    match = re.fullmatch(r"(https?)://(\[[0-9A-Fa-f:.]+\]|[\w.-]{1,253})(?::([0-9]{1,5}))?/?", text.strip(), re.IGNORECASE)
    if not match or int(match[3] or 1) > 65_535:
        raise ValueError("not the address of a site such as https://shop.example.org")
    return f"{match[1]}://{match[2]}".lower() + (f":{match[3]}" if match[3] else "")


def _hosts(text: str) -> tuple[str, ...]:
    """As Django's ALLOWED_HOSTS: a leading dot stands for all names below, `*` for every host."""
    found = tuple(host.strip() for host in text.split(",") if host.strip())
    for host in found:
        if not re.fullmatch(r"\*|[\w.-]{1,253}|\[[0-9A-Fa-f:.]+\]", host):
            raise ValueError("not a list of hosts such as shop.example.org, .example.org")
    return found


def _networks(text: str) -> tuple[Network, ...]:
    """Addresses and networks, with commas between."""
    try:
        return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())
    except ValueError:
        raise ValueError("not a list of addresses and networks such as 127.0.0.1, 10.0.0.0/8, fd00::/8") from None


def _leases(text: str) -> str:
    """Where gates share rates and connections: `valkey://host:port/db`, for TLS `valkeys://`; `redis://` is the same."""
    host = r"(?:[^\s/@]*@)?(?:\[[0-9A-Fa-f:.]+\]|[\w.-]{1,253})"
    match = re.fullmatch(rf"(?:valkeys?|rediss?)://{host}(?::([0-9]{{1,5}}))?(?:/[0-9]{{0,4}})?", text.strip())
    if not match or not 1 <= int(match[1] or 6379) <= 65_535:
        raise ValueError("not the address of a Valkey server such as valkey://127.0.0.1:6379/0")
    return text.strip()


def _dotted(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", text.strip()):
        raise ValueError("not a dotted module name such as webportal.bridge")
    return text.strip()


def parse_secret_key(text: str) -> str:
    """A key that cannot be guessed. What customers get is signed with keys made from it, so guesses can be tried at home.

    Raises ValueError.
    """
    key = text.strip()
    if len(key) < _SHORTEST_KEY:
        raise ValueError(f"too short (fewer than {_SHORTEST_KEY} characters)")
    if _EXAMPLES.search(re.sub(r"[\W_]", "", key.lower())):
        raise ValueError("an example's, or made of words that everybody tries")
    if sum(not _follows(key[:at], letter) for at, letter in enumerate(key[:256])) < _FEWEST_SURPRISES:
        raise ValueError("easy to guess (it repeats itself, or runs in order)")
    return key


def parse_secret_keys(text: str) -> tuple[str, ...]:
    """Earlier keys with commas between. What they signed is believed, so they must not be guessed either. Raises ValueError."""
    return tuple(parse_secret_key(key) for key in text.split(",") if key.strip())


def _follows(before: str, letter: str) -> bool:
    """Does a letter continue a piece of three that was there before, or a run: `aaa`, `abc`, `321`, `qwe`?"""
    if not before:
        return False
    pair = before[-1].lower() + letter.lower()
    in_a_row = any(pair in row or pair[::-1] in row for row in _FOLLOWING)
    return abs(ord(before[-1]) - ord(letter)) <= 1 or in_a_row or (len(before) > 2 and before[-2:] + letter in before)


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting, parsed. Rates in bytes a second (0: none), durations in seconds, paths absolute."""

    state_dir: Path
    database_url: str
    media_root: Path
    ftp: Address
    http: Address
    ftps: Address | None
    https: Address | None
    portal: Address
    portal_url: str | None
    admin: Address
    public_host: str | None
    advertise: Mapping[str, str]
    passive_ports: range
    workers: int
    tls_cert: Path | None
    tls_key: Path | None
    tls: Literal["off", "allow", "require"]
    ftps_reuse: Literal["off", "allow", "require"]
    expires: int
    grace: int
    drain: int
    keep_transfers: int
    total_rate: int
    leases: str | None
    secret_key: str
    secret_key_fallbacks: tuple[str, ...]
    allowed_hosts: tuple[str, ...]
    trusted_proxies: tuple[Network, ...]
    staff_two_factor: Literal["allow", "require"]
    email_url: str
    bridge: str
    log: Literal["text", "json"]

    def __repr__(self) -> str:
        """Without what is secret: the key, and the database's address, which may hold a password."""
        return f"Settings(state_dir={str(self.state_dir)!r}, ftp={self.ftp}, http={self.http}, admin={self.admin})"


_PARSERS = {
    "STATE_DIR": Path, "DATABASE_URL": str.strip, "MEDIA_ROOT": Path, "FTP": parse_address, "HTTP": parse_address,
    "FTPS": parse_address, "HTTPS": parse_address, "PORTAL": parse_address, "PORTAL_URL": parse_url, "ADMIN": parse_address,
    "PUBLIC_HOST": _host, "ADVERTISE": parse_advertised,
    "PASSIVE_PORTS": _ports, "WORKERS": _workers, "TLS_CERT": Path, "TLS_KEY": Path, "TLS": _choice("off", "allow", "require"),
    "FTPS_REUSE": _choice("off", "allow", "require"), "EXPIRES": parse_lasting, "GRACE": parse_duration,
    "DRAIN": parse_duration, "KEEP_TRANSFERS": parse_duration, "TOTAL_RATE": parse_rate, "LEASES": _leases,
    "SECRET_KEY": parse_secret_key, "SECRET_KEY_FALLBACKS": parse_secret_keys, "ALLOWED_HOSTS": _hosts,
    "TRUSTED_PROXIES": _networks, "STAFF_TWO_FACTOR": _choice("allow", "require"), "EMAIL_URL": str.strip,
    "BRIDGE": _dotted, "LOG": _choice("text", "json"),
}  # fmt: skip
NAMES = frozenset(f"FTPGATE_{name}" for name in _PARSERS)


def load(environ: Mapping[str, str] | None = None, *, directory: Path | None = None) -> Settings:
    """The settings of this process.

    Args:
        environ: the environment; the process's own when None.
        directory: where `.env` is looked for and relative paths start; the working directory when None.

    Raises:
        UserError: a name is unknown or a value is bad.
    """
    directory = Path.cwd() if directory is None else directory
    return parse(given(environ, directory), directory)


def given(environ: Mapping[str, str] | None = None, directory: Path | None = None) -> dict[str, str]:
    """What the environment and `.env` say: the `FTPGATE_…` among them, as text. Arguments as of `load`.

    Raises:
        UserError: `.env` cannot be read.
    """
    environ = os.environ if environ is None else environ
    found = {**read_env_file((directory or Path.cwd()) / ".env"), **environ}
    return {name: text for name, text in found.items() if name.startswith("FTPGATE_")}


def parse(given: Mapping[str, str], directory: Path) -> Settings:
    """The settings of `FTPGATE_…` names and texts. Raises as `load`.

    Args:
        directory: where relative paths start.
    """
    values: dict[str, object] = {}
    for name, text in given.items():
        if name not in NAMES:
            raise UserError(f"{name} is not a setting of ftpgate", "correct the name or remove it (see docs/pages/settings.md)")
        if not text.strip():
            continue  # an empty value is the default, as in a shell's NAME= or a unit file
        try:
            values[name.removeprefix("FTPGATE_")] = _PARSERS[name.removeprefix("FTPGATE_")](text)
        except ValueError as error:
            hint = _KEY_HINTS.get(name, "correct the value")
            raise UserError(f"{name}={_shown(name, text)} is {error}", hint) from None

    def path(name: str, default: Path | None) -> Path | None:
        value = values.get(name, default)
        return None if value is None else Path(os.path.abspath(directory / str(value)))

    def get(name: str, default: object) -> object:
        return values.get(name, default)

    state_dir = path("STATE_DIR", Path("var"))
    assert state_dir is not None
    tls, certificate, key = get("TLS", None), path("TLS_CERT", None), path("TLS_KEY", None)
    if (certificate is None) != (key is None):
        raise UserError("only one of FTPGATE_TLS_CERT and FTPGATE_TLS_KEY is given", "give both, or none")
    if certificate is None and (tls in ("allow", "require") or "FTPS" in values or "HTTPS" in values):
        cause = "TLS is asked for, but FTPGATE_TLS_CERT and FTPGATE_TLS_KEY are not given"
        raise UserError(cause, "give both, or set FTPGATE_TLS=off")
    if certificate is None and values.get("FTPS_REUSE") == "require":
        raise UserError("FTPGATE_FTPS_REUSE=require, but FTPGATE_TLS_CERT and FTPGATE_TLS_KEY are not given", "give both")
    implicit = next((name for name in ("FTPS", "HTTPS") if name in values), None)
    if tls == "off" and implicit is not None:
        raise UserError(f"FTPGATE_{implicit} is given, but FTPGATE_TLS=off", "remove one of the two")
    if tls == "require" and "HTTPS" not in values:
        raise UserError("FTPGATE_TLS=require, but FTPGATE_HTTPS is not given", "give it: plain HTTP is redirected there")
    ports, workers = get("PASSIVE_PORTS", range(50_000, 51_000)), get("WORKERS", 1)
    if len(ports) < workers:  # type: ignore[arg-type, operator]
        cause = f"FTPGATE_WORKERS={workers}, but FTPGATE_PASSIVE_PORTS has fewer ports"
        raise UserError(cause, "give it more ports: each worker needs some of its own")
    return Settings(
        state_dir=state_dir,
        database_url=str(get("DATABASE_URL", f"sqlite:///{state_dir / 'ftpgate.sqlite3'}")),
        media_root=path("MEDIA_ROOT", state_dir / "media"),  # type: ignore[arg-type]
        ftp=get("FTP", Address("127.0.0.1", 2121)),  # type: ignore[arg-type]
        http=get("HTTP", Address("127.0.0.1", 8080)),  # type: ignore[arg-type]
        ftps=get("FTPS", None),  # type: ignore[arg-type]
        https=get("HTTPS", None),  # type: ignore[arg-type]
        portal=get("PORTAL", Address("127.0.0.1", 8000)),  # type: ignore[arg-type]
        portal_url=get("PORTAL_URL", None),  # type: ignore[arg-type]
        admin=get("ADMIN", Address("127.0.0.1", 9121)),  # type: ignore[arg-type]
        public_host=get("PUBLIC_HOST", None),  # type: ignore[arg-type]
        advertise=get("ADVERTISE", {}),  # type: ignore[arg-type]
        passive_ports=ports,  # type: ignore[arg-type]
        workers=workers,  # type: ignore[arg-type]
        tls_cert=certificate,
        tls_key=key,
        tls=tls or ("allow" if certificate else "off"),  # type: ignore[arg-type]
        ftps_reuse=get("FTPS_REUSE", "allow"),  # type: ignore[arg-type]
        expires=get("EXPIRES", 7 * 86_400),  # type: ignore[arg-type]
        grace=get("GRACE", 900),  # type: ignore[arg-type]
        drain=get("DRAIN", 30),  # type: ignore[arg-type]
        keep_transfers=get("KEEP_TRANSFERS", 400 * 86_400),  # type: ignore[arg-type]
        total_rate=get("TOTAL_RATE", 0),  # type: ignore[arg-type]
        leases=get("LEASES", None),  # type: ignore[arg-type]
        secret_key=str(get("SECRET_KEY", "")),
        secret_key_fallbacks=get("SECRET_KEY_FALLBACKS", ()),  # type: ignore[arg-type]
        allowed_hosts=get("ALLOWED_HOSTS", ()),  # type: ignore[arg-type]
        trusted_proxies=get("TRUSTED_PROXIES", ()),  # type: ignore[arg-type]
        staff_two_factor=get("STAFF_TWO_FACTOR", "allow"),  # type: ignore[arg-type]
        email_url=str(get("EMAIL_URL", "console:")),
        bridge=str(get("BRIDGE", "webportal.bridge")),
        log=get("LOG", "text"),  # type: ignore[arg-type]
    )


def read_env_file(path: Path) -> dict[str, str]:
    """`NAME=value` lines of a `.env` file; `#` comments, `export` and quotes are understood. {} when there is none.

    Raises:
        UserError: the file cannot be read, or a line is not of that form.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error})", "correct the file or its permissions") from None
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        match = re.fullmatch(r"(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|(.*?))", line)
        if not match:
            raise UserError(f"line {number} of {path} is not NAME=value", "correct the line")
        found[match[1]] = next(group for group in match.groups()[1:] if group is not None)
    return found


def database_file(url: str) -> Path | None:
    """The file of a SQLite address (`sqlite:///PATH`); None for a server's, or for a database in memory."""
    path = url.removeprefix("sqlite:///")
    return None if path in (url, ":memory:") else Path(path)


def secret_key(settings: Settings) -> str:
    """`FTPGATE_SECRET_KEY`, or the key kept in the state folder (made on first use, mode 600).

    Raises:
        UserError: the state folder cannot be written, or the kept key is readable for others or can be guessed.
    """
    if settings.secret_key:
        return settings.secret_key
    path = settings.state_dir / "secret_key"
    try:
        private.make_folder(settings.state_dir)
        made = secrets.token_urlsafe(48)
        temporary = path.with_name(f".secret_key.{os.getpid()}.{secrets.token_hex(4)}")
        if not path.exists():
            # Written aside and linked: two processes that start together agree on one key, and none reads half of it.
            try:
                private.write_new(temporary, made)
                with contextlib.suppress(FileExistsError):
                    os.link(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise UserError(f"{path} is readable for others", f"chmod 600 {path}")
        return parse_secret_key(path.read_text())
    except ValueError as error:
        raise UserError(f"the secret key in {path} is {error}", f"{_NEW_KEY}, and write it there") from None
    except OSError as error:
        cause = f"the secret key cannot be kept in {path} ({os_reason(error)})"
        raise UserError(cause, "correct the folder or set FTPGATE_SECRET_KEY") from None


def secret_keys(settings: Settings) -> tuple[str, ...]:
    """The key that all is made with, and then earlier ones, by which it may be checked and opened. Raises as `secret_key`."""
    return (secret_key(settings), *settings.secret_key_fallbacks)


def derived_key(secret: str, purpose: str) -> bytes:
    """32 bytes for one purpose (HKDF with SHA-256, RFC 5869, without a salt): who learns one key knows no other."""
    pseudorandom = hmac.digest(bytes(32), secret.encode(), "sha256")
    return hmac.digest(pseudorandom, f"ftpgate {purpose}".encode() + b"\1", "sha256")


def _shown(name: str, text: str) -> str:
    """A value for an error line: bounded, and hidden where it may be secret."""
    if name in (*_KEY_HINTS, "FTPGATE_DATABASE_URL", "FTPGATE_EMAIL_URL"):
        return "…"
    return repr((re.sub("//[^/]*@", "//…@", text) if name == "FTPGATE_LEASES" else text)[:80])
