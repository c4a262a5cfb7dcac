from __future__ import annotations

from django.contrib.auth.models import AnonymousUser
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from ftpgate.notices import Kind
from webportal.accounts.models import DEFAULT_TIER, LARGEST_CONNECTIONS, LONGEST_TIER_NAME, Tier, User
from webportal.core import push
from webportal.core.errors import AccountError
from webportal.core.texts import Text

Person = User | AnonymousUser


def add_user(name: str, *, tier: str = DEFAULT_TIER, password: str | None = None, email: str = "") -> User:
    """Make a user. Without a password nobody can sign in under the name until staff sets one.

    Raises:
        AccountError: the name is bad or taken, or there is no such tier.
    """
    found = Tier.objects.filter(name=tier).first()
    if found is None:
        raise AccountError(Text.TIER_UNKNOWN(tier=tier))
    user = User(username=User.normalize_username(name), email=email, tier=found)
    user.set_password(password)
    try:
        user.clean_fields(exclude=["password", "tier"])
        with transaction.atomic():
            user.save(force_insert=True)
    except ValidationError as error:
        raise AccountError(Text.USER_NAME(name=name, reason=" ".join(error.messages))) from None
    except IntegrityError:
        raise AccountError(Text.USER_TAKEN(name=name)) from None
    return user


def set_password(user: User, password: str) -> None:
    """Give a user another password. It ends the sessions that were opened with the one before.

    Raises:
        AccountError: it is too easy to guess.
    """
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise AccountError(Text.PASSWORD_WEAK(reason=" ".join(error.messages))) from None
    user.set_password(password)
    user.save(update_fields=["password"])


def set_tier(name: str, *, rate: int, connections: int | None = None) -> Tier:
    """Make a tier or change it; `connections=None` leaves (or makes) the usual limit. Gates follow within 2 s.

    Args:
        rate: bytes a second over all connections of one customer, 0 for no limit.

    Raises:
        AccountError: a value is out of range.
    """
    if not 0 < len(name) <= LONGEST_TIER_NAME:
        raise AccountError(Text.TIER_NAME(name=name[:80], most=LONGEST_TIER_NAME))
    if connections is not None and not 1 <= connections <= LARGEST_CONNECTIONS:
        raise AccountError(Text.TIER_CONNECTIONS(connections=connections, most=LARGEST_CONNECTIONS))
    if not 0 <= rate <= 1 << 62:
        raise AccountError(Text.TIER_RATE(rate=rate))
    values = {"rate": rate} | ({} if connections is None else {"connections": connections})
    return Tier.objects.update_or_create(name=name, defaults=values)[0]


def move_to_tier(users: QuerySet[User], tier: Tier) -> int:
    """Put users in another tier, running transfers follow within 2 s; returns how many users."""
    chosen = User.objects.filter(pk__in=users.order_by().values("pk"))
    push.tell(Kind.USER, chosen.values_list("username", flat=True)[: push.MOST + 1])
    return chosen.update(tier=tier)
