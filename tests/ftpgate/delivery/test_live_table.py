"""The table of running transfers: what a gate that was killed leaves of them."""

from __future__ import annotations

import os
import resource
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from struct import Struct

import pytest

from ftpgate.delivery import live_table
from ftpgate.delivery.live_table import FIRST_ROWS, NO_SLOT, ROWS, LiveTable, lock, read
from ftpgate.proof.segments import Evidence

RUNNING = Evidence("gate-1", "grant", "f7", 1_000, 9_000_000, 1_000, 1_000, 1_000, 0, 1_000, paced=True)
STAMP = Struct("@Q")


@pytest.fixture
def table(tmp_path: Path) -> Iterator[LiveTable]:
    with closing(make(tmp_path / "gate.bin")) as table:
        yield table


def make(path: Path) -> LiveTable:
    """A table that has rows."""
    table = LiveTable(path)
    table.extend(table.reserve(table.wanted))
    return table


def fill(table: LiveTable, slot: int) -> None:
    table.written(slot, 600_000, 600_000)
    table.update(slot, 500_000, 480_000, 20_000, 300_000)


def found(table: LiveTable) -> list[Evidence]:
    return sorted(read(table.path), key=lambda evidence: evidence.id)


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_was_stored_last_is_read(table: LiveTable) -> None:
    slot = table.add(RUNNING)
    other = table.add(replace(RUNNING, id="gate-2", resource="z33", paced=False))
    table.update(slot, 500_000, 480_000, 20_000, 300_000)
    table.written(slot, 700_000, 700_000)
    table.written(other, 2_000, 2_000)
    assert found(table) == [
        Evidence(
            "gate-1", "grant", "f7", 1_000, 9_000_000, 700_000, 700_000, 480_000, 20_000, 300_000, paced=True, exact=True
        ),
        replace(RUNNING, id="gate-2", resource="z33", sent=2_000, acknowledged=2_000, paced=False, exact=True),
    ]  # fmt: skip


def test_what_was_removed_is_not_read_and_its_row_is_used_again(table: LiveTable) -> None:
    slot = table.add(RUNNING)
    fill(table, slot)
    table.remove(slot)
    assert found(table) == []
    assert table.add(replace(RUNNING, id="gate-2")) == slot
    assert found(table) == [replace(RUNNING, id="gate-2", exact=True)]


def test_a_row_torn_by_the_gates_end_keeps_what_is_whole_at_any_moment(table: LiveTable) -> None:
    """The first stamp is stored before the other fields, the second one after them."""
    slot = table.add(RUNNING)
    fill(table, slot)
    with table.path.open("r+b") as file:
        file.seek(slot)
        file.write(STAMP.pack(99))
    (torn,) = found(table)
    assert torn == replace(RUNNING, sent=600_000, acknowledged=600_000, shown=300_000, credited=300_000, exact=True)


def test_a_row_torn_while_it_is_taken_credits_nothing_of_who_had_it_before(table: LiveTable) -> None:
    slot = table.add(replace(RUNNING, start=0, credited=0))
    fill(table, slot)
    table.remove(slot)
    with table.path.open("r+b") as file:
        file.seek(slot)
        file.write(STAMP.pack(99))
    assert [evidence.credited for evidence in found(table)] == [0]


@pytest.mark.parametrize(
    ("field", "value"), [("sent", 9_000_001), ("credited", 800_000)], ids=["sent beyond its end", "credited beyond what was sent"]
)
def test_a_row_whose_positions_make_no_sense_is_left_out(table: LiveTable, field: str, value: int) -> None:
    slot = table.add(RUNNING)
    positions = {"sent": 700_000, "acknowledged": 600_000, "shown": 500_000, "hidden_bytes": 0, "credited": 400_000}
    positions[field] = value
    written = positions.pop("sent")
    table.written(slot, written, written)
    table.update(slot, **positions)
    assert found(table) == []


def test_a_write_that_the_gates_end_interrupted_may_have_gone_through(table: LiveTable) -> None:
    slot = table.add(RUNNING)
    fill(table, slot)
    table.offered(slot, 650_000)
    (interrupted,) = found(table)
    assert (interrupted.acknowledged, interrupted.sent) == (600_000, 650_000)
    table.written(slot, 640_000, 645_000)  # of the last record that OpenSSL was given, a part is with the kernel
    (interrupted,) = found(table)
    assert (interrupted.acknowledged, interrupted.sent) == (640_000, 645_000)


def test_after_a_restart_of_the_machine_nothing_is_exact(table: LiveTable, monkeypatch: pytest.MonkeyPatch) -> None:
    table.add(RUNNING)
    monkeypatch.setattr(live_table, "_boot_id", lambda: b"another".ljust(36, b"\0"))
    assert found(table) == [RUNNING]


def test_it_grows_before_it_is_full_and_keeps_what_it_has(table: LiveTable) -> None:
    assert table.wanted == FIRST_ROWS
    slots = [table.add(replace(RUNNING, id=f"gate-{number}")) for number in range(FIRST_ROWS)]
    assert NO_SLOT not in slots
    assert table.add(RUNNING) == NO_SLOT
    assert table.wanted == 2 * FIRST_ROWS
    table.extend(table.reserve(table.wanted))
    assert table.wanted == table.rows == 2 * FIRST_ROWS
    more = [table.add(replace(RUNNING, id=f"more-{number}")) for number in range(FIRST_ROWS)]
    assert len({*slots, *more}) == 2 * FIRST_ROWS
    assert {evidence.id for evidence in read(table.path)} >= {"gate-0", f"gate-{FIRST_ROWS - 1}", f"more-{FIRST_ROWS - 1}"}


def test_it_does_not_grow_for_ever(table: LiveTable) -> None:
    while table.rows < ROWS:
        table.extend(table.reserve(table.rows * 2))
    for number in range(ROWS):
        table.add(replace(RUNNING, id=str(number)))
    assert table.wanted == ROWS
    assert table.add(RUNNING) == NO_SLOT
    assert table.left_out == 1
    assert len(read(table.path)) == ROWS


def test_what_has_no_slot_is_updated_and_removed_as_any_other(table: LiveTable) -> None:
    slot = table.add(replace(RUNNING, resource="z" * 200))
    assert slot == NO_SLOT
    table.update(slot, 2, 2, 2, 2)
    table.offered(slot, 3)
    table.written(slot, 3, 3)
    table.remove(slot)
    assert found(table) == []
    assert table.used == 0


def test_a_full_disk_leaves_the_rows_as_they_are(table: LiveTable) -> None:
    slots = [table.add(replace(RUNNING, id=f"gate-{number}")) for number in range(FIRST_ROWS)]
    with files_no_larger_than(FIRST_ROWS * 256), pytest.raises(OSError, match="File too large"):
        table.reserve(table.wanted)
    assert table.rows == FIRST_ROWS
    fill(table, slots[-1])
    assert [evidence.sent for evidence in read(table.path) if evidence.id == f"gate-{FIRST_ROWS - 1}"] == [600_000]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_on_a_disk_that_is_full_no_store_ends_the_process(tmp_path: Path) -> None:
    """With pages that were reserved only, or not even that, a store ends in SIGBUS."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1600k", "none", str(tmp_path)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"nothing can be mounted here: {mounted.stderr.decode()}")
    try:
        program = f"""
from pathlib import Path
from tests.ftpgate.delivery.test_live_table import RUNNING, make
table = make(Path({str(tmp_path)!r}, "gate.bin"))
try:
    Path({str(tmp_path)!r}, "fill").write_bytes(bytes(10_000_000))
except OSError:
    pass
try:
    table.reserve(2 * table.rows)
except OSError as error:
    print(error.strerror)
print(sum(table.add(RUNNING) >= 0 for _ in range(2 * table.rows)) == table.rows)
"""
        ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert (ended.returncode, ended.stdout) == (0, "No space left on device\nTrue\n"), ended.stderr
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_killed_gate_leaves_its_rows_and_can_be_told_from_a_running_one(tmp_path: Path) -> None:
    path = tmp_path / "gate.bin"
    program = f"""
from pathlib import Path
from tests.ftpgate.delivery.test_live_table import RUNNING, make
table = make(Path({str(path)!r}))
slot = table.add(RUNNING)
print("ready", flush=True)
position = 1_000
while True:
    position += 1
    table.offered(slot, position + 5)
    table.written(slot, position + 5, position + 5)
    table.update(slot, position + 3, position + 2, 1, position)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            assert lock(path) is None, "it runs"
        finally:
            process.kill()
    descriptor = lock(path)
    assert descriptor is not None
    assert lock(path) is None, "another one is at it"
    os.close(descriptor)
    (left,) = read(path)
    assert left.exact
    assert 1_000 <= left.credited <= left.sent <= left.credited + 6


def test_its_file_is_private_and_goes_with_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        table = make(tmp_path / "gate.bin")
    finally:
        os.umask(before)
    assert stat.S_IMODE(table.path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["gate.bin"]
    table.close()
    assert os.listdir(tmp_path) == []


def test_its_file_stays_as_long_as_something_in_it_was_not_kept_elsewhere(tmp_path: Path) -> None:
    table = make(tmp_path / "gate.bin")
    table.add(RUNNING)
    table.close()
    assert [evidence.id for evidence in read(table.path)] == ["gate-1"]


def test_without_its_file_it_keeps_nothing_until_there_is_one(tmp_path: Path) -> None:
    table = LiveTable(tmp_path / "live" / "gate.bin")
    (tmp_path / "live").write_text("in the way")
    with pytest.raises(OSError, match="exists"):
        table.reserve(table.wanted)
    assert table.add(RUNNING) == NO_SLOT
    (tmp_path / "live").unlink()
    table.extend(table.reserve(table.wanted))
    assert table.add(RUNNING) != NO_SLOT
    assert stat.S_IMODE((tmp_path / "live").stat().st_mode) == 0o700


def test_another_file_is_not_taken_for_a_table(tmp_path: Path) -> None:
    path = tmp_path / "gate.bin"
    path.write_bytes(b"")
    assert read(path) == []
    path.write_bytes(b"x" * 100)
    with pytest.raises(ValueError, match="cut short"):
        read(path)
    path.write_bytes(b"x" * 10_000)
    with pytest.raises(ValueError, match="not a table"):
        read(path)
