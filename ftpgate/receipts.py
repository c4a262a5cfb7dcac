"""Receipts of deliveries: signed JSON that anyone who has the shop's public key can check without the shop.

A receipt is `{"receipt": {…}, "signature": {"algorithm", "key", "value"}}` in one fixed spelling (sorted keys, two spaces
of indentation, UTF-8, a line end behind it). The signature, Ed25519 (RFC 8032), is over the same spelling of what
`receipt` holds. A file in any other spelling, or with anything beside these fields, is refused: no byte of one can be changed.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ftpgate.settings import derived_key

LARGEST = 64 * 1024 * 1024
"""Bytes of the largest file that is looked at."""
_ALGORITHM = "Ed25519"
_FIELDS = frozenset({"receipt", "signature"})
_SIGNATURE_FIELDS = frozenset({"algorithm", "key", "value"})
_CONTEXT = b"ftpgate receipt 1\n"

Receipt = dict[str, Any]


class ReceiptError(Exception):
    """A file is no receipt of a shop as it was signed."""


class WrongKey(ReceiptError):
    """A receipt names another key than it is checked with."""


class NoKey(ReceiptError):
    """A text is no public key of a shop."""


def signing_key(secret_key: str) -> Ed25519PrivateKey:
    """The key of an installation, from its secret key: every host of a shop signs alike."""
    return Ed25519PrivateKey.from_private_bytes(derived_key(secret_key, "receipts"))


def public_text(key: Ed25519PublicKey) -> str:
    """A public key as shops publish it and `--key` takes it: 44 characters of base64."""
    return base64.b64encode(key.public_bytes_raw()).decode()


def parse_public(text: str) -> Ed25519PublicKey:
    """The key that `public_text` wrote.

    Raises:
        NoKey: it is not one.
    """
    raw = _exact_base64(text.strip())
    if raw is None or len(raw) != 32:
        raise NoKey(f"{text[:80]!r} is no public key of a shop")
    return Ed25519PublicKey.from_public_bytes(raw)


def sign(receipt: Receipt, key: Ed25519PrivateKey) -> bytes:
    """The file of a receipt."""
    value = base64.b64encode(key.sign(_signed(receipt))).decode()
    signature = {"algorithm": _ALGORITHM, "key": public_text(key.public_key()), "value": value}
    return _spelled({"receipt": receipt, "signature": signature})


def verify(file: bytes, key: Ed25519PublicKey, *earlier: Ed25519PublicKey) -> Receipt:
    """What a receipt says, when it is the shop's own and unchanged.

    Args:
        earlier: other keys that the shop has signed with. A receipt names the one that it was signed with.

    Raises:
        ReceiptError: it is not, or not a receipt at all; `WrongKey` if it names the key of another shop.
    """
    try:
        document = json.loads(file, object_pairs_hook=_object)
        receipt, signature = document["receipt"], document["signature"]
        unsigned = (document.keys() - _FIELDS) | (signature.keys() - _SIGNATURE_FIELDS)
        value = _exact_base64(signature["value"])
        given = str(signature["key"])
        spelled = _spelled(document) == file
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise ReceiptError("the file is no receipt") from None
    if unsigned:
        raise ReceiptError(f"the receipt has a field that is not signed ({sorted(unsigned)[0][:80]!r})")
    if value is None or not spelled or signature.get("algorithm") != _ALGORITHM or not isinstance(receipt, dict):
        raise ReceiptError("the receipt is not spelled as it was signed")
    named = next((each for each in (key, *earlier) if given == public_text(each)), None)
    if named is None:
        raise WrongKey(f"the receipt names another key ({given[:44]!r}) than {public_text(key)}")
    try:
        named.verify(value, _signed(receipt))
    except InvalidSignature:
        raise ReceiptError("the signature does not fit: the receipt was changed") from None
    return receipt


def key_of(file: bytes) -> str:
    """The public key that a verified receipt names."""
    return str(json.loads(file)["signature"]["key"])


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is given twice")
    return found


def _signed(receipt: Receipt) -> bytes:
    return _CONTEXT + _spelled(receipt)


def _spelled(document: object) -> bytes:
    return (json.dumps(document, ensure_ascii=False, indent=2, sort_keys=True, allow_nan=False) + "\n").encode()


def _exact_base64(text: object) -> bytes | None:
    """Decoded, if it is the one right spelling of its bytes."""
    try:
        raw = base64.b64decode(str(text), validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if base64.b64encode(raw).decode() == text else None
