"""What goes in and out, for the documentation and for checking."""

from __future__ import annotations

from typing import Annotated, Literal

from ninja import Query, Schema
from pydantic import AfterValidator, ConfigDict, Field, WithJsonSchema

from ftpgate.settings import parse_duration
from webportal.shops.models import LONGEST_REFERENCE
from webportal.webhooks.models import LONGEST_URL

_ID = "^[2-9a-z]{1,40}$"
Cursor = Annotated[str | None, Query(pattern="^[ko][0-9]{1,18}$", description="`next` of the page before")]
Limit = Annotated[int, Query(ge=1, le=500)]
Proof = Literal["delivered", "customer"]
State = Literal["open", "complete", "expired", "revoked"]
EventKind = Literal["grant.issued", "item.complete", "grant.complete", "grant.expired"]


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("use printable characters")
    if not text.strip():
        raise ValueError("use more than blanks")
    return text


def _lasting(text: str) -> str:
    if not parse_duration(text):
        raise ValueError("no time at all")
    return text


# The pattern says for other programs, more coarsely, what the check makes sure of.
Reference = Annotated[str, Field(min_length=1, max_length=LONGEST_REFERENCE), AfterValidator(_printable)]
Duration = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,3}[smhdw]$"), AfterValidator(_lasting)]
Time = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]


class Given(Schema):
    """What a client sends: nothing unknown in it, so that a misspelt field is not silently ignored, and no "yes" for true."""

    model_config = ConfigDict(extra="forbid", strict=True)


class File(Schema):
    path: str = Field(description="Within the item's folder")
    bytes: int
    sha256: str
    title: str
    seconds: float | None


class ItemSummary(Schema):
    id: str
    title: str
    artist: str
    year: int | None
    bytes: int
    file_count: int


class Item(ItemSummary):
    files: list[File]


class Items(Schema):
    items: list[ItemSummary]
    next: str | None = Field(description="The cursor of the next page; null on the last one")


class Order(Given):
    user: Reference = Field(description="Your own name for the customer; the same name is the same customer")
    items: Annotated[list[Annotated[str, Field(pattern=_ID)]], Field(min_length=1, max_length=1000)]
    expires: Duration | None = Field(None, description="How long its links open: `24h`, `7d`; the usual time when left out")


class Renewal(Given):
    expires: Duration


class TokenWish(Given):
    replace: bool = Field(False, description="Kill the grant's other tokens")


class Links(Schema):
    """Addresses of everything in the grant. Secret: whoever has them can fetch it."""

    http: str
    ftp: str
    metalink: str


class Issued(Schema):
    grant: str
    token: str
    expires_at: Time
    links: Links


class GrantSummary(Schema):
    grant: str
    user: str
    state: State
    issued_at: Time
    expires_at: Time
    completed_at: Time | None


class CoveredFile(Schema):
    path: str
    bytes: int
    covered: list[tuple[int, int]] = Field(description="Delivered byte ranges, `[start, end)`")
    unconfirmed: list[tuple[int, int]] = Field(
        description="Ranges that were sent without proof that they arrived; they can be fetched again and are in no `covered`"
    )


class GrantedItem(Schema):
    id: str
    title: str
    folder: str
    bytes: int
    delivered: int
    complete: bool
    completed_at: Time | None
    proof: Proof | None = Field(
        description="What a complete item rests on: `delivered`, every byte was measured to have arrived; `customer`, the "
        "customer said so of what was unconfirmed"
    )
    files: list[CoveredFile]


class Grant(GrantSummary):
    items: list[GrantedItem]


class Grants(Schema):
    grants: list[GrantSummary]
    next: str | None


class Transfer(Schema):
    grant: str
    user: str
    item: str
    path: str
    protocol: str
    peer: str
    start: int
    end: int
    delivered: int
    bytes_per_s: float


class Status(Schema):
    gates: int = Field(description="How many gates answer")
    transfers: list[Transfer] = Field(description="Those of your own customers that run now")


class EndpointWish(Given):
    url: Annotated[str, Field(max_length=LONGEST_URL)]
    kinds: Annotated[list[EventKind], Field(min_length=1, max_length=4)]


class EndpointChange(Given):
    url: Annotated[str, Field(max_length=LONGEST_URL)] | None = None
    kinds: Annotated[list[EventKind], Field(min_length=1, max_length=4)] | None = None
    active: bool | None = None


class Endpoint(Schema):
    id: str
    url: str
    kinds: list[EventKind]
    active: bool
    made_at: Time
    waiting: int = Field(description="Events that it has still to be told of")
    failed: int = Field(description="Events that it could not be told of within three days")


class EndpointSecret(Schema):
    id: str
    secret: str = Field(description="Verifies signatures (Standard Webhooks). Shown in this answer only")


class Endpoints(Schema):
    endpoints: list[Endpoint]
