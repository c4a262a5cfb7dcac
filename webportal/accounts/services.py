from __future__ import annotations

from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from ftpgate.errors import UserError
from webportal.accounts.models import DEFAULT_TIER, LARGEST_CONNECTIONS, Tier, User

Person = User | AnonymousUser


def add_user(name: str, *, tier: str = DEFAULT_TIER, password: str | None = None, email: str = "") -> User:
    """Make a user. Without a password nobody can sign in under the name until staff sets one.

    Raises:
        UserError: the name is bad or taken, or there is no such tier.
    """
    found = Tier.objects.filter(name=tier).first()
    if found is None:
        raise UserError(f"there is no tier {tier!r}", f"make it with: ftpgate tier set {tier} --rate 512k")
    user = User(username=User.normalize_username(name), email=email, tier=found)
    user.set_password(password)
    try:
        user.clean_fields(exclude=["password", "tier"])
        with transaction.atomic():
            user.save(force_insert=True)
    except ValidationError as error:
        raise UserError(f"{name!r} is no name for a user ({' '.join(error.messages)})", "choose another name") from None
    except IntegrityError:
        raise UserError(f"there is a user {name!r} already", "choose another name") from None
    return user


def set_tier(name: str, *, rate: int, connections: int | None = None) -> Tier:
    """Make a tier or change it; `connections=None` leaves (or makes) the usual limit. Gates follow within 2 s.

    Args:
        rate: bytes a second over all connections of one customer, 0 for no limit.

    Raises:
        UserError: a value is out of range.
    """
    if not 0 < len(name) <= 64:
        raise UserError(f"{name[:80]!r} is no name for a tier", "use 1 to 64 characters")
    if connections is not None and not 1 <= connections <= LARGEST_CONNECTIONS:
        raise UserError(f"{connections} connections are out of range", f"use 1 to {LARGEST_CONNECTIONS}")
    if not 0 <= rate <= 1 << 62:
        raise UserError(f"the rate {rate} is out of range", "use bytes a second, 0 for no limit")
    values = {"rate": rate} | ({} if connections is None else {"connections": connections})
    return Tier.objects.update_or_create(name=name, defaults=values)[0]


def move_to_tier(users: QuerySet[User], tier: Tier) -> int:
    """Put users in another tier, running transfers follow within 2 s; returns how many users."""
    return User.objects.filter(pk__in=users.order_by().values("pk")).update(tier=tier)
