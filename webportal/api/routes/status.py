from __future__ import annotations

from ninja import Router

from webportal.api import schemas
from webportal.api.auth import Key, ShopRequest
from webportal.api.routes import answers
from webportal.gateway.live import ask
from webportal.grants.selectors import running_gates
from webportal.shops.models import Scope
from webportal.shops.selectors import grants_of_shop

router = Router(tags=["status"], auth=Key(Scope.GRANTS_READ))
_MOST_GATES = 64
"""That are asked for one answer."""


@router.get("/status", response=answers(200, schemas.Status), summary="Running gates and transfers")
def show_status(request: ShopRequest) -> schemas.Status:
    """Asks every gate: at most 1 s old."""
    found = ask(running_gates()[:_MOST_GATES])
    running = {transfer["grant"] for transfer in found["transfers"]}
    own = grants_of_shop(request.auth.shop).filter(public_id__in=running)
    users = {grant.public_id: grant.user.shop_user.reference for grant in own}
    return schemas.Status(
        gates=len(found["gates"]),
        transfers=[
            schemas.Transfer(**{**transfer, "user": users[transfer["grant"]]})
            for transfer in found["transfers"]
            if transfer["grant"] in users
        ],
    )
