"""What staff put on the shelf and take off it from the browser: imports with their progress, the purge list."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import timedelta
from html import unescape
from io import StringIO
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.contrib.admin.models import LogEntry
from django.core.management import CommandError, call_command
from django.utils import timezone, translation

from ftpgate.grants import Batch
from tests.support.media import write_album, write_file
from tests.support.waiting import wait_until
from tests.webportal.shop import let_expire, make_grant, make_item, make_staff, make_user, whole
from tests.webportal.visiting import text, visitor
from webportal.accounts.models import User
from webportal.bridge import make_bridge
from webportal.catalogue.importing import import_item
from webportal.catalogue.models import ImportJob, Item
from webportal.catalogue.search import search
from webportal.config import environment
from webportal.core.errors import GrantError, ImportRefused
from webportal.core.translatable import coded, stored
from webportal.fulfilment.checkout import add_to_cart, remove_from_cart
from webportal.fulfilment.purging import purge, purgeable
from webportal.fulfilment.services import renew_grant
from webportal.grants.models import Grant
from webportal.grants.states import State
from webportal.history.models import Completion
from webportal.jobs.imports import DEAD_AFTER, folders_to_import, start_import
from webportal.staff.hints import for_terminal

pytestmark = pytest.mark.django_db


@pytest.fixture
def media(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty media folder of this test's own."""
    monkeypatch.setattr(django_settings, "FTPGATE", replace(django_settings.FTPGATE, media_root=tmp_path), raising=False)
    return tmp_path


def deliver(item: Item, user: User) -> Grant:
    grant, _ = make_grant(user, item)
    make_bridge(environment.current()).record("gate", Batch(delivered=whole(grant, item)))
    return grant


def grace_is_over() -> None:
    Grant.objects.filter(state=State.COMPLETE).update(completed_at=timezone.now() - timedelta(days=1))


# ------------------------------------------------------------------------------------------------ imports
def test_folders_are_offered_until_they_are_items(media: Path) -> None:
    write_album(media / "Salt", {"1.ogg": 10})
    write_album(media / "Artist", {"One/1.ogg": 10, "Two/1.ogg": 10, "Empty/.hidden": 1})
    (media / ".secret").mkdir()
    (media / "nothing").mkdir()
    assert folders_to_import() == ["Artist/One", "Artist/Two", "nothing", "Salt"]
    import_item(media / "Salt", media)
    assert "Salt" not in folders_to_import()


def test_litter_is_not_offered_and_titles_that_begin_with_dots_are(media: Path) -> None:
    write_album(media, {"...Live/1.ogg": 10, ".cache/1.txt": 10, ".ftpgate-import/1.ogg": 10, "Only litter/Thumbs.db": 1})
    write_album(media, {"@eaDir/1.ogg": 1, "#recycle/1.ogg": 1, "lost+found/1.ogg": 1, "$RECYCLE.BIN/A/1.ogg": 1})
    assert folders_to_import() == ["...Live", "Only litter"]


@pytest.mark.django_db(transaction=True)
def test_staff_see_what_was_left_out_and_why(media: Path) -> None:
    staff = make_staff()
    write_album(
        media / "Salt", {"1.ogg": 3, "@eaDir/1.ogg": 10, "2.ogg.part": 10, **{f".x{number:02}": 1 for number in range(30)}}
    )
    start_import("Salt", staff)
    assert ended().state == "done"
    page = unescape(text(visitor(staff).get("/staff/import/")))
    assert "left out: .x00 (hidden, and no audio), .x01" in page
    assert "and 12 more" in page
    User.objects.filter(pk=staff.pk).update(language="ru")
    assert "не добавлено: .x00 (скрыто и не звук)" in unescape(text(visitor(staff).get("/staff/import/")))


def test_discs_are_offered_as_the_one_album_that_they_are(media: Path) -> None:
    write_album(media / "Long one", {"CD1/1.ogg": 10, "CD2/1.ogg": 10, "scans/1.jpg": 1})
    write_album(media / "Jazz", {"Trio/Live/Disc 1/1.ogg": 10, "Trio/Studio/1.ogg": 10})
    assert folders_to_import() == ["Jazz/Trio/Live", "Jazz/Trio/Studio", "Long one"]
    import_item(media / "Long one", media)
    import_item(media / "Jazz/Trio/Live/Disc 1", media)
    assert folders_to_import() == ["Jazz/Trio/Studio"]


@pytest.mark.django_db(transaction=True)
def test_a_folder_is_imported_in_the_background(media: Path) -> None:
    staff = make_staff()
    write_album(media / "Salt", {"1.ogg": 3_000_000, "2.ogg": 10})
    browser = visitor(staff)
    assert browser.post("/staff/import/", {"folder": "Salt"}).status_code == 302
    job = ended()
    assert (job.state, job.read, job.total) == ("done", 3_000_010, 3_000_010)
    assert job.item is not None
    assert job.item.title == "Salt"
    page = text(browser.get("/staff/import/"))
    assert f"/items/{job.item.public_id}/" in page
    assert LogEntry.objects.filter(user=staff, object_repr="Salt").exists()


@pytest.mark.django_db(transaction=True)
def test_what_cannot_be_imported_says_why(media: Path) -> None:
    staff = make_staff()
    (media / "Empty").mkdir()
    start_import("Empty", staff)
    assert ended().state == "failed"
    page = text(visitor(staff).get("/staff/import/"))
    assert "there is no file to import" in page


@pytest.mark.django_db(transaction=True)
def test_what_cannot_be_imported_is_said_in_the_language_of_whoever_looks(media: Path) -> None:
    staff = make_staff()
    (media / "Пусто").mkdir()
    browser = visitor(staff)
    browser.post("/staff/import/", {"folder": "Пусто"})
    assert "there is no file to import" in ended().texts[0]
    assert "there is no file to import" in text(browser.get("/staff/import/"))
    User.objects.filter(pk=staff.pk).update(language="ru")
    page = unescape(text(browser.get("/staff/import/")))
    assert f"в папке {str(media / 'Пусто')!r} нет файлов, которые можно добавить: укажите папку, в которой лежит альбом" in page
    assert "there is" not in page
    refused = unescape(text(browser.post("/staff/import/", {"folder": "нет такой"}, follow=True)))
    assert "Добавить нельзя: в папке с музыкой нет папки 'нет такой': укажите ту, что в ней есть" in refused


def test_an_import_of_something_else_says_what_in_russian(media: Path, staff: User) -> None:
    """Texts within texts, from the files up to the page."""
    folder = write_album(media / "Salt", {"1.ogg": 10, "2.ogg": 10})
    item = import_item(folder, media).item
    write_file(folder / "2.ogg", 12)
    with pytest.raises(ImportRefused) as error:
        import_item(folder, media)
    ImportJob.objects.create(
        folder="Salt",
        user=staff,
        state="failed",
        notes=[stored(error.value.text)],
        started_at=timezone.now(),
        heard_at=timezone.now(),
    )
    ImportJob.objects.create(
        folder="Kites",
        user=staff,
        state="failed",
        notes=[stored(coded("как было записано раньше"))],
        started_at=timezone.now(),
        heard_at=timezone.now(),
    )
    User.objects.update(language="ru")
    page = unescape(text(visitor(staff).get("/staff/import/")))
    size = "теперь занимает 12 Б, а при добавлении занимал 10 Б"
    assert f"файл '2.ogg' альбома {item.public_id} не такой, каким был добавлен ({size}): верните файл на место" in page
    assert "как было записано раньше" in page
    reports = unescape(text(visitor(staff).get("/admin/catalogue/filereport/")))
    assert size in reports


def test_the_command_line_speaks_english_whatever_the_pages_speak(media: Path) -> None:
    with translation.override("ru"), pytest.raises(ImportRefused) as error:
        import_item(media / "Salt", media)
    assert for_terminal(error.value.text) == f"{str(media / 'Salt')!r} is no folder: name the folder that holds the album"


def ended() -> ImportJob:
    def found() -> ImportJob | None:
        job = ImportJob.objects.select_related("item").get()
        return job if job.state != ImportJob.State.RUNNING else None

    return wait_until(found, 20, "the end of the import")


@pytest.mark.parametrize("folder", ["", "..", "../..", "/etc", "none", "Salt/1.ogg", "."])
def test_only_folders_below_the_media_folder_are_taken(media: Path, staff: User, folder: str) -> None:
    write_album(media / "Salt", {"1.ogg": 10})
    with pytest.raises(ImportRefused):
        start_import(folder, staff)
    assert not ImportJob.objects.exists()


def test_a_folder_is_imported_once_at_a_time_but_not_held_up_by_the_dead(media: Path, staff: User) -> None:
    write_album(media / "Salt", {"1.ogg": 10})
    start_import("Salt", staff)  # it waits for a commit that never comes here
    with pytest.raises(ImportRefused, match="just being imported"):
        start_import("Salt", staff)
    ImportJob.objects.update(heard_at=timezone.now() - DEAD_AFTER - timedelta(seconds=1))
    start_import("Salt", staff)
    assert sorted(ImportJob.objects.values_list("state", flat=True)) == ["failed", "running"]


def test_the_shelf_is_staffs_alone(media: Path) -> None:
    customer = visitor(make_user("alice"))
    for path in ("/staff/import/", "/staff/purge/"):
        assert customer.get(path).status_code == 403
        assert customer.post(path, {"folder": "x", "item": "y"}).status_code == 403


# ------------------------------------------------------------------------------------------------ purging
def test_what_nobody_waits_for_any_more_can_go(staff: User) -> None:
    alice, bob, item = make_user("alice"), make_user("bob"), make_item(10)
    assert not purgeable().exists(), "nobody has received it"
    deliver(item, alice)
    assert not purgeable().exists(), "it still serves"
    grace_is_over()
    assert purgeable().get() == item
    add_to_cart(bob, item)
    assert not purgeable().exists(), "in a cart"
    remove_from_cart(bob, item)
    waiting, _ = make_grant(bob, item)
    assert not purgeable().exists(), "in an open grant"
    let_expire(waiting)
    assert purgeable().get() == item


def test_a_purged_item_is_off_the_disk_and_the_shelf_but_not_forgotten(media: Path, staff: User) -> None:
    alice = make_user("alice")
    write_album(media / "Salt", {"CD1/1.ogg": 10, "CD1/2.ogg": 20, ".kept": 1})
    write_album(media / "Kites", {"1.ogg": 10})
    item, other = (import_item(media / name, media).item for name in ("Salt", "Kites"))
    grant = deliver(item, alice)
    grace_is_over()
    browser = visitor(staff)
    assert "Salt" in text(browser.get("/staff/purge/"))
    browser.post("/staff/purge/", {"item": item.public_id})
    assert sorted(path.name for path in media.rglob("*")) == [".kept", "1.ogg", "Kites", "Salt"]
    assert LogEntry.objects.filter(user=staff, object_repr=str(item), change_message="purged").count() == 1
    assert [found.title for found in search("")[:9]] == ["Kites"]
    assert search("salt").count() == 0
    customer = visitor(alice)
    assert "no longer on offer" in text(customer.get(f"/items/{item.public_id}/"))
    assert customer.post(f"/cart/add/{item.public_id}").status_code == 404
    assert customer.get(f"/history/{grant.public_id}/{item.public_id}/").status_code == 200
    with pytest.raises(GrantError, match="withdrawn"):
        make_grant(alice, item)
    browser.post("/staff/purge/", {"item": other.public_id})
    assert (media / "Kites" / "1.ogg").exists(), "nobody has received it"


def test_a_grant_of_a_purged_item_is_not_renewed(media: Path, staff: User) -> None:
    """Its links would open, and nothing would come."""
    write_album(media / "Salt", {"1.ogg": 10})
    item = import_item(media / "Salt", media).item
    expired, _ = make_grant(make_user("bob"), item)
    deliver(item, staff)
    let_expire(expired)
    grace_is_over()
    purge(item)
    with pytest.raises(GrantError, match="is withdrawn"):
        renew_grant(expired, expires_at=timezone.now() + timedelta(days=1))
    assert Grant.objects.get(pk=expired.pk).present_state == State.EXPIRED


def test_a_purged_item_comes_back_with_its_files(media: Path, staff: User) -> None:
    folder = write_album(media / "Salt", {"1.ogg": 10})
    kept = shutil.copytree(folder, media.parent / "kept", copy_function=shutil.copy2, dirs_exist_ok=True)
    item = import_item(folder, media).item
    deliver(item, staff)
    grace_is_over()
    purge(item)
    assert not folder.exists()
    assert "Salt" not in folders_to_import()
    shutil.copytree(kept, folder, copy_function=shutil.copy2)
    assert "Salt" in folders_to_import()
    assert import_item(folder, media).item == item
    assert search("salt").count() == 1


def test_files_that_another_item_on_offer_has_too_stay(media: Path, staff: User) -> None:
    write_album(media / "Artist", {"One/1.ogg": 10, "Two/1.ogg": 20})
    album, everything = (import_item(media / name, media).item for name in ("Artist/One", "Artist"))
    for item in (album, everything):
        deliver(item, staff)
    grace_is_over()
    purged = purge(album)
    assert (purged.freed, purged.kept) == (0, [])
    assert (media / "Artist/One/1.ogg").exists()
    assert purge(everything).freed == 30
    assert not (media / "Artist").exists()


def test_a_file_that_lies_elsewhere_is_not_removed(media: Path, staff: User) -> None:
    item = make_item(10)
    outside = media.parent / "outside.ogg"
    outside.write_bytes(b"x")
    item.files.update(media="../outside.ogg")
    deliver(item, staff)
    grace_is_over()
    assert purge(item).kept == ["../outside.ogg: it lies outside the media folder"]
    assert outside.exists()


def test_the_command_lists_first_and_removes_when_told(media: Path, staff: User) -> None:
    write_album(media / "Salt", {"1.ogg": 10})
    item = import_item(media / "Salt", media).item
    deliver(item, staff)
    grace_is_over()
    assert item.public_id in said("purge")
    assert (media / "Salt" / "1.ogg").exists()
    assert "freed" in said("purge", item.public_id, "--remove")
    assert not (media / "Salt").exists()
    assert said("purge") == ""
    with pytest.raises(CommandError, match="not safe"):
        said("purge", item.public_id, "--remove")
    assert Completion.objects.count() == 1


def said(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()
