"""The locks pin everything by hash, name no place to get it from, and agree."""

from __future__ import annotations

import re

import pytest

from tests.support.tools import ROOT

LOCKS = ("requirements.lock", "requirements-test.lock", "requirements-docs.lock")
_ENTRY = re.compile(r"([a-z0-9-]+)==([0-9][^ ]*)( ; [^\\]+)? \\")
_HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}( \\)?")


def entries(lock: str) -> dict[str, set[str]]:
    """Package -> versions."""
    found: dict[str, set[str]] = {}
    for line in (ROOT / lock).read_text().splitlines():
        if match := _ENTRY.fullmatch(line):
            found.setdefault(match[1], set()).add(match[2])
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_every_line_is_a_version_a_hash_or_a_comment(lock: str) -> None:
    previous = ""
    for line in (ROOT / lock).read_text().splitlines():
        assert _ENTRY.fullmatch(line) or _HASH.fullmatch(line) or re.fullmatch(r" *# .*", line), line
        assert "://" not in line
        if _ENTRY.fullmatch(previous):
            assert _HASH.fullmatch(line), f"{previous} has no hash"
        previous = line


def test_the_tests_run_on_what_is_shipped() -> None:
    shipped, tested = map(entries, LOCKS[:2])
    assert shipped
    assert {name: tested.get(name) for name in shipped} == shipped


def test_one_environment_can_hold_what_the_tests_and_the_manual_need() -> None:
    tested, documenting = map(entries, LOCKS[1:])
    common = tested.keys() & documenting.keys()
    assert common
    assert {name: tested[name] for name in common} == {name: documenting[name] for name in common}
