"""A session's walk through its grant, and how entries are written."""

from __future__ import annotations

import re
import time
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpgate.errors import NotFound
from ftpgate.ftp.commands import ALIASES, COMMANDS, FACTS, WRITES, features
from ftpgate.ftp.data_commands import DATA_COMMANDS
from ftpgate.ftp.filesystem import GrantFS, Listing, fact_lines, fact_list, list_lines, name_lines, stamp
from ftpgate.ftp.replies import REPLIES
from ftpgate.ftp.session import SESSION_COMMANDS
from ftpgate.ftp.tls_commands import TLS_COMMANDS
from ftpgate.grants import File, Item
from ftpgate.tree import Folder, GrantTree, Leaf

NOW = int(time.time())
PATHS = ("-x.ogg", "01.ogg", "CD1/01.ogg", "CD1/Ёлка.ogg")


def tree() -> GrantTree:
    files = tuple(
        File(number, path, path, 10 * number, (NOW - 86_400 * 100 * number) * 1_000_000_000, bytes(32), 0)
        for number, path in enumerate(PATHS, 1)
    )
    return GrantTree([Item("7", "Album", "", None, "Album", files), Item("8", "Other", "", None, "Other", files[:1])])


@pytest.fixture
def fs() -> GrantFS:
    return GrantFS(SimpleNamespace(tree=tree()))


@pytest.mark.parametrize(
    ("path", "absolute"),
    [
        ("", "/Album"), (".", "/Album"), ("CD1", "/Album/CD1"), ("CD1//./x/", "/Album/CD1/x"), ("..", "/"), ("../..", "/"),
        ("/", "/"), ("//a//b/..", "/a"), ("/../../etc", "/etc"), (" ", "/Album/ "), ("...", "/Album/..."),
    ],
)  # fmt: skip
def test_absolute(fs: GrantFS, path: str, absolute: str) -> None:
    fs.change("Album")
    assert fs.absolute(path) == absolute


@given(st.lists(st.sampled_from(["..", ".", "", "a", "Album", "CD1"]), max_size=12).map("/".join))
def test_no_path_leaves_the_grant(path: str) -> None:
    fs = GrantFS(SimpleNamespace(tree=tree()))
    absolute = fs.absolute(path)
    assert absolute.startswith("/")
    assert ".." not in absolute.split("/")
    assert fs.absolute(absolute) == absolute


def test_walking(fs: GrantFS) -> None:
    fs.change("Album/CD1")
    assert fs.cwd == "/Album/CD1"
    assert fs.file("01.ogg").path == "/Album/CD1/01.ogg"
    assert fs.file("../01.ogg").path == "/Album/01.ogg"
    assert fs.file("/Album.zip").resource.key == "z7"
    for call, path in ((fs.change, "01.ogg"), (fs.change, "/none"), (fs.file, ".."), (fs.file, "01.ogg/"), (fs.folder, "01.ogg")):
        with pytest.raises(NotFound):
            call(path)
    assert fs.cwd == "/Album/CD1"


@pytest.mark.parametrize(
    ("arguments", "at"),
    [
        ("", "."),
        ("-la", "."),
        ("-l -a CD1", "CD1"),
        ("-la  CD1", "CD1"),
        ("-x.ogg", "-x.ogg"),
        ("-l -x.ogg", "-x.ogg"),
        ("01.ogg", "01.ogg"),
    ],
)
def test_options_of_list_are_left_out_unless_they_are_a_name(fs: GrantFS, arguments: str, at: str) -> None:
    fs.change("Album")
    found = fs.find(at)
    above = "CD1/" if at == "CD1" else ""
    assert fs.listed(arguments) == Listing(found.entries if isinstance(found, Folder) else (found,), above)


@pytest.mark.parametrize(
    ("path", "names"),
    [("*.ogg", ["-x.ogg", "01.ogg"]), ("-l 0?.ogg", ["01.ogg"]), ("/Album/[!0]*", ["/Album/-x.ogg", "/Album/CD1"])],
)
def test_a_pattern_lists_what_can_be_asked_for(fs: GrantFS, path: str, names: list[str]) -> None:
    fs.change("Album")
    assert sorted(line.decode().rstrip() for line in name_lines(fs.listed(path))) == names


@pytest.fixture
def percents() -> GrantFS:
    names = ("1 100%25.ogg", "1 100%.ogg", "2%20x.ogg", "~", "CD%201/a b.ogg", "CD 1/100%25.ogg", "CD 1/Ёлка.ogg")
    files = tuple(File(number, name, name, number, 0, bytes(32), 0) for number, name in enumerate(names, 1))
    return GrantFS(SimpleNamespace(tree=GrantTree([Item("7", "A b", "", None, "A b", files)])))


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/A b/1 100%25.ogg", "/A b/1 100%25.ogg"),
        ("/A%20b/1%20100%25.ogg", "/A b/1 100%.ogg"),
        ("/A%20b/1%20100%2525.ogg", "/A b/1 100%25.ogg"),
        ("/A%20b/1 100%.ogg", "/A b/1 100%.ogg"),
        ("%2FA b%2f1 100%25.ogg", "/A b/1 100%.ogg"),
        ("/A b/2%20x.ogg", "/A b/2%20x.ogg"),
        ("/A%20b/2%20x.ogg", "/A b/2%20x.ogg"),
        ("/A b/CD%201", "/A b/CD%201"),
        ("/A b/CD%201/100%25.ogg", "/A b/CD 1/100%25.ogg"),
        ("/A%20b/CD 1/%d0%81%D0%BB%D0%BA%D0%B0.ogg", "/A b/CD 1/Ёлка.ogg"),
        ("~", "/"),
        ("~/A%20b", "/A b"),
        ("%7E/A b", "/A b"),
        ("/A b/~", "/A b/~"),
    ],
)
def test_the_exact_name_comes_before_the_decoded_one(percents: GrantFS, path: str, found: str) -> None:
    assert percents.find(path).path == found


@pytest.mark.parametrize("path", ["/A%20", "/A%2", "/A%", "/A%ff", "/A%20b/%00", "~x", "/~", "%", "./" * 4_000 + "%"])
def test_what_decodes_to_nothing_is_not_found(percents: GrantFS, path: str) -> None:
    with pytest.raises(NotFound):
        percents.find(path)


@pytest.mark.parametrize("path", ["/A%20b", "/A b", "A%20b/", "~/A b", "/A%20b/1*", "/A b/CD%201", "/A%20b/CD%25201", "."])
def test_every_name_listed_leads_where_it_says(percents: GrantFS, path: str) -> None:
    listing = percents.listed(path)
    for line, entry in zip(name_lines(listing), listing.entries, strict=True):
        assert percents.find(line.decode().removesuffix("\r\n")) is entry


def test_what_is_not_there_is_not_listed(fs: GrantFS) -> None:
    for arguments in ("none", "-la none", "-la -none none", "*.flac", "none/*", "Album/01.ogg/*", "?" * 256):
        with pytest.raises(NotFound):
            fs.listed(arguments)


def test_list_lines_are_as_ls_writes_them(fs: GrantFS) -> None:
    lines = [line.decode() for line in list_lines(fs.listed("Album").entries)]
    assert all(line.endswith("\r\n") for line in lines)
    pattern = re.compile(r"([d-])r-[x-]r-[x-]r-[x-] +\d ftp +ftp +(\d+) (\w{3}) ([ \d]\d) (\d\d:\d\d| \d{4}) (.+)\r\n")
    found = {match[6]: match for line in lines if (match := pattern.fullmatch(line))}
    assert set(found) == {"-x.ogg", "01.ogg", "CD1"}
    assert (found["01.ogg"][1], found["01.ogg"][2], found["CD1"][1]) == ("-", "20", "d")
    at = time.gmtime(NOW - 86_400 * 100)
    assert found["-x.ogg"][5] == time.strftime("%H:%M", at), "of the last half year: the time"
    assert found["01.ogg"][5].strip() == time.strftime("%Y", time.gmtime(NOW - 86_400 * 200)), "older: the year"


def test_facts(fs: GrantFS) -> None:
    leaf, folder = fs.find("/Album/01.ogg"), fs.find("/Album/CD1")
    assert fact_list(leaf, FACTS) == f"type=file;size=20;modify={stamp(NOW - 86_400 * 200)};perm=r;unique=f2;"
    assert re.fullmatch(r"type=dir;modify=\d{14};perm=el;unique=[^; ]+;", fact_list(folder, FACTS))
    assert fact_list(leaf, ("size",)) == "size=20;"
    assert fact_list(leaf, ()) == ""
    assert list(fact_lines([leaf], ("size",))) == [b"size=20; 01.ogg\r\n"]
    assert list(name_lines(Listing((leaf,)))) == [b"01.ogg\r\n"]


def test_every_entry_is_unique() -> None:
    grant = tree()

    def walk(folder: Folder) -> list[Folder | Leaf]:
        return [found for entry in folder.entries for found in [entry, *(walk(entry) if isinstance(entry, Folder) else [])]]

    shown = [grant.root, *walk(grant.root)]
    marks = [fact_list(entry, ("unique",)) for entry in shown if isinstance(entry, Folder) or entry.item.id == "7"]
    assert len(set(marks)) == len(marks)


def test_stamps_are_utc() -> None:
    assert stamp(0) == "19700101000000"
    assert stamp(1_700_000_000.9) == "20231114221320"


def test_every_command_has_one_meaning() -> None:
    for name, command in COMMANDS.items():
        assert name not in WRITES
        assert command.help.startswith(name)
    assert sorted([*REPLIES, *DATA_COMMANDS, *TLS_COMMANDS, *SESSION_COMMANDS]) == sorted(COMMANDS)
    assert {ALIASES[old] for old in ALIASES} <= set(COMMANDS) | WRITES


def test_features_mark_the_facts_in_use() -> None:
    assert "MLST type*;size;modify;perm;unique;" in features(("type",), tls=False)
