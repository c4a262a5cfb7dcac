"""Texts for people that one process writes in English and another one shows in the language of whoever looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum, unique
from typing import TypeAlias

Parameter: TypeAlias = "str | int | float | Sequence[str]"
"""What a placeholder stands for: text (which may be a `TranslatableText`), a number, or several texts, shown with commas."""


class Message(Enum):
    """A table of texts. A member's name in lower case is its code, which databases keep; its value is the English text, with
    placeholders such as `%(path)r`, as translators get it."""

    @property
    def code(self) -> str:
        return self.name.lower()

    def __call__(self, **parameters: Parameter) -> TranslatableText:
        return TranslatableText(self, parameters)


class TranslatableText(str):
    """The English text of a message, with the message and its parameters, so that it can be stored and translated.

    Logs, the command line and the API take it for the string that it is; the portal's `translated` gives it in another language.
    """

    __slots__ = ("message", "parameters")
    message: Message
    parameters: Mapping[str, Parameter]

    def __new__(cls, message: Message, parameters: Mapping[str, Parameter]) -> TranslatableText:
        text = super().__new__(cls, filled(message.value, parameters))
        text.message, text.parameters = message, parameters
        return text


def filled(template: str, parameters: Mapping[str, Parameter]) -> str:
    """A template with its placeholders replaced. Raises KeyError, TypeError or ValueError when they do not fit."""
    if not parameters:
        return template
    return template % {
        name: value if isinstance(value, (str, int, float)) else ", ".join(value) for name, value in parameters.items()
    }


def _(text: str) -> str:
    """Marks a text for `ftpgate manage messages`."""
    return text


@unique
class FileProblem(Message):
    """How a file differs from what was imported; each completes a sentence about it."""

    FILE_NOT_REGULAR = _("is no regular file any more")
    FILE_SIZE = _("has %(found)d bytes, %(imported)d were imported")
    FILE_WRITTEN = _("was written to since it was imported")
    FILE_REPLACED = _("was replaced by another file since it was imported")
    FILE_STATUS = _("was written to since it was imported, or its name, owner, permissions or links were changed")
    FILE_OUTSIDE = _("is reached by a link that leads out of the media folder")
    FILE_UNREADABLE = _("cannot be read (%(reason)s)")
    FILE_MISSING = _("is missing")
    FILE_CHANGED = _("has changed")
    FILE_CHANGED_MEANWHILE = _("changed while it was read")


@unique
class SystemReason(Message):
    """What the operating system says of an error (strerror(3), glibc), as far as it is likely to be met."""

    CONNECTION_REFUSED = _("Connection refused")
    CONNECTION_RESET = _("Connection reset by peer")
    INPUT_OUTPUT_ERROR = _("Input/output error")
    IS_A_DIRECTORY = _("Is a directory")
    NETWORK_UNREACHABLE = _("Network is unreachable")
    NO_ROUTE_TO_HOST = _("No route to host")
    NO_SPACE_LEFT = _("No space left on device")
    NO_SUCH_FILE = _("No such file or directory")
    NOT_A_DIRECTORY = _("Not a directory")
    NOT_PERMITTED = _("Operation not permitted")
    PERMISSION_DENIED = _("Permission denied")
    READ_ONLY_FILE_SYSTEM = _("Read-only file system")
    STALE_FILE_HANDLE = _("Stale file handle")
    TOO_MANY_OPEN_FILES = _("Too many open files")
    OTHER_REASON = "%(text)s"


_REASONS = {reason.value: reason for reason in SystemReason}


def os_reason(error: OSError) -> TranslatableText:
    """What the operating system says of an error, without what `socket.create_server` repeats behind it: the address."""
    text = (error.strerror or str(error)).partition(" (while ")[0]
    known = _REASONS.get(text)
    return SystemReason.OTHER_REASON(text=text) if known is None else known()
