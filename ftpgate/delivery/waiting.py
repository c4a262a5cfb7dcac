"""What a transfer waits for before it goes on, and what may follow."""

from __future__ import annotations

from enum import auto

from ftpgate.moves import StateEnum


class Wait(StateEnum):
    """What a transfer waits for."""

    TURN = auto()
    """Its turn in the customer's run queue."""
    ROOM = auto()
    """Room in its socket."""
    DISK = auto()
    """Bytes that are fetched off the loop."""
    OTHERS = auto()
    """Its client's other connections, before it runs on into what they are to fetch."""
    CLIENT = auto()
    """Its client: it stands at a line, or everything is written."""
    NOTHING = auto()
    """It has ended."""


SENDS = {Wait.TURN, Wait.ROOM}
"""What a transfer waits for that has something to send at hand."""
MOVES: dict[Wait, set[Wait]] = {
    Wait.TURN: set(Wait),
    Wait.ROOM: set(Wait),
    Wait.DISK: {Wait.TURN, Wait.ROOM, Wait.CLIENT, Wait.NOTHING},
    Wait.OTHERS: {Wait.TURN, Wait.ROOM, Wait.CLIENT, Wait.NOTHING},
    Wait.CLIENT: {Wait.TURN, Wait.ROOM, Wait.CLIENT, Wait.NOTHING},
    Wait.NOTHING: set(),
}
"""What may follow. At a line, or once everything is written, nothing is fetched."""
