"""Signed links: whole, of the right purpose, of this installation and in time, or nothing."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from ftpgate.errors import DeadToken, UnknownToken
from ftpgate.settings import load
from ftpgate.signed_links import TTL, Purpose, SignedLinks, connection_key
from ftpgate.tokens import Token, new_grant_id

ONE, TWO = "W7rq2kX0aLz9TfUe4mJc8dYbNsHgPi6v", "kD3vZ8oQyRj1BwGt5xMhCu7nEpAsLf0i"


def signed_links(secret: str, tmp_path: Path, *earlier: str) -> SignedLinks:
    keys = {"FTPGATE_SECRET_KEY": secret, "FTPGATE_SECRET_KEY_FALLBACKS": ",".join(earlier)}
    return SignedLinks(load({**keys, "FTPGATE_STATE_DIR": str(tmp_path)}, directory=tmp_path))


@pytest.mark.parametrize("subject", ["23456789ab", "23456789ab http 192.0.2.7", "23456789ab ftps 2001:db8::1", "a.b.c", ""])
def test_a_pass_says_what_it_was_made_for(tmp_path: Path, subject: str) -> None:
    ours = signed_links(ONE, tmp_path)
    made = ours.make(Purpose.END, subject)
    assert ours.read(Purpose.END, made) == signed_links(ONE, tmp_path).read(Purpose.END, made) == subject
    for other, purpose in ((ours, Purpose.WATCH), (signed_links(TWO, tmp_path), Purpose.END)):
        with pytest.raises(UnknownToken):
            other.read(purpose, made)


def test_a_link_by_an_earlier_key_is_still_read_and_none_is_made(tmp_path: Path) -> None:
    before, after = signed_links(ONE, tmp_path), signed_links(TWO, tmp_path, ONE)
    made = before.make(Purpose.WATCH, "23456789ab")
    assert after.read(Purpose.WATCH, made) == "23456789ab"
    with pytest.raises(UnknownToken):
        after.read(Purpose.END, made)
    with pytest.raises(UnknownToken):
        before.read(Purpose.WATCH, after.make(Purpose.WATCH, "23456789ab"))


def test_no_letter_of_a_pass_can_be_changed(tmp_path: Path) -> None:
    ours = signed_links(ONE, tmp_path)
    made = ours.make(Purpose.WATCH, "23456789ab")
    for at in range(len(made)):
        for letter in {"2", "A", ".", "é"} - {made[at]}:
            with pytest.raises(UnknownToken):
                ours.read(Purpose.WATCH, made[:at] + letter + made[at + 1 :])
        with pytest.raises(UnknownToken):
            ours.read(Purpose.WATCH, made[:at])


def test_a_pass_is_over_after_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = signed_links(ONE, tmp_path)
    made, now = ours.make(Purpose.WATCH, "23456789ab"), time.time()
    monkeypatch.setattr(time, "time", lambda: now + TTL - 2)
    assert ours.read(Purpose.WATCH, made)
    monkeypatch.setattr(time, "time", lambda: now + TTL)
    with pytest.raises(DeadToken):
        ours.read(Purpose.WATCH, made)


def test_a_pass_is_no_token(tmp_path: Path) -> None:
    assert Token.parse(signed_links(ONE, tmp_path).make(Purpose.WATCH, new_grant_id())) is None


def test_one_clients_transfers_have_one_key() -> None:
    transfer = {"grant": "g", "protocol": "http", "peer": "::1", "path": "/a"}
    assert connection_key(transfer) == connection_key(transfer | {"path": "/b"}) != connection_key(transfer | {"peer": "::2"})
