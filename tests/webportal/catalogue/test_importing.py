"""From folders to items: order, tags, names, what is refused, and that nothing is left half-done."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from django.conf import settings
from django.utils import timezone
from PIL import Image

from ftpgate.naming import shown_paths
from tests.support.fuse import mounted
from tests.support.media import write_album, write_file
from tests.support.waiting import wait_until
from webportal.catalogue.importing import Overrides, hashing, import_item
from webportal.catalogue.importing.verifying import verify_item
from webportal.catalogue.models import FileReport, Item
from webportal.core.errors import ImportRefused
from webportal.demo.music import tagged_wave
from webportal.doctor import check_files

pytestmark = pytest.mark.django_db


@pytest.fixture
def media(tmp_path: Path) -> Path:
    folder = tmp_path / "media"
    folder.mkdir()
    return folder


def write_wave(path: Path, **tags: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tagged_wave(path.name.encode().ljust(400, b"\0"), tags))
    return path


def paths(item: Item) -> list[str]:
    return list(item.files.order_by("position").values_list("path", flat=True))


def hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".") and not path.name.endswith(".lock")]


def test_every_regular_file_is_imported_as_it_is(media: Path) -> None:
    folder = write_album(media / "Album", {"b.ogg": 5, "a.pdf": 70_000, "sub/c.txt": 0})
    os.utime(folder / "b.ogg", ns=(5, 1_234_567_890_123_456_789))
    write_album(folder, {".hidden": 1, "Thumbs.db": 1, ".DS_Store": 1, "desktop.ini": 1, ".git/x": 1})
    os.mkfifo(folder / "pipe")
    item = import_item(folder, media).item
    assert paths(item) == ["a.pdf", "b.ogg", "sub/c.txt"]
    assert (item.title, item.artist, item.year, item.folder, item.source) == ("Album", "", None, "Album", "Album")
    file = item.files.get(path="b.ogg")
    content = (folder / "b.ogg").read_bytes()
    assert bytes(file.sha256) == hashlib.sha256(content).digest()
    assert (file.crc32, file.size, file.mtime_ns, file.media) == (
        zlib.crc32(content),
        5,
        1_234_567_890_123_456_789,
        "Album/b.ogg",
    )
    found = (folder / "b.ogg").stat()
    assert (file.ctime_ns, file.inode) == (found.st_ctime_ns, found.st_ino)


def test_tags_name_and_order_the_album(media: Path) -> None:
    folder = media / "whatever"
    common = {"TALB": "Ёлка: live", "TPE2": "Хор", "TDRC": "2021-05-01"}
    write_wave(folder / "z.wav", TRCK="2/3", TPOS="1/2", TIT2="Вторая", **common)
    write_wave(folder / "y.wav", TRCK="10", TPOS="1/2", **common)
    write_wave(folder / "x.wav", TRCK="1", TPOS="2/2", **common)
    write_wave(folder / "a.wav")
    write_file(folder / "booklet 10.pdf", 3)
    write_file(folder / "booklet 2.pdf", 3)
    item = import_item(folder, media).item
    assert paths(item) == ["z.wav", "y.wav", "x.wav", "a.wav", "booklet 2.pdf", "booklet 10.pdf"]
    assert (item.title, item.artist, item.year, item.folder) == ("Ёлка: live", "Хор", 2021, "Хор - Ёлка_ live (2021)")
    first = item.files.get(position=1)
    assert (first.title, first.track, first.disc) == ("Вторая", 2, 1)
    assert "вторая" in item.search


def test_discs_in_folders_of_their_own_stay_together(media: Path) -> None:
    folder = media / "Box"
    for disc in (1, 2, 10):
        for track in (1, 2):
            write_wave(folder / f"CD{disc}" / f"{track}.wav", TRCK=str(track))
    assert paths(import_item(folder, media).item) == [f"CD{disc}/{track}.wav" for disc in (1, 2, 10) for track in (1, 2)]


def test_an_artist_only_when_all_agree(media: Path) -> None:
    write_wave(media / "One" / "1.wav", TPE1="Anna")
    write_wave(media / "Two" / "1.wav", TPE1="Anna")
    write_wave(media / "Two" / "2.wav", TPE1="Boris")
    assert import_item(media / "One", media).item.artist == "Anna"
    assert import_item(media / "Two", media).item.artist == ""


def test_overrides_come_before_tags(media: Path) -> None:
    write_wave(media / "A" / "1.wav", TALB="Tagged", TPE1="Tagged", TDRC="1999")
    item = import_item(media / "A", media, overrides=Overrides("Title", "Artist", 2001)).item
    assert (item.title, item.artist, item.year, item.folder) == ("Title", "Artist", 2001, "Artist - Title (2001)")
    for overrides in (Overrides(title=" "), Overrides(year=0), Overrides(artist="x" * 501)):
        with pytest.raises(ImportRefused, match=r"title is empty|year 0 is|artist has"):
            import_item(media / "A", media, overrides=overrides)


def test_broken_audio_is_imported_and_named(media: Path) -> None:
    write_album(media / "A", {"1.ogg": 1000, "2.mp3": 1000, "3.flac": 10, "4.m4a": 500, "5.wav": 1, "6.txt": 4})
    imported = import_item(media / "A", media)
    assert len(paths(imported.item)) == 6
    (warning,) = imported.warnings
    assert "'1.ogg'" in warning
    assert "6.txt" not in warning


def old_tag(path: Path, title: str, *, album: str, encoding: str) -> None:
    """An MP3 file with an ID3v1 tag, whose encoding nothing tells."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fields = ((title, 30), ("", 30), (album, 30), ("1999", 4), ("", 30))
    tag = b"TAG" + b"".join(text.encode(encoding)[:size].ljust(size, b"\0") for text, size in fields) + b"\xff"
    path.write_bytes((b"\xff\xfb\x90\x00" + bytes(413)) * 8 + tag)


def test_tags_of_an_old_encoding_are_read_by_its_name(media: Path) -> None:
    old_tag(media / "A" / "1.mp3", "Осень", album="Вечерние песни", encoding="cp1251")
    first = import_item(media / "A", media)
    (warning,) = first.warnings
    assert "'1.mp3' look wrongly decoded ('Îñåíü')" in warning
    assert "--tag-encoding" in warning
    again = import_item(media / "A", media, overrides=Overrides(tag_encoding="cp1251"))
    assert (again.item.pk, again.warnings) == (first.item.pk, [])
    item = Item.objects.get()
    assert (item.title, item.files.get().title, item.folder) == ("Вечерние песни", "Осень", first.item.folder)
    assert "вечерние" in item.search

    old_tag(media / "B" / "1.mp3", "Тишина", album="Дорога", encoding="koi8-r")
    new = import_item(media / "B", media, overrides=Overrides(tag_encoding="koi8-r"))
    assert (new.item.title, new.item.folder, new.warnings) == ("Дорога", "Дорога (1999)", [])


def test_an_encoding_leaves_tags_alone_that_tell_theirs(media: Path) -> None:
    write_wave(media / "A" / "1.wav", TIT2="Café Größe", TALB="Песни")
    write_wave(media / "A" / "2.wav", TIT2="Ïåñíÿ î ñíåãå")
    item = import_item(media / "A", media, overrides=Overrides(tag_encoding="cp1251")).item
    assert list(item.files.values_list("title", flat=True)) == ["Café Größe", "Песня о снеге"]


@pytest.mark.parametrize("name", ["cp99999", "utf-16", "rot13", "base64", "", "\0", "x" * 5_000])
def test_an_encoding_of_tags_has_to_be_one(media: Path, name: str) -> None:
    with pytest.raises(ImportRefused, match="encoding"):
        import_item(write_album(media / "A", {"1.ogg": 1}), media, overrides=Overrides(tag_encoding=name))


def test_paths_that_windows_cannot_keep_are_named(media: Path) -> None:
    folder = write_album(media / "A", {"CD1/" + "long " * 50 + ".ogg": 1, "short.ogg": 1})
    warning = import_item(folder, media).warnings[-1]
    assert warning.startswith("paths of more than 240 characters: 1, such as 'A/CD1/long long")


SOLD = (
    *("...Ready.mp3", ".5 A Minute.flac", "..wav", ".Sotto Voce.APE", "...Intermezzo/1.ogg", "Icon", "Icon.png", "recycle.txt"),
    *("Lost+Found/1.ogg", "Recycled/1.ogg", "Snapshots/1.jpg", "Suite: Air.mp3", "Vol.1: Notes.pdf", "part", "@home.txt", "tmp"),
    *("Thumbs.dbx", "song.part.mp3", "eaDir/1.ogg", "$9.mp3", "A #1.ogg", "~.mp3", "Program.tmp/1.ogg"),
)
LEFT_OUT = (
    *("THUMBS.DB", "Ehthumbs_vista.db", "DESKTOP.INI", ".Ds_Store", "._1.mp3", "ICON\r", "Icon\uf00d", ".hidden", ".cover.jpg"),
    *("@EADIR/", "#Recycle/", "@recycle/", "@Recently-Snapshot/", "@tmp/", ".@__thumb/", "#snapshot/", ".Recycle/"),
    *("SYSTEM VOLUME INFORMATION/", "$Recycle.Bin/", "RECYCLER/", "lost+found/", "FOUND.000/", "__MacOSX/", ".AppleDouble/"),
    *(".Spotlight-V100/", ".Trashes/", ".fseventsd/", ".TemporaryItems/", ".git/", ".Trash-1000/", "a.Download/"),
    *(".trashed-17-song.mp3", ".nfs000000000abc12345", "1.ogg@SynoEAStream", "a.PART", "a.ogg.Aria2", "a.crdownload", "a.!uT"),
    *("a.!qB", "a.opdownload", "a.filepart", "a.xltd", "a.ogg.st", "~$Notes.docx", "~WRL0001.tmp", "a.TMP", "notes.txt~"),
    *("#notes.txt#", ".~lock.notes.odt#", "1.ogg:Zone.Identifier", "gone.mp3:zone.identifier:$DATA", "1.ogg:anything"),
    *("1.ogg\uf03aSmartScreen", "1.ogg\uf022AFP_AfpInfo"),
)


def test_what_begins_with_dots_is_sold_and_names_of_music_are_no_litter(media: Path) -> None:
    folder = write_album(media / "A", dict.fromkeys(SOLD, 1))
    imported = import_item(folder, media)
    kept = {file.media.removeprefix("A/") for file in imported.item.files.all()}
    assert kept == set(SOLD)
    assert not imported.left_out
    assert shown_paths(paths(imported.item)) == paths(imported.item), "legal, and for every part of the tree"


def test_litter_is_left_out_by_name(media: Path) -> None:
    folder = write_album(media / "A", {"1.ogg": 1, "CD2/2.ogg": 1})
    for name in LEFT_OUT:
        write_file(folder / "CD2" / (f"{name}1.ogg" if name.endswith("/") else name), 1)
    write_file(folder / "CD2" / "1.ogg", 1)
    Path(os.fsdecode(os.fsencode(folder) + b"/.\xff")).write_bytes(b"x")
    os.mkfifo(folder / "pipe")
    imported = import_item(folder, media)
    assert paths(imported.item) == ["1.ogg", "CD2/1.ogg", "CD2/2.ogg"]
    reasons = {left.path: left.reason for left in imported.left_out}
    assert set(reasons) == {f"CD2/{name}".rstrip("/") for name in LEFT_OUT} | {".\N{REPLACEMENT CHARACTER}", "pipe"}
    assert reasons["CD2/@EADIR"] == "left by a NAS"
    assert reasons["CD2/1.ogg:Zone.Identifier"] == "a stream of another file"
    assert reasons["pipe"] == "no regular file"


def test_a_copy_names_what_it_leaves_out(media: Path, tmp_path: Path) -> None:
    folder = write_album(tmp_path / "A", {"...1.ogg": 1, "@eaDir/1.ogg": 1, ".nomedia": 1})
    for _ in range(2):
        imported = import_item(folder, media, copy=True)
        assert [left.path for left in imported.left_out] == [".nomedia", "@eaDir"]
        assert paths(imported.item) == ["...1.ogg"]


def test_the_same_folder_again_changes_nothing(media: Path) -> None:
    folder = write_album(media / "A", {"1.ogg": 10, "2.ogg": 10})
    first = import_item(folder, media)
    again = import_item(folder, media, overrides=Overrides("Another"))
    assert (first.new, again.new) == (True, False)
    assert again.item == first.item
    assert again.item.title == "A"
    assert Item.objects.count() == 1


def test_a_restored_file_is_the_same_file(media: Path) -> None:
    folder = write_album(media / "A", {"1.ogg": 10})
    item = import_item(folder, media).item
    os.utime(folder / "1.ogg", ns=(7, 7))
    assert import_item(folder, media).item == item
    assert item.files.get().mtime_ns == 7
    assert Item.objects.get().revision == 1


@pytest.mark.parametrize("change", ["changed", "longer", "missing", "more"])
def test_a_folder_that_is_not_as_imported_is_refused(media: Path, change: str) -> None:
    folder = write_album(media / "A", {"1.ogg": 10, "2.ogg": 10})
    item = import_item(folder, media).item
    before = list(item.files.values())
    match change:
        case "changed":
            write_file(folder / "1.ogg", 10, seed="other")
        case "longer":
            write_file(folder / "1.ogg", 11)
        case "missing":
            (folder / "1.ogg").unlink()
        case "more":
            write_file(folder / "3.ogg", 1)
    with pytest.raises(ImportRefused, match=item.public_id) as caught:
        import_item(folder, media)
    assert ("3.ogg" if change == "more" else "1.ogg") in str(caught.value)
    assert list(item.files.values()) == before


def test_what_cannot_be_an_item(media: Path, tmp_path: Path) -> None:
    outside = write_album(tmp_path / "elsewhere", {"1.ogg": 1})
    empty = media / "empty"
    empty.mkdir()
    for folder, why in (
        (media, "media folder itself"),
        (tmp_path, "holds the media folder"),
        (media / "nothing", "is no folder"),
        (empty, "no file"),
        (outside, "is not under the media folder"),
        (outside / "1.ogg", "is no folder"),
    ):
        with pytest.raises(ImportRefused, match=why):
            import_item(folder, media)
    assert not Item.objects.exists()


def test_links_within_are_followed_and_links_out_refused(media: Path, tmp_path: Path) -> None:
    secret = write_file(tmp_path / "secret", 3)
    folder = write_album(media / "A", {"1.ogg": 3, "sub/2.ogg": 3})
    (folder / "3.ogg").symlink_to("sub/2.ogg")
    item = import_item(folder, media).item
    assert paths(item) == ["1.ogg", "3.ogg", "sub/2.ogg"]
    assert item.files.get(path="3.ogg").media == "A/sub/2.ogg"
    for target, why in (
        (secret, "leads out"),
        (tmp_path, "leads out"),
        ("gone", "leads nowhere"),
        (".", "leads back"),
        ("loop", "leads nowhere"),
    ):
        link = folder / "loop"
        link.symlink_to(target)
        with pytest.raises(ImportRefused, match=f"'loop' {why}"):
            import_item(folder, media)
        link.unlink()


def test_names_become_legal_and_unique(media: Path) -> None:
    folder = write_album(media / "A", {"what?.ogg": 1, "what_.ogg": 2, "CON.txt": 3, "a.ogg": 4, "A.ogg": 5})
    item = import_item(folder, media).item
    assert len({path.casefold() for path in paths(item)}) == 5
    assert {"_CON.txt", "what_.ogg", "what_ (2).ogg"} < set(paths(item))
    assert all((media / file.media).stat().st_size == file.size for file in item.files.all())


def test_a_name_that_is_no_text_is_named(media: Path) -> None:
    folder = write_album(media / "A", {"1.ogg": 1})
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.ogg")).write_bytes(b"x")
    with pytest.raises(ImportRefused, match=r"udcff.*not UTF-8"):
        import_item(folder, media)


def test_an_unreadable_file_is_named() -> None:
    with tempfile.TemporaryDirectory() as name:
        media = Path(name)
        media.chmod(0o755)
        folder = write_album(media / "A", {"1.ogg": 1, "2.ogg": 1})
        (folder / "2.ogg").chmod(0)
        Item.objects.count()  # opens the database, which nobody else may do
        user = os.geteuid()
        os.seteuid(user or 65_534)  # root may read everything
        try:
            with pytest.raises(ImportRefused, match=r"'2.ogg' cannot be read"):
                import_item(folder, media)
        finally:
            os.seteuid(user)
    assert not Item.objects.exists()


def test_a_file_that_is_written_to_meanwhile_is_named(media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_album(media / "A", {"1.ogg": 1, "2.ogg": 8_000})
    monkeypatch.setattr(hashing, "_CHUNK", 16)  # so many reads that a write falls between them
    stop = threading.Event()

    def write() -> None:
        with (folder / "2.ogg").open("ab") as file:
            while not stop.is_set():
                os.write(file.fileno(), b"x")
                time.sleep(0.0002)

    writer = threading.Thread(target=write)
    size = (folder / "2.ogg").stat().st_size
    writer.start()
    try:
        wait_until(lambda: (folder / "2.ogg").stat().st_size > size, 10, "the writer's first byte")
        with pytest.raises(ImportRefused, match=r"'2.ogg' changed while"):
            import_item(folder, media)
    finally:
        stop.set()
        writer.join()
    assert not Item.objects.exists()


@pytest.mark.parametrize(
    "ordered",
    [
        ["01 one.ogg", "02 two.ogg", "CD2/a b.ogg"],
        ["a.ogg", "booklet.pdf", "CD1/1.ogg", "cover.jpg"],
        ["b.ogg", "Disc 2/a.ogg", "Disc 10/a.ogg", "a.pdf", "booklet/1.jpg"],
    ],
    ids=["the first disc lies outside", "one disc", "what belongs to all discs"],
)
def test_untagged_files_are_ordered_by_disc_and_path(media: Path, ordered: list[str]) -> None:
    folder = write_album(media / "Album", dict.fromkeys(reversed(ordered), 10))
    assert paths(import_item(folder, media).item) == ordered


# ------------------------------------------------------------------------------------------ --copy


def test_a_copy_is_made_once(media: Path, tmp_path: Path) -> None:
    outside = write_album(tmp_path / "else" / "Album", {"1.ogg": 10, "sub/2.ogg": 20, ".hidden": 1})
    first = import_item(outside, media, copy=True)
    again = import_item(outside, media, copy=True)
    assert (first.new, again.new, first.item) == (True, False, again.item)
    assert first.item.source == "Album"
    assert sorted(path.name for path in media.rglob("*") if path.is_file() and path.name[0] != ".") == ["1.ogg", "2.ogg"]
    assert (media / "Album" / "1.ogg").stat().st_mtime_ns == (outside / "1.ogg").stat().st_mtime_ns
    assert not hidden(media)


def test_a_copy_takes_nobodys_place(media: Path, tmp_path: Path) -> None:
    write_album(media / "Album", {"other": 1})
    one = write_album(tmp_path / "one" / "Album", {"1.ogg": 10})
    two = write_album(tmp_path / "two" / "Album", {"1.ogg": 11})
    assert import_item(one, media, copy=True).item.source == "Album (2)"
    assert import_item(two, media, copy=True).item.source == "Album (3)"
    assert not import_item(one, media, copy=True).new
    assert (media / "Album" / "other").exists()


@pytest.mark.parametrize("overrides", [Overrides("Other"), Overrides(artist="Somebody"), Overrides(year=1999)], ids=str)
def test_a_copy_with_another_name_is_another_item(media: Path, tmp_path: Path, overrides: Overrides) -> None:
    """The same bytes may be offered under two names; what was asked for is never left out silently."""
    outside = write_album(tmp_path / "else" / "Album", {"1.ogg": 10})
    first = import_item(outside, media, copy=True)
    other = import_item(outside, media, overrides=overrides, copy=True)
    assert other.new
    assert (other.item.source, other.item.folder != first.item.folder) == ("Album (2)", True)
    again = import_item(outside, media, overrides=overrides, copy=True)
    assert (again.item, again.new) == (other.item, False)
    assert import_item(outside, media, copy=True).item == first.item


@pytest.mark.parametrize("gone", ["", "1.ogg", "sub", "."])
def test_a_withdrawn_item_comes_back_by_a_copy_of_its_files(media: Path, tmp_path: Path, gone: str) -> None:
    """A purge takes off the disk what it can, and whoever has the album elsewhere brings it back the way it came."""
    outside = write_album(tmp_path / "else" / "Album", {"1.ogg": 10, "sub/2.ogg": 20})
    item = import_item(outside, media, copy=True).item
    Item.objects.filter(pk=item.pk).update(withdrawn_at=timezone.now())
    if gone == "1.ogg":
        (media / "Album" / gone).unlink()
    elif gone:
        shutil.rmtree(media / "Album" / gone)
    os.utime(outside / "1.ogg", ns=(1, 1))  # a restored backup has times of its own
    again = import_item(outside, media, copy=True)
    assert (again.item, again.new) == (item, False)
    item.refresh_from_db()
    assert item.withdrawn_at is None
    for file in item.files.all():
        found = (media / file.media).stat()
        assert (found.st_size, found.st_mtime_ns) == (file.size, file.mtime_ns)
    assert not hidden(media)


def test_a_copy_overwrites_nothing(media: Path, tmp_path: Path) -> None:
    outside = write_album(tmp_path / "else" / "Album", {"1.ogg": 10, "2.ogg": 20})
    import_item(outside, media, copy=True)
    (media / "Album" / "1.ogg").write_bytes(b"somebody's own")
    (media / "Album" / "2.ogg").unlink()
    with pytest.raises(ImportRefused, match="has 14 bytes, 10 were imported"):
        import_item(outside, media, copy=True)
    assert (media / "Album" / "1.ogg").read_bytes() == b"somebody's own"


def test_nothing_of_a_failed_copy_stays(media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outside = write_album(tmp_path / "else" / "Album", {"1.ogg": 10})
    leftover = write_album(media / ".ftpgate-import", {"of a killed import": 1})

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("webportal.catalogue.importing.find_cover", full)
    with pytest.raises(ImportRefused, match="No space left"):
        import_item(outside, media, copy=True)
    monkeypatch.undo()
    monkeypatch.setattr("shutil.copyfile", full)
    with pytest.raises(ImportRefused, match=r"'1.ogg' cannot be copied \(No space left"):
        import_item(outside, media, copy=True)
    assert not leftover.exists()
    assert [path.name for path in media.iterdir()] == [".ftpgate-import.lock"]
    assert not Item.objects.exists()


# ------------------------------------------------------------------------------------------ covers


def test_the_cover_is_made_small(media: Path) -> None:
    folder = write_album(media / "A", {"1.ogg": 1})
    Image.new("RGBA", (3000, 1500), (255, 0, 0, 128)).save(folder / "Cover.PNG", "PNG")
    item = import_item(folder, media).item
    assert "Cover.PNG" in paths(item)
    with Image.open(item.cover) as cover:
        assert (cover.format, cover.size) == ("JPEG", (1000, 500))
    with Image.open(Path(settings.MEDIA_ROOT) / "thumbnails" / Path(item.cover.path).name) as small:
        assert small.size == (400, 400), "made before a page asks for it"
    assert Path(item.cover.path).is_relative_to(settings.MEDIA_ROOT)


def test_a_broken_cover_is_only_a_file(media: Path) -> None:
    imported = import_item(write_album(media / "A", {"1.ogg": 1, "cover.jpg": 3000}), media)
    assert not imported.item.cover
    assert imported.warnings[-1].startswith("'cover.jpg' is not shown (")


def test_the_next_best_picture_is_the_cover(media: Path) -> None:
    folder = write_album(media / "A", {"1.txt": 1})
    Image.new("RGB", (9, 9)).save(folder / "cover.gif")
    Image.new("RGB", (50, 40)).save(folder / "folder.webp")
    imported = import_item(folder, media)
    assert imported.warnings == ["'cover.gif' is not shown (GIF is not taken; use JPEG, PNG or WebP)"]
    with Image.open(imported.item.cover) as cover:
        assert (cover.format, cover.size) == ("JPEG", (50, 40))


# ------------------------------------------------------------------------------------------ verifying


def test_verifying_names_what_changed_and_tells_staff(media: Path) -> None:
    folder = write_album(media / "A", {"1.ogg": 10, "2.ogg": 10, "3.ogg": 10, "4.ogg": 10})
    item = import_item(folder, media).item
    assert verify_item(item, media) == []
    write_file(folder / "1.ogg", 10, seed="other")
    write_file(folder / "2.ogg", 12)
    (folder / "3.ogg").unlink()
    os.utime(folder / "4.ogg", ns=(9, 9))
    problems = {problem.path: problem.problem for problem in verify_item(item, media)}
    assert problems == {"1.ogg": "has changed", "2.ogg": "has 12 bytes, 10 were imported", "3.ogg": "is missing"}
    assert set(FileReport.objects.values_list("file__path", flat=True)) == set(problems)
    write_album(folder, {"1.ogg": 10, "2.ogg": 10, "3.ogg": 10})
    assert verify_item(item, media) == []
    assert not FileReport.objects.exists()


def test_a_same_sized_change_with_the_old_time_stamp_is_found(media: Path) -> None:
    folder = write_album(media / "A", {"1.ogg": 10})
    item = import_item(folder, media).item
    stamp = (folder / "1.ogg").stat().st_mtime_ns
    write_file(folder / "1.ogg", 10, seed="other")
    os.utime(folder / "1.ogg", ns=(stamp, stamp))
    assert [problem.path for problem in verify_item(item, media)] == ["1.ogg"]


def stamps(item: Item) -> list[tuple[object, ...]]:
    return list(item.files.order_by("position").values_list("size", "mtime_ns", "ctime_ns", "inode"))


def on_disk(folder: Path) -> list[tuple[object, ...]]:
    found = [path.stat() for path in sorted(folder.iterdir())]
    return [(one.st_size, one.st_mtime_ns, one.st_ctime_ns, one.st_ino) for one in found]


def restore(folder: Path) -> None:
    """The same bytes and times in another file, as from a backup."""
    shutil.copy2(folder / "1.ogg", folder / "new")
    (folder / "new").rename(folder / "1.ogg")


@pytest.mark.parametrize("change", [restore, lambda folder: (folder / "1.ogg").chmod(0o600)], ids=["restored", "chmod"])
@pytest.mark.parametrize("again", ["verify", "import"])
def test_a_file_with_the_same_bytes_is_taken_for_what_it_is_now(media: Path, change: Callable[[Path], None], again: str) -> None:
    folder = write_album(media / "A", {"1.ogg": 10, "2.ogg": 10})
    item = import_item(folder, media).item
    assert stamps(item) == on_disk(folder)
    change(folder)
    assert stamps(item) != on_disk(folder)
    if again == "verify":
        assert verify_item(item, media) == []
    else:
        assert not import_item(folder, media).new
    assert stamps(item) == on_disk(folder)
    item.refresh_from_db()
    assert item.revision == 1
    assert verify_item(item, media) == []
    item.refresh_from_db()
    assert item.revision == 1, "nothing changed: no gate has to ask again"


@pytest.mark.parametrize("again", [verify_item, lambda item, media: import_item(media / item.source, media)])
def test_what_an_older_version_did_not_record_is_recorded_when_a_file_is_read_next(
    media: Path, again: Callable[[Item, Path], object]
) -> None:
    folder = write_album(media / "A", {"1.ogg": 10, "2.ogg": 10})
    item = import_item(folder, media).item
    item.files.update(ctime_ns=None, inode=None)
    assert "compared by size and time only: 2" in check_files(settings.FTPGATE)
    again(item, media)
    assert stamps(item) == on_disk(folder)
    assert check_files(settings.FTPGATE) == "files: 2, none reported as changed"


def test_a_file_of_an_older_version_is_not_recorded_unread(media: Path) -> None:
    folder = write_album(media / "A", {"1.ogg": 10})
    item = import_item(folder, media).item
    item.files.update(ctime_ns=None, inode=None)
    time = (folder / "1.ogg").stat().st_mtime_ns
    write_file(folder / "1.ogg", 10, seed="other")
    os.utime(folder / "1.ogg", ns=(time, time))
    with pytest.raises(ImportRefused, match="has changed"):
        import_item(folder, media)
    assert stamps(item) == [(10, time, None, None)]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_a_link_leads_to_outside_is_not_verified(media: Path, tmp_path: Path, kind: str) -> None:
    folder = write_album(media / "A", {"1.ogg": 10})
    item = import_item(folder, media).item
    moved = folder if kind == "folder" else folder / "1.ogg"
    moved.rename(tmp_path / "outside")
    moved.symlink_to(tmp_path / "outside")
    (problem,) = verify_item(item, media)
    assert problem.problem == "is reached by a link that leads out of the media folder"
    moved.unlink()
    (tmp_path / "outside").rename(media / "inside")
    moved.symlink_to(media / "inside")
    assert verify_item(item, media) == []


def test_verifying_does_not_wait_for_a_pipe(media: Path) -> None:
    folder = write_album(media / "A", {"1.ogg": 0})
    item = import_item(folder, media).item
    (folder / "1.ogg").unlink()
    os.mkfifo(folder / "1.ogg")
    assert [problem.problem for problem in verify_item(item, media)] == ["is no regular file any more"]


def test_numbers_of_inodes_that_do_not_last_are_not_recorded(tmp_path: Path) -> None:
    write_album(tmp_path / "source" / "A", {"1.ogg": 10})
    with mounted(tmp_path / "source", tmp_path / "media"):
        item = import_item(tmp_path / "media" / "A", tmp_path / "media").item
        ((_, mtime, ctime, inode),) = stamps(item)
        assert verify_item(item, tmp_path / "media") == []
    found = (tmp_path / "source" / "A" / "1.ogg").stat()
    assert (mtime, ctime, inode) == (found.st_mtime_ns, found.st_ctime_ns, None)
    item.refresh_from_db()
    assert item.revision == 0


def test_a_real_album_comes_in_the_order_of_its_tags(real_album: Path, media: Path) -> None:
    imported = import_item(real_album, media, copy=True)
    files = list(imported.item.files.order_by("position"))
    assert len(files) == 41
    assert not imported.warnings
    assert not imported.left_out
    assert [file.path for file in files if not file.title] == ["silence.ogg"]
    numbers = [(file.disc or 1, file.track) for file in files if file.track is not None]
    assert numbers == sorted(numbers)
    unnumbered = [file.path for file in files if file.track is None and file.disc is None]
    assert len(unnumbered) > 3
    assert [file.path for file in files[-len(unnumbered) :]] == sorted(unnumbered)
    assert all(file.duration for file in files)
