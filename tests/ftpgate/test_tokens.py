from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftpgate.tokens import ALPHABET, GRANT_ID_LENGTH, SECRET_LENGTH, Token, new_grant_id

GRANT = "a2b3c4d5e6"
SECRET = "abcdefghjkmnpqrstuvwxyz234"

letters = st.text(ALPHABET, min_size=1, max_size=40)


def test_a_new_token_comes_back_from_what_the_customer_sees() -> None:
    token = Token.new(new_grant_id())
    assert Token.parse(token.reveal()) == token
    assert len(token.digest()) == 32
    assert token.digest() == Token.parse(token.reveal()).digest()  # type: ignore[union-attr]


def test_tokens_differ_and_so_do_their_digests() -> None:
    grant = new_grant_id()
    tokens = {Token.new(grant) for _ in range(200)}
    assert len({token.secret for token in tokens}) == len({token.digest() for token in tokens}) == 200


def test_a_secret_has_128_random_bits() -> None:
    assert len(set(ALPHABET)) == len(ALPHABET)
    assert len(ALPHABET) ** SECRET_LENGTH >= 1 << 128
    assert {letter for _ in range(200) for letter in Token.new(GRANT).secret} == set(ALPHABET)


def test_letters_are_hard_to_confuse_and_need_no_quoting() -> None:
    assert not set("0o1li") & set(ALPHABET)
    assert ALPHABET.isascii()
    assert ALPHABET.isalnum()
    assert ALPHABET == ALPHABET.lower()


def test_the_grant_goes_into_the_digest() -> None:
    assert Token(GRANT, SECRET).digest() != Token(GRANT[::-1], SECRET).digest()


@pytest.mark.parametrize("show", [repr, str, "{}".format, lambda token: f"{[token]}"])
def test_what_is_printed_hides_the_secret(show: object) -> None:
    shown = show(Token(GRANT, SECRET))  # type: ignore[operator]
    assert GRANT in shown
    assert SECRET not in shown


def test_copies_are_equal() -> None:
    token = Token(GRANT, SECRET)
    assert copy.copy(token) == pickle.loads(pickle.dumps(token)) == token


@pytest.mark.parametrize("text", [f"{GRANT}-{SECRET}".upper(), f"  {GRANT}-{SECRET}\r\n", f"{GRANT.title()}-{SECRET}"])
def test_typed_tokens_are_forgiven_case_and_space(text: str) -> None:
    assert Token.parse(text) == Token(GRANT, SECRET)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        "anonymous",
        f"{GRANT}{SECRET}",
        f"{GRANT} {SECRET}",
        f"{GRANT}-{SECRET}x",
        f"{GRANT}-{SECRET[1:]}",
        f"{GRANT}x-{SECRET}",
        f"{GRANT}-{SECRET[:-1]}0",
        f"{GRANT[:-1]}l-{SECRET}",
        f"{GRANT}-{SECRET[:-1]}-",
        f"{GRANT}-{SECRET[:-1]}\0",
        f"{GRANT}-{SECRET[:-1]}а",  # Cyrillic
        f"{GRANT}-{SECRET[:-1]}２",  # full-width
        f"{GRANT}-{SECRET}" + " " * 100,
        "x" * 1_000_000,
    ],
)
def test_what_cannot_be_a_token_is_none(text: str) -> None:
    assert Token.parse(text) is None


@given(st.text() | st.builds("{}-{}".format, letters, letters))
def test_whatever_parses_is_well_formed(text: str) -> None:
    token = Token.parse(text)
    if token is not None:
        assert len(token.grant) == GRANT_ID_LENGTH
        assert len(token.secret) == SECRET_LENGTH
        assert set(token.grant + token.secret) <= set(ALPHABET)
        assert Token.parse(token.reveal()) == token
