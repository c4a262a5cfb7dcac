from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from ninja import Router

from webportal.api.auth import Key, ShopRequest
from webportal.api.problems import missing
from webportal.api.routes import answers
from webportal.history.models import Completion
from webportal.history.receipts import completion_of, receipt_file
from webportal.shops.models import Scope
from webportal.shops.selectors import grants_of_shop

router = Router(tags=["receipts"], auth=Key(Scope.RECEIPTS_READ))


@router.get("/grants/{grant_id}/receipts/{item_id}", response=answers(200, dict[str, Any], 404), summary="The receipt of an item")
def show_receipt(request: ShopRequest, grant_id: str, item_id: str) -> HttpResponse:
    """What was delivered, when, to whom, signed; there is one as soon as the item is complete. Its `proof` tells what that
    rests on: `delivered`, or `customer`, the customer's own word for bytes without proof.

    Keep it byte for byte: `ftpgate receipt verify FILE` checks it without this server.
    """
    named = grant_id.isalnum() and item_id.isalnum()
    if not named or not grants_of_shop(request.auth.shop).filter(public_id=grant_id).exists():
        raise missing("receipt")
    try:
        return HttpResponse(receipt_file(completion_of(grant_id, item_id)), content_type="application/json")
    except Completion.DoesNotExist:
        raise missing("receipt") from None
