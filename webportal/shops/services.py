from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection
from datetime import timedelta

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from ftpgate.tokens import ALPHABET
from webportal.accounts.models import DEFAULT_TIER, Tier, User
from webportal.accounts.services import add_user
from webportal.core import clock
from webportal.core.errors import ShopError
from webportal.core.texts import Text
from webportal.shops.models import LONGEST_REFERENCE, ApiKey, IdempotentResponse, Scope, Shop, ShopUser, new_key_id

ANSWERS_KEPT = timedelta(hours=24)
"""How long a repeated request with the same `Idempotency-Key` gets the same answer."""
_KEY_PREFIX = "ftpgate"
_SECRET_LENGTH = 32
"""Characters of `ALPHABET`: 158 bits."""
_USE_EVERY = timedelta(minutes=1)
"""How often a key's last use is written."""


@transaction.atomic
def make_shop(name: str, *, tier: str = DEFAULT_TIER) -> Shop:
    """Make a shop; its new customers get this tier.

    Raises:
        ShopError: the name is bad or taken, or there is no such tier.
    """
    found = Tier.objects.filter(name=tier).first()
    if found is None:
        raise ShopError(Text.TIER_UNKNOWN(tier=tier))
    shop = Shop(name=name, tier=found)
    try:
        shop.full_clean()
    except ValidationError as error:
        raise ShopError(Text.SHOP_NAME(name=name[:80], reason=" ".join(error.messages))) from None
    shop.save(force_insert=True)
    return shop


def set_origins(shop: Shop, origins: Collection[str]) -> None:
    """Have pages of these origins, and no others, call the API with the shop's keys.

    Raises:
        ShopError: one is no origin, or there are too many.
    """
    shop.origins = "\n".join(dict.fromkeys(origins))
    try:
        shop.full_clean()
    except ValidationError as error:
        raise ShopError(Text.SHOP_ORIGINS(origins=", ".join(origins)[:200], reason=" ".join(error.messages))) from None
    shop.save(update_fields=["origins"])


def make_key(shop: Shop, scopes: Collection[str], *, label: str = "") -> tuple[ApiKey, str]:
    """A new key of a shop, and the key as its owner has to keep it: only its SHA-256 is stored.

    Raises:
        ShopError: there are no scopes, or an unknown one.
    """
    key = ApiKey(shop=shop, public_id=new_key_id(), label=label[:100])
    return key, give_key(key, scopes)


def give_key(key: ApiKey, scopes: Collection[str]) -> str:
    """Store a new key with these scopes; returns it as its owner has to keep it.

    Raises:
        ShopError: there are no scopes, or an unknown one.
    """
    wanted = list(dict.fromkeys(scopes))
    unknown = [scope for scope in wanted if scope not in Scope.values]
    if unknown or not wanted:
        known = Scope.values
        raise ShopError(Text.SCOPE_UNKNOWN(scope=unknown[0], known=known) if unknown else Text.SCOPE_MISSING(known=known))
    secret = "".join(secrets.choice(ALPHABET) for _ in range(_SECRET_LENGTH))  # 158 bits: no salt or stretching needed
    shown = f"{_KEY_PREFIX}_{key.public_id}_{secret}"
    key.scopes = wanted
    key.digest = digest_of(shown)
    key.save(force_insert=True)
    return shown


def digest_of(key: str) -> bytes:
    """The SHA-256 of a key, which is all of it that is stored."""
    return hashlib.sha256(key.encode()).digest()


def looks_like_key(text: str) -> bool:
    """Can this be a key at all? Everything else is refused without asking the database."""
    return len(text) < 100 and text.isascii() and text.startswith(f"{_KEY_PREFIX}_")


def revoke_key(key: ApiKey) -> None:
    """End a key. Revoking again changes nothing."""
    ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=timezone.now())


def use_key(key: ApiKey) -> None:
    """Remember that a key was used, to the minute: a look at the catalogue must not cost a write."""
    now = timezone.now()
    if key.last_used_at is None or key.last_used_at < now - _USE_EVERY:
        ApiKey.objects.filter(pk=key.pk).update(last_used_at=now)


def shop_user(shop: Shop, reference: str) -> User:
    """The user that stands for this customer of a shop, made when it is first named. It has no password.

    Raises:
        ShopError: the reference is empty, too long or holds control characters.
    """
    if not 0 < len(reference) <= LONGEST_REFERENCE or not reference.isprintable():
        raise ShopError(Text.REFERENCE_UNUSABLE(most=LONGEST_REFERENCE))
    known = ShopUser.objects.filter(shop=shop, reference=reference).select_related("user")
    found = known.first()
    if found is not None:
        return found.user
    try:
        with transaction.atomic():
            user = add_user(f"{shop.name}.{new_key_id()}{new_key_id()}", tier=shop.tier.name)
            User.objects.filter(pk=user.pk).update(last_name=reference)  # for receipts and staff's pages
            ShopUser.objects.create(shop=shop, reference=reference, user=user)
            return user
    except IntegrityError:  # another request has named the same customer first
        return known.get().user


def forget_answers() -> int:
    """Delete remembered answers whose time is over; returns how many."""
    return IdempotentResponse.objects.filter(made_at__lte=clock.expiry_time() - ANSWERS_KEPT).delete()[0]
