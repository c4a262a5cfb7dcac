"""The locks pin everything by hash, name no place to get it from, and agree."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import pytest

from tests.support.tools import ROOT

LOCKS = ("requirements.lock", "requirements-test.lock", "requirements-docs.lock", "requirements-release.lock")
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


@pytest.mark.parametrize(("one", "other"), [*combinations(LOCKS[1:], 2)])
def test_one_environment_can_hold_what_everything_needs(one: str, other: str) -> None:
    here, there = entries(one), entries(other)
    common = here.keys() & there.keys()
    assert common
    assert {name: here[name] for name in common} == {name: there[name] for name in common}


def supply_chain(what: str, **environ: str) -> subprocess.CompletedProcess[str]:
    if importlib.util.find_spec("cyclonedx_py") is None:
        pytest.skip("its tools are installed by make setup-release")
    script = ROOT / "deploy" / "setup" / "supply_chain.py"
    return subprocess.run([sys.executable, script, what], env=os.environ | environ, capture_output=True, text=True, check=False)


def test_the_sbom_has_every_pinned_package_and_its_hashes() -> None:
    made = [Path(supply_chain("sbom").stdout.strip()) for _ in range(2)]
    bom = json.loads(made[0].read_text())
    assert (bom["bomFormat"], bom["specVersion"], bom["metadata"]["component"]["name"]) == ("CycloneDX", "1.6", "ftpgate")
    found: dict[str, set[str]] = {}
    for part in bom["components"]:
        found.setdefault(part["name"], set()).add(part["version"])
        assert part["externalReferences"][0]["hashes"], part["name"]
    assert found == entries(LOCKS[0])


def test_an_audit_without_network_says_that_nothing_was_checked() -> None:
    done = supply_chain("audit", HTTPS_PROXY="http://127.0.0.1:1", XDG_CACHE_HOME="/nonexistent")
    assert (done.returncode, done.stdout) == (3, "")
    assert "nothing was checked, the advisories cannot be reached" in done.stderr
    assert "Traceback" not in done.stderr
