"""Passkeys: what a browser is asked, and whether its answer holds. fido2 checks it (WebAuthn, sections 7.1 and 7.2)."""

from __future__ import annotations

import ipaddress
import json
import logging
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from django.db import IntegrityError, transaction
from django.utils import timezone
from fido2.server import Fido2Server
from fido2.webauthn import (
    AttestedCredentialData,
    AuthenticationResponse,
    PublicKeyCredentialRpEntity,
    PublicKeyCredentialUserEntity,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from webportal.accounts.models import User
from webportal.two_factor.models import Passkey

MOST_PASSKEYS = 10
_LONGEST_ANSWER, _LONGEST_CREDENTIAL = 16_384, 4_096
_log = logging.getLogger(__name__)
T = TypeVar("T")
State = dict[str, Any]
"""What has to be remembered of a question until it is answered, once. JSON."""


class Refused(Exception):
    """An answer does not hold."""


class Question(NamedTuple):
    """What `navigator.credentials` is asked, as JSON with base64url, and the state to check the answer with."""

    options: dict[str, Any]
    state: State


def possible(host: str) -> bool:
    """Do browsers keep passkeys for pages of this host? Of names only, never of addresses."""
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return True
    return False


def ask_for_new(user: User, host: str) -> Question:
    """For one that the user does not have yet. It need not tell who the user is: the password does."""
    options, state = _server(host).register_begin(
        PublicKeyCredentialUserEntity(id=str(user.pk).encode(), name=user.get_username(), display_name=user.get_username()),
        [_credential(passkey) for passkey in Passkey.objects.filter(user=user, host=host)],
        resident_key_requirement=ResidentKeyRequirement.DISCOURAGED,
        user_verification=UserVerificationRequirement.DISCOURAGED,
    )
    return Question(_plain(options.public_key), _plain(state))


def register(user: User, host: str, state: State, answer: str, name: str) -> Passkey:
    """Keep a new passkey.

    Args:
        answer: the browser's `RegistrationResponseJSON`.

    Raises:
        Refused: it does not answer the question, is known already, or the user has too many.
    """
    found = _checked(lambda: _server(host).register_complete(state, _parsed(answer)))
    credential = found.credential_data
    if credential is None or len(credential) > _LONGEST_CREDENTIAL:
        raise Refused("no key, or one that is too long")
    with transaction.atomic():
        if User.objects.select_for_update().get(pk=user.pk) and Passkey.objects.filter(user=user).count() >= MOST_PASSKEYS:
            raise Refused("too many passkeys")
        try:
            with transaction.atomic():
                made: Passkey = Passkey.objects.create(
                    user=user, name=name[:64], host=host, credential=bytes(credential),
                    digest=_digest(credential.credential_id), signatures=found.counter,
                )  # fmt: skip
        except IntegrityError:
            raise Refused("known already") from None
    return made


def ask_for_known(user: User, host: str) -> Question | None:
    """For one of the user's, if there is any for this host."""
    known = [_credential(passkey) for passkey in Passkey.objects.filter(user=user, host=host)]
    if not known:
        return None
    options, state = _server(host).authenticate_begin(known, UserVerificationRequirement.DISCOURAGED)
    return Question(_plain(options.public_key), _plain(state))


def check(user: User, host: str, state: State, answer: str) -> Passkey:
    """The passkey that has answered.

    Args:
        answer: the browser's `AuthenticationResponseJSON`.

    Raises:
        Refused: none of the user's has, or one that counts its signatures has been copied.
    """
    parsed = _parsed(answer)
    with transaction.atomic():
        passkeys: list[Passkey] = list(Passkey.objects.select_for_update().filter(user=user, host=host))
        credentials = [_credential(passkey) for passkey in passkeys]
        found = _checked(lambda: _server(host).authenticate_complete(state, credentials, parsed))
        passkey = passkeys[credentials.index(found)]
        count = AuthenticationResponse.from_dict(parsed).response.authenticator_data.counter
        if (count or passkey.signatures) and count <= passkey.signatures:
            _log.warning("passkey %s of %s has counted backwards: it may have been copied", passkey.pk, user)
            raise Refused("counted backwards")
        passkey.signatures, passkey.used_at = count, timezone.now()
        passkey.save(update_fields=["signatures", "used_at"])
    return passkey


def _server(host: str) -> Fido2Server:
    return Fido2Server(PublicKeyCredentialRpEntity(id=host, name=host), verify_origin=partial(_is_page_of, host))


def _is_page_of(host: str, origin: str) -> bool:
    """Of this very host: fido2 alone would take pages of names below it too. By HTTPS, or on this machine."""
    page = urlsplit(origin)
    return page.hostname == host and (page.scheme == "https" or (page.scheme, host) == ("http", "localhost"))


def _parsed(answer: str) -> dict[str, Any]:
    try:
        parsed = json.loads(answer) if len(answer) <= _LONGEST_ANSWER else None
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict):
        raise Refused("no JSON object")
    return parsed


def _checked(check: Callable[[], T]) -> T:
    try:
        return check()
    except Exception as error:  # fido2 says ValueError; its parsers meet bytes of anybody's making, and say more than that
        raise Refused(f"{type(error).__name__}: {error}") from error


def _credential(passkey: Passkey) -> AttestedCredentialData:
    return AttestedCredentialData(bytes(passkey.credential))


def _digest(credential_id: bytes) -> str:
    return sha256(credential_id).hexdigest()


def _plain(options: Any) -> dict[str, Any]:
    """As JSON has it: no bytes, no enumerations."""
    found: dict[str, Any] = json.loads(json.dumps(dict(options), default=dict))
    return found
