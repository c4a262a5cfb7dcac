"""What can go wrong, who erred, and how each front answers it.

A `GateError` is raised anywhere below the fronts and translated in one place each: `http` is a status of RFC 9110,
`ftp` a reply code of RFC 959. `text` is shown to the client, so it never holds a secret or a path of the server.
"""

from __future__ import annotations


class GateError(Exception):
    """A refusal that a client gets to see.

    Args:
        text: one sentence for a person; the class's own when left out.
        retry_after: seconds until another try makes sense, or None.
    """

    http = 500
    ftp = 451
    text = "The gate met an error of its own; it has been logged."
    retry_after: int | None = None

    def __init__(self, text: str | None = None, *, retry_after: int | None = None) -> None:
        if text is not None:
            self.text = text
        if retry_after is not None:
            self.retry_after = retry_after
        super().__init__(self.text)


class UnknownToken(GateError):
    http, ftp = 404, 530
    text = "No such download. Check the token, or take a new link from the shop."


class DeadToken(GateError):
    http, ftp = 410, 530
    text = "This link is no longer valid. Take a new one from the shop."


class TooManyWrongTokens(GateError):
    http, ftp = 429, 421
    text = "Too many wrong tokens from your address. Try again later."


class TooManyConnections(GateError):
    http, ftp = 503, 421
    text = "Too many connections at once for this customer. Close some, or use fewer segments."
    retry_after = 5


class Unavailable(GateError):
    """Our database does not answer, or a queue of ours is full: the client did nothing wrong."""

    http, ftp = 503, 421
    text = "The service is busy or being repaired. Try again shortly."
    retry_after = 10


class NotFound(GateError):
    http, ftp = 404, 550
    text = "No such file or folder."


class ChangedFile(GateError):
    http, ftp = 503, 550
    text = "This file is not as it was imported and is not served. The shop has been told."
    retry_after = 3600


class RangeNotSatisfiable(GateError):
    """The start lies at or behind the end.

    Args:
        size: bytes of the representation, for `Content-Range: bytes */size`.
    """

    http, ftp = 416, 554

    def __init__(self, size: int) -> None:
        self.size = size
        super().__init__(f"The range asked for is not within the {size} bytes of this file.")


class BadRequest(GateError):
    http, ftp = 400, 501
    text = "The request could not be understood."


class HeaderTooLarge(GateError):
    http, ftp = 431, 500
    text = "The request header is larger than 16 KiB."


class MethodNotAllowed(GateError):
    http, ftp = 405, 550
    text = "Only GET and HEAD are possible here."


class ReadOnly(GateError):
    http, ftp = 405, 550
    text = "Nothing can be written here."


class NotForThisParameter(GateError):
    http, ftp = 501, 504
    text = "Not available for this file."


class UserError(Exception):
    """A mistake of whoever runs a command or writes a setting: one line that names the cause and what to do.

    Args:
        cause: what is wrong, naming the value.
        hint: what to do about it.
    """

    def __init__(self, cause: str, hint: str) -> None:
        self.cause = cause
        self.hint = hint
        super().__init__(f"{cause}: {hint}")
