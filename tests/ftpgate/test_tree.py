from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpgate.errors import NotFound
from ftpgate.grants import File
from ftpgate.sources.file import PlainFile
from ftpgate.sources.zip import ZipArchive
from ftpgate.tree import Folder, GrantTree, Leaf
from tests.ftpgate.items import MTIME, make_file, make_item

KINO = make_item(
    "kino",
    "Кино - Группа крови (1988)",
    [
        make_file(1, "01 Йод.ogg", 10),
        make_file(2, "Scans/Cover [front] #1 100%.jpg", 20, mtime=MTIME + 60),
        make_file(3, "02 b.ogg", 0),
    ],
)
TWIN = make_item(
    "twin", "кино - группа крови (1988)", [make_file(4, "CD1/a/x", 1), make_file(5, "cd1/x", 1), make_file(6, "CD1/y", 1)]
)
EMPTY = make_item("empty", "Empty")


def paths(folder: Folder) -> list[str]:
    """Every path below, in order, folders with a slash behind them."""
    found = []
    for entry in folder.entries:
        if isinstance(entry, Folder):
            found += [entry.path + "/", *paths(entry)]
        else:
            found.append(entry.path)
    return found


def test_shows_the_items_in_order_without_their_zips() -> None:
    assert paths(GrantTree([KINO, TWIN, EMPTY]).root) == [
        "/Кино - Группа крови (1988)/",
        "/Кино - Группа крови (1988)/01 Йод.ogg",
        "/Кино - Группа крови (1988)/Scans/",
        "/Кино - Группа крови (1988)/Scans/Cover [front] #1 100%.jpg",
        "/Кино - Группа крови (1988)/02 b.ogg",
        "/кино - группа крови (1988) (2)/",
        "/кино - группа крови (1988) (2)/CD1/",
        "/кино - группа крови (1988) (2)/CD1/a/",
        "/кино - группа крови (1988) (2)/CD1/a/x",
        "/кино - группа крови (1988) (2)/CD1/y",
        "/кино - группа крови (1988) (2)/cd1 (2)/",
        "/кино - группа крови (1988) (2)/cd1 (2)/x",
        "/Empty/",
    ]


def test_everything_shown_is_found_with_and_without_the_first_slash() -> None:
    tree = GrantTree([KINO, TWIN, EMPTY])
    for path in paths(tree.root):
        found = tree.find(path)
        assert found.path == path.rstrip("/")
        assert found.name == path.rstrip("/").rpartition("/")[2]
        assert tree.find(path.lstrip("/")) is found
        assert tree.find(unicodedata.normalize("NFD", path)) is found


@pytest.mark.parametrize("path", ["", "/", "//"])
def test_the_root(path: str) -> None:
    tree = GrantTree([KINO])
    assert tree.find(path) is tree.root
    assert tree.root.path == "/"
    assert tree.root.item is None


@pytest.mark.parametrize("path", ["/Empty", "Empty", "/Empty/", "//Empty//"])
def test_folders_are_found_with_slashes_around(path: str) -> None:
    tree = GrantTree([EMPTY])
    assert tree.find(path) is tree.folder_of(EMPTY)


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/empty",  # names are exact: a disk that ignores case is the client's matter
        "/Empty/nothing",
        "/Empty/Empty.zip",  # zips are at the top only
        "/Empty.zip/",
        "/Empty.zip/x",
        "/Кино - Группа крови (1988)/02 b.ogg/",
        "/Кино - Группа крови (1988)/02 b.ogg/x",
        "/..",
        "/Empty/..",
        "/Empty/.",
        "/Empty\0",
        "/" * 10_000 + "x",
        "\udcff",
    ],
)
def test_what_is_not_there(path: str) -> None:
    with pytest.raises(NotFound):
        GrantTree([KINO, EMPTY]).find(path)


def test_zips_are_found_by_name_and_named_as_their_folders() -> None:
    tree = GrantTree([KINO, TWIN])
    for folder, item in tree.folders():
        leaf = tree.find(f"{folder.path}.zip")
        assert isinstance(leaf, Leaf)
        assert leaf is tree.zip_of(item)
        assert (leaf.name, leaf.path, leaf.item) == (f"{folder.name}.zip", f"{folder.path}.zip", item)
        assert isinstance(leaf.resource, ZipArchive)
        assert leaf.resource.name == leaf.name
        assert leaf.resource.files == item.files


def test_a_folder_called_as_a_zip_hides_no_zip() -> None:
    items = [make_item("1", "A.zip", [make_file(1, "x", 1)]), make_item("2", "A", [make_file(2, "y", 1)])]
    tree = GrantTree(items)
    assert isinstance(tree.find("/A.zip"), Folder)
    assert [folder.name for folder, _ in tree.folders()] == ["A.zip", "A (2)"]
    assert tree.find("/A (2).zip") is tree.zip_of(items[1])
    assert tree.find("/A.zip.zip") is tree.zip_of(items[0])


def test_leaves_serve_their_files() -> None:
    leaf = GrantTree([KINO]).find("/Кино - Группа крови (1988)/Scans/Cover [front] #1 100%.jpg")
    assert isinstance(leaf, Leaf)
    assert leaf.item is KINO
    assert isinstance(leaf.resource, PlainFile)
    assert leaf.resource.file is KINO.files[1]
    assert leaf.resource.name == leaf.name == "Cover [front] #1 100%.jpg"
    assert leaf.resource.content_type == "image/jpeg"


def test_folders_are_as_new_as_the_newest_file_below() -> None:
    tree = GrantTree([KINO, EMPTY])
    assert tree.root.modified == tree.folder_of(KINO).modified == MTIME + 60
    scans = tree.folder_of(KINO).get("Scans")
    assert isinstance(scans, Folder)
    assert scans.modified == MTIME + 60
    later = make_item("1", "x", [make_file(1, "a/b/1", 1), make_file(2, "a/b/2", 1, mtime=MTIME + 5), make_file(3, "a/3", 1)])
    inner = [GrantTree([later]).find(path) for path in ("x/a", "x/a/b")]
    assert [folder.modified for folder in inner if isinstance(folder, Folder)] == [MTIME + 5, MTIME + 5]
    assert tree.folder_of(EMPTY).modified == 0
    assert GrantTree([]).root.modified == 0


def test_nothing_is_laid_out_before_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def count(item: object, folder: str) -> ZipArchive:
        made.append(folder)
        return ZipArchive(item, folder)  # type: ignore[arg-type]

    monkeypatch.setattr("ftpgate.tree.ZipArchive", count)
    tree = GrantTree([KINO, EMPTY])
    paths(tree.root)
    assert not made
    tree.find("/Empty.zip")
    tree.find("/Empty.zip")
    assert made == ["Empty"]


def test_items_of_other_grants_have_no_folder_here() -> None:
    with pytest.raises(KeyError):
        GrantTree([KINO]).folder_of(TWIN)
    with pytest.raises(KeyError):
        GrantTree([KINO]).zip_of(TWIN)


@given(
    st.lists(st.lists(st.text("aAé\u0301/.?", min_size=1, max_size=6), max_size=4), max_size=5), st.sampled_from(["x", "x.zip"])
)
def test_every_file_is_shown_once_whatever_it_is_called(albums: list[list[str]], folder: str) -> None:
    numbers = iter(range(1, 100))
    items = [
        make_item(str(at), folder[: at % 6], [make_file(next(numbers), path, 1) for path in album])
        for at, album in enumerate(albums)
    ]
    tree = GrantTree(items)
    shown = [path for path in paths(tree.root) if not path.endswith("/")]
    assert len(set(shown)) == len(shown) == sum(map(len, albums))
    served: list[File] = []
    for path in shown:
        leaf = tree.find(path)
        assert isinstance(leaf, Leaf)
        served += leaf.resource.files
    assert sorted(file.id for file in served) == sorted(file.id for item in items for file in item.files)
