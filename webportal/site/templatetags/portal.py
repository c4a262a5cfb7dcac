from __future__ import annotations

from datetime import datetime, timedelta

import segno
from django import template
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from webportal.core import formats
from webportal.site.icons import ICONS

register = template.Library()


@register.simple_tag
def icon(name: str) -> SafeString:
    """An icon that only decorates: what it means is said in words beside it."""
    shapes = mark_safe(ICONS[name])  # noqa: S308 - a constant
    return format_html('<svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">{}</svg>', shapes)


@register.filter
def size(count: int | None) -> str:
    return formats.size(count or 0)


@register.filter
def length_text(seconds: float | None) -> str:
    return "" if seconds is None else formats.length(seconds)


@register.filter
def percent(part: int, whole: int) -> int:
    return formats.percent(part, whole)


@register.simple_tag
def moment(time: datetime) -> SafeString:
    """A time, which the browser shows in its own time zone when it runs scripts."""
    local = timezone.localtime(time)
    shown = f"{date_format(local, 'DATETIME_FORMAT')} {local.tzname()}"
    return format_html('<time datetime="{}">{}</time>', time.isoformat(timespec="seconds"), shown)


@register.filter
def minutes(span: timedelta) -> int:
    """A length of time in whole minutes, at least one."""
    return max(1, round(span.total_seconds() / 60))


@register.simple_tag
def qr(text: str) -> SafeString:
    """A QR code as SVG, dark on light in every colour scheme, because scanners want it so."""
    return mark_safe(segno.make(text, error="m").svg_inline(border=4, dark="#000", light="#fff", omitsize=True))  # noqa: S308
