"""Sentences for people that one process says in English and another shows in the language of whoever looks."""

from __future__ import annotations


class TranslatableText(str):
    """English text that remembers what it was made of, so that it can be said in another language when it is shown.

    Logs, the command line and the API take it for the string that it is; the portal's `translated` says it anew.

    Args:
        template: with placeholders such as `%(path)r`, as translators get it.
        values: what they stand for: text, numbers, or sentences again.
    """

    __slots__ = ("template", "values")
    template: str
    values: dict[str, object]

    def __new__(cls, template: str, /, **values: object) -> TranslatableText:
        sentence = super().__new__(cls, template % values if values else template)
        sentence.template, sentence.values = template, values
        return sentence


def os_reason(error: OSError) -> TranslatableText:
    """What the operating system says of an error, without what `socket.create_server` repeats behind it: the address."""
    return TranslatableText((error.strerror or str(error)).partition(" (while ")[0])
