"""What a session is doing, which decides what may run on its control connection; and what may follow. Pure."""

from __future__ import annotations

from enum import auto

from ftpgate.ftp.commands import Command
from ftpgate.moves import StateEnum


class SessionState(StateEnum):
    """What a session is doing."""

    READY = auto()
    """It waits for a command: any may run."""
    STARTING_TLS = auto()
    """TLS begins once the reply to AUTH is out: nothing runs."""
    LOGGING_IN = auto()
    """A token is being looked up: every command waits."""
    PREPARING = auto()
    """A file is being opened and checked before it is promised: everything waits but ABOR."""
    TRANSFERRING = auto()
    """A file or listing is promised or under way: commands that need the data connection or the account wait."""
    LEAVING = auto()
    """As TRANSFERRING, after QUIT: nothing runs any more."""
    CLOSING = auto()
    """The last reply is on its way."""


MOVES: dict[SessionState, frozenset[SessionState]] = {
    SessionState.READY: frozenset(
        {
            SessionState.STARTING_TLS, SessionState.LOGGING_IN, SessionState.PREPARING, SessionState.TRANSFERRING,
            SessionState.CLOSING,
        }
    ),
    SessionState.STARTING_TLS: frozenset({SessionState.READY}),
    SessionState.LOGGING_IN: frozenset({SessionState.READY, SessionState.CLOSING}),
    SessionState.PREPARING: frozenset({SessionState.READY, SessionState.CLOSING}),
    SessionState.TRANSFERRING: frozenset({SessionState.READY, SessionState.LEAVING, SessionState.CLOSING}),
    SessionState.LEAVING: frozenset({SessionState.CLOSING}),
    SessionState.CLOSING: frozenset(),
}  # fmt: skip
"""What may follow. A connection that breaks ends its session in any state."""

ABORTABLE = (SessionState.PREPARING, SessionState.TRANSFERRING)
"""Where ABOR runs before what waits."""
DEAF = (SessionState.LEAVING, SessionState.CLOSING)
"""Where nothing that the client sends matters any more."""


def has_to_wait(state: SessionState, command: Command | None) -> bool:
    """May `command`, None for an unknown one, not run yet?"""
    if state is SessionState.TRANSFERRING:
        return command is not None and command.waits
    return state is not SessionState.READY
