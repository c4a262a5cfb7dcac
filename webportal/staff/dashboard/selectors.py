from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import pairwise
from typing import Any

from django.core.cache import cache
from django.db.models import Aggregate, Case, Count, F, Q, QuerySet, Sum, Value, When
from django.utils import timezone

from webportal.accounts.models import User
from webportal.catalogue.models import FileReport
from webportal.core import clock
from webportal.core.browsers import browser_name
from webportal.gateway.live import gates_status
from webportal.grants.models import Grant, GrantItem
from webportal.grants.states import State
from webportal.history.models import Completion, Proof, Transfer
from webportal.shops.models import ShopUser

DAYS = 30
"""That the figures look back."""
_MOST_CLIENTS = 500
"""Names of download programs that are told apart: anybody can make up more."""
_MOST_TRANSFERS = 50
"""Running ones that the page lists."""
_TOP = 10
"""Rows of each list."""
_FIGURES_SECONDS = 60
"""That figures are kept: they read a month of history."""
_AT_LIMIT = 0.9
"""Of the rate: who gets that much would take more."""


@dataclass(frozen=True, slots=True)
class Day:
    """One day, in the viewer's time zone. `delivered` is bytes."""

    day: date
    delivered: int
    completions: int


@dataclass(frozen=True, slots=True)
class Software:
    """How delivery to one client program went: items fetched with it, by what became of them, and its transfers.

    Success is told by items. Transfers tell little of it: nearly all of a download manager's end in cuts, by design.
    """

    name: str
    complete: int
    by_word: int
    abandoned: int
    waiting: int
    transfers: int
    cut: int


@dataclass(frozen=True, slots=True)
class Figures:
    """The last `DAYS` days."""

    days: tuple[Day, ...]
    top_items: tuple[tuple[str, str, int], ...]
    """(public id, name, completions)"""
    software: tuple[Software, ...]
    complete: int
    """Items of which every byte was delivered."""
    by_word: int
    """Items that are complete by their customer's word."""
    abandoned: int
    """Items that were never complete before their grant ended."""
    waiting: int


@dataclass(frozen=True, slots=True)
class AtLimit:
    """A customer who gets all that the tier allows. `rate` and `limit` are bytes a second, 0 for none."""

    user: str
    rate: int
    limit: int
    connections: int
    most: int


@dataclass(frozen=True, slots=True)
class Live:
    """What runs now. `silent` gates are heard of, but do not answer or cannot be asked from here: what they said last counts."""

    gates: tuple[dict[str, Any], ...]
    silent: tuple[dict[str, Any], ...]
    transfers: tuple[dict[str, Any], ...]
    """The fastest of all that run."""
    running: int
    bytes_per_s: int
    at_limit: tuple[AtLimit, ...]
    changed_files: int


def figures() -> Figures:
    """Counted at most once a minute: staff's reloads must not weigh on a large history."""
    zone = timezone.get_current_timezone_name()
    return cache.get_or_set(f"dashboard-{zone}", _figures, _FIGURES_SECONDS)  # type: ignore[return-value]


def live() -> Live:
    """What the gates say themselves."""
    document = gates_status()
    transfers: list[dict[str, Any]] = document["transfers"]
    fastest = sorted(transfers, key=lambda transfer: -transfer["bytes_per_s"])[:_MOST_TRANSFERS]
    names = _names({transfer["user"] for transfer in transfers})
    return Live(
        gates=tuple(document["gates"]),
        silent=tuple(document["silent"]),
        transfers=tuple({**transfer, "user": names[transfer["user"]]} for transfer in fastest),
        running=len(transfers) + sum(gate["transfers"] for gate in document["silent"]),
        bytes_per_s=sum(row["bytes_per_s"] for row in (*transfers, *document["silent"])),
        at_limit=_at_limit(transfers, names),
        changed_files=FileReport.objects.count(),
    )


def _figures() -> Figures:
    today = timezone.localdate()
    first = today - timedelta(days=DAYS - 1)
    since = timezone.now() - timedelta(days=DAYS)
    transfers = Transfer.objects.filter(ended_at__gte=since).order_by()
    completions = Completion.objects.filter(completed_at__gte=since).order_by()
    delivered = _by_day(Transfer.objects.all(), "ended_at", Sum("delivered"), first)
    completed = _by_day(Completion.objects.all(), "completed_at", Count("pk"), first)
    top = (
        completions.values_list("grant_item__item__public_id", "grant_item__item__artist", "grant_item__item__title")
        .annotate(times=Count("pk"))
        .order_by("-times", "grant_item__item__title")[:_TOP]
    )
    recent = GrantItem.objects.filter(grant__issued_at__gte=since)
    ended = Grant.objects.in_state(State.EXPIRED) | Grant.objects.in_state(State.REVOKED)
    return Figures(
        days=tuple(Day(first + timedelta(days=at), delivered[at], completed[at]) for at in range(DAYS)),
        top_items=tuple((key, " – ".join(part for part in (artist, title) if part), times) for key, artist, title, times in top),
        software=_software(transfers),
        complete=recent.filter(completion__proof=Proof.DELIVERED).count(),
        by_word=recent.filter(completion__proof=Proof.CUSTOMER).count(),
        abandoned=recent.filter(completion=None, grant__in=ended).count(),
        waiting=recent.filter(completion=None, grant__in=Grant.objects.in_state(State.OPEN)).count(),
    )


def _by_day(rows: QuerySet[Any], moment: str, total: Aggregate, first: date) -> list[int]:
    """A total for each of `DAYS` days. A query each, along the index: the date of every row costs more by far (on SQLite, a call
    of Python: 5 s for 300,000)."""
    midnights = [timezone.make_aware(datetime.combine(first + timedelta(days=at), time.min)) for at in range(DAYS + 1)]
    return [
        int(rows.filter((f"{moment}__gte", start), (f"{moment}__lt", end)).aggregate(total=total)["total"] or 0)
        for start, end in pairwise(midnights)
    ]


def _software(transfers: QuerySet[Transfer]) -> tuple[Software, ...]:
    """An item that was fetched with two programs, or two versions of one, counts with each."""
    became = Case(
        When(grant__grant_items__completion__proof=Proof.DELIVERED, then=Value("complete")),
        When(grant__grant_items__completion__proof=Proof.CUSTOMER, then=Value("by_word")),
        When(grant__state=State.OPEN, grant__expires_at__gt=clock.expiry_time(), then=Value("waiting")),
        default=Value("abandoned"),
    )
    rows = (
        transfers.filter(grant__grant_items__item=F("item"))
        .values_list("client", "protocol", became)
        .annotate(
            Count("grant__grant_items", distinct=True),
            times=Sum("number"),
            cut=Sum("number", filter=Q(outcome="cut"), default=0),
        )
        .order_by("-times")
    )
    found: defaultdict[str, Counter[str]] = defaultdict(lambda: Counter(complete=0, by_word=0, waiting=0, abandoned=0))
    for client, protocol, fate, items, times, cut in rows[:_MOST_CLIENTS]:
        found[software_name(client) or protocol.upper()].update({fate: items, "transfers": times, "cut": cut})
    named = (Software(name, **counts) for name, counts in found.items())
    return tuple(sorted(named, key=lambda software: (-software.transfers, software.name))[:_TOP])


def software_name(client: str) -> str:
    """`aria2` of `aria2/1.36.0`; a browser's name of its long self-description."""
    if client.startswith("Mozilla/"):
        return browser_name(client).partition(" · ")[0] or "Mozilla"
    return client.partition("/")[0].partition(" ")[0][:40]


def _names(users: Collection[str]) -> dict[str, str]:
    """What staff know these users by: customers of other shops by the shop's name for them."""
    others = ShopUser.objects.filter(user__username__in=users).select_related("shop", "user")
    return {user: user for user in users} | {other.user.get_username(): f"{other.shop}: {other.reference}" for other in others}


def _at_limit(transfers: Sequence[dict[str, Any]], names: Mapping[str, str]) -> tuple[AtLimit, ...]:
    rates: Counter[str] = Counter()
    connections: Counter[str] = Counter()
    for transfer in transfers:
        rates[transfer["user"]] += transfer["bytes_per_s"]
        connections[transfer["user"]] += 1
    users = User.objects.filter(username__in=connections).select_related("tier")
    found = [
        AtLimit(names[name], rates[name], user.tier.rate, connections[name], user.tier.connections)
        for user in users
        if (name := user.get_username())
        and ((user.tier.rate and rates[name] >= _AT_LIMIT * user.tier.rate) or connections[name] >= user.tier.connections)
    ]
    return tuple(sorted(found, key=lambda customer: customer.user))
