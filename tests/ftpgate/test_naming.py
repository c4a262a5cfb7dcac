"""Names: what each system forbids, what customers' disks confuse, and that nothing is renamed twice."""

from __future__ import annotations

import ntpath
import unicodedata
import xml.etree.ElementTree as ET
from pathlib import PureWindowsPath
from xml.sax.saxutils import quoteattr

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from ftpgate.naming import (
    FOLDER_LIMIT,
    HTTP_NAMES,
    NAME_LIMIT,
    ZIP_SUFFIX,
    folder_name,
    legal_name,
    normal,
    shown_paths,
    unique_folders,
)

NFD = unicodedata.normalize("NFD", "Ёлка für Zoë")
NFC = unicodedata.normalize("NFC", "Ёлка für Zoë")

# Names that meet each other often: few letters in both cases, marks, what is forbidden, numbers like ours, devices.
_parts = [
    "a",
    "A",
    "b",
    "é",
    "e\u0301",
    "ß",
    "SS",
    "ﬁ",
    "İ",
    "ё",
    "Ё",
    ".",
    " ",
    ":",
    "?",
    " (2)",
    " (3)",
    ".ogg",
    ".OGG",
    ".zip",
    "\0",
    "\ud800",
]
_parts += ["con", "NUL", "com1", "Lpt²", "\u0338", "\u0301", "🎵", "長", "\u202e", "\u3000", "\n", "progress", "downloads.meta4"]
clumsy = st.lists(st.sampled_from(_parts), max_size=5).map("".join)
anything = st.text(st.characters(exclude_categories=()), max_size=40)
long = st.builds(lambda part, times, tail: part * times + tail, clumsy, st.integers(0, 300), clumsy)
names = clumsy | anything | long


def is_reserved(name: str) -> bool:
    """As Python knows Windows: by `ntpath` from 3.13 on, where pathlib's own is deprecated."""
    newer = getattr(ntpath, "isreserved", None)
    return bool(newer(name)) if newer else PureWindowsPath(name).is_reserved()


def assert_legal(name: str, limit: int = NAME_LIMIT) -> None:
    assert 1 <= len(name.encode()) <= limit
    assert unicodedata.is_normalized("NFC", name)
    assert not set(name) & set('<>:"/\\|?*')
    assert not any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in name)
    assert name[-1] not in ". "
    assert name == name.strip()
    assert not is_reserved(name)
    assert name not in (".", "..")


def assert_apart(found: list[str]) -> None:
    """No disk takes two of them for one: neither by case (lower, upper, full folding) nor by form."""
    for form in (str.lower, str.upper, str.casefold):
        assert len({unicodedata.normalize("NFD", form(name)) for name in found}) == len(found)


@pytest.mark.parametrize(
    ("given_name", "expected"),
    [
        ("01 Track.ogg", "01 Track.ogg"),
        ("AC/DC", "AC_DC"),
        ('<>:"/\\|?*', "_________"),
        ("a\tb\x00c\x7fd\x85e", "a_b_c_d_e"),
        ("Untitled...", "Untitled"),
        (" a . ", "a"),
        ("name\r\n", "name"),
        ("a\u3000.", "a"),
        ("", "_"),
        (".", "_"),
        ("..", "_"),
        (" . . ", "_"),
        (".hidden", ".hidden"),
        ("con", "_con"),
        ("NUL.txt", "_NUL.txt"),
        ("aux .tar.gz", "_aux .tar.gz"),
        ("COM¹", "_COM¹"),
        ("lpt0.log", "_lpt0.log"),
        ("CONIN$", "_CONIN$"),
        ("Conrad", "Conrad"),
        ("com10", "com10"),
        ("concert.ogg", "concert.ogg"),
        (NFD, NFC),
        ("<\u0338", "≮"),
        ("photo\u202egpj.exe", "photo_gpj.exe"),
        ("bad\udcff.ogg", "bad_.ogg"),
        ("100% #1 [live] (Музыка) 🎵.ogg", "100% #1 [live] (Музыка) 🎵.ogg"),
    ],
)
def test_legal_name(given_name: str, expected: str) -> None:
    assert legal_name(given_name) == expected


@given(names, st.sampled_from([NAME_LIMIT, FOLDER_LIMIT, 40]))
@example("a\u3000.", 255)
@example("\n.", 255)
def test_every_name_becomes_legal_and_stays_as_it_is_then(name: str, limit: int) -> None:
    legal = legal_name(name, limit=limit)
    assert_legal(legal, limit)
    assert legal_name(legal, limit=limit) == legal


@given(names)
@example("a\ufffe.ogg")
@example("a\uffff.ogg")
def test_every_name_can_stand_in_a_metalink(name: str) -> None:
    legal = legal_name(name)
    assert ET.fromstring(f"<file name={quoteattr(legal)}/>").attrib["name"] == legal


@pytest.mark.parametrize(
    "code", [*range(0x20), 0x7F, *range(0x80, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
)
def test_no_control_gets_through(code: int) -> None:
    assert legal_name(f"a{chr(code)}b") == "a_b"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("x" * 300, "x" * 255),
        ("x" * 300 + ".flac", "x" * 250 + ".flac"),
        ("x" * 254 + ".y.flac", "x" * 250 + ".flac"),
        ("ж" * 200, "ж" * 127),
        ("ж" * 200 + ".ogg", "ж" * 125 + ".ogg"),
        ("x" + "🎵" * 100, "x" + "🎵" * 63),
        ("x" * 254 + "x\u0323\u0300", "x" * 254),  # marks stay with their letter
        ("x" * 253 + ". Suite and the rest of it", "x" * 253),
        ("x" * 251 + "    the rest", "x" * 251),
        ("Vol. " + "x" * 300, "Vol. " + "x" * 250),
        ("x" * 300 + ".averyveryverylongextension", "x" * 255),
    ],
)
def test_long_names_are_cut_between_characters_before_the_extension(name: str, expected: str) -> None:
    assert legal_name(name) == expected


def test_a_name_of_nothing_but_marks_is_cut_all_the_same() -> None:
    assert legal_name("\u0301" * 200) == "\u0301" * 127


@pytest.mark.parametrize(
    ("title", "artist", "year", "expected"),
    [
        ("Kind of Blue", "Miles Davis", 1959, "Miles Davis - Kind of Blue (1959)"),
        ("Kind of Blue", "", None, "Kind of Blue"),
        ("Kind of Blue", "Miles Davis", None, "Miles Davis - Kind of Blue"),
        ("Kind of Blue", "", 1959, "Kind of Blue (1959)"),
        ("Kind of Blue", "Miles Davis", 0, "Miles Davis - Kind of Blue"),
        ("", "Miles Davis", 1959, "Miles Davis (1959)"),
        ("", "", None, "Untitled"),
        (" \n", "...", 1959, "Untitled (1959)"),
        ("Nul", "", None, "_Nul"),
        ("Con", "Aux", None, "Aux - Con"),
        ("Live at\nthe   Hall ", " A\tB", 2001, "A B - Live at the Hall (2001)"),
        ("Back in Black?", "AC/DC", 1980, "AC_DC - Back in Black_ (1980)"),
        ("Why...", "Me.", 1999, "Me - Why (1999)"),
        ("Группа крови", "Кино", 1988, "Кино - Группа крови (1988)"),
    ],
)
def test_folder_name(title: str, artist: str, year: int | None, expected: str) -> None:
    assert folder_name(title, artist, year) == expected


@given(names, names, st.none() | st.integers(0, 9999))
def test_folder_names_are_legal_and_leave_room(title: str, artist: str, year: int | None) -> None:
    name = folder_name(title, artist, year)
    assert_legal(name)
    assert len((name + " (999)" + ZIP_SUFFIX).encode()) <= NAME_LIMIT
    if year:
        assert name.endswith(f"({year})")
    assert unique_folders([name]) == [name] or name in HTTP_NAMES


@pytest.mark.parametrize(("title", "artist"), [("a" * 300, "con.ogg"), ("x" * 300, "aux.live")])
def test_long_folder_names_of_devices_leave_room_too(title: str, artist: str) -> None:
    name = folder_name(title, artist)
    assert name.startswith("_")
    assert len((name + " (999)" + ZIP_SUFFIX).encode()) <= NAME_LIMIT


def test_long_artists_give_way_to_the_title() -> None:
    assert folder_name("Requiem", "x" * 300, 1791) == "x" * (245 - len(" - Requiem (1791)")) + " - Requiem (1791)"
    both = folder_name("y" * 300, "x" * 300, 1791)
    assert both.count("x") in (119, 120)
    assert both.count("y") >= 110


@pytest.mark.parametrize(
    ("files", "given_names", "expected"),
    [
        (True, ["a.ogg", "A.OGG", "a.Ogg"], ["a.ogg", "A (2).OGG", "a (3).Ogg"]),
        (False, ["Vol. 1", "vol. 1"], ["Vol. 1", "vol. 1 (2)"]),
        (False, ["Vol.1", "vol.1"], ["Vol.1", "vol.1 (2)"]),
        (True, ["Vol.1", "vol.1"], ["Vol.1", "vol (2).1"]),
        (True, ["a", "a (2)", "A"], ["a", "a (2)", "A (3)"]),
        (True, ["a", "A", "a (2)"], ["a", "A (2)", "a (2) (2)"]),
        (True, [NFC, NFD], [NFC, NFC + " (2)"]),
        (True, ["straße", "STRASSE"], ["straße", "STRASSE (2)"]),
        (True, ["a?", "a*"], ["a_", "a_ (2)"]),
        (True, [".hidden", ".HIDDEN"], [".hidden", ".HIDDEN (2)"]),
        (True, ["x" * 255, "X" * 255], ["x" * 255, "X" * 243 + " (2)"]),
        (True, ["x" * 251 + ".ogg", "x" * 251 + ".OGG"], ["x" * 251 + ".ogg", "x" * 239 + " (2).OGG"]),
        (True, [], []),
    ],
)
def test_names_of_one_folder(files: bool, given_names: list[str], expected: list[str]) -> None:
    """Of files the number stands before the extension, of folders at the end."""
    assert (shown_paths if files else unique_folders)(given_names) == expected


@given(st.lists(names.map(lambda name: name.replace("/", "")), max_size=12))
def test_names_become_unique_and_stay_so(given_names: list[str]) -> None:
    found = shown_paths(given_names)
    assert len(found) == len(given_names)
    for name in found:
        assert_legal(name)
    assert_apart(found)
    assert shown_paths(found) == found


def test_a_thousand_equal_names_are_numbered_through() -> None:
    found = shown_paths(["x" * 255] * 1000)
    assert found[1] == "x" * 243 + " (2)"
    assert found[-1] == "x" * 243 + " (1000)"
    assert_apart(found)


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (["X", "x"], ["X", "x (2)"]),
        (["A", "A.zip"], ["A", "A.zip (2)"]),  # A's own zip is called A.zip
        (["A.zip", "A"], ["A.zip", "A (2)"]),
        (["A.ZIP", "a"], ["A.ZIP", "a (2)"]),
        (["A", "A.zip", "A.zip.zip", "a"], ["A", "A.zip (2)", "A.zip.zip", "a (2)"]),
        (["progress", "Progress"], ["_progress", "Progress"]),  # /d/TOKEN/progress is the gate's own
        (["downloads.meta4"], ["_downloads.meta4"]),
        (["x" * 255], ["x" * 251]),
        (["x" * 255, "x" * 252], ["x" * 251, "x" * 239 + " (2)"]),
    ],
)
def test_unique_folders(folders: list[str], expected: list[str]) -> None:
    assert unique_folders(folders) == expected


@given(st.lists(names, max_size=12))
def test_folders_and_their_zips_never_meet(folders: list[str]) -> None:
    found = unique_folders(folders)
    everything = [*found, *(name + ZIP_SUFFIX for name in found)]
    for name in everything:
        assert_legal(name)
    assert_apart(everything)
    assert not HTTP_NAMES & set(everything)
    assert unique_folders(found) == found


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["01.ogg", "02.ogg"], ["01.ogg", "02.ogg"]),
        (["CD1/01.ogg", "CD2/01.ogg"], ["CD1/01.ogg", "CD2/01.ogg"]),
        (["CD1/a", "cd1/a", "CD1/b"], ["CD1/a", "cd1 (2)/a", "CD1/b"]),
        (["a?/1", "a*/1", "a?/2"], ["a_/1", "a_ (2)/1", "a_/2"]),
        (["CD1/01.ogg", "CD1/01.OGG"], ["CD1/01.ogg", "CD1/01 (2).OGG"]),
        (["Booklet", "booklet/1.png"], ["Booklet", "booklet (2)/1.png"]),
        (["booklet/1.png", "Booklet"], ["booklet/1.png", "Booklet (2)"]),
        (["../../etc/passwd"], ["_/_/etc/passwd"]),
        (["../a", "./a"], ["_/a", "_ (2)/a"]),
        (["/a", "a//b", "c/"], ["_/a", "a/_/b", "c/_"]),
        (["a.ogg", "a.ogg"], ["a.ogg", "a (2).ogg"]),
        ([f"{NFD}/{NFD}"], [f"{NFC}/{NFC}"]),
    ],
)
def test_shown_paths(paths: list[str], expected: list[str]) -> None:
    assert shown_paths(paths) == expected


@given(st.lists(st.lists(clumsy.map(lambda name: name.replace("/", "")), min_size=1, max_size=3).map("/".join), max_size=10))
def test_every_file_of_an_item_can_be_unpacked_beside_the_others(paths: list[str]) -> None:
    found = shown_paths(paths)
    assert len(found) == len(paths)
    places: dict[str, set[str]] = {}
    for path in found:
        place = ""
        for part in path.split("/"):
            assert_legal(part)
            places.setdefault(place, set()).add(part)
            place += part + "/"
    for inside in places.values():
        assert_apart(sorted(inside))
    assert len(set(found)) == len(found)
    assert not {path + "/" for path in found} & set(places)  # nothing is both file and folder
    assert shown_paths(found) == found


def test_legal_paths_are_kept_as_the_same_objects() -> None:
    paths = [f"CD1/{number:05} Track.ogg" for number in range(100)]
    assert all(shown is path for shown, path in zip(shown_paths(paths), paths, strict=True))


@given(anything)
def test_normal_does_not_tell_forms_apart(text: str) -> None:
    assume(not any("\ud800" <= letter <= "\udfff" for letter in text))
    assert normal(unicodedata.normalize("NFD", text)) == normal(text)
