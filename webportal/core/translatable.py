"""Texts in the language of whoever looks: stored as codes with parameters, and said when they are shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext

from ftpgate.translatable import Message, Parameter, TranslatableText, filled
from webportal.core.texts import TABLES, Text

LONGEST_CODE = 40
"""Characters of a column for codes."""
MESSAGES: dict[str, Message] = {message.code: message for table in TABLES for message in table}


def translated(text: str) -> str:
    """A text in the language of this thread; a string that is no `TranslatableText` as it is."""
    if not isinstance(text, TranslatableText):
        return text
    return filled(gettext(text.message.value), {name: _translated(value) for name, value in text.parameters.items()})


def _translated(value: Parameter) -> Parameter:
    if isinstance(value, str):
        return translated(value)
    return value if isinstance(value, (int, float)) else [translated(text) for text in value]


def coded(text: str) -> TranslatableText:
    """A text with a code: this one, if it has one, else `Text.PLAIN`."""
    return text if isinstance(text, TranslatableText) else Text.PLAIN(text=text)


def stored(text: TranslatableText) -> dict[str, Any]:
    """A text as JSON: `{"code": …, "parameters": {…}}`, where a parameter can be such an object, or a list of them, itself."""
    return {"code": text.message.code, "parameters": stored_parameters(text)}


def stored_parameters(text: TranslatableText) -> dict[str, Any]:
    """The parameters of a text as JSON."""
    return {name: _stored(value) for name, value in text.parameters.items()}


def _stored(value: Parameter) -> Any:
    if isinstance(value, TranslatableText):
        return stored(value)
    if isinstance(value, str):
        # Names of files can hold what is no character, which PostgreSQL's jsonb refuses.
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
    return value if isinstance(value, (int, float)) else [_stored(text) for text in value]


def restored(code: str, parameters: Mapping[str, Any]) -> TranslatableText:
    """The text of a code and its parameters, as `stored` wrote them; readable also when a later version wrote them."""
    message = MESSAGES.get(code)
    try:
        values = {name: _restored(value) for name, value in parameters.items()}
        return Text.PLAIN(text=f"{code} {dict(parameters)}") if message is None else message(**values)
    except (AttributeError, KeyError, TypeError, ValueError):
        return Text.PLAIN(text=f"{code} {parameters}")


def _restored(value: Any) -> Any:
    if isinstance(value, Mapping):
        return restored(str(value["code"]), value["parameters"])
    return [_restored(text) for text in value] if isinstance(value, list) else value
