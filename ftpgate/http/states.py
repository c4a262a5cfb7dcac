"""The states of an HTTP connection, and what may follow each."""

from __future__ import annotations

from enum import auto

from ftpgate.moves import StateEnum


class State(StateEnum):
    READING = auto()
    """Waits for a request, or for the rest of its head."""
    ADMITTING = auto()
    """A request is being looked into: its token, its file."""
    SENDING = auto()
    """An answer is on its way to the kernel."""
    STREAMING = auto()
    """An answer without an end: events are pushed."""
    LINGERING = auto()
    """The last answer is with the kernel; the client has to take it and end."""
    CLOSED = auto()
    """Its socket is closed."""


MOVES: dict[State, frozenset[State]] = {
    State.READING: frozenset({State.ADMITTING, State.SENDING, State.LINGERING, State.CLOSED}),
    State.ADMITTING: frozenset({State.SENDING, State.CLOSED}),
    State.SENDING: frozenset({State.READING, State.STREAMING, State.LINGERING, State.CLOSED}),
    State.STREAMING: frozenset({State.LINGERING, State.CLOSED}),
    State.LINGERING: frozenset({State.CLOSED}),
    State.CLOSED: frozenset(),
}
