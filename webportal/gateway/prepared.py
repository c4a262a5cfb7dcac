"""Queries that are put into SQL once.

Building one costs Django ten times what a database needs to answer it, and it costs that under the interpreter's lock,
which a gate's loop wants as well: thousands of customers who come at once, after a restart, would bring it to a crawl.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import Field, QuerySet
from django.db.models.sql.compiler import SQLCompiler

_Kept = dict["Prepared", tuple[SQLCompiler, str]]
_thread = threading.local()


class Prepared:
    """A query of rows (`values_list`) with one parameter.

    Args:
        field: what the parameter is compared with; it makes values fit for the database.
        build: the query for some value of the parameter.
        example: such a value. It must be the query's only parameter in SQL; a test for NULL does not count.
    """

    def __init__(self, field: Field[Any, Any], build: Callable[[Any], QuerySet[Any, Any]], example: object) -> None:
        self._field = field
        self._build = build
        self._example = example

    def rows(self, value: object) -> Iterable[Sequence[Any]]:
        """The rows for this value, through this thread's connection."""
        compiler, sql = self._compiled()
        with compiler.connection.cursor() as cursor:
            cursor.execute(sql, [self._field.get_db_prep_value(value, compiler.connection)])
            found = cursor.fetchall()
        return compiler.results_iter([found], tuple_expected=True)

    def _compiled(self) -> tuple[SQLCompiler, str]:
        """What was compiled for this thread's connection, which has its own converters of values."""
        connection = connections[DEFAULT_DB_ALIAS]
        kept: _Kept = _thread.__dict__.setdefault("kept", {})
        if self not in kept or kept[self][0].connection is not connection:
            compiler = self._build(self._example).query.get_compiler(connection=connection)
            sql, parameters = compiler.as_sql()
            assert len(parameters) == 1, sql
            kept[self] = compiler, sql
        return kept[self]
