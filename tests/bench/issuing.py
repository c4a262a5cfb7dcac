"""Makes customers with grants through the shop's services, many in one process. Run by `shop.Shop` in the management shell.

Reads `[[user, tier, item], …]` as JSON on stdin and writes the tokens, in the same order, as JSON on stdout.
"""

from __future__ import annotations

import json
import sys
from datetime import timedelta


def main() -> None:
    from django.utils import timezone

    from webportal.accounts.models import User
    from webportal.accounts.services import add_user
    from webportal.catalogue.models import Item
    from webportal.fulfilment.services import issue_grant

    tokens = []
    users: dict[str, User] = {}
    items = {item.public_id: item for item in Item.objects.all()}
    for name, tier, item in json.load(sys.stdin):
        if name not in users:
            users[name] = add_user(name, tier=tier)
        _, token = issue_grant(users[name], [items[item]], expires_at=timezone.now() + timedelta(days=7))
        tokens.append(token.reveal())
    json.dump(tokens, sys.stdout)
