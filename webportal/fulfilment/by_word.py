"""Items that are complete because their customer says so. Apart from `services`, which gates load: they know no audit log."""

from __future__ import annotations

from django.contrib.admin.models import ADDITION, LogEntry
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext_noop

from webportal.accounts.models import User
from webportal.catalogue.models import Item
from webportal.core.errors import GrantError
from webportal.core.texts import Text
from webportal.fulfilment.completion import complete, lock_grants
from webportal.grants.models import Grant, GrantItem
from webportal.grants.selectors import details
from webportal.grants.states import State
from webportal.history.models import Completion, Proof


@transaction.atomic
def complete_by_word(grant: Grant, item: Item, user: User) -> Completion:
    """Complete an item on the word of its customer ("I have everything"); for what lacks only unconfirmed bytes.

    What follows is as after delivery, and an audit log entry. An item that is complete already stays as it is, whatever it
    was completed by: its completion is returned.

    Raises:
        GrantError: the grant is another user's, was revoked or does not hold the item, or the item lacks bytes that were not
            sent.
    """
    locked = lock_grants([grant.public_id])
    if not locked:
        raise GrantError(Text.GRANT_GONE(grant=grant.public_id))
    (grant,) = locked
    if grant.user_id != user.pk:
        raise GrantError(Text.GRANT_OF_ANOTHER(grant=grant.public_id, user=user.username))
    entry = GrantItem.objects.filter(grant=grant, item=item).select_related("grant", "completion").first()
    if entry is None:
        raise GrantError(Text.GRANT_WITHOUT_ITEM(grant=grant.public_id, item=item.public_id))
    if entry.completed_at is not None:
        return Completion.objects.get(grant_item=entry)
    if grant.state == State.REVOKED:
        raise GrantError(Text.GRANT_REVOKED(grant=grant.public_id))
    detail = next(found for found in details(grant) if found.id == item.public_id)
    if not detail.lacks_only_unconfirmed:
        unsent = detail.size - detail.delivered - detail.unconfirmed
        raise GrantError(Text.ITEM_LACKS_UNSENT(item=item.public_id, count=unsent))
    complete([entry], Proof.CUSTOMER, timezone.now())
    completion = Completion.objects.get(grant_item=entry)
    said = gettext_noop("received, confirmed by the customer")
    LogEntry.objects.log_actions(user.pk, [completion], ADDITION, said, single_object=True)
    return completion
