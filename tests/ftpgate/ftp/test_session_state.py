"""What an FTP session may do after what: a table, and an error for whoever does not keep to it."""

from __future__ import annotations

from itertools import product

import pytest

from ftpgate.ftp.session_state import MOVES, SessionState
from ftpgate.moves import IllegalMoveError, check_move


def after(state: SessionState) -> set[SessionState]:
    """Every state that may follow, at once or later."""
    found: set[SessionState] = set()
    new = set(MOVES[state])
    while new:
        found |= new
        new = {following for state in new for following in MOVES[state]} - found
    return found


def test_every_state_comes_about_and_has_an_end() -> None:
    assert after(SessionState.READY) == set(SessionState)
    assert all(SessionState.CLOSING in after(state) for state in SessionState if state is not SessionState.CLOSING)
    assert not MOVES[SessionState.CLOSING]


@pytest.mark.parametrize(("state", "to"), list(product(SessionState, SessionState)))
def test_only_what_is_in_the_table_may_follow(state: SessionState, to: SessionState) -> None:
    if to in MOVES[state]:
        check_move(MOVES, state, to)
    else:
        with pytest.raises(IllegalMoveError, match=f"{state.name} to {to.name}"):
            check_move(MOVES, state, to)
