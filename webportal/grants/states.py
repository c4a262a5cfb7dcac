"""The states of a grant, and what may follow each."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from ftpgate.grants import GrantState


class State(models.TextChoices):
    OPEN = GrantState.OPEN.value, _("open")
    """Its tokens open it."""
    COMPLETE = GrantState.COMPLETE.value, _("complete")
    """Every item is complete. Its tokens go on opening it for a grace time."""
    EXPIRED = GrantState.EXPIRED.value, _("expired")
    """Its time is over. Renewal opens it again, with what was delivered."""
    REVOKED = GrantState.REVOKED.value, _("revoked")
    """Staff or the shop have ended it, running transfers included."""


NEXT_STATES: dict[State, frozenset[State]] = {
    State.OPEN: frozenset({State.COMPLETE, State.EXPIRED, State.REVOKED}),
    State.EXPIRED: frozenset({State.OPEN}),
    State.COMPLETE: frozenset(),
    State.REVOKED: frozenset(),
}
"""Every move a grant can make; one that is not here is refused."""
