"""Zips and plain files as resources: every byte range, and the archives before programs that others wrote."""

from __future__ import annotations

import io
import subprocess
import time
import zipfile
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ftpgate.grants import File, Item
from ftpgate.proof.coverage import SpanSet
from ftpgate.sources import LITERAL_LIMIT, Piece, Resource, Slice
from ftpgate.sources import zip as zip_module
from ftpgate.sources.file import PlainFile
from ftpgate.sources.media_types import media_type
from ftpgate.sources.zip import ZipArchive
from tests.ftpgate.items import MTIME, content, make_file, make_item
from tests.support.tools import clean_environment, require_tool

GIB = 1 << 30
FOLDER = "Кино - 100% [live] #1 (1988)"
ALBUM = make_item(
    "7",
    "not this one: the grant's own name counts",
    [
        make_file(1, "01 Группа крови.ogg", 70_000),
        make_file(2, "CD2/02 a&b;'$(x) [bonus] #2 50%.flac", 1),
        make_file(3, "CD2/empty", 0),
        make_file(4, "cd2/03 é.mp3", 5_000, mtime=0),
        make_file(5, "Scans/Cover.jpg", 12_345, mtime=MTIME + 1),
    ],
)
SHOWN = ["01 Группа крови.ogg", "CD2/02 a&b;'$(x) [bonus] #2 50%.flac", "CD2/empty", "cd2 (2)/03 é.mp3", "Scans/Cover.jpg"]

# One program each that lists, and that tests every checksum of, an archive.
LISTERS = [["unzip", "-Z1"], ["7z", "l", "-slt"], ["bsdtar", "-tf"]]
TESTERS = [["unzip", "-tq"], ["7z", "t", "-bd"], ["bsdtar", "-xOf"]]


def read(pieces: Iterable[Piece]) -> bytes:
    """The bytes that pieces stand for."""
    return b"".join(content(piece.file.id, piece.end)[piece.start :] if isinstance(piece, Slice) else piece for piece in pieces)


def whole(resource: Resource) -> bytes:
    return read(resource.pieces(0, resource.size))


def joined(pieces: Iterable[Piece]) -> list[Piece]:
    """Neighbouring pieces made one, so that only what they say is compared and not how it was cut."""
    found: list[Piece] = []
    for piece in pieces:
        last = found[-1] if found else None
        if isinstance(piece, Slice) and isinstance(last, Slice) and (last.file, last.end) == (piece.file, piece.start):
            found[-1] = Slice(last.file, last.start, piece.end)
        elif isinstance(piece, bytes) and isinstance(last, bytes):
            found[-1] = last + piece
        else:
            found.append(piece)
    return found


class Archive(io.RawIOBase):
    """A resource as a seekable file. Holes (files of `sparse` items) read as zeros."""

    def __init__(self, resource: Resource) -> None:
        self.resource = resource
        self.at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self.at = offset + (0, self.at, self.resource.size)[whence]
        return self.at

    def read(self, size: int | None = -1) -> bytes:
        end = self.resource.size if size is None or size < 0 else min(self.at + size, self.resource.size)
        pieces = self.resource.pieces(min(self.at, end), end)
        data = b"".join(bytes(piece.end - piece.start) if isinstance(piece, Slice) else piece for piece in pieces)
        self.at += len(data)
        return data


def run(command: Sequence[str], archive: Path) -> subprocess.CompletedProcess[str]:
    arguments = [require_tool(command[0]), *command[1:], str(archive)]
    environment = clean_environment(archive.parent)
    return subprocess.run(arguments, capture_output=True, text=True, errors="replace", env=environment, timeout=120, check=False)


def written_with_holes(archive: ZipArchive, path: Path) -> Path:
    """An archive of zeros on the disk, where its members take no room."""
    with path.open("wb") as file:
        for piece in archive.pieces(0, archive.size):
            if isinstance(piece, Slice):
                file.seek(piece.end - piece.start, io.SEEK_CUR)
            else:
                file.write(piece)
    assert path.stat().st_size == archive.size
    return path


def zeros(file_id: int, path: str, size: int) -> File:
    """A file of zeros. The CRC-32 of a large one is wrong, which only who reads it whole can tell."""
    return make_file(file_id, path, size, data=bytes(size if size < GIB else 0))


paths = st.text("aAб/. é%", min_size=1, max_size=12)
sizes = st.integers(0, 300) | st.sampled_from([0, 1])
mtimes = st.sampled_from([MTIME, 0, -86_400, 315_532_799, 2**31 - 1, 2**31, 2**32, 5_000_000_000]) | st.floats(0, 2e9)
items = st.builds(
    lambda drawn: make_item(
        "1", "x", [make_file(at, path, size, mtime=mtime) for at, (path, size, mtime) in enumerate(drawn, 1)]
    ),
    st.lists(st.tuples(paths, sizes, mtimes), max_size=7),
)
cuts = st.lists(st.floats(0, 1), max_size=8)


def partition(resource: Resource, fractions: list[float]) -> list[tuple[int, int]]:
    """Spans that together are the whole, cut at these fractions of it."""
    marks = sorted({0, resource.size, *(int(fraction * resource.size) for fraction in fractions)})
    return list(pairwise(marks))


# ---- byte ranges


@given(items, cuts)
def test_any_partition_gives_the_same_bytes(item: Item, fractions: list[float]) -> None:
    archive = ZipArchive(item, FOLDER)
    data = whole(archive)
    assert len(data) == archive.size
    for start, end in partition(archive, fractions):
        assert read(archive.pieces(start, end)) == data[start:end]


@given(items, cuts)
def test_any_partition_covers_every_file_once(item: Item, fractions: list[float]) -> None:
    resources: list[Resource] = [ZipArchive(item, FOLDER), *(PlainFile(file, file.path) for file in item.files)]
    for resource in resources:
        covered = {file.id: SpanSet() for file in resource.files}
        for start, end in partition(resource, fractions):
            for file, first, last in resource.covered(start, end):
                assert covered[file.id].add(first, last) == last - first  # never twice
        for file in resource.files:
            assert covered[file.id].covers(0, file.size)
            assert covered[file.id].size == file.size


@given(items, st.floats(0, 1), st.floats(0, 1))
def test_covered_are_the_slices_of_pieces(item: Item, one: float, other: float) -> None:
    archive = ZipArchive(item, FOLDER)
    start, end = sorted((int(one * archive.size), int(other * archive.size)))
    assert list(archive.covered(start, end)) == [piece for piece in archive.pieces(start, end) if isinstance(piece, Slice)]


def test_every_single_byte_and_every_start_and_end() -> None:
    item = make_item("1", "x", [make_file(1, "a", 7), make_file(2, "b/c", 0), make_file(3, "b/d", 3)])
    archive = ZipArchive(item, "x")
    data = whole(archive)
    for at in range(archive.size):
        assert read(archive.pieces(at, at + 1)) == data[at : at + 1]
        assert read(archive.pieces(at, archive.size)) == data[at:]
        assert read(archive.pieces(0, at)) == data[:at]


def test_ranges_of_every_class() -> None:
    """Within and across: header, data, central directory, end."""
    archive = ZipArchive(ALBUM, FOLDER)
    data = whole(archive)
    marks = sorted(
        {0, archive.size, *(found for sign in (b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06") for found in positions(data, sign))}
    )
    assert len(marks) == 2 * len(ALBUM.files) + 2
    points = sorted(
        {point for mark in marks for point in (mark - 1, mark, mark + 1, mark + 35, mark + 200) if 0 <= point <= archive.size}
    )
    for number, start in enumerate(points):
        for end in points[number:]:
            assert read(archive.pieces(start, end)) == data[start:end]


def positions(data: bytes, sign: bytes) -> Iterable[int]:
    at = data.find(sign)
    while at >= 0:
        yield at
        at = data.find(sign, at + 1)


@pytest.mark.parametrize("resource", [ZipArchive(ALBUM, FOLDER), PlainFile(ALBUM.files[0], "x"), PlainFile(ALBUM.files[2], "x")])
def test_empty_ranges_have_no_pieces(resource: Resource) -> None:
    for at in (0, resource.size // 2, resource.size):
        assert list(resource.pieces(at, at)) == []
        assert list(resource.covered(at, at)) == []


@pytest.mark.parametrize("resource", [ZipArchive(ALBUM, FOLDER), PlainFile(ALBUM.files[0], "x")])
@pytest.mark.parametrize(("start", "over"), [(-1, 0), (0, 1), (1, -(10**9))])
def test_ranges_outside_are_errors_at_once(resource: Resource, start: int, over: int) -> None:
    for ask in (resource.pieces, resource.covered):
        with pytest.raises(ValueError, match="not within"):
            ask(start, resource.size + over)


def test_pieces_are_few_and_bounded() -> None:
    many = ZipArchive(make_item("1", "x", [make_file(at, f"{at:05}", 0) for at in range(5_000)]), "x")
    pieces = list(many.pieces(0, many.size))
    assert all(isinstance(piece, bytes) and 0 < len(piece) <= LITERAL_LIMIT for piece in pieces)
    assert len(pieces) <= many.size // (LITERAL_LIMIT - 200) + 1
    album = ZipArchive(ALBUM, FOLDER)
    kinds = [type(piece) for piece in album.pieces(0, album.size)]
    assert kinds == [bytes, Slice, bytes, Slice, bytes, Slice, bytes, Slice, bytes]


def test_a_part_is_made_without_what_comes_before(monkeypatch: pytest.MonkeyPatch) -> None:
    archive = ZipArchive(make_item("1", "x", [make_file(at, f"{at:05}", 10) for at in range(1_000)]), "x")
    touched: list[int] = []
    end = ZipArchive._end

    def count(self: ZipArchive, at: int) -> int:
        touched.append(at)
        return end(self, at)

    monkeypatch.setattr(ZipArchive, "_end", count)
    middle = archive._starts[500]
    assert read(archive.pieces(middle, middle + 4)) == b"PK\x03\x04"
    assert list(archive.covered(middle, middle + 4)) == []
    assert touched == [500, 500]
    assert read(archive.pieces(archive.size - 22, archive.size)).startswith(b"PK\x05\x06")
    assert list(archive.covered(archive.size - 22, archive.size)) == []
    assert touched == [500, 500]


# ---- the format, as others read it


def test_zipfile_reads_what_was_put_in() -> None:
    archive = ZipArchive(ALBUM, FOLDER)
    with zipfile.ZipFile(io.BytesIO(whole(archive))) as opened:
        assert opened.testzip() is None
        assert opened.namelist() == [f"{FOLDER}/{path}" for path in SHOWN]
        for info, file in zip(opened.infolist(), ALBUM.files, strict=True):
            assert opened.read(info) == content(file.id, file.size)
            assert (info.CRC, info.file_size, info.compress_size) == (file.crc32, file.size, file.size)
            assert info.compress_type == zipfile.ZIP_STORED
            assert info.flag_bits == 0x800  # UTF-8, and no data descriptor
            assert info.external_attr >> 16 == 0o100644
            assert info.create_system == 3
            assert info.extract_version == 20
        assert [info.date_time for info in opened.infolist()] == [
            (2005, 6, 1, 13, 42, 12),
            (2005, 6, 1, 13, 42, 12),
            (2005, 6, 1, 13, 42, 12),
            (1980, 1, 1, 0, 0, 0),
            (2005, 6, 1, 13, 42, 12),
        ]


@given(items)
def test_zipfile_reads_any_item(item: Item) -> None:
    archive = ZipArchive(item, FOLDER)
    with zipfile.ZipFile(io.BytesIO(whole(archive))) as opened:
        assert opened.testzip() is None
        assert [opened.read(info) for info in opened.infolist()] == [content(file.id, file.size) for file in item.files]
        assert len({name.casefold() for name in opened.namelist()}) == len(item.files)


@pytest.mark.parametrize("tester", TESTERS, ids=lambda command: command[0])
def test_unpackers_find_no_fault(tester: list[str], tmp_path: Path) -> None:
    archive = tmp_path / "album.zip"
    archive.write_bytes(whole(ZipArchive(ALBUM, FOLDER)))
    done = run(tester, archive)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning" not in (done.stdout + done.stderr).lower()


@pytest.mark.parametrize("unpacker", [["unzip", "-q"], ["7z", "x", "-bd"], ["bsdtar", "-xf"]], ids=lambda command: command[0])
def test_unpackers_give_names_contents_times_and_modes(unpacker: list[str], tmp_path: Path) -> None:
    archive = tmp_path / "album.zip"
    archive.write_bytes(whole(ZipArchive(ALBUM, FOLDER)))
    target = tmp_path / "out"
    target.mkdir()
    program = require_tool(unpacker[0])
    # Far from UTC: only the UTC field can give the right time there.
    environment = {**clean_environment(tmp_path), "TZ": "Pacific/Auckland"}
    command = [program, *unpacker[1:], str(archive)]
    done = subprocess.run(command, cwd=target, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    unpacked = {path.relative_to(target).as_posix(): path for path in target.rglob("*") if path.is_file()}
    assert set(unpacked) == {f"{FOLDER}/{path}" for path in SHOWN}
    for path, file in zip(SHOWN, ALBUM.files, strict=True):
        found = unpacked[f"{FOLDER}/{path}"]
        assert found.read_bytes() == content(file.id, file.size)
        assert found.stat().st_mode & 0o400
        assert not found.stat().st_mode & 0o111
        if unpacker[0] != "7z":  # p7zip reads the MS-DOS time only
            assert found.stat().st_mtime == file.mtime_ns // 1_000_000_000


@pytest.mark.parametrize(
    ("mtime", "date", "stamped"),
    [
        (MTIME + 1.9, (2005, 6, 1, 13, 42, 12), True),
        (0, (1980, 1, 1, 0, 0, 0), True),
        (-86_400, (1980, 1, 1, 0, 0, 0), False),
        (2**31 - 1, (2038, 1, 19, 3, 14, 6), True),
        (2**31, (2038, 1, 19, 3, 14, 8), False),
        (5_000_000_000, (2107, 12, 31, 23, 59, 58), False),
    ],
)
def test_times_of_any_year(mtime: float, date: tuple[int, ...], stamped: bool) -> None:
    archive = ZipArchive(make_item("1", "x", [make_file(1, "a", 3, mtime=mtime)]), "x")
    with zipfile.ZipFile(io.BytesIO(whole(archive))) as opened:
        (info,) = opened.infolist()
    assert info.date_time == date
    assert info.extra == (b"UT\5\0\1" + int(mtime).to_bytes(4, "little") if stamped else b"")


def test_an_item_without_files_is_an_empty_zip() -> None:
    archive = ZipArchive(make_item("1", "x"), "x")
    assert whole(archive) == b"PK\x05\x06" + bytes(18)
    assert archive.modified == 0
    assert zipfile.ZipFile(io.BytesIO(whole(archive))).namelist() == []


# ---- ZIP64

LARGE = {
    "just below": [0xFFFFFFFE],
    "just at": [0xFFFFFFFF],
    "one member of 5 GiB": [5 * GIB],
    "small, large, small": [10, 4 * GIB, 10],
    "only the offset": [3 * GIB, 2 * GIB, 10],
    "only the directory's offset": [3 * GIB, 2 * GIB],
    "all": [5 * GIB, 10, 6 * GIB, 0, 7],
}
large = pytest.mark.parametrize("member_sizes", LARGE.values(), ids=LARGE)


def sparse(member_sizes: list[int]) -> ZipArchive:
    return ZipArchive(make_item("1", "x", [zeros(at, f"{at}.bin", size) for at, size in enumerate(member_sizes)]), "Large")


@large
def test_zipfile_reads_large_archives(member_sizes: list[int]) -> None:
    archive = sparse(member_sizes)
    with zipfile.ZipFile(Archive(archive)) as opened:
        assert [info.file_size for info in opened.infolist()] == member_sizes
        for info, size in zip(opened.infolist(), member_sizes, strict=True):
            # zipfile checks the local header here: its sign and its name
            with opened.open(info) as member:
                assert member.read(8) == bytes(min(8, size))
            assert (info.extract_version == 45) == (size >= 0xFFFFFFFF or info.header_offset >= 0xFFFFFFFF)


@large
@pytest.mark.parametrize("lister", LISTERS, ids=lambda command: command[0])
def test_listers_read_large_archives(member_sizes: list[int], lister: list[str], tmp_path: Path) -> None:
    done = run(lister, written_with_holes(sparse(member_sizes), tmp_path / "large.zip"))
    assert done.returncode == 0, done.stdout + done.stderr
    for at, size in enumerate(member_sizes):
        assert f"Large/{at}.bin" in done.stdout
        assert lister[0] != "7z" or f"\nSize = {size}\nPacked Size = {size}\n" in done.stdout


FROM_STDOUT = {"unzip": ["unzip", "-p"], "7z": ["7z", "x", "-so", "-bd"], "bsdtar": ["bsdtar", "-xOf"]}


@pytest.mark.parametrize("unpacker", FROM_STDOUT.values(), ids=FROM_STDOUT)
def test_what_lies_behind_four_gigabytes_is_unpacked(unpacker: list[str], tmp_path: Path) -> None:
    """Through the ZIP64 fields of the directory and of the local headers, with its checksum looked at."""
    words = b"behind four gigabytes"
    # Not of 0xFFFFFFFF bytes: after one of those unzip 6.0 takes that size, seen last, for the mark of the next one's field.
    files = [zeros(1, "1.bin", 5 * GIB), make_file(2, "2.txt", len(words), data=words), zeros(3, "3.bin", 4 * GIB)]
    archive = ZipArchive(make_item("1", "x", [*files, make_file(4, "4.txt", len(words), data=words)]), "Large")
    path = written_with_holes(archive, tmp_path / "large.zip")
    with path.open("r+b") as file:
        for at in (1, 3):
            file.seek(archive._end(at) - len(words))
            file.write(words)
    for name in ("Large/2.txt", "Large/4.txt"):
        done = subprocess.run(
            [require_tool(unpacker[0]), *unpacker[1:], str(path), name], capture_output=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout == words


@given(
    st.lists(st.sampled_from([0, 5, 0xFFFFFFFE, 0xFFFFFFFF, 3 * GIB, 5 * GIB]), min_size=1, max_size=6),
    st.randoms(use_true_random=False),
)
def test_large_archives_are_the_same_in_parts(member_sizes: list[int], chance: Random) -> None:
    archive = sparse(member_sizes)
    all_of_it = joined(archive.pieces(0, archive.size))
    marks = {0, archive.size}
    for edge in (
        *archive._starts,
        archive._central_start,
        *(archive._central_start + at for at in archive._central),
        archive.size,
    ):
        marks |= {min(max(edge + chance.randint(-60, 60), 0), archive.size) for _ in range(3)}
    ordered = sorted(marks)
    in_parts = [piece for start, end in pairwise(ordered) for piece in archive.pieces(start, end)]
    assert joined(in_parts) == all_of_it
    assert sum(piece.end - piece.start if isinstance(piece, Slice) else len(piece) for piece in all_of_it) == archive.size


@pytest.mark.parametrize("count", [65_534, 65_535, 70_000])
def test_many_members(count: int, tmp_path: Path) -> None:
    archive = ZipArchive(make_item("1", "x", [make_file(1, f"{at}", 0) for at in range(count)]), "Many")
    data = whole(archive)
    assert (b"PK\x06\x06" in data) == (count > 65_534)
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        assert opened.namelist() == [f"Many/{at}" for at in range(count)]


@pytest.mark.parametrize("tester", TESTERS, ids=lambda command: command[0])
def test_unpackers_take_many_members(tester: list[str], tmp_path: Path) -> None:
    path = tmp_path / "many.zip"
    path.write_bytes(whole(ZipArchive(make_item("1", "x", [make_file(1, f"{at}", 0) for at in range(70_000)]), "Many")))
    done = run(tester, path)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


# ---- identity


def test_the_same_bytes_in_every_time_zone_and_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    archive = ZipArchive(ALBUM, FOLDER)
    data, tag = whole(archive), archive.etag
    try:
        for zone in ("America/New_York", "Asia/Kolkata"):
            monkeypatch.setenv("TZ", zone)
            time.tzset()
            again = ZipArchive(ALBUM, FOLDER)
            assert (whole(again), again.etag) == (data, tag)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_the_layout_is_what_it_was() -> None:
    """When this fails, downloads that were begun before cannot be resumed: count `LAYOUT` up, then write the new digest here."""
    item = make_item("1", "x", [make_file(1, "a", 3), make_file(2, "б/c", 0, mtime=-5), zeros(3, "d", 5 * GIB), zeros(4, "e", 1)])
    assert zip_module.LAYOUT == 1
    assert ZipArchive(item, "Folder").etag == '"d2c982461e75fd68f98f574f1084a1de3542c55d29807cc167a3fc0f161ffb2d"'


def changed(**values: object) -> Item:
    file = make_file(1, "a", 3)
    fields = {name: getattr(file, name) for name in File.__slots__}
    return make_item("1", "x", [File(**{**fields, **values}), make_file(2, "b", 3)])


@pytest.mark.parametrize(
    "other",
    [
        changed(path="c"),
        changed(size=4),
        changed(crc32=1),
        changed(sha256=bytes(32)),
        changed(mtime_ns=10**9),
        make_item("1", "x", changed().files[:1]),
        make_item("1", "x", changed().files[::-1]),
    ],
)
def test_whatever_changes_the_bytes_changes_the_tag(other: Item) -> None:
    assert ZipArchive(other, "x").etag != ZipArchive(changed(), "x").etag


def test_the_tag_is_of_the_bytes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    tag = ZipArchive(changed(), "x").etag
    assert tag[0] == tag[-1] == '"'
    assert len(tag) == 66
    assert ZipArchive(changed(), "y").etag != tag  # another folder within
    assert ZipArchive(make_item("2", "z", changed(id=9, media="elsewhere").files), "x").etag == tag
    monkeypatch.setattr(zip_module, "LAYOUT", zip_module.LAYOUT + 1)
    assert ZipArchive(changed(), "x").etag != tag


def test_what_a_zip_says_of_itself() -> None:
    archive: Resource = ZipArchive(ALBUM, FOLDER)
    assert archive.key == "z7"
    assert archive.name == f"{FOLDER}.zip"
    assert archive.modified == MTIME + 1
    assert archive.content_type == "application/zip"
    assert archive.files == ALBUM.files
    assert archive.sha256 is None


def test_what_a_file_says_of_itself() -> None:
    file = ALBUM.files[0]
    plain: Resource = PlainFile(file, "shown.ogg")
    assert plain.key == "f1"
    assert plain.name == "shown.ogg"
    assert plain.size == 70_000
    assert plain.etag == f'"{file.sha256.hex()}"'
    assert plain.modified == MTIME
    assert plain.content_type == "audio/ogg"
    assert plain.files == (file,)
    assert plain.sha256 == file.sha256
    assert list(plain.pieces(10, 20)) == list(plain.covered(10, 20)) == [Slice(file, 10, 20)]


def test_paths_too_long_for_a_header_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"'aa/aa/.*16384: import it under a shorter one"):
        ZipArchive(make_item("1", "x", [make_file(1, "aa/" * 6000, 1)]), "x")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.ogg", "audio/ogg"),
        ("A.FLAC", "audio/flac"),
        ("a.b.jpg", "image/jpeg"),
        ("a", "application/octet-stream"),
        ("a.", "application/octet-stream"),
        ("index.html", "application/octet-stream"),
        ("cover.svg", "application/octet-stream"),
    ],
)
def test_media_types(name: str, expected: str) -> None:
    assert media_type(name) == expected


@given(items, st.floats(0, 1))
@example(ALBUM, 0.5)
def test_archives_are_read_as_files(item: Item, at: float) -> None:
    """The reader of the large archives is itself right: it gives zeros where the data is and all else as it is."""
    archive = ZipArchive(item, FOLDER)
    start = int(at * archive.size)
    reader = Archive(archive)
    reader.seek(start)
    expected = bytearray(whole(archive))
    position = 0
    for piece in archive.pieces(0, archive.size):
        length = piece.end - piece.start if isinstance(piece, Slice) else len(piece)
        if isinstance(piece, Slice):
            expected[position : position + length] = bytes(length)
        position += length
    assert reader.read() == expected[start:]
