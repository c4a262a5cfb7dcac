"""The word index of the catalogue: the same meaning on every database, kept up to date, quick ways that agree with slow ones."""

from __future__ import annotations

import pytest
from django.db import connection
from django.utils import timezone

from tests.webportal.shop import make_item
from webportal.catalogue import search as module
from webportal.catalogue.models import Item, searchable
from webportal.catalogue.search import Sort, prepare, search

pytestmark = pytest.mark.django_db


def named(title: str, artist: str = "", year: int | None = None) -> Item:
    item = make_item(1, title=title)
    item.artist, item.year = artist, year
    item.save()
    return item


def titles(query: str, sort: Sort = Sort.ARTIST) -> list[str]:
    found = search(query, sort)
    return [item.title for item in found[: found.count()]]


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("Café del Mar", "CAFE mar"),
        ("Ёлка", "елк"),
        ("Йод", "йо"),
        ("AC/DC: Live!", "ac dc live"),
        ("rock'n'roll", "rock'n"),
        ("R&B 2003_a", "2003 a"),
        ("Straße", "STRASSE"),
        ("10.5 «кавычки»", "10 5 кавычки"),
        ("ｆｕｌｌ width", "full"),
        ("x" * 200, "x" * 150),
    ],
)
def test_words_are_found_by_their_beginnings(text: str, query: str) -> None:
    item = named(text)
    named("Something else")
    assert titles(query) == [item.title]


@pytest.mark.parametrize("query", ["'", '"', "a'b:*", "!*&|()", "\\", "NEAR(a b)", "-salt", "search: x", "\0", "%", "😀"])
def test_no_query_is_an_error(query: str) -> None:
    named("Kites")
    assert titles(query) == []
    assert titles(f"{query} kites") in ([], ["Kites"])


def test_only_beginnings_count_and_all_words_are_wanted() -> None:
    named("Nightfall", "Somebody")
    assert titles("fall") == []
    assert titles("night some") == ["Nightfall"]
    assert titles("night nobody") == []
    assert titles("  ") == ["Nightfall"]


def test_the_index_follows_every_change() -> None:
    item = named("Salt")
    item.title = "Pepper"
    item.save()
    assert (titles("salt"), titles("pepper")) == ([], ["Pepper"])
    Item.objects.filter(pk=item.pk).update(search="thyme")
    assert titles("thyme") == ["Pepper"]
    item.files.all().delete()
    item.delete()
    assert titles("thyme") == []


def test_the_orders() -> None:
    for title, artist, year in (("B", "Y", 2001), ("A", "Z", 1999), ("C", "X", 2020)):
        named(title, artist, year)
    assert titles("", Sort.ARTIST) == titles("x") + titles("y") + titles("z") == ["C", "B", "A"]
    assert titles("", Sort.TITLE) == ["A", "B", "C"]
    assert titles("", Sort.NEWEST) == ["C", "A", "B"]
    assert titles("", Sort.YEAR) == ["C", "B", "A"]


@pytest.mark.parametrize("common", [module.COMMON, 3])
def test_of_very_many_the_first_are_shown_in_order(monkeypatch: pytest.MonkeyPatch, common: int) -> None:
    monkeypatch.setattr(module, "COMMON", common)
    for number in range(12):
        named(f"Salt {number:02}", "Z" if number % 2 else "A")
    whole = titles("salt")
    assert len(whole) == 12
    monkeypatch.setattr(module, "MOST_FOUND", 7)
    found = search("salt")
    assert found.more
    assert (found.count(), [item.title for item in found[0:7]]) == (7, whole[:7])
    assert titles("salt 1") == [title for title in whole if "1" in title.split()[1][:1]][:7]


@pytest.mark.parametrize("common", [module.COMMON, 3])
def test_what_is_withdrawn_is_neither_shown_nor_counted(monkeypatch: pytest.MonkeyPatch, common: int) -> None:
    monkeypatch.setattr(module, "COMMON", common)
    monkeypatch.setattr(module, "MOST_FOUND", 7)
    for number in range(12):
        named(f"Salt {number:02}")
    Item.objects.filter(title__gte="Salt 05").update(withdrawn_at=timezone.now())
    found = search("salt")
    assert (found.count(), found.more) == (5, False)
    assert titles("salt") == [f"Salt {number:02}" for number in range(5)]


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize("sort", list(Sort))
def test_a_page_deep_in_a_long_list_reads_no_rows(monkeypatch: pytest.MonkeyPatch, sort: Sort) -> None:
    """Reading every row up to it took most of a second with 100,000 items."""
    monkeypatch.setattr(module, "MOST_FOUND", 2)
    for number in range(5):
        named(f"Salt {number}")
    found = search("salt", sort)
    assert found.more
    plan = found._rows.values_list("pk", flat=True)[1:2].explain()
    assert "USING INDEX item_" in plan
    assert "SEARCH" not in plan, "row by row"
    assert "TEMP B-TREE" not in plan, "sorted"
    assert "catalogue_item_words" in plan


def test_what_is_withdrawn_is_neither_found_nor_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(9):
        named(f"Salt {number}")
    Item.objects.filter(title__in=["Salt 0", "Salt 1"]).update(withdrawn_at=timezone.now())
    for most in (7, 6):
        monkeypatch.setattr(module, "MOST_FOUND", most)
        found = search("salt", Sort.TITLE)
        assert (found.count(), found.more) == (most, most < 7)
        assert [item.title for item in found[0:99]] == [f"Salt {number}" for number in range(2, 9)]


@pytest.mark.databases("sqlite")
def test_a_table_made_anew_gets_its_triggers_back() -> None:
    named("Salt")
    with connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER catalogue_item_words_insert")
    make_item(1, title="Pepper")
    assert titles("pepper") == []
    prepare(connection)
    assert titles("pepper") == ["Pepper"]
    named("Thyme")
    assert titles("thyme") == ["Thyme"]


def test_the_search_column_is_bounded() -> None:
    assert searchable("a" * 5_000) == "a" * 100
    assert searchable("\u0301 \u200d") == ""
