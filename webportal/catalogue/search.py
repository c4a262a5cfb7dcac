"""Search that answers at once, however large the catalogue: an index of words in the database, the same on each kind.

A query's every word must begin a word of the item's search column. SQLite keeps the words in an FTS5 table that triggers
fill; PostgreSQL in a GIN index. Neither splits text by itself: `searchable` has left nothing but words and spaces.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import BooleanField, QuerySet, TextField, Value
from django.db.models.expressions import F, RawSQL
from django.db.models.functions import Concat

from webportal.catalogue.models import Item, searchable

LONGEST_QUERY = 200
"""Characters."""
MOST_WORDS = 8
"""A query is someone's typing; each word is one more condition for the database."""
MOST_FOUND = 2_000
"""Of more, only so many are shown: nobody pages through them, and sorting them all would take long."""
COMMON = 20_000
"""Items from which on SQLite had better read rows until it has found enough than collect all that have the words."""


class Sort(StrEnum):
    """How the catalogue can be ordered. Each has an index."""

    ARTIST = "artist"
    TITLE = "title"
    NEWEST = "newest"
    YEAR = "year"


_ORDERS: dict[Sort, tuple[str, ...]] = {
    Sort.ARTIST: ("artist", "year", "title", "pk"),
    Sort.TITLE: ("title", "artist", "pk"),
    Sort.NEWEST: ("-added_at", "-pk"),
    Sort.YEAR: ("-year", "artist", "title", "pk"),
}


class Found:
    """Items in order; a slice of it is a list. Made for Django's `Paginator`."""

    def __init__(self, rows: QuerySet[Item], count: int, more: bool) -> None:
        self._rows = rows
        self._count = count
        self.more = more
        """Are there more than `MOST_FOUND`?"""

    def count(self) -> int:
        return self._count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, wanted: slice) -> list[Item]:
        # First the keys, which the index alone gives; then only the rows that are shown.
        keys = list(self._rows.values_list("pk", flat=True)[wanted])
        items = Item.objects.in_bulk(keys)
        return [items[key] for key in keys if key in items]


def search(query: str, sort: Sort = Sort.ARTIST) -> Found:
    """The items that `query` finds, in this order; all of them when it is blank, none when it holds no word."""
    on_offer = Item.objects.on_offer()
    ordered = on_offer.order_by(*_ORDERS[sort])
    if not query.strip():
        return Found(ordered, on_offer.count(), more=False)
    words = _words(query)
    if not words:
        return Found(ordered.none(), 0, more=False)
    few, many = _ways(on_offer, words)
    count = few.order_by()[: MOST_FOUND + 1].count()
    if count <= MOST_FOUND:
        return Found(few.order_by(*_ORDERS[sort]), count, more=False)
    return Found(many.order_by(*_ORDERS[sort]), MOST_FOUND, more=True)


def matching(items: QuerySet[Item], query: str) -> QuerySet[Item]:
    """Those of `items` that `query` finds, without an order and without a bound."""
    if not query.strip():
        return items
    words = _words(query)
    return _ways(items, words)[0] if words else items.none()


def _words(query: str) -> list[str]:
    return searchable(query[:LONGEST_QUERY]).split()[:MOST_WORDS]


def _ways(items: QuerySet[Item], words: list[str]) -> tuple[QuerySet[Item], QuerySet[Item]]:
    """Those of `items` that have every word, asked for in the way that is quick for few of them, and in that for many."""
    if connection.vendor != "sqlite":
        phrase = " & ".join(f"'{word}':*" for word in words)
        matches: Any = RawSQL(f"{_VECTOR} @@ %s::tsquery", (phrase,), output_field=BooleanField())  # noqa: S611
        found = items.filter(matches)
        return found, found  # PostgreSQL chooses its way by itself
    phrase = " ".join(f'"{word}"*' for word in words)
    if _is_common(phrase):
        read = items.alias(padded=Concat(Value(" "), F("search"), output_field=TextField()))
        for word in words:
            read = read.filter(padded__contains=f" {word}")
        return read, read
    # The plus keeps SQLite from beginning with the words: it walks along the order's index, which holds the keys, and picks
    # those that are among the words'. No row is read, so a page deep in the list costs hardly more than the first.
    walk: Any = RawSQL(f"+catalogue_item.id IN ({_HAVING})", (phrase,), output_field=BooleanField())  # noqa: S611
    return items.filter(pk__in=RawSQL(_HAVING, (phrase,))), items.filter(walk)  # noqa: S611 - the query is a parameter


def _is_common(phrase: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM ({_HAVING} LIMIT %s)", (phrase, COMMON + 1))  # noqa: S608 - a constant
        return bool(cursor.fetchone()[0] > COMMON)


# ------------------------------------------------------------------------------------------------ the index
_WORDS = "catalogue_item_words"
_HAVING = f"SELECT rowid FROM {_WORDS} WHERE {_WORDS} MATCH %s"  # noqa: S608 - a constant
_VECTOR = "array_to_tsvector(array_remove(string_to_array(catalogue_item.search, ' '), ''))"
_ADD = f"INSERT INTO {_WORDS} (rowid, search) VALUES (new.id, new.search);"  # noqa: S608 - as below, all constants
_TAKE = f"INSERT INTO {_WORDS} ({_WORDS}, rowid, search) VALUES ('delete', old.id, old.search);"  # noqa: S608
_TRIGGERS = {
    "catalogue_item_words_insert": f"AFTER INSERT ON catalogue_item BEGIN {_ADD} END",
    "catalogue_item_words_delete": f"AFTER DELETE ON catalogue_item BEGIN {_TAKE} END",
    "catalogue_item_words_update": f"AFTER UPDATE OF search ON catalogue_item BEGIN {_TAKE} {_ADD} END",
}


def prepare(database: BaseDatabaseWrapper) -> None:
    """Make the index where it is missing. After every migration: on SQLite Django makes a table anew to change it, and
    with the old one go its triggers.
    """
    with database.cursor() as cursor:
        if database.vendor == "postgresql":
            cursor.execute(f"CREATE INDEX IF NOT EXISTS {_WORDS} ON catalogue_item USING gin (({_VECTOR}))")
            return
        cursor.execute("SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'catalogue_item_words_%'")
        if cursor.fetchone() == (len(_TRIGGERS),):
            return
        cursor.execute(
            f"CREATE VIRTUAL TABLE IF NOT EXISTS {_WORDS} USING fts5(search, content='catalogue_item', content_rowid='id', "
            "tokenize='unicode61 remove_diacritics 0', prefix='2 3')"
        )
        for name, body in _TRIGGERS.items():
            cursor.execute(f"CREATE TRIGGER IF NOT EXISTS {name} {body}")
        cursor.execute(f"INSERT INTO {_WORDS} ({_WORDS}) VALUES ('rebuild')")  # noqa: S608 - a constant
