from __future__ import annotations

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Sum
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.formats import date_format, number_format
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods

from webportal.catalogue.models import Item
from webportal.core.errors import PurgeError
from webportal.core.formats import size
from webportal.core.paging import page_of
from webportal.core.translatable import translated
from webportal.fulfilment.purging import purge, purgeable
from webportal.site.requests import CustomerRequest, not_stored
from webportal.staff.dashboard import selectors
from webportal.staff.dashboard.plots import bars

ITEMS_A_PAGE = 50
"""Of the list of what can be purged."""


@require_GET
def dashboard(request: CustomerRequest) -> HttpResponse:
    if not request.user.is_staff:
        raise PermissionDenied
    figures = selectors.figures()
    names = [date_format(day.day, "j.m" if request.LANGUAGE_CODE == "ru" else "j M") for day in figures.days]
    plots = [
        (
            _("Delivered a day"),
            size(sum(day.delivered for day in figures.days)),
            bars([day.delivered for day in figures.days], names, lambda value: size(round(value))),
        ),
        (
            _("Items that arrived a day"),
            number_format(sum(day.completions for day in figures.days)),
            bars(
                [day.completions for day in figures.days],
                names,
                lambda value: number_format(value, 0 if value == int(value) else 1),
            ),
        ),
    ]
    context = {"figures": figures, "live": selectors.live(), "plots": plots, "days": selectors.DAYS}
    return not_stored(render(request, "staff/dashboard.html", context))


@require_http_methods(["GET", "POST"])
def purge_list(request: CustomerRequest) -> HttpResponse:
    """What is safe to take off the disk, and the button that does it."""
    if not (request.user.is_staff and request.user.has_perm("catalogue.delete_item")):
        raise PermissionDenied
    if request.method == "POST":
        item = get_object_or_404(Item, public_id=request.POST.get("item", ""))
        try:
            purged = purge(item, by=request.user)
        except PurgeError:
            messages.error(request, _("Somebody waits for it again: it was left where it is."))
        else:
            messages.success(request, _("%(size)s were freed.") % {"size": size(purged.freed)})
            for reason in purged.kept:
                messages.warning(request, translated(reason))
        return redirect("purge-list")
    page = page_of(purgeable().annotate(total_bytes=Sum("files__size")), request, ITEMS_A_PAGE)
    return not_stored(render(request, "staff/purge.html", {"page": page}))
