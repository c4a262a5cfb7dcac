"""The service units load, and stay shut off from what they do not need."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ftpgate import settings
from tests.support.tools import ROOT

DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
SOCKETS = DEPLOY / "systemd" / "ftpgate-gate.socket"


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    # Not among the components of `make tools`: where there is no systemd, there is nothing to run the units either.
    program = shutil.which("systemd-analyze") or pytest.skip("systemd-analyze is missing")
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


def copied(unit: Path, to: Path) -> Path:
    """A copy of a unit that names the programs of this environment, since systemd looks whether they are there."""
    copy = to / unit.name
    copy.write_text(unit.read_text().replace("/opt/ftpgate/.venv/bin", str(Path(sys.executable).parent)))
    return copy


@pytest.fixture
def unit(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return copied(request.param, tmp_path)


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name, indirect=True)
def test_systemd_understands_the_unit(unit: Path) -> None:
    done = analyze("verify", "--man=no", str(unit))
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name, indirect=True)
def test_the_unit_is_hardened(unit: Path) -> None:
    # systemd's own measure, 0 to 10; a service as it comes has 9.6. The threshold is in tenths.
    done = analyze("security", "--offline=yes", "--threshold=15", str(unit))
    assert done.returncode == 0, done.stdout


def test_the_gate_is_given_the_time_to_drain() -> None:
    given = settings.read_env_file(DEPLOY / "ftpgate.env.example") | {"FTPGATE_SECRET_KEY": "W7rq2kX0aLz9TfUe4mJc8dYbNsHgPi6v"}
    example = settings.load(given, directory=Path("/"))
    unit = (DEPLOY / "systemd" / "ftpgate-gate.service").read_text()
    stop = next(line.removeprefix("TimeoutStopSec=") for line in unit.splitlines() if line.startswith("TimeoutStopSec="))
    assert settings.parse_duration(stop) >= 2 * example.drain


def test_a_reload_takes_the_settings_that_the_unit_names_now() -> None:
    [start], [reload] = lines("gate", "ExecStart"), lines("gate", "ExecReload")
    assert reload == start.replace("ftpgate serve", "ftpgate reload --environment")


def test_systemd_understands_the_sockets(tmp_path: Path) -> None:
    copied(DEPLOY / "systemd" / "ftpgate-gate.service", tmp_path)
    done = analyze("verify", "--man=no", str(copied(SOCKETS, tmp_path)))
    assert (done.returncode, done.stderr) == (0, "")


def test_the_sockets_are_those_that_the_example_names() -> None:
    example = settings.read_env_file(DEPLOY / "ftpgate.env.example")
    listening = [line.removeprefix("ListenStream=") for line in SOCKETS.read_text().splitlines() if line.startswith("Listen")]
    assert listening == [example[f"FTPGATE_{name}"] for name in ("FTP", "HTTP", "HTTPS")]


def lines(unit: str, name: str) -> list[str]:
    """The values of a setting."""
    text = (DEPLOY / "systemd" / f"ftpgate-{unit}.service").read_text()
    return [line.removeprefix(f"{name}=") for line in text.splitlines() if line.startswith(f"{name}=")]


def test_the_services_are_two_users_with_a_folder_each() -> None:
    users = (DEPLOY / "systemd" / "ftpgate.sysusers").read_text()
    states = []
    for unit in ("gate", "portal"):
        [user], [group] = lines(unit, "User"), lines(unit, "SupplementaryGroups")
        assert f"\nu {user} " in users
        assert f"\nm {user} {group}\n" in users
        [state] = lines(unit, "StateDirectory")
        assert lines(unit, "Environment") == [f"FTPGATE_STATE_DIR=/var/lib/{state}"]
        assert lines(unit, "StateDirectoryMode") == ["0700"]
        states.append((user, state))
    assert len(set(states)) == len({user for user, _ in states}) == len({state for _, state in states}) == 2
    example = (DEPLOY / "ftpgate.env.example").read_text()
    assert "\nFTPGATE_STATE_DIR=" not in example, "an EnvironmentFile would beat the units"
    assert "\nFTPGATE_SECRET_KEY=" in example


def test_the_gate_may_not_write_the_media() -> None:
    example = settings.read_env_file(DEPLOY / "ftpgate.env.example")
    media = example["FTPGATE_MEDIA_ROOT"]
    assert lines("gate", "ProtectSystem") == ["strict"]
    assert media not in " ".join(lines("gate", "ReadWritePaths"))
    assert media in " ".join(lines("portal", "ReadWritePaths"))
