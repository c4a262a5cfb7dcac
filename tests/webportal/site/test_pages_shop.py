"""Signing in, the catalogue, the cart, history, the account: what a customer does besides downloading."""

from __future__ import annotations

import io
import os
import re
import time
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.core.files.base import ContentFile
from django.test import Client
from django.urls import get_resolver, reverse
from django.utils import timezone
from PIL import Image

from tests.webportal.shop import make_grant, make_item, make_user, whole
from tests.webportal.visiting import text, tokens_in, visitor
from webportal.accounts.models import SignIn, User
from webportal.accounts.sign_ins import forget_sessions
from webportal.bridge import make_bridge
from webportal.cart.models import CartItem
from webportal.catalogue.models import Item
from webportal.catalogue.thumbnails import cover_name
from webportal.config import environment
from webportal.fulfilment.checkout import add_to_cart
from webportal.grants.models import Grant

pytestmark = pytest.mark.django_db

PASSWORD = "a long pass phrase 7"
PUBLIC = {"login", "staff-sign-in", "second-step", "unlock", "unlock-link", "set_language"}
ARGUMENTS = {"item_id": "22222222", "grant_id": "2222222222", "position": 1, "key": 1, "link": "x"}


@pytest.fixture
def browser(alice: User) -> Client:
    return visitor(alice)


def named(title: str, artist: str = "", *, year: int | None = None, tracks: str = "") -> Item:
    item = make_item(1_000, 2_000, title=title)
    item.files.filter(position=1).update(title=tracks)
    item.artist, item.year = artist, year
    item.save()
    return item


def deliver(grant: Grant, item: Item) -> None:
    from ftpgate.grants import Batch

    make_bridge(environment.current()).record("gate", Batch(delivered=whole(grant, item)))


def titles(page: str) -> list[str]:
    return re.findall(r'class="card-title" title="([^"]*)"', page)


# ------------------------------------------------------------------------------------------------ signing in
def test_nothing_but_signing_in_is_open_to_strangers() -> None:
    names = {pattern.name: pattern for pattern in _patterns()}
    assert PUBLIC <= set(names)
    for name, pattern in names.items():
        arguments = {key: ARGUMENTS[key] for key in pattern.pattern.converters}
        for method in ("get", "post"):
            answer = getattr(Client(), method)(reverse(name, kwargs=arguments))
            assert (answer.status_code == 302 and answer["Location"].startswith("/sign-in/?next=")) == (name not in PUBLIC), name


def _patterns() -> list:
    found = []  # type: ignore[var-annotated]
    for included in get_resolver().url_patterns:
        if not str(included.pattern).startswith(("admin", "api")):  # the API asks for keys instead
            found += included.url_patterns  # type: ignore[union-attr]
    return found


def test_signing_in_leads_where_one_wanted_to_go(alice: User) -> None:
    alice.set_password(PASSWORD)
    alice.save()
    browser = visitor()
    answer = browser.post("/sign-in/", {"username": "alice", "password": PASSWORD, "next": "/history/"})
    assert (answer.status_code, answer["Location"]) == (302, "/history/")
    assert browser.get("/").status_code == 200
    assert browser.get("/sign-out/")["Location"] == "/"
    assert browser.get("/").status_code == 200, "only the button signs out"
    browser.post("/sign-out/")
    assert browser.get("/").status_code == 302


def test_signing_in_leads_to_a_page_whatever_was_clicked_before(alice: User) -> None:
    alice.set_password(PASSWORD)
    alice.save()
    item = named("Harbour")
    grant, _ = make_grant(alice, item)
    for pattern in _patterns():
        known = {"item_id": item.public_id, "grant_id": grant.public_id, "position": 1, "key": 1, "link": "x"}
        address = reverse(pattern.name, kwargs={name: known[name] for name in pattern.pattern.converters})
        browser = visitor()
        form = {"username": "alice", "password": PASSWORD, "next": address}
        answer = browser.post("/sign-in/", form, follow=True)
        assert answer.status_code in (200, 403, 404), address
        missing = ("/staff/", "/history/", "/items/", "/account/two-factor/")
        assert answer.status_code == 200 or address.startswith(missing), address
        assert text(answer)


@pytest.mark.parametrize(
    "wanted",
    [
        *("/nothing/here", "/sign-in/", "/sign-in/?next=/sign-in/", "/sign%2Din/", "/sign-out/", "/language/", "/api/v1/items"),
        *("/admin/x", "https://elsewhere.example/", "//elsewhere.example/", "http://[", "x" * 5_000),
    ],
)
def test_what_is_no_page_is_not_where_signing_in_leads(alice: User, wanted: str) -> None:
    alice.set_password(PASSWORD)
    alice.save()
    browser = visitor()
    answer = browser.post("/sign-in/", {"username": "alice", "password": PASSWORD, "next": wanted})
    assert (answer.status_code, answer["Location"]) == (302, "/")
    assert browser.get("/sign-in/", {"next": wanted})["Location"] == "/"


def test_what_only_a_button_does_leads_to_its_page(browser: Client, alice: User) -> None:
    item = named("Harbour")
    grant, _ = make_grant(alice, named("Lights"))
    downloads = f"/downloads/{grant.public_id}/"
    places = {
        f"/cart/add/{item.public_id}": f"/items/{item.public_id}/",
        f"/cart/remove/{item.public_id}": "/cart/",
        "/cart/check-out": "/cart/",
        "/account/sign-ins/1/end": "/account/",
        "/account/downloads/end": "/account/",
        "/language/": "/",
        "/admin/logout/": "/admin/",
        **{downloads + button: downloads for button in ("links", "replace", "device", "again")},
    }
    for address, place in places.items():
        for method in (browser.get, browser.head):
            answer = method(address)
            assert (answer.status_code, answer["Location"]) == (302, place), address
    assert not CartItem.objects.exists()
    assert not Grant.objects.exclude(pk=grant.pk).exists()


def test_a_method_that_is_refused_is_answered_by_a_page(browser: Client) -> None:
    for address in ("/", "/cart/check-out", "/account/", "/staff/", "/sign-out/"):
        answer = browser.delete(address)
        assert answer.status_code == 405, address
        assert answer["Allow"]
        assert "<h1>This cannot be done at this address</h1>" in text(answer)
    assert "GET, POST" in text(browser.delete("/account/"))


# ------------------------------------------------------------------------------------------------ catalogue
def test_search_finds_words_of_title_artist_year_and_tracks_in_any_order(browser: Client) -> None:
    named("Northern Lights", "Aurora", year=2019, tracks="Harbour bells")
    named("Ёлочные песни", "Хор")
    for query in ("lights", "aurora north", "BELLS", "2019 aurora"):
        assert titles(text(browser.get("/", {"q": query}))) == ["Northern Lights"], query
    assert titles(text(browser.get("/", {"q": "елочные"}))) == ["Ёлочные песни"]
    nothing = text(browser.get("/", {"q": '<script>"%_'}))
    assert titles(nothing) == []
    assert "Nothing found for “&lt;script&gt;" in nothing


def test_the_catalogue_is_in_order_and_in_pages(browser: Client) -> None:
    for number in range(30):
        named(f"Title {number:02}", "Somebody" if number % 2 else "Anybody")
    first, second = (text(browser.get("/", {"page": page, "q": "title"})) for page in (1, 2))
    expected = [f"Title {number:02}" for number in [*range(0, 30, 2), *range(1, 30, 2)]]
    assert titles(first) + titles(second) == expected
    assert "page=2" in first
    assert "q=title" in first
    assert titles(text(browser.get("/", {"page": "999"}))) == titles(second)
    assert titles(text(browser.get("/", {"page": "x"}))) == titles(first)


def test_an_item_shows_its_tracks(browser: Client) -> None:
    item = named("Glass <Harbour>", "Mira & Co")
    item.files.filter(position=1).update(title="Bells", track=1, duration=187.2)
    page = text(browser.get(f"/items/{item.public_id}/"))
    assert "Glass &lt;Harbour&gt;" in page
    assert "Bells" in page
    assert "3:07" in page
    assert "3.00\N{NO-BREAK SPACE}kB" in page
    assert browser.get("/items/nothing2/").status_code == 404


def picture(kind: str, width: int = 40, height: int = 30) -> bytes:
    made = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(made, kind)
    return made.getvalue()


def test_no_cover_is_served_as_an_older_version_kept_it(browser: Client, settings: Any, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path
    item = named("Kites")
    for name, data, shown in (
        ("a.png", picture("PNG") + b"<script>", "image/jpeg"),
        ("b.jpg", picture("JPEG") + b"<script>", "image/jpeg"),
        ("c.html", picture("WEBP") + b"<script>", "image/jpeg"),
        ("d.png", picture("GIF") + b"<script>", "image/svg+xml"),
        ("e.jpg", b"<svg onload=alert(1)><script>", "image/svg+xml"),
        ("f.pdf", b"%PDF-1.7 <script>", "image/svg+xml"),
    ):
        item.cover.save(name, ContentFile(data))
        for address in ("cover", "cover/large"):
            sent = browser.get(f"/items/{item.public_id}/{address}")
            content = sent.getvalue()
            assert (sent["Content-Type"], sent["X-Content-Type-Options"]) == (shown, "nosniff"), name
            assert b"<script>" not in content, name


def test_a_cover_is_sent_and_kept_by_the_browser_and_drawn_where_there_is_none(
    browser: Client, settings: Any, tmp_path: Path
) -> None:
    settings.MEDIA_ROOT = tmp_path
    item = named("A & <B>")
    drawn = browser.get(f"/items/{item.public_id}/cover")
    assert drawn["Content-Type"] == "image/svg+xml"
    assert "<B>" not in text(drawn)
    item.cover.save("x.jpg", ContentFile(picture("JPEG")))
    sent = browser.get(f"/items/{item.public_id}/cover")
    assert (sent["Content-Type"], b"".join(sent)[:3]) == ("image/jpeg", b"\xff\xd8\xff")
    again = browser.get(f"/items/{item.public_id}/cover", headers={"If-Modified-Since": sent["Last-Modified"]})
    assert again.status_code == 304
    (tmp_path / item.cover.name).unlink()  # type: ignore[operator]
    assert browser.get(f"/items/{item.public_id}/cover")["Content-Type"] == "image/svg+xml"


def test_lists_get_small_covers_and_the_items_page_the_large_one(browser: Client, settings: Any, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path
    item = named("Kites")
    made = picture("JPEG", 1_000, 700)
    item.cover.save(cover_name(made, item.public_id), ContentFile(made))
    for _ in range(2):
        small = b"".join(browser.get(f"/items/{item.public_id}/cover"))
        assert Image.open(io.BytesIO(small)).size == (400, 400)
    assert b"".join(browser.get(f"/items/{item.public_id}/cover/large")) == made
    Image.new("RGB", (500, 500), "red").save(item.cover.path, "JPEG")
    os.utime(item.cover.path, (time.time() + 5, time.time() + 5))
    red = Image.open(io.BytesIO(b"".join(browser.get(f"/items/{item.public_id}/cover")))).getpixel((9, 9))
    assert red[0] > 200 > red[2], "a new cover gets a new small one"  # type: ignore[index]


def test_the_beginning_of_a_track_can_be_heard(browser: Client, settings: Any) -> None:
    item = named("Kites")
    root = settings.FTPGATE.media_root
    track = item.files.get(position=2)
    (root / track.media).parent.mkdir(parents=True, exist_ok=True)
    content = os.urandom(1_000_000)
    (root / track.media).write_bytes(content)
    found = (root / track.media).stat()
    item.files.filter(position=2).update(
        size=len(content), mtime_ns=found.st_mtime_ns, ctime_ns=found.st_ctime_ns, duration=300.0
    )
    heard = browser.get(f"/items/{item.public_id}/listen/2")
    assert heard["Content-Type"] == "audio/ogg"
    assert heard.content == content[: 65_536 + 100_000]
    for seconds in (31.0, 5.0, 0.2):
        item.files.filter(position=2).update(duration=seconds)
        assert browser.get(f"/items/{item.public_id}/listen/2").content == content[:333_333], "of a short one, a third"
    page = browser.get(f"/items/{item.public_id}/")
    assert text(page).count("data-play=") == 1
    assert "media-src 'self'" in page["Content-Security-Policy"]
    assert browser.get(f"/items/{item.public_id}/listen/1").status_code == 404, "it has no length: no sound"
    (root / track.media).write_bytes(content)
    os.utime(root / track.media, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert browser.get(f"/items/{item.public_id}/listen/2").status_code == 404, "it has changed"
    item.files.filter(position=2).update(media="../../etc/passwd")
    assert browser.get(f"/items/{item.public_id}/listen/2").status_code == 404
    assert browser.get(f"/items/{item.public_id}/listen/99").status_code == 404


# ------------------------------------------------------------------------------------------------ cart
def test_the_cart_counts_what_was_chosen(browser: Client, alice: User) -> None:
    item = named("Kites")
    for _ in range(2):
        answer = browser.post(f"/cart/add/{item.public_id}", {"next": f"/items/{item.public_id}/"})
        assert answer["Location"] == f"/items/{item.public_id}/"
    page = text(browser.get("/"))
    assert re.search(r'id="cart-count" class="count">1<', page)
    assert "In your cart" in page
    assert "Kites" in text(browser.get("/cart/"))
    browser.post(f"/cart/remove/{item.public_id}")
    assert "Nothing in it yet" in text(browser.get("/cart/"))
    assert browser.post("/cart/add/nothing2").status_code == 404


@pytest.mark.parametrize("elsewhere", ["https://evil.example/", "//evil.example/", "javascript:alert(1)", "\\\\evil.example"])
def test_no_form_leads_to_another_site(browser: Client, elsewhere: str) -> None:
    answer = browser.post(f"/cart/add/{named('Kites').public_id}", {"next": elsewhere})
    assert answer["Location"] == "/"


def test_what_changes_something_is_no_get_and_wants_the_forms_own_secret(alice: User) -> None:
    item = named("Kites")
    grant, _ = make_grant(alice, item)
    paths = [f"/cart/add/{item.public_id}", f"/cart/remove/{item.public_id}", "/cart/check-out", "/language/", "/sign-out/"]
    paths += [f"/downloads/{grant.public_id}/{what}" for what in ("links", "replace", "device", "again")]
    for path in paths:
        assert visitor(alice).get(path).status_code == 302, path
        refused = visitor(alice, csrf=True).post(path)
        assert refused.status_code == 403, path
    assert "Nothing was changed" in text(refused)
    assert not CartItem.objects.exists()


# ------------------------------------------------------------------------------------------------ history, account
def test_history_shows_what_arrived_whole_to_its_owner_only(browser: Client, alice: User) -> None:
    first, second = named("Salt", tracks="Deep water"), named("Kites")
    grant, _ = make_grant(alice, first, second)
    deliver(grant, first)
    page = text(browser.get("/history/"))
    assert "Salt" in page
    assert "Kites" not in page
    assert "Salt" in text(browser.get("/history/", {"q": "water"}))
    assert "Nothing found" in text(browser.get("/history/", {"q": "kites"}))
    assert "Nothing has arrived yet" in text(visitor(make_user("bob")).get("/history/"))


def test_language_and_time_zone_are_kept_with_the_user(browser: Client, alice: User) -> None:
    grant, _ = make_grant(alice, named("Salt"))
    chosen = {"email": "alice@example.com", "language": "ru", "time_zone": "Asia/Kathmandu"}
    assert browser.post("/account/", chosen).status_code == 302
    alice.refresh_from_db()
    assert (alice.email, alice.wants_mail) == ("alice@example.com", False)
    page = text(visitor(alice).get(f"/downloads/{grant.public_id}/"))
    assert '<html lang="ru"' in page
    assert 'data-zone="Asia/Kathmandu"' in page
    assert "+0545" in page
    browser.post("/language/", {"language": "en", "next": "/"})
    assert '<html lang="en"' in text(visitor(alice).get("/"))
    refused = browser.post("/account/", {"email": "no address", "time_zone": "Moon/Base", "language": "xx"})
    assert refused.status_code == 422
    alice.refresh_from_db()
    assert alice.time_zone == "Asia/Kathmandu"


def test_a_sign_in_elsewhere_can_be_ended_from_here(alice: User) -> None:
    here, elsewhere, bobs = visitor(alice), visitor(alice), visitor(make_user("bob"))
    for browser in (here, elsewhere, bobs):
        browser.get("/")
    page = text(here.get("/account/"))
    (end,) = re.findall(r'action="(/account/sign-ins/\d+/end)"', page)
    assert page.count("Firefox · Linux") == 3, "two rows, and once more on the button"
    bobs.post(end)
    assert elsewhere.get("/").status_code == 200, "it is nobody else's to end"
    here.post(end)
    assert elsewhere.get("/").status_code == 302
    assert here.get("/").status_code == 200
    assert "/end" not in text(here.get("/account/"))


def test_running_downloads_are_shown_by_client_and_nobody_ends_anothers(browser: Client, alice: User) -> None:
    item = named("Salt")
    grant, _ = make_grant(alice, item)
    running = {"grant": grant.public_id, "user": "alice", "item": item.public_id, "protocol": "ftp", "bytes_per_s": 500_000}
    peers = ["192.0.2.9"] * 16 + ["2001:db8::7"]
    cache.set("gates-status", {"gates": [], "silent": [], "transfers": [running | {"peer": peer} for peer in peers]})
    page = text(browser.get("/account/"))
    keys = re.findall('name="connection" value="([^"]*)"', page)
    assert keys == [f"{grant.public_id} ftp 192.0.2.9", f"{grant.public_id} ftp 2001:db8::7"]
    assert "FTP · 192.0.2.9 · 16 connections · 8.00\N{NO-BREAK SPACE}MB/s" in page
    bob = visitor(make_user("bob"))
    assert "Nothing is being fetched" in text(bob.get("/account/"))
    for someone, key in ((bob, keys[0]), (browser, "something else"), (browser, "")):
        answer = someone.post("/account/downloads/end", {"connection": key}, follow=True)
        assert "It had ended already." in text(answer)
        assert cache.get("gates-status"), "no gate was told anything"
    browser.post("/account/downloads/end", {"connection": keys[0]})
    assert cache.get("gates-status") is None


def test_sessions_that_are_over_are_forgotten(alice: User) -> None:
    over, lasting = visitor(alice), visitor(alice)
    for browser in (over, lasting):
        browser.get("/")
    Session.objects.filter(pk=over.session.session_key).update(expire_date=timezone.now() - timedelta(days=1))
    forget_sessions()
    assert [row.session_key for row in SignIn.objects.all()] == [lasting.session.session_key]
    assert Session.objects.count() == 1


def test_a_password_is_changed_by_who_knows_the_old_one(alice: User) -> None:
    alice.set_password(PASSWORD)
    alice.save()
    browser, other = visitor(alice), visitor(alice)
    for one in (browser, other):
        one.get("/")
    wrong = browser.post(
        "/account/password/",
        {"old_password": "no", "new_password1": "bright yellow kite 4", "new_password2": "bright yellow kite 4"},
    )
    assert wrong.status_code == 422
    right = {"old_password": PASSWORD, "new_password1": "bright yellow kite 4", "new_password2": "bright yellow kite 4"}
    assert browser.post("/account/password/", right).status_code == 302
    assert browser.get("/account/").status_code == 200
    assert other.get("/account/").status_code == 302
    assert "/end" not in text(browser.get("/account/"))
    alice.refresh_from_db()
    assert alice.check_password("bright yellow kite 4")


# ------------------------------------------------------------------------------------------------ all pages
def every_page(alice: User) -> list[str]:
    item = named("Salt")
    add_to_cart(alice, item)
    grant, _ = make_grant(alice, item)
    deliver(make_grant(alice, item)[0], item)
    owned = [f"/items/{item.public_id}/", f"/downloads/{grant.public_id}/"]
    return ["/", "/?q=nothing", "/cart/", "/downloads/", "/history/", "/account/", "/account/password/", "/nothing", *owned]


class _Strict(HTMLParser):
    """What a strict policy would refuse, or a page without a network would miss."""

    def __init__(self) -> None:
        super().__init__()
        self.bad: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.bad += [f"{tag} {name}" for name in given if name == "style" or name.startswith("on")]
        if tag == "style" or (tag == "script" and "src" not in given):
            self.bad.append(tag)
        if tag in ("script", "link", "img") and urlsplit(given.get("src") or given.get("href") or "").netloc:
            self.bad.append(f"{tag} from elsewhere")


def test_no_page_needs_a_loose_policy(browser: Client, alice: User) -> None:
    for path in every_page(alice):
        answer = browser.get(path)
        policy = answer["Content-Security-Policy"]
        assert "unsafe" not in policy
        assert "default-src 'none'" in policy
        strict = _Strict()
        strict.feed(text(answer))
        assert strict.bad == [], path


def test_all_pages_speak_russian(browser: Client, alice: User) -> None:
    assert browser.post("/language/", {"language": "ru", "next": "/history/"})["Location"] == "/history/"
    for path in every_page(alice):
        page = text(browser.get(path))
        assert '<html lang="ru"' in page
        words = re.sub(r"<[^>]*>|\bftpgate\b", " ", page.partition("<main")[2].partition("</main>")[0])
        english = re.findall(r"\b(?:the|your|you|of|and|with|not|have|is|in|to)\b", words)
        assert english == [], path


def test_a_missing_page_helps(browser: Client) -> None:
    answer = browser.get("/nothing")
    assert answer.status_code == 404
    assert 'href="/downloads/"' in text(answer)


def test_times_are_told_with_their_zone_and_for_scripts(browser: Client, alice: User) -> None:
    grant, _ = make_grant(alice, named("Salt"))
    page = text(browser.get(f"/downloads/{grant.public_id}/"))
    assert f'<time datetime="{grant.issued_at.isoformat(timespec="seconds")}">' in page
    assert timezone.localtime(grant.issued_at).tzname() in page  # type: ignore[operator]
    assert tokens_in(browser.get("/downloads/")) == set()
