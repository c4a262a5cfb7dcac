"""Sentences in the language of whoever looks, however long ago and wherever they were said."""

from __future__ import annotations

import json
from typing import Any

from django.db import models
from django.utils.translation import gettext, gettext_noop

from ftpgate.translatable import TranslatableText

_MARK = "\x1e"
"""Begins what is stored of a sentence, and nothing else: a stranger's text (an endpoint's answer) is never one."""
_OF_THE_SYSTEM = (
    gettext_noop("Connection refused"),
    gettext_noop("Connection reset by peer"),
    gettext_noop("Input/output error"),
    gettext_noop("Is a directory"),
    gettext_noop("Network is unreachable"),
    gettext_noop("No route to host"),
    gettext_noop("No space left on device"),
    gettext_noop("No such file or directory"),
    gettext_noop("Not a directory"),
    gettext_noop("Operation not permitted"),
    gettext_noop("Permission denied"),
    gettext_noop("Read-only file system"),
    gettext_noop("Stale file handle"),
    gettext_noop("Too many open files"),
)
"""What the operating system says, as far as it is likely to be met."""


def translated(text: str) -> str:
    """A sentence in the language of this thread; any other text as it is."""
    if not isinstance(text, TranslatableText) or not text:
        return text
    said = gettext(text.template)
    if not text.values:
        return said
    return said % {name: translated(value) if isinstance(value, str) else value for name, value in text.values.items()}


class _KeepsSentences(models.Field):
    """What was a sentence when it was stored is one again when it is read. To the database it is a field of text."""

    def get_prep_value(self, value: Any) -> Any:
        if isinstance(value, TranslatableText):
            stored = _MARK + json.dumps(_taken_apart(value))
            if self.max_length is None or len(stored) <= self.max_length:
                return super().get_prep_value(stored)
        return super().get_prep_value(str(value).lstrip(_MARK)[: self.max_length] if isinstance(value, str) else value)

    def from_db_value(self, value: str | None, _expression: object, _connection: object) -> str | None:
        return _put_together(json.loads(value[1:])) if value and value.startswith(_MARK) else value

    def deconstruct(self) -> Any:
        name, _path, arguments, keywords = super().deconstruct()
        base = models.CharField if isinstance(self, models.CharField) else models.TextField
        return name, f"django.db.models.{base.__name__}", arguments, keywords


class TranslatableTextField(_KeepsSentences, models.TextField):
    """Text, perhaps a sentence."""


class TranslatableLineField(_KeepsSentences, models.CharField):
    """Text of some length at most, perhaps a sentence; what is too long for one is kept as plain text, as far as it fits."""


def _taken_apart(text: object) -> object:
    if not isinstance(text, TranslatableText):
        return text
    return [text.template, {name: _taken_apart(value) for name, value in text.values.items()}]


def _put_together(stored: Any) -> Any:
    if not isinstance(stored, list):
        return stored
    template, values = stored
    return TranslatableText(template, **{name: _put_together(value) for name, value in values.items()})
