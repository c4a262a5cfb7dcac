"""Settings: what they default to, what is refused and in which words, and that secrets stay where they belong."""

from __future__ import annotations

import base64
import dataclasses
import os
import random
import re
import stat
import string
import threading
import uuid
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from ftpgate import settings
from ftpgate.errors import UserError
from ftpgate.settings import (
    Address,
    Settings,
    derived_key,
    load,
    parse_address,
    parse_duration,
    parse_rate,
    parse_secret_key,
    read_env_file,
    secret_key,
    secret_keys,
)
from tests.support.tools import ROOT

KEY = "W7rq2kX0aLz9TfUe4mJc8dYbNsHgPi6v"
OLD_KEY, OLDER_KEY = "kD3vZ8oQyRj1BwGt5xMhCu7nEpAsLf0i", "uT5hQn2Yc9RfLw7eXk0Jm4ZbVs8PdG1a"


def refusal(environ: dict[str, str], directory: Path) -> str:
    with pytest.raises(UserError) as refused:
        load(environ, directory=directory)
    return str(refused.value)


# ---- values


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("0", 0),
        ("1", 1),
        ("512k", 512_000),
        ("512K", 512_000),
        ("2M", 2_000_000),
        ("512Ki", 524_288),
        ("1.5M", 1_500_000),
        ("1.5Mi", 1_572_864),
        ("2G", 2_000_000_000),
        ("1Ti", 1 << 40),
        (" 20 MB/s ", 20_000_000),
        ("9007199254740993", 9_007_199_254_740_993),  # not a float's 9007199254740992
    ],
)
def test_rates(text: str, rate: int) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize(
    "text", ["", "fast", "-1", "1e6", "1i", "k", "1kk", "1,5M", "0x10", "٣", "1_000", "nan", "inf", "5000000T", "9" * 40]
)
def test_bad_rates(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a number of bytes|larger than"):
        parse_rate(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("15m", 900), ("24h", 86_400), ("7d", 604_800), ("2w", 1_209_600), ("30", 30), ("0", 0), (" 7 D ", 604_800)],
)
def test_durations(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-1s", "1.5h", "1h30m", "7days", "1y", "٣d", "999999999w"])
def test_bad_durations(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a duration|longer than"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:2121", Address("127.0.0.1", 2121)),
        ("[::1]:2121", Address("::1", 2121)),
        ("[fe80::1%eth0]:21", Address("fe80::1%eth0", 21)),
        ("localhost:0", Address("localhost", 0)),
        ("0.0.0.0:65535", Address("0.0.0.0", 65_535)),
    ],
)
def test_addresses(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert parse_address(str(address)) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    ["", "127.0.0.1", ":2121", "::1:2121", "[::1]", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:٣", "http://a:1", "a b:1"],
)
def test_bad_addresses(text: str) -> None:
    with pytest.raises(ValueError, match="not an address"):
        parse_address(text)


@given(st.integers(0, 4 * 10**12), st.sampled_from(["", "k", "M"]))
def test_rates_are_exact(number: int, unit: str) -> None:
    assert parse_rate(f"{number}{unit}") == number * {"": 1, "k": 1000, "M": 1_000_000}[unit]


# ---- the whole


def test_the_defaults_are_the_contract_s(tmp_path: Path) -> None:
    found = load({}, directory=tmp_path)
    assert dataclasses.asdict(found) == {
        "state_dir": tmp_path / "var",
        "database_url": f"sqlite:///{tmp_path}/var/ftpgate.sqlite3",
        "media_root": tmp_path / "var" / "media",
        "ftp": ("127.0.0.1", 2121),
        "http": ("127.0.0.1", 8080),
        "ftps": None,
        "https": None,
        "portal": ("127.0.0.1", 8000),
        "admin": ("127.0.0.1", 9121),
        "public_host": None,
        "advertise": {},
        "passive_ports": range(50_000, 51_000),
        "workers": 1,
        "tls_cert": None,
        "tls_key": None,
        "tls": "off",
        "ftps_reuse": "allow",
        "expires": 604_800,
        "grace": 900,
        "drain": 30,
        "keep_transfers": 400 * 86_400,
        "total_rate": 0,
        "leases": None,
        "secret_key": "",
        "secret_key_fallbacks": (),
        "allowed_hosts": (),
        "trusted_proxies": (),
        "portal_url": None,
        "staff_two_factor": "allow",
        "email_url": "console:",
        "bridge": "webportal.bridge",
        "log": "text",
    }


def test_every_setting_can_be_given(tmp_path: Path) -> None:
    given_settings = {
        "FTPGATE_STATE_DIR": "/srv/state",
        "FTPGATE_DATABASE_URL": "postgres://shop@db/shop",
        "FTPGATE_MEDIA_ROOT": "music",
        "FTPGATE_FTP": "0.0.0.0:21",
        "FTPGATE_HTTP": "[::]:80",
        "FTPGATE_FTPS": "0.0.0.0:990",
        "FTPGATE_HTTPS": "0.0.0.0:443",
        "FTPGATE_PORTAL": "127.0.0.1:1",
        "FTPGATE_PORTAL_URL": "https://Shop.example.org/",
        "FTPGATE_ADMIN": "127.0.0.1:2",
        "FTPGATE_PUBLIC_HOST": "gate.example.org",
        "FTPGATE_ADVERTISE": "ftp=ftp.example.org:21, https=[2001:db8::1]:443",
        "FTPGATE_PASSIVE_PORTS": "40000 - 40002",
        "FTPGATE_TLS_CERT": "cert.pem",
        "FTPGATE_TLS_KEY": "/etc/key.pem",
        "FTPGATE_TLS": "Require",
        "FTPGATE_FTPS_REUSE": "require",
        "FTPGATE_EXPIRES": "30d",
        "FTPGATE_GRACE": "0",
        "FTPGATE_DRAIN": "5m",
        "FTPGATE_KEEP_TRANSFERS": "0",
        "FTPGATE_TOTAL_RATE": "100M",
        "FTPGATE_LEASES": "valkeys://:secret@[::1]:6380/2",
        "FTPGATE_SECRET_KEY": KEY,
        "FTPGATE_SECRET_KEY_FALLBACKS": f"{OLD_KEY} ,{OLDER_KEY},",
        "FTPGATE_ALLOWED_HOSTS": "shop.example.org, www.example.org,",
        "FTPGATE_WORKERS": "3",
        "FTPGATE_TRUSTED_PROXIES": "127.0.0.1, 10.0.0.0/8, ::1,",
        "FTPGATE_STAFF_TWO_FACTOR": "require",
        "FTPGATE_EMAIL_URL": "smtp://mail",
        "FTPGATE_BRIDGE": "other.shop",
        "FTPGATE_LOG": "json",
    }
    assert set(given_settings) == settings.NAMES
    assert load(given_settings, directory=tmp_path) == Settings(
        state_dir=Path("/srv/state"),
        database_url="postgres://shop@db/shop",
        media_root=tmp_path / "music",
        ftp=Address("0.0.0.0", 21),
        http=Address("::", 80),
        ftps=Address("0.0.0.0", 990),
        https=Address("0.0.0.0", 443),
        portal=Address("127.0.0.1", 1),
        portal_url="https://shop.example.org",
        admin=Address("127.0.0.1", 2),
        public_host="gate.example.org",
        advertise={"ftp": "ftp.example.org:21", "https": "[2001:db8::1]:443"},
        passive_ports=range(40_000, 40_003),
        workers=3,
        tls_cert=tmp_path / "cert.pem",
        tls_key=Path("/etc/key.pem"),
        tls="require",
        ftps_reuse="require",
        expires=30 * 86_400,
        grace=0,
        drain=300,
        keep_transfers=0,
        total_rate=100_000_000,
        leases="valkeys://:secret@[::1]:6380/2",
        secret_key=KEY,
        secret_key_fallbacks=(OLD_KEY, OLDER_KEY),
        allowed_hosts=("shop.example.org", "www.example.org"),
        trusted_proxies=tuple(map(ip_network, ("127.0.0.1", "10.0.0.0/8", "::1"))),
        staff_two_factor="require",
        email_url="smtp://mail",
        bridge="other.shop",
        log="json",
    )


@pytest.mark.parametrize("url", ["https://shop.example.org", "http://localhost:8000", "https://[2001:db8::1]:8443"])
def test_the_portals_address_is_taken(url: str, tmp_path: Path) -> None:
    assert load({"FTPGATE_PORTAL_URL": f" {url}/ "}, directory=tmp_path).portal_url == url


@pytest.mark.parametrize(
    "url", ["shop.example.org", "ftp://shop", "https://", "https://a/shop", "https://u@a", "https://a:99999", "https://a?b"]
)
def test_what_is_no_address_of_a_site_is_refused(url: str, tmp_path: Path) -> None:
    assert "not the address of a site" in refusal({"FTPGATE_PORTAL_URL": url}, tmp_path)


def test_the_environment_beats_the_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("FTPGATE_GRACE=1\nFTPGATE_DRAIN=2\nOTHER=x\n")
    found = load({"FTPGATE_GRACE": "3", "PATH": "/bin"}, directory=tmp_path)
    assert (found.grace, found.drain) == (3, 2)


def test_the_process_s_own_environment_and_folder_are_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in settings.NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FTPGATE_GRACE", "7")
    monkeypatch.chdir(tmp_path)
    assert (load().grace, load().state_dir) == (7, tmp_path / "var")


def test_the_media_folder_follows_the_state_folder(tmp_path: Path) -> None:
    found = load({"FTPGATE_STATE_DIR": "elsewhere"}, directory=tmp_path)
    assert found.media_root == tmp_path / "elsewhere" / "media"
    assert str(tmp_path / "elsewhere") in found.database_url


@pytest.mark.parametrize("value", ["", "  "])
def test_an_empty_value_is_the_default(value: str, tmp_path: Path) -> None:
    assert load({"FTPGATE_GRACE": value}, directory=tmp_path).grace == 900


def test_nothing_can_be_changed(tmp_path: Path) -> None:
    found = load({}, directory=tmp_path)
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.grace = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FTPGATE_FTP", "2121"),
        ("FTPGATE_PASSIVE_PORTS", "50999-50000"),
        ("FTPGATE_PASSIVE_PORTS", "0-10"),
        ("FTPGATE_PASSIVE_PORTS", "60000-70000"),
        ("FTPGATE_WORKERS", "0"),
        ("FTPGATE_WORKERS", "65"),
        ("FTPGATE_WORKERS", "many"),
        ("FTPGATE_TLS", "yes"),
        ("FTPGATE_EXPIRES", "soon"),
        ("FTPGATE_ADVERTISE", "gate.example.org:21"),
        ("FTPGATE_ADVERTISE", "ftp=gate.example.org"),
        ("FTPGATE_ADVERTISE", "ftp=gate.example.org:21,ftp=gate.example.org:22"),
        ("FTPGATE_ADVERTISE", "gopher=gate.example.org:70"),
        ("FTPGATE_ADVERTISE", "http=0.0.0.0:80"),
        ("FTPGATE_ADVERTISE", "http=[::]:80"),
        ("FTPGATE_ADVERTISE", "http=gate.example.org:0"),
        ("FTPGATE_ADVERTISE", "http=gate.example.org:70000"),
        ("FTPGATE_ADVERTISE", "http=user@gate:80"),
        ("FTPGATE_ADVERTISE", "http=gate.example.org:80,"),
        ("FTPGATE_PUBLIC_HOST", "http://shop.example.org/"),
        ("FTPGATE_PUBLIC_HOST", "shop.example.org:8080"),
        ("FTPGATE_PUBLIC_HOST", "shop example"),
        ("FTPGATE_ALLOWED_HOSTS", "shop.example.org,http://www.example.org"),
        ("FTPGATE_ALLOWED_HOSTS", "shop.example.org:8000"),
        ("FTPGATE_TRUSTED_PROXIES", "proxy.example.org"),
        ("FTPGATE_TRUSTED_PROXIES", "10.0.0.1/8"),
        ("FTPGATE_TRUSTED_PROXIES", "*"),
        ("FTPGATE_TOTAL_RATE", "fast"),
        ("FTPGATE_LEASES", "memcached://127.0.0.1"),
        ("FTPGATE_LEASES", "valkey://"),
        ("FTPGATE_LEASES", "redis://127.0.0.1:70000/0"),
        ("FTPGATE_LEASES", "valkey://127.0.0.1/zero"),
        ("FTPGATE_BRIDGE", "webportal/bridge.py"),
        ("FTPGATE_LOG", "xml"),
    ],
)
def test_a_bad_value_is_named_with_its_cause_in_one_line(name: str, value: str, tmp_path: Path) -> None:
    line = refusal({name: value}, tmp_path)
    assert f"{name}={value!r} is not" in line
    assert "\n" not in line


def test_the_password_of_a_store_of_leases_is_not_shown(tmp_path: Path) -> None:
    line = refusal({"FTPGATE_LEASES": "valkey://:hush@cache.example/zero"}, tmp_path)
    assert "FTPGATE_LEASES='valkey://…@cache.example/zero' is not the address of a Valkey server" in line


def test_grants_that_would_expire_at_once_are_no_choice(tmp_path: Path) -> None:
    assert "FTPGATE_EXPIRES='0' is no time at all" in refusal({"FTPGATE_EXPIRES": "0"}, tmp_path)


@pytest.mark.parametrize(
    ("text", "host"),
    [("gate.example.org", "gate.example.org"), ("192.0.2.1", "192.0.2.1"), ("2001:DB8::1", "2001:db8::1"), ("[::1]", "::1")],
)
def test_the_public_host_may_be_a_name_or_an_address(text: str, host: str, tmp_path: Path) -> None:
    assert load({"FTPGATE_PUBLIC_HOST": text}, directory=tmp_path).public_host == host


def test_auto_is_a_worker_for_each_processor(tmp_path: Path) -> None:
    assert load({"FTPGATE_WORKERS": "Auto"}, directory=tmp_path).workers == min(len(os.sched_getaffinity(0)), 64)


def test_each_worker_needs_a_passive_port(tmp_path: Path) -> None:
    line = refusal({"FTPGATE_WORKERS": "3", "FTPGATE_PASSIVE_PORTS": "40000-40001"}, tmp_path)
    assert line.startswith("FTPGATE_WORKERS=3, but FTPGATE_PASSIVE_PORTS has fewer ports: ")


def test_hosts_are_those_that_django_knows(tmp_path: Path) -> None:
    found = load({"FTPGATE_ALLOWED_HOSTS": "a.example, .b.example, *, [::1]"}, directory=tmp_path)
    assert found.allowed_hosts == ("a.example", ".b.example", "*", "[::1]")


def test_an_unknown_name_is_named(tmp_path: Path) -> None:
    assert "FTPGATE_GRASE is not a setting" in refusal({"FTPGATE_GRASE": "1"}, tmp_path)
    (tmp_path / ".env").write_text("FTPGATE_PROT=1")
    assert "FTPGATE_PROT" in refusal({}, tmp_path)


def test_a_bad_value_of_any_length_is_one_short_line(tmp_path: Path) -> None:
    assert len(refusal({"FTPGATE_GRACE": "x\n" * 10_000}, tmp_path)) < 400


@pytest.mark.parametrize(
    "environ",
    [
        {"FTPGATE_TLS_CERT": "c"},
        {"FTPGATE_TLS_KEY": "k"},
        {"FTPGATE_TLS": "allow"},
        {"FTPGATE_TLS": "require"},
        {"FTPGATE_FTPS_REUSE": "require"},
        {"FTPGATE_FTPS": "127.0.0.1:990"},
        {"FTPGATE_HTTPS": "127.0.0.1:443"},
    ],
)
def test_tls_needs_certificate_and_key(environ: dict[str, str], tmp_path: Path) -> None:
    line = refusal(environ, tmp_path)
    assert "FTPGATE_TLS_CERT" in line
    assert "FTPGATE_TLS_KEY" in line


def test_with_a_certificate_tls_is_allowed(tmp_path: Path) -> None:
    both = {"FTPGATE_TLS_CERT": "c", "FTPGATE_TLS_KEY": "k"}
    assert load(both, directory=tmp_path).tls == "allow"
    assert load({**both, "FTPGATE_TLS": "off"}, directory=tmp_path).tls == "off"


@pytest.mark.parametrize("show", [repr, str])
def test_what_is_printed_hides_what_is_secret(show: Callable[[object], str], tmp_path: Path) -> None:
    secret = {
        "FTPGATE_SECRET_KEY": f"hush1 {KEY}",
        "FTPGATE_SECRET_KEY_FALLBACKS": f"hush4 {KEY}",
        "FTPGATE_DATABASE_URL": "postgres://u:hush2@h/d",
        "FTPGATE_EMAIL_URL": "smtp://u:hush3@h",
    }
    assert "hush" not in show(load(secret, directory=tmp_path))


# ---- the .env file


def test_lines_of_an_env_file(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text(
        "# a comment\n\n"
        "PLAIN=value\n"
        "export EXPORTED = spaced \n"
        'DOUBLE="two words # no comment"\n'
        "SINGLE='it is \"quoted\"'\n"
        "EMPTY=\n"
        "URL=postgres://u:p@h/d?a=b#c\n"
        "WORD=Музыка\r\n",
        encoding="utf-8",
    )
    assert read_env_file(path) == {
        "PLAIN": "value",
        "EXPORTED": "spaced",
        "DOUBLE": "two words # no comment",
        "SINGLE": 'it is "quoted"',
        "EMPTY": "",
        "URL": "postgres://u:p@h/d?a=b#c",
        "WORD": "Музыка",
    }


def test_no_env_file_is_no_settings(tmp_path: Path) -> None:
    assert read_env_file(tmp_path / ".env") == {}


@pytest.mark.parametrize("line", ["NOT A LINE", "=value", "1NAME=x", "A-B=x"])
def test_a_bad_line_is_named_by_its_number(line: str, tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text(f"A=1\n# B\n{line}\n")
    with pytest.raises(UserError, match=r"line 3 of .*\.env"):
        read_env_file(path)


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    folder = tmp_path / ".env"
    folder.mkdir()
    with pytest.raises(UserError, match=r"\.env cannot be read"):
        read_env_file(folder)
    latin = tmp_path / "latin"
    latin.write_bytes("A=é".encode("latin-1"))
    with pytest.raises(UserError, match="latin cannot be read"):
        read_env_file(latin)


# ---- the secret key


def test_a_given_key_is_used_and_nothing_is_written(tmp_path: Path) -> None:
    assert secret_key(load({"FTPGATE_SECRET_KEY": KEY}, directory=tmp_path)) == KEY
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("a", "too short"),
        ("CHANGE-ME", "too short"),
        ("secret", "too short"),
        (KEY[:-1], "too short"),
        ("CHANGE-ME to something long and random, please", "an example's"),
        ("change_me_change_me_change_me_change_me", "an example's"),
        ("django-insecure-#8w)k2v!f0s7yqz$4jx^mpn1c6h%e9rb", "an example's"),
        ("your-own-secret-key-goes-here-0001", "an example's"),
        ("my very secret key for the shop in 2026", "an example's"),
        ("Password1Password2Password3Password4", "an example's"),
        ("python3 -c 'import secrets; print(secrets.token_urlsafe(48))'", "an example's"),
        ("$(openssl rand -base64 48) and some more", "an example's"),
        ("TopSecret: 8fK2 and 20 other characters", "an example's"),
        ("do-not-use-this-in-any-shop-of-yours-9", "an example's"),
        ("a" * 64, "easy to guess"),
        ("0123456789" * 5, "easy to guess"),
        ("abcdefghijklmnopqrstuvwxyz0123456789", "easy to guess"),
        ("ZYXWVUTSRQPONMLKJIHGFEDCBA9876543210", "easy to guess"),
        ("qwertyuiopasdfghjklzxcvbnm1234567890", "easy to guess"),
        ("ftpgate" * 10, "easy to guess"),
        ("letmein!" * 8, "easy to guess"),
        ("01" * 32, "easy to guess"),
    ],
)
def test_a_key_that_can_be_guessed_is_refused(tmp_path: Path, key: str, why: str) -> None:
    said = refusal({"FTPGATE_SECRET_KEY": key}, tmp_path)
    assert said.startswith(f"FTPGATE_SECRET_KEY=… is {why}")
    assert said.endswith("secrets.token_urlsafe(48))'")
    found = load({}, directory=tmp_path)
    secret_key(found)
    (found.state_dir / "secret_key").write_text(key)
    with pytest.raises(UserError, match=rf"the secret key in .*/secret_key is {why}"):
        secret_key(found)


def test_an_earlier_key_that_can_be_guessed_is_refused(tmp_path: Path) -> None:
    said = refusal({"FTPGATE_SECRET_KEY": KEY, "FTPGATE_SECRET_KEY_FALLBACKS": f"{OLD_KEY},{'letmein!' * 8}"}, tmp_path)
    assert said.startswith("FTPGATE_SECRET_KEY_FALLBACKS=… is easy to guess")
    assert OLD_KEY not in said


def test_earlier_keys_come_behind_the_kept_one(tmp_path: Path) -> None:
    found = load({"FTPGATE_SECRET_KEY_FALLBACKS": OLD_KEY}, directory=tmp_path)
    assert secret_keys(found) == (secret_key(found), OLD_KEY)


def test_keys_for_purposes_are_as_rfc_5869_derives_them() -> None:
    for secret in (KEY, "ключ", "x" * 500):
        for purpose in ("receipts", "portal"):
            made = HKDF(SHA256(), 32, salt=None, info=f"ftpgate {purpose}".encode()).derive(secret.encode())
            assert derived_key(secret, purpose) == made


def test_samples_in_documents_are_no_keys(tmp_path: Path) -> None:
    files = [path for path in (ROOT / "deploy").rglob("*") if path.is_file() and path.parent.name != "__pycache__"]
    for document in [*files, ROOT / "README.md"]:
        for sample in re.findall(r"SECRET_KEY=(\S+)", document.read_text()):
            assert "SECRET_KEY" in refusal({"FTPGATE_SECRET_KEY": sample.strip("`")}, tmp_path)


def test_a_kept_key_that_is_empty_is_refused(tmp_path: Path) -> None:
    found = load({}, directory=tmp_path)
    secret_key(found)
    (found.state_dir / "secret_key").write_text("")
    with pytest.raises(UserError, match="too short"):
        secret_key(found)


@pytest.mark.parametrize("seed", range(3))
def test_random_keys_are_taken(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(500):
        for key in (
            chance.randbytes(16).hex(),
            base64.b64encode(chance.randbytes(24)).decode(),
            str(uuid.UUID(bytes=chance.randbytes(16))),
            "".join(chance.choices("0123456789", k=40)),
            "".join(chance.choices(string.printable.strip(), k=32)),
        ):
            assert parse_secret_key(f" {key}\n") == key.strip()
    assert parse_secret_key("seven grey herons above a cold lake, 0123456789abcdef")


def test_the_key_is_made_once_and_kept_for_its_owner_only(tmp_path: Path) -> None:
    found = load({}, directory=tmp_path)
    key = secret_key(found)
    assert len(key) >= 50
    assert secret_key(found) == key
    path = found.state_dir / "secret_key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in found.state_dir.iterdir()] == ["secret_key"]


def test_processes_that_start_together_agree_on_one_key(tmp_path: Path) -> None:
    found = load({}, directory=tmp_path)
    together, keys = threading.Barrier(16), []

    def start() -> None:
        together.wait(10)
        keys.append(secret_key(found))

    threads = [threading.Thread(target=start) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(keys) == 16
    assert len(set(keys)) == 1
    assert [entry.name for entry in found.state_dir.iterdir()] == ["secret_key"]


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    found = load({}, directory=tmp_path)
    secret_key(found)
    os.chmod(found.state_dir / "secret_key", 0o640)
    with pytest.raises(UserError, match="readable for others: chmod 600"):
        secret_key(found)


def test_a_state_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="secret key cannot be kept"):
        secret_key(load({"FTPGATE_STATE_DIR": "file"}, directory=tmp_path))
