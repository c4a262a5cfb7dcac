"""The admin: every page opens, and staff's actions do what they say."""

from __future__ import annotations

import io
import re
from datetime import timedelta
from html import unescape
from pathlib import Path

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import OperationalError
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from PIL import Image
from pytest_django.fixtures import Settings

from ftpgate.grants import Batch
from ftpgate.tokens import Token
from ftpgate.translatable import FileProblem
from tests.support.responses import Response
from tests.webportal.shop import let_expire, make_grant, make_item, make_user, whole
from tests.webportal.visiting import text, tokens_in, visitor
from webportal.accounts.models import Tier, User
from webportal.accounts.services import set_tier
from webportal.bridge import make_bridge
from webportal.catalogue.services import report_changed
from webportal.config import environment
from webportal.fulfilment.services import revoke_grant
from webportal.grants.models import Gate, Grant, GrantToken
from webportal.grants.states import State
from webportal.history.models import Transfer

pytestmark = pytest.mark.django_db


def act(browser: Client, action: str, *grants: Grant) -> Response:
    chosen = {"action": action, "_selected_action": [grant.pk for grant in grants]}
    return browser.post(reverse("admin:grants_grant_changelist"), chosen, follow=True)


def state(grant: Grant) -> State:
    return Grant.objects.get(pk=grant.pk).present_state


def test_every_list_and_every_row_opens(browser: Client, staff: User) -> None:
    item = make_item(10, 20)
    grant, _ = make_grant(staff, item)
    make_bridge(environment.current()).record("gate", Batch(delivered=whole(grant, item)))
    report_changed({item.files.all()[0].pk: "shorter than imported"})
    opened = set()
    for model in admin.site._registry:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        answer = browser.get(reverse(f"{name}_changelist"), {"q": "salt"} if admin.site._registry[model].search_fields else {})
        assert answer.status_code == 200, name
        assert "unsafe" not in answer["Content-Security-Policy"]
        assert browser.get(reverse(f"{name}_changelist")).status_code == 200, name
        row = model._default_manager.first()
        if row is not None:
            opened.add(model.__name__)
            assert browser.get(reverse(f"{name}_change", args=[row.pk])).status_code == 200, name
    assert opened >= {"Item", "Grant", "Tier", "User", "Completion", "FileReport"}


def test_all_pages_of_staff_speak_russian(browser: Client, staff: User) -> None:
    item = make_item(10, title="Соль")
    grant, _ = make_grant(staff, item)
    make_bridge(environment.current()).record("gate", Batch(delivered=whole(grant, item)))
    report_changed({item.files.all()[0].pk: FileProblem.FILE_MISSING()})
    User.objects.filter(pk=staff.pk).update(language="ru")
    pages = ["/staff/", "/staff/import/", "/staff/purge/", reverse("admin:index"), reverse("admin:password_change")]
    for model, its_admin in admin.site._registry.items():
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        row = model._default_manager.first()
        pages.append(reverse(f"{name}_changelist"))
        pages += [reverse(f"{name}_{page}", args=[row.pk]) for page in ("change", "history") if row is not None]
        pages += [reverse(f"{name}_add")] if its_admin.has_add_permission(browser.get(pages[0]).wsgi_request) else []
    for page in pages:
        answer = browser.get(page)
        assert answer.status_code == 200, page
        words = re.sub(r"(?s)<(script|style|svg)\b.*?</\1>|<[^>]*>", " ", text(answer))
        english = r"(?i)\b(?:the|your|you|of|and|with|not|have|is|in|to|for|this|can|add|change|delete|view|all|any|by)\b"
        assert re.findall(english, words) == [], page


def test_how_transfers_ended_is_said_in_the_language_of_whoever_looks(browser: Client, staff: User) -> None:
    item, now = make_item(10), timezone.now()
    grant, _ = make_grant(staff, item)
    for start, outcome in enumerate(("done", "cut", "stalled", "revoked", "error")):
        given = {"gate": "gate", "path": "/1.ogg", "protocol": "ftp", "peer": "192.0.2.1", "started_at": now, "ended_at": now}
        Transfer.objects.create(grant=grant, item=item, start=start, end=9, delivered=0, outcome=outcome, **given)
    User.objects.filter(pk=staff.pk).update(language="ru")
    page = text(browser.get(reverse("admin:history_transfer_changelist")))
    assert set(re.findall(r'field-outcome">(.*?)<', page)) == {"готово", "оборвана", "застряла", "отозвана", "ошибка"}
    assert set(re.findall(r"outcome(?:__exact)?=(\w+)", page)) == {"done", "cut", "stalled", "revoked", "error"}


def test_customers_have_no_business_there(staff: User) -> None:
    customer = visitor(make_user("alice"))
    assert customer.get("/admin/", follow=True).redirect_chain
    grant, _ = make_grant(staff, make_item(1))
    act(customer, "revoke", grant)
    assert state(grant) is State.OPEN


def test_staff_who_may_only_look_may_not_act(staff: User) -> None:
    looker = make_user("looker")
    looker.is_staff = True
    looker.save()
    looker.user_permissions.add(Permission.objects.get(codename="view_grant"))
    grant, _ = make_grant(staff, make_item(1))
    browser = visitor(looker)
    assert "New token" not in text(browser.get(reverse("admin:grants_grant_change", args=[grant.pk])))
    for action in ("revoke", "renew", "new_token", "issue_again"):
        act(browser, action, grant)
    assert state(grant) is State.OPEN
    assert (Grant.objects.count(), GrantToken.objects.count()) == (1, 1)


def test_revoke_and_renew(browser: Client, staff: User) -> None:
    grants = [make_grant(staff, make_item(1))[0] for _ in range(3)]
    let_expire(grants[2])
    act(browser, "renew", *grants)
    assert {state(grant) for grant in grants} == {State.OPEN}
    assert Grant.objects.get(pk=grants[2].pk).expires_at > timezone.now() + timedelta(days=6)
    answer = act(browser, "revoke", grants[0], grants[1])
    assert "2 grants were changed" in text(answer)
    assert [state(grant) for grant in grants] == [State.REVOKED, State.REVOKED, State.OPEN]
    refused = f"Nothing was changed: the grant {grants[0]} is revoked and cannot be renewed: issue a new one."
    assert refused in text(act(browser, "renew", grants[0]))
    User.objects.filter(pk=staff.pk).update(language="ru")
    assert f"Ничего не изменено: выдача {grants[0]} отозвана" in text(act(browser, "renew", grants[0]))
    assert LogEntry.objects.filter(user=staff, change_message="revoked").count() == 2


def test_a_grants_page_offers_what_its_state_allows(browser: Client, staff: User) -> None:
    item = make_item(1)
    grants = {state: make_grant(staff, item)[0] for state in State}
    make_bridge(environment.current()).record("gate", Batch(delivered=whole(grants[State.COMPLETE], item)))
    let_expire(grants[State.EXPIRED])
    revoke_grant(grants[State.REVOKED])
    offered = {
        State.OPEN: {"renew", "new_token", "issue_again", "revoke"},
        State.COMPLETE: {"new_token", "issue_again"},
        State.EXPIRED: {"renew", "issue_again"},
        State.REVOKED: {"issue_again"},
    }
    for wanted, grant in grants.items():
        page = text(browser.get(reverse("admin:grants_grant_change", args=[grant.pk])))
        assert set(re.findall(r'name="action" value="(\w+)"', page)) == offered[wanted], wanted


def test_a_new_token_is_shown_once(browser: Client, staff: User) -> None:
    grant, first = make_grant(staff, make_item(1))
    answer = act(browser, "new_token", grant)
    (shown,) = tokens_in(answer)
    assert shown != first.reveal()
    assert "no-store" in answer["Cache-Control"]
    parsed = Token.parse(shown)
    assert parsed is not None
    assert GrantToken.objects.filter(digest=parsed.digest(), dead_at=None).exists()
    assert tokens_in(browser.get(reverse("admin:grants_grant_change", args=[grant.pk]))) == set()
    assert not LogEntry.objects.filter(change_message__contains=parsed.secret).exists()


def test_issued_again_it_is_a_new_grant(browser: Client, staff: User) -> None:
    alice, item = make_user("alice"), make_item(10)
    grant, _ = make_grant(alice, item)
    make_bridge(environment.current()).record("gate", Batch(delivered=whole(grant, item)))
    answer = act(browser, "issue_again", grant)
    assert len(tokens_in(answer)) == 1
    assert state(grant) is State.COMPLETE
    again = Grant.objects.exclude(pk=grant.pk).get()
    assert (again.user, list(again.items.all()), again.present_state) == (alice, [item], State.OPEN)
    assert "Choose one grant" in text(act(browser, "issue_again", grant, again))


def test_a_tiers_rate_is_written_as_people_write_rates(browser: Client) -> None:
    tier = Tier.objects.get()
    address = reverse("admin:accounts_tier_change", args=[tier.pk])
    for written, rate, shown in (("512k", 512_000, "512k"), ("2M", 2_000_000, "2M"), ("512Ki", 524_288, "524288"), ("0", 0, "0")):
        browser.post(address, {"name": tier.name, "rate": written, "connections": 64})
        tier.refresh_from_db()
        assert tier.rate == rate
        assert f'value="{shown}"' in text(browser.get(address))
    refused = browser.post(address, {"name": tier.name, "rate": "fast", "connections": 64})
    assert "Write a rate such as 512k" in text(refused)


def test_users_are_made_with_a_tier_and_moved_together(browser: Client) -> None:
    slow = Tier.objects.create(name="slow", rate=1_000)
    made = {
        "username": "bob",
        "tier": slow.pk,
        "usable_password": "true",
        "password1": "bright yellow kite 4",
        "password2": "bright yellow kite 4",
    }
    browser.post(reverse("admin:accounts_user_add"), made)
    assert User.objects.get(username="bob").tier == slow
    users = [make_user(), make_user()]
    address = reverse("admin:accounts_user_changelist")
    chosen = {"action": "change_tier", "_selected_action": [user.pk for user in users]}
    assert "2 users are moved" in text(browser.post(address, chosen))
    browser.post(address, {**chosen, "tier": slow.pk})
    assert {User.objects.get(pk=user.pk).tier for user in users} == {slow}


def test_everybody_who_was_filtered_is_moved_however_many_they_are(browser: Client, staff: User) -> None:
    tier, slow = staff.tier, Tier.objects.create(name="slow", rate=1_000)
    User.objects.bulk_create(User(username=f"moved{number}", tier=tier) for number in range(1_100))
    make_user("stays")
    address = reverse("admin:accounts_user_changelist") + "?q=moved"
    first = User.objects.get(username="moved0")
    asked = browser.post(address, {"action": "change_tier", "_selected_action": [first.pk], "select_across": "1"})
    assert "1100 users are moved" in text(asked)
    form = dict(re.findall(r'<input type="hidden" name="(\w+)" value="(\w+)">', text(asked)))
    assert len(re.findall("<input", text(asked))) < 20
    moved = browser.post(address, form | {"tier": slow.pk}, follow=True)
    assert "1100 users are in the tier slow now" in text(moved)
    assert User.objects.filter(tier=slow).count() == 1_100
    assert User.objects.get(username="stays").tier == tier
    assert LogEntry.objects.filter(user=staff, object_repr__startswith="moved").count() == 1_100


def test_an_items_words_can_be_corrected_but_not_what_customers_fetch(browser: Client) -> None:
    item = make_item(10, title="Slat")
    browser.post(
        reverse("admin:catalogue_item_change", args=[item.pk]),
        {"title": "Salt", "artist": "Low Coast", "year": "2020", "folder": "x", "files-TOTAL_FORMS": 0, "files-INITIAL_FORMS": 0},
    )
    item.refresh_from_db()
    assert (item.title, item.artist, item.folder) == ("Salt", "Low Coast", "Slat")
    assert "salt" in item.search


# ------------------------------------------------------------------------------------------------ the audit log
def written_down(browser: Client) -> list[str]:
    """What the audit log shows of each deed, newest first."""
    page = text(browser.get(reverse("admin:admin_logentry_changelist")))
    return [unescape(said) for said in re.findall(r'field-said">(.*?)</td>', page)]


def test_what_staff_do_by_actions_is_written_down_in_their_language(browser: Client, staff: User) -> None:
    grant, _ = make_grant(staff, make_item(1))
    for action in ("renew", "new_token", "issue_again", "revoke"):
        act(browser, action, grant)
    again = Grant.objects.exclude(pk=grant.pk).get()
    said = ["revoked", "issued again", f"Added grant “{again}”.", "new token", "renewed"]
    assert written_down(browser) == said
    page = text(browser.get(reverse("admin:admin_logentry_changelist")))
    assert reverse("admin:grants_grant_change", args=[again.pk]) in page
    User.objects.filter(pk=staff.pk).update(language="ru")
    translated = written_down(browser)
    assert translated[0] == "отозвана"
    assert str(again) in translated[2]
    assert translated[2] != said[2]


def test_the_history_of_a_row_and_the_title_of_a_deed_are_in_the_language_of_whoever_looks(browser: Client, staff: User) -> None:
    grant, _ = make_grant(staff, make_item(1))
    act(browser, "revoke", grant)
    entry = LogEntry.objects.get()
    pages = [
        reverse("admin:grants_grant_history", args=[grant.pk]),
        reverse("admin:admin_logentry_change", args=[entry.pk]),
    ]
    for page in pages:
        assert "revoked" in text(browser.get(page))
    User.objects.filter(pk=staff.pk).update(language="ru")
    for page in pages:
        page = text(browser.get(page)).partition("<main")[2]
        assert "отозвана" in page
        assert "revoked" not in page


def test_rights_are_named_in_the_language_of_whoever_gives_them(browser: Client, staff: User) -> None:
    address = reverse("admin:accounts_user_change", args=[staff.pk])
    assert "Catalogue | item | can change" in text(browser.get(address))
    User.objects.filter(pk=staff.pk).update(language="ru")
    for page in (address, reverse("admin:auth_group_add")):
        rights = text(browser.get(page))
        assert "Каталог | альбом | может изменять" in rights
        assert not re.search(r"\| [Cc]an ", rights)
        assert "access attempt" not in rights


def test_rows_are_read_in_the_language_of_whoever_looks(browser: Client, staff: User) -> None:
    """A token outlives the language in which it was made."""
    grant, _ = make_grant(staff, make_item(1))
    act(browser, "new_token", grant)
    browser.post(f"/downloads/{grant.public_id}/device")
    gate = Gate.objects.create(public_id="gate", host="host", pid=1, stopped_at=timezone.now(), started_at=timezone.now())
    set_tier("fast", rate=8_000_000)
    rows = reverse("admin:grants_grant_change", args=[grant.pk])
    own = f"/downloads/{grant.public_id}/"
    for page in (rows, own):
        assert "another device" in text(browser.get(page))
    User.objects.filter(pk=staff.pk).update(language="ru")
    for page in (rows, own):
        shown = text(browser.get(page))
        assert "другое устройство" in shown
        assert "магазин" in shown
        assert "another device" not in shown
    assert "МБ/с" in text(browser.get(reverse("admin:accounts_tier_changelist")))
    addresses = text(browser.get(reverse("admin:grants_gate_change", args=[gate.pk])))
    assert "Управление:" in addresses
    assert "HTTPS:" in addresses


@pytest.mark.parametrize("action", ["renew", "new_token", "issue_again", "revoke"])
def test_what_cannot_be_written_down_is_not_done(
    browser: Client, staff: User, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    def away(*_: object, **__: object) -> None:
        raise OperationalError("the disk is full")

    grant, _ = make_grant(staff, make_item(1))
    before = Grant.objects.values_list("state", "expires_at").get(), GrantToken.objects.count()
    monkeypatch.setattr(type(LogEntry.objects), "log_actions", away)
    with pytest.raises(OperationalError):
        act(browser, action, grant)
    assert (Grant.objects.values_list("state", "expires_at").get(), GrantToken.objects.count()) == before


def test_only_what_staff_have_touched_is_offered_as_a_filter(browser: Client, staff: User) -> None:
    grant, _ = make_grant(staff, make_item(1))
    act(browser, "renew", grant)
    page = text(browser.get(reverse("admin:admin_logentry_changelist")))
    assert re.findall(r"content_type__id__exact=(\d+)", page) == [str(ContentType.objects.get_for_model(Grant).pk)]


def test_an_uploaded_cover_is_made_anew_or_refused_by_name(browser: Client, settings: Settings, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path
    item = make_item(10, title="Kites")
    page = f"/admin/catalogue/item/{item.pk}/change/"
    form = {"title": "Kites", "artist": "", "year": "", "files-TOTAL_FORMS": "0", "files-INITIAL_FORMS": "0"}
    picture = io.BytesIO()
    Image.new("RGB", (2_000, 1_000), "teal").save(picture, "PNG")
    for name, data, said in (
        ("x.png", b"GIF89a\1\0\1\0<script>", "GIF is not taken; use JPEG, PNG or WebP."),
        ("x.jpg", b"<svg onload='alert(1)'/>", "SVG is not taken"),
        ("x.webp", picture.getvalue()[:60], "The picture is broken."),
    ):
        refused = browser.post(page, {**form, "cover": SimpleUploadedFile(name, data, "image/png")})
        assert said in unescape(text(refused)), name
    assert not list(tmp_path.rglob("*.*"))
    upload = SimpleUploadedFile("../x.html", picture.getvalue() + b"<script>", "text/html")
    assert browser.post(page, {**form, "cover": upload}).status_code == 302
    item.refresh_from_db()
    assert re.fullmatch(r"items/cover-[0-9a-f]{12}\.jpg", item.cover.name)  # type: ignore[arg-type]
    with Image.open(item.cover.path) as kept:
        assert (kept.format, kept.size) == ("JPEG", (1_000, 500))
    with Image.open(tmp_path / "thumbnails" / Path(item.cover.path).name) as small:
        assert small.size == (400, 400), "made before a page asks for it"
    assert browser.get(f"/items/{item.public_id}/cover/large").getvalue() == Path(item.cover.path).read_bytes()
    assert browser.post(page, {**form, "cover-clear": "on"}).status_code == 302
    item.refresh_from_db()
    assert not item.cover
