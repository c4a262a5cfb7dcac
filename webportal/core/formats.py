"""Sizes, rates and lengths as people read them, in the language of the page."""

from __future__ import annotations

from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

_UNITS = (gettext_noop("B"), gettext_noop("kB"), gettext_noop("MB"), gettext_noop("GB"), gettext_noop("TB"))
_NBSP = "\N{NO-BREAK SPACE}"


def size(count: int) -> str:
    """Bytes with three digits that count: `512 B`, `3.07 MB` (a million bytes)."""
    value, unit = float(count), 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    digits = 0 if unit == 0 or value >= 99.95 else 1 if value >= 9.995 else 2
    text = number_format(round(value, digits), decimal_pos=digits)
    return f"{text}{_NBSP}{_(_UNITS[unit])}"


def length(seconds: float) -> str:
    """`3:07`, `1:02:45`."""
    total = round(seconds)
    hours, minutes = divmod(total // 60, 60)
    return f"{hours}:{minutes:02}:{total % 60:02}" if hours else f"{minutes}:{total % 60:02}"


def percent(part: int, whole: int) -> int:
    """0 to 100; 100 only when all of it is there."""
    return 100 if part >= whole else part * 100 // whole
