"""Receipts: signed once, refused after the slightest change."""

from __future__ import annotations

import base64
import json

import pytest

from ftpgate.receipts import ReceiptError, parse_public, public_text, sign, signing_key, verify

KEY = signing_key("a secret")
PUBLIC = KEY.public_key()
RECEIPT = {"grant": "abcdefghjk", "item": {"title": "Ёлка «1»", "year": None}, "files": [{"bytes": 10**15, "covered": [[0, 3]]}]}
FILE = sign(RECEIPT, KEY)


def test_it_says_what_was_signed() -> None:
    assert verify(FILE, PUBLIC) == RECEIPT
    assert FILE == sign(json.loads(json.dumps(RECEIPT)), KEY), "the same receipt is the same file"
    assert "Ёлка".encode() in FILE


def test_receipts_of_earlier_versions_go_on_verifying() -> None:
    """Signed by version 0.1.0 with the secret key "a secret"."""
    assert public_text(PUBLIC) == "U88KSHmnR8GRMqwcKD9o0MYQi2G3aYmjnSXAuD4UG30="


def test_no_byte_of_it_can_be_changed() -> None:
    for at in range(len(FILE)):
        for other in {FILE[at] ^ 1, FILE[at] ^ 0x20, ord(" "), ord("0")} - {FILE[at]}:
            with pytest.raises(ReceiptError):
                verify(FILE[:at] + bytes([other]) + FILE[at + 1 :], PUBLIC)


OTHERS = (
    *(b"", b"{}", b"[]", b"null", b"1", b"\xff", b"[" * 100_000),
    *(FILE[:-1], FILE + b"\n", b" " + FILE, b"\xef\xbb\xbf" + FILE, FILE.replace(b"\n", b"\r\n")),
    json.dumps(json.loads(FILE)).encode(),
    b'{"receipt": {}, "signature": []}',
    b'{"receipt": 1, "signature": {"value": 1}}',
)


@pytest.mark.parametrize("file", OTHERS)
def test_anything_else_is_none(file: bytes) -> None:
    with pytest.raises(ReceiptError):
        verify(file, PUBLIC)


def test_a_name_given_twice_does_not_smuggle_anything() -> None:
    forged = FILE.replace(b'  "receipt": {\n', b'  "receipt": {\n    "grant": "forged",\n', 1)
    with pytest.raises(ReceiptError):
        verify(forged, PUBLIC)


def spelled(document: object) -> bytes:
    return (json.dumps(document, ensure_ascii=False, indent=2, sort_keys=True) + "\n").encode()


FIELDS = {"x": 1, "a": None, "~": {"receipt": 1}, "ё": [], "": "", "Receipt": {}, "note": "paid twice", "\ud800": 1}  # type: ignore[var-annotated]


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_that_is_not_signed_is_refused_wherever_it_stands(name: str) -> None:
    assert spelled(json.loads(FILE)) == FILE
    for place in ((), ("signature",), ("receipt",), ("receipt", "item"), ("receipt", "files", 0)):
        document = json.loads(FILE)
        found = document
        for step in place:
            found = found[step]
        found[name] = FIELDS[name]
        with pytest.raises(ReceiptError):
            verify((json.dumps(document, ensure_ascii=name == "\ud800", indent=2, sort_keys=True) + "\n").encode(), PUBLIC)


def test_a_missing_field_of_the_signature_is_no_receipt() -> None:
    for name in ("algorithm", "key", "value"):
        document = json.loads(FILE)
        del document["signature"][name]
        with pytest.raises(ReceiptError):
            verify(spelled(document), PUBLIC)


@pytest.mark.parametrize("place", ['"algorithm"', '"key"', '"value"', '"receipt"', '"signature"', '"item"'])
def test_a_name_given_twice_is_refused_even_with_equal_values(place: str) -> None:
    lines = FILE.decode().splitlines(keepends=True)
    at = next(number for number, line in enumerate(lines) if line.strip().startswith(place))
    end = (
        at
        if not lines[at].rstrip().endswith("{")
        else at
        + next(
            number
            for number, line in enumerate(lines[at:])
            if line.startswith(" " * (len(lines[at]) - len(lines[at].lstrip())) + "}")
        )
    )
    again = [*lines[: end + 1]]
    again[end] = again[end].rstrip(",\n") + ",\n"
    with pytest.raises(ReceiptError):
        verify("".join([*again, *lines[at : end + 1], *lines[end + 1 :]]).encode(), PUBLIC)


def test_a_receipt_by_an_earlier_key_is_still_the_shops() -> None:
    now = signing_key("another secret").public_key()
    assert verify(FILE, now, PUBLIC) == RECEIPT
    with pytest.raises(ReceiptError, match="another key"):
        verify(FILE, now)
    with pytest.raises(ReceiptError, match="signature does not fit"):
        verify(FILE.replace(public_text(PUBLIC).encode(), public_text(now).encode()), now, PUBLIC)


def test_another_shops_receipt_is_told_from_a_changed_one() -> None:
    other = signing_key("another secret")
    with pytest.raises(ReceiptError, match="another key"):
        verify(sign(RECEIPT, other), PUBLIC)
    renamed = sign(RECEIPT, other).replace(public_text(other.public_key()).encode(), public_text(PUBLIC).encode())
    with pytest.raises(ReceiptError, match="signature does not fit"):
        verify(renamed, PUBLIC)


def test_public_keys_are_read_in_one_spelling() -> None:
    assert public_text(parse_public(f" {public_text(PUBLIC)}\n")) == public_text(PUBLIC)
    for text in ("", "x", base64.b64encode(b"short").decode(), public_text(PUBLIC)[:-1], public_text(PUBLIC)[:-2] + "B="):
        with pytest.raises(ReceiptError):
            parse_public(text)
