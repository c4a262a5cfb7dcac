from __future__ import annotations

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from ftpgate.proof.coverage import SpanSet
from webportal.accounts.models import User
from webportal.catalogue.models import searchable
from webportal.core.paging import page_of
from webportal.history.models import Completion
from webportal.history.receipts import completion_of, public_keys, receipt_file, receipt_of
from webportal.history.selectors import history_of
from webportal.site.requests import CustomerRequest, not_stored

COMPLETIONS_A_PAGE = 30
"""Newest first."""
_MOST_WORDS = 8
"""Of a search; each is one more condition for the database."""


@require_GET
def history(request: CustomerRequest) -> HttpResponse:
    query = request.GET.get("q", "").strip()[:200]
    found = history_of(request.user)
    for word in searchable(query).split()[:_MOST_WORDS]:
        found = found.filter(grant_item__item__search__contains=word)
    return render(request, "site/history/history.html", {"page": page_of(found, request, COMPLETIONS_A_PAGE), "query": query})


@require_GET
def receipt(request: CustomerRequest, grant_id: str, item_id: str) -> HttpResponse:
    """A receipt to read and to print."""
    completion = _completion(request.user, grant_id, item_id)
    key, *earlier = public_keys()
    said = receipt_of(completion)
    files = [
        {"path": file["path"], "sha256": file["sha256"], "size": file["bytes"], "delivered": SpanSet(file["covered"]).size}
        for file in said["files"]
    ]
    context = {
        "completion": completion,
        "grant": completion.grant_item.grant,
        "item": completion.grant_item.item,
        "receipt": said,
        "files": files,
        "delivered": sum(file["delivered"] for file in files),
        "key": key,
        "earlier_keys": earlier,
    }
    return not_stored(render(request, "site/history/receipt.html", context))


@require_GET
def signed_receipt(request: CustomerRequest, grant_id: str, item_id: str) -> HttpResponse:
    """The receipt's file, as `ftpgate receipt verify` checks it."""
    response = HttpResponse(receipt_file(_completion(request.user, grant_id, item_id)), content_type="application/json")
    response["Content-Disposition"] = f'attachment; filename="receipt-{grant_id}-{item_id}.json"'
    return not_stored(response)


def _completion(user: User, grant_id: str, item_id: str) -> Completion:
    """A customer's own; staff who may see completions, everybody's."""
    try:
        return completion_of(grant_id, item_id, user=None if user.has_perm("history.view_completion") else user)
    except Completion.DoesNotExist:
        raise Http404 from None
