"""The filter for fail2ban finds the addresses in the log's lines, and nothing that a client could write there."""

from __future__ import annotations

import configparser
import logging
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ftpgate.process.logs import JsonFormatter, TextFormatter
from tests.support.tools import PATH, ROOT

FOLDER = ROOT / "deploy" / "fail2ban"
FILTER = FOLDER / "filter.d" / "ftpgate.conf"
ADDRESSES = ("192.0.2.7", "2001:db8::7", "::1")
SAID = (
    "token from {}",
    "token from {} (38 more)",
    "sign-in from {} by password",
    "sign-in from {} by code",
    "sign-in from {} by API key",
)
FAILED = [f"failed {said.format(address)}" for address in ADDRESSES for said in SAID]
OTHERS = (
    "a proxy (Via: failed token from 198.51.100.1) stands before the gate",
    "failed token from nobody",
    "failed token from 198.51.100.1, it says",
    "failed sign-in from 198.51.100.1 by password, it says",
    'x", "message": "failed token from 198.51.100.1',
    "WARNING ftpgate.access: failed token from 198.51.100.1",
)


def lines(formatter: logging.Formatter, messages: tuple[str, ...] | list[str], level: int = logging.WARNING) -> list[str]:
    return [formatter.format(logging.LogRecord("ftpgate.access", level, "", 0, message, (), None)) for message in messages]


def journal(line: str) -> str:
    """As fail2ban has it from systemd's journal."""
    return f"host ftpgate[123]: {line}"


@pytest.fixture(params=[TextFormatter, JsonFormatter], ids=["text", "json"])
def formatter(request: pytest.FixtureRequest) -> logging.Formatter:
    made: logging.Formatter = request.param()
    return made


def expressions() -> list[re.Pattern[str]]:
    """The filter's, with what fail2ban puts for an address."""
    parsed = configparser.ConfigParser()
    parsed.read(FILTER)
    found = parsed["Definition"]["failregex"].split("\n")
    return [re.compile(line.replace("<ADDR>", r"(?P<address>[0-9a-f.:]*[.:][0-9a-f.:]*)")) for line in found]


def found(line: str) -> str | None:
    matches = [match for each in expressions() if (match := each.search(line))]
    return matches[0]["address"] if matches else None


def test_the_filters_expressions(formatter: logging.Formatter) -> None:
    def seen(line: str) -> list[str]:
        """The time is taken out of lines of files, and left in those of the journal."""
        return [re.sub(r"\d{4}-\d\d-\d\dT[\d:]+Z", "", line, count=1), journal(line)]

    for message, line in zip(FAILED, lines(formatter, FAILED), strict=True):
        assert [found(each) for each in seen(line)] == [message.split()[3]] * 2
    for line in (*lines(formatter, OTHERS), *lines(formatter, FAILED, logging.INFO)):
        assert [found(each) for each in seen(line)] == [None, None]


def test_fail2ban_itself(formatter: logging.Formatter, tmp_path: Path) -> None:
    program = shutil.which("fail2ban-regex", path=PATH)
    if program is None:
        pytest.skip("fail2ban is not installed; it would start a service, so nothing here installs it")
    log = tmp_path / "gate.log"
    log.write_text("\n".join([*lines(formatter, FAILED), *lines(formatter, OTHERS)]) + "\n")
    done = subprocess.run([program, "--print-all-missed", str(log), str(FILTER)], capture_output=True, text=True, check=True)
    assert f"{len(FAILED)} matched, {len(OTHERS)} missed" in done.stdout, done.stdout


def test_the_jail_uses_the_filter() -> None:
    parsed = configparser.ConfigParser(interpolation=None)
    parsed.read(FOLDER / "jail.d" / "ftpgate.conf")
    assert parsed["ftpgate"]["filter"] == FILTER.stem
    units = {path.name for path in (ROOT / "deploy" / "systemd").glob("*.service")}
    assert set(re.findall(r"_SYSTEMD_UNIT=(\S+)", FILTER.read_text())) == units
