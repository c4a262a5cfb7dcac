from __future__ import annotations

from itertools import groupby
from pathlib import Path

from csp.constants import SELF
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.utils.http import http_date, parse_http_date_safe
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_GET

from webportal.cart.selectors import cart_of
from webportal.catalogue import selectors
from webportal.catalogue.models import File, Item
from webportal.catalogue.pictures import Refused
from webportal.catalogue.placeholder import placeholder
from webportal.catalogue.previews import has_preview, preview
from webportal.catalogue.search import LONGEST_QUERY, Sort, search
from webportal.catalogue.thumbnails import thumbnail
from webportal.core.paging import page_of
from webportal.site.requests import CustomerRequest, allow

ITEMS_A_PAGE = 24
"""Full rows of two, three, four and six cards."""
SORTS = {Sort.ARTIST: _("Artist"), Sort.TITLE: _("Title"), Sort.NEWEST: _("Newest"), Sort.YEAR: _("Year")}


@require_GET
def catalogue(request: CustomerRequest) -> HttpResponse:
    query = request.GET.get("q", "").strip()[:LONGEST_QUERY]
    chosen = request.GET.get("sort", "")
    sort = Sort(chosen) if chosen in list(Sort) else Sort.ARTIST
    found = search(query, sort)
    page = page_of(found, request, ITEMS_A_PAGE)
    in_cart = set(cart_of(request.user).filter(item__in=[item.pk for item in page]).values_list("item_id", flat=True))
    context = {"page": page, "query": query, "more": found.more, "sort": sort, "sorts": SORTS.items(), "in_cart": in_cart}
    return render(request, "site/catalogue/catalogue.html", context)


@require_GET
def item_page(request: CustomerRequest, item_id: str) -> HttpResponse:
    try:
        item = selectors.item_with_files(item_id)
    except Item.DoesNotExist:
        raise Http404 from None
    files = list(item.files.all())
    response = render(
        request,
        "site/catalogue/item.html",
        {
            "item": item,
            "discs": [(disc, list(tracks)) for disc, tracks in groupby(files, key=lambda file: file.disc)],
            "several_discs": len({file.disc for file in files if file.disc}) > 1,
            "duration": sum(file.duration or 0 for file in files),
            "playable": {file.pk for file in files if item.hidden_at is None and has_preview(file)},
            "in_cart": cart_of(request.user).filter(item=item).exists(),
        },
    )
    allow(response, "media-src", SELF)
    return response


@require_GET
def cover(request: HttpRequest, item_id: str, *, large: bool = False) -> HttpResponseBase:
    """An item's picture, or one drawn from its name."""
    item = Item.objects.filter(public_id=item_id).only("title", "artist", "cover").first()
    if item is None:
        raise Http404
    response: HttpResponseBase
    try:
        if not item.cover:
            raise FileNotFoundError
        path = Path(item.cover.path)
        modified = int(path.stat().st_mtime)
        seen = parse_http_date_safe(request.headers.get("If-Modified-Since", ""))
        if seen is not None and seen >= modified:
            response = HttpResponse(status=304)
        else:
            response = FileResponse(thumbnail(path, large=large).open("rb"), content_type="image/jpeg")
        response["Last-Modified"] = http_date(modified)
    except (FileNotFoundError, Refused):
        response = HttpResponse(placeholder(item.title, item.artist), content_type="image/svg+xml")
    response["Cache-Control"] = "private, max-age=3600"
    return response


@require_GET
def listen(request: CustomerRequest, item_id: str, position: int) -> HttpResponse:
    """The beginning of a track."""
    file = File.objects.filter(item__public_id=item_id, item__hidden_at=None, position=position).first()
    if file is None:
        raise Http404
    try:
        found = preview(file)
    except OSError:
        raise Http404 from None
    return HttpResponse(found.content, content_type=found.content_type, headers={"Cache-Control": "private, max-age=3600"})
