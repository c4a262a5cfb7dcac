"""What services refuse, as facts. Whoever shows an error adds what can be done about it there: `webportal.staff.hints`."""

from __future__ import annotations

from ftpgate.translatable import Message, TranslatableText


class ServiceError(Exception):
    """A service cannot do what it was asked, and nothing was changed.

    Args:
        text: what is wrong, without advice. Its message tells one cause from another, its parameters are the facts.
    """

    def __init__(self, text: TranslatableText) -> None:
        super().__init__(text)
        self.text = text

    @property
    def message(self) -> Message:
        return self.text.message


class AccountError(ServiceError):
    """A user or a tier cannot be made or changed."""


class ShopError(ServiceError):
    """A shop, a key of one or a customer of one cannot be made."""


class EndpointError(ServiceError):
    """An endpoint cannot be made or changed, or events cannot be sent to its address."""


class ImportRefused(ServiceError):
    """A folder, or a file in one, cannot be imported."""


class GrantError(ServiceError):
    """A grant cannot be issued or changed, or opens nothing any more."""


class PurgeError(ServiceError):
    """An item's files have to stay on the disk."""
