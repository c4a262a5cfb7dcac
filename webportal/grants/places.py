"""Where a customer fetches his grants: the gates that his links name, and the addresses there.

With one place where gates are reached, links are made of the portal's own settings, and of what the gate says by
`FTPGATE_ADVERTISE`. With several, `ftpgate.placement` ranks those whose gates run and do not drain, and the first one has the
links. What was linked before stays good: every gate serves every grant.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from django.conf import settings

from ftpgate import placement
from ftpgate.endpoints import Address, client_addresses, dialled_from, parse_address
from ftpgate.placement import Place
from ftpgate.settings import Settings
from ftpgate.signed_links import Purpose, SignedLinks
from ftpgate.tokens import Token
from webportal.accounts.models import User
from webportal.grants.models import Gate, GateState, Grant
from webportal.grants.selectors import running_gates
from webportal.grants.states import State


class Links(NamedTuple):
    """Addresses of everything a token opens. Secret as the token is."""

    http: str
    ftp: str
    metalink: str


def links(token: Token, customer: str) -> Links:
    """The addresses for a token of this customer's (by user name); over TLS where that is required."""
    (place,) = _Places().of(customer, most=1)
    secret = token.reveal()
    base = f"{_http(place)}/d/{secret}/"
    scheme = _scheme("ftp", place)
    return Links(http=base, ftp=f"{scheme}://{secret}:x@{place.addresses[scheme]}/", metalink=base + "downloads.meta4")


class Watching(NamedTuple):
    """Where a browser may follow grants for some minutes.

    Attributes:
        addresses: by the grants' public ids; those that are not open are left out.
        origins: of all addresses that the same customers may be given while gates come and go.
    """

    addresses: dict[str, str]
    origins: frozenset[str] = frozenset()


def watching(grants: Iterable[Grant]) -> Watching:
    """Where to follow those of these grants that are open.

    It is a gate's own stream, opened by a signed link instead of a token: viewers hold no thread of the portal. Of several gates
    it is the one that the customer's links name.
    """
    following = [grant for grant in grants if grant.present_state is State.OPEN]
    if not following:
        return Watching({})
    places, signed_links = _Places(), SignedLinks(settings.FTPGATE)
    users = User.objects.filter(pk__in={grant.user_id for grant in following}) if places.several else []
    names = {user.pk: user.get_username() for user in users}
    addresses: dict[str, str] = {}
    origins: set[str] = set()
    for grant in following:
        origin, *others = map(_http, places.of(names.get(grant.user_id, "")))
        addresses[grant.public_id] = f"{origin}/d/{signed_links.make(Purpose.WATCH, grant.public_id)}/progress"
        origins.update((origin, *others))
    return Watching(addresses, frozenset(origins))


class _Places:
    """The places there are just now: one row of the portal's own settings when gates are reached at no more than one."""

    def __init__(self) -> None:
        of: Settings = settings.FTPGATE
        serving = [gate for gate in running_gates() if gate.state == GateState.RUNNING]
        there = [Place(client_addresses(gate.listening, gate.advertised, of.public_host), gate.busy) for gate in serving]
        found = [place for place in placement.places(there) if _usable(place)]
        self.several = len(found) > 1
        self._places = found if self.several else [_by_settings(of, serving[0] if serving else None)]

    def of(self, customer: str, most: int = placement.MOST) -> list[Place]:
        return placement.ranked(customer, self._places, most)


def _usable(place: Place) -> bool:
    return _scheme("ftp", place) in place.addresses and _scheme("http", place) in place.addresses


def _by_settings(of: Settings, gate: Gate | None) -> Place:
    """What the portal's settings say, where the only gate says nothing else."""
    found = {}
    for protocol, given in (("ftp", of.ftp), ("http", of.http), ("ftps", of.ftps), ("https", of.https)):
        if given is None:
            continue
        advertised = gate.advertised.get(protocol) if gate else None
        found[protocol] = advertised or _authority(given, gate.listening.get(protocol, "") if gate else "", of.public_host)
    return Place(found)


def _authority(given: Address, running: str, public_host: str | None) -> str:
    """`H:P` for a link. A port of 0 is the running gate's; an address that means every interface is no one's to dial."""
    port = given.port or (parse_address(running).port if running else 0)
    return dialled_from(str(Address((public_host or given.host).strip("[]"), port)), "", "")


def _scheme(kind: str, place: Place) -> str:
    """`ftp` or `http`, with TLS where that is required and there."""
    of: Settings = settings.FTPGATE
    return f"{kind}s" if of.tls == "require" and f"{kind}s" in place.addresses else kind


def _http(place: Place) -> str:
    scheme = _scheme("http", place)
    return f"{scheme}://{place.addresses[scheme]}"
