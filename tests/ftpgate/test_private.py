"""What other users of the machine cannot read."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ftpgate import private
from ftpgate.settings import database_file
from webportal.config.database import configuration

STRANGER = 65_534
"""A user and a group of nobody's, for tests that run as root."""
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another user or group")


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def make(path: Path, permissions: int) -> Path:
    """A file with these permissions, in a folder that all can enter."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    path.chmod(permissions)
    return path


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder as it was made under the umask 022 before folders were closed."""
    tmp_path.chmod(0o755)
    folder = tmp_path / "state"
    make(folder / "secret_key", 0o600)
    for name in ("ftpgate.sqlite3", "ftpgate.sqlite3-wal", "journal.sqlite3", "demo-gate.log", "covers/1.jpg", "static/a/b.css"):
        make(folder / name, 0o644)
    for path in (folder, *folder.rglob("*/")):
        path.chmod(0o755)
    return folder


# ------------------------------------------------------------------------------------------------ making
def test_folders_and_files_are_private_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    path = private.make_file(tmp_path / "new" / "journal.sqlite3")
    assert (mode(path.parent), mode(path)) == (0o700, 0o600)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE t (a)")
        connection.commit()
        files = private.database_files(path)
        assert [file.name for file in files] == ["journal.sqlite3", "journal.sqlite3-wal", "journal.sqlite3-shm"]
        assert {mode(file) for file in files} == {0o600}
    assert private.make_file(path) == path
    assert path.stat().st_size, "one that is there keeps its content"


def test_the_shops_database_is_private_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "data" / "shop.sqlite3"
    assert configuration(f"sqlite:///{path}")["NAME"] == str(path)
    assert (mode(path.parent), mode(path)) == (0o700, 0o600)
    assert configuration("sqlite:///:memory:")["NAME"] == ":memory:"


def test_an_empty_folder_is_closed_and_one_in_use_is_left_alone(tmp_path: Path) -> None:
    for name in ("empty", "used"):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o755)
    make(tmp_path / "used" / "notes.txt", 0o644)
    assert mode(private.make_folder(tmp_path / "empty")) == 0o700
    assert mode(private.make_folder(tmp_path / "used")) == 0o755
    with pytest.raises(FileExistsError):
        private.make_folder(tmp_path / "used" / "notes.txt")


# ------------------------------------------------------------------------------------------------ closing
def test_an_older_installation_is_closed(state: Path) -> None:
    before = private.readable(state)
    assert [path.relative_to(state).as_posix() for path in before] == [
        ".", "covers", "demo-gate.log", "ftpgate.sqlite3", "ftpgate.sqlite3-wal", "journal.sqlite3", "static",
    ]  # fmt: skip
    assert private.close(state) == before
    assert {mode(path) for path in state.rglob("*") if path.is_file()} == {0o600}
    assert {mode(path) for path in (state, *state.rglob("*/")) if path.is_dir()} == {0o700}
    assert (private.close(state), private.readable(state)) == ([], [])


def test_media_keep_their_times(state: Path) -> None:
    """An imported file whose ctime changes is taken for another one, and refused."""
    track = make(state / "media" / "Album" / "1.ogg", 0o644)
    before = [(path.stat().st_mode, path.stat().st_ctime_ns) for path in (track, track.parent)]
    private.close(state)
    assert mode(state) == mode(state / "media") == 0o700
    assert [(path.stat().st_mode, path.stat().st_ctime_ns) for path in (track, track.parent)] == before


def test_what_is_not_ours_keeps_its_permissions(state: Path) -> None:
    notes, tool = make(state / "notes.txt", 0o644), make(state / "bin" / "tool", 0o755)
    outside = make(state.parent / "outside", 0o644)
    (state / "demo-portal.log").symlink_to(outside)
    (state / "covers" / "2.jpg").symlink_to(outside)
    private.close(state)
    assert (mode(notes), mode(tool), mode(outside)) == (0o644, 0o755, 0o644)
    assert mode(state) == 0o700, "the folder is ours, and so is everything in it"


@as_root
@pytest.mark.parametrize("theirs", ["notes.txt", "media/Album"])
def test_a_folder_in_which_others_keep_something_is_left_open(state: Path, theirs: str) -> None:
    os.chown(make(state / theirs, 0o644), STRANGER, STRANGER)
    private.close(state)
    assert mode(state) == 0o755
    assert mode(state / theirs) == 0o644
    assert {mode(state / name) for name in ("ftpgate.sqlite3", "demo-gate.log", "journal.sqlite3")} == {0o600}
    assert mode(state / "covers") == 0o700
    assert private.readable(state)[0] == state


@as_root
def test_a_folder_of_another_user_is_left_alone(state: Path) -> None:
    for path in (state, state / "ftpgate.sqlite3"):
        os.chown(path, STRANGER, STRANGER)
    private.close(state)
    assert (mode(state), mode(state / "ftpgate.sqlite3"), mode(state / "demo-gate.log")) == (0o755, 0o644, 0o600)


def test_a_folder_that_is_open_to_everybody_is_left_open(state: Path) -> None:
    state.chmod(0o1777)
    private.close(state)
    assert (mode(state), mode(state / "ftpgate.sqlite3")) == (0o1777, 0o600)


@as_root
def test_a_folder_that_is_shared_with_a_group_stays_so(state: Path) -> None:
    for path in (state, state / "ftpgate.sqlite3"):
        os.chown(path, -1, STRANGER)
    state.chmod(0o2770)
    (state / "ftpgate.sqlite3").chmod(0o664)
    private.close(state)
    assert private.is_shared(state)
    assert (mode(state), mode(state / "ftpgate.sqlite3")) == (0o2770, 0o660)
    assert private.readable(state) == []
    assert mode(private.make_file(state / "new")) == 0o660
    state.chmod(0o2775)
    assert private.readable(state)[0] == state, "what everybody can enter is not shared with a group"
    private.close(state)
    assert mode(state) & 0o777 == 0o700


@pytest.mark.parametrize("permissions", [0o755, 0o750, 0o770])
def test_an_own_group_is_no_reason_to_stay_open(state: Path, permissions: int) -> None:
    state.chmod(permissions)
    private.close(state)
    assert mode(state) == 0o700


def test_a_database_elsewhere_is_closed_and_its_folder_is_not(tmp_path: Path, state: Path) -> None:
    database = make(tmp_path / "data" / "shop.sqlite3", 0o644)
    beside, other = make(tmp_path / "data" / "shop.sqlite3-wal", 0o644), make(tmp_path / "data" / "other", 0o644)
    database.parent.chmod(0o755)
    private.close(state)
    assert private.readable(state, database) == [database, beside]
    assert private.close(state, database) == [database, beside]
    assert [mode(path) for path in (database, beside, other, database.parent)] == [0o600, 0o600, 0o644, 0o755]
    database.chmod(0o644)
    database.parent.chmod(0o700)
    assert private.readable(state, database) == [], "nobody else gets there"


def test_without_a_folder_there_is_nothing_to_close(tmp_path: Path) -> None:
    assert private.close(tmp_path / "missing", tmp_path / "missing" / "shop.sqlite3") == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:////srv/shop.sqlite3", "/srv/shop.sqlite3"),
        ("sqlite:///shop.sqlite3", "shop.sqlite3"),
        ("sqlite:///:memory:", None),
        ("postgres://host/shop", None),
    ],
)
def test_the_file_of_an_address(url: str, path: str | None) -> None:
    assert database_file(url) == (None if path is None else Path(path))


# ------------------------------------------------------------------------------------------------ a process
def test_what_a_process_makes_is_private_but_for_what_others_are_to_read(tmp_path: Path, umask: int) -> None:
    try:
        private.keep_private()
        make_plain(tmp_path / "ours")
        with private.inherited_umask():
            make_plain(tmp_path / "for all")
        make_plain(tmp_path / "ours again")
    finally:
        private._inherited = None
    assert mode(tmp_path / "ours") == mode(tmp_path / "ours again") == 0o600
    assert mode(tmp_path / "for all") == 0o666 & ~umask


def make_plain(path: Path) -> None:
    path.write_bytes(b"")
