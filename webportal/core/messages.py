"""The strings of the portal and their translations, without the gettext programs: Babel reads, merges and compiles.

Templates are turned into something like Python by Django, as its own `makemessages` does it.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from django.utils.translation import template as django_template

import ftpgate

ROOT = Path(__file__).resolve().parent.parent
GATE = Path(ftpgate.__file__).resolve().parent
LOCALE = ROOT / "locale"
LANGUAGES = ("ru",)
_NO_DATE = datetime(2026, 1, 1, tzinfo=UTC)  # the files change with the strings only
_KEYWORDS = {
    "_": None,
    "gettext": None,
    "gettext_lazy": None,
    "gettext_noop": None,
    "ngettext": (1, 2),
    "ngettext_lazy": (1, 2),
    "pgettext": ((1, "c"), 2),
    "pgettext_lazy": ((1, "c"), 2),
    "npgettext": ((1, "c"), 2, 3),
}


def extracted() -> Catalog:
    """Every string of the portal's Python and templates that wants a translation, and every sentence of the gate's."""
    catalog = Catalog(project="ftpgate", charset="utf-8", fuzzy=False)
    for path, source in _sources():
        for _line, message, _comments, context in extract("python", io.BytesIO(source.encode()), keywords=_KEYWORDS):
            catalog.add(message, None, [(path, 0)], context=context)
    return catalog


def translated(language: str) -> Catalog:
    """The translations that there are, with every string of today in them; new ones are empty."""
    path = po_file(language)
    with path.open("rb") as file:
        catalog = read_po(file, locale=language)
    catalog.update(extracted(), no_fuzzy_matching=True)
    catalog.obsolete.clear()
    catalog.header_comment, catalog.msgid_bugs_address = "", ""
    catalog.last_translator = catalog.language_team = "ftpgate contributors"
    catalog.creation_date = catalog.revision_date = _NO_DATE
    return catalog


def missing(catalog: Catalog) -> list[str]:
    """Strings without a translation, or with one of another number of plural forms."""
    found = []
    for message in catalog:
        if not message.id:
            continue
        forms = message.string if isinstance(message.string, (tuple, list)) else (message.string,)
        if not all(forms) or (message.pluralizable and len(forms) != catalog.num_plurals):
            found.append(message.id if isinstance(message.id, str) else message.id[0])
    return found


def po_text(catalog: Catalog) -> bytes:
    """The catalogue as a `.po` file."""
    out = io.BytesIO()
    write_po(out, catalog, width=120, omit_header=False, sort_output=True, no_location=True, ignore_obsolete=True)
    return b"".join(line for line in out.getvalue().splitlines(keepends=True) if not line.startswith(b'"Generated-By:'))


def mo_bytes(catalog: Catalog) -> bytes:
    """The catalogue as Django reads it."""
    out = io.BytesIO()
    write_mo(out, catalog)
    return out.getvalue()


def po_file(language: str) -> Path:
    return LOCALE / language / "LC_MESSAGES" / "django.po"


def mo_file(language: str) -> Path:
    return po_file(language).with_suffix(".mo")


def _sources() -> Iterator[tuple[str, str]]:
    for path in sorted([*ROOT.rglob("*.py"), *GATE.rglob("*.py")]):
        if "migrations" not in path.parts:
            yield path.relative_to(ROOT.parent).as_posix(), path.read_text(encoding="utf-8")
    for path in sorted((ROOT / "templates").rglob("*")):
        if path.suffix in (".html", ".txt"):
            python = django_template.templatize(path.read_text(encoding="utf-8"))
            # A template is not indented as Python, and Babel's reader of Python minds that.
            yield path.relative_to(ROOT.parent).as_posix(), "\n".join(line.lstrip() for line in python.splitlines())
