"""What can be done about what a service refuses: for people at a terminal, and for staff who look at a page.

The API adds nothing: a program knows its own way out, and the shop behind it is no reader of ours.
"""

from __future__ import annotations

from collections.abc import Mapping

from django.utils.translation import gettext, gettext_noop

from ftpgate.translatable import Message, TranslatableText, filled
from webportal.core.texts import Text
from webportal.core.translatable import translated

_NAME_THE_ALBUM = gettext_noop("name the folder that holds the album")
_WHEN_NOTHING_WRITES = gettext_noop("import it again when nothing writes to it")
_PERMISSIONS = gettext_noop("correct its permissions")
_PERMISSIONS_OR_SPACE = gettext_noop("correct permissions or make space")
_AN_ADDRESS = gettext_noop("give an address such as https://shop.example/hooks")
_BRING_BACK = gettext_noop("bring its files back and import its folder again")
_NEW_FOLDER = gettext_noop("import what is new as another folder; %(item)s keeps its files")

_ANYWHERE: Mapping[Message, str] = {
    Text.NO_FOLDER: _NAME_THE_ALBUM,
    Text.NO_FOLDER_IN_MEDIA: gettext_noop("name one that is"),
    Text.BEING_IMPORTED: gettext_noop("wait for it"),
    Text.IMPORTED_BY_ANOTHER: gettext_noop("try again"),
    Text.FOLDER_NOT_IMPORTED: _PERMISSIONS_OR_SPACE,
    Text.FOLDER_UNREADABLE: _PERMISSIONS,
    Text.NOTHING_TO_IMPORT: _NAME_THE_ALBUM,
    Text.TOO_MANY_FILES: gettext_noop("import its folders one by one"),
    Text.FOLDER_NAME_NOT_UTF8: gettext_noop("rename the folder"),
    Text.NAME_NOT_UTF8: gettext_noop("rename it (convmv renames whole folders)"),
    Text.PATH_TOO_LONG: gettext_noop("shorten it"),
    Text.LINK_LEADS_NOWHERE: gettext_noop("correct or remove it"),
    Text.LINK_LEADS_OUT: gettext_noop("put the file itself there, or remove the link"),
    Text.LINK_LEADS_BACK: gettext_noop("remove it"),
    Text.FILE_AND_PROBLEM: gettext_noop("correct its permissions or the disk"),
    Text.FILE_CHANGED_AT_READING: _WHEN_NOTHING_WRITES,
    Text.FILE_CHANGED_AT_IMPORT: _WHEN_NOTHING_WRITES,
    Text.FILE_ADDED: _NEW_FOLDER,
    Text.ITEM_WITHDRAWN: _BRING_BACK,
    Text.GRANT_EXPIRED: gettext_noop("renew it first"),
    Text.GRANT_NOT_REVOCABLE: gettext_noop("nothing needs to be revoked: its links end by themselves"),
    Text.ADDRESS_CHARACTERS: _AN_ADDRESS,
    Text.NOT_AN_ADDRESS: _AN_ADDRESS,
    Text.ADDRESS_NOT_HTTPS: _AN_ADDRESS,
    Text.ADDRESS_USER_OR_FRAGMENT: _AN_ADDRESS,
    Text.NOT_A_HOST: _AN_ADDRESS,
    Text.PORT_ZERO: _AN_ADDRESS,
    Text.INTERNAL_ADDRESS: gettext_noop("give one that is on the Internet"),
}
_ON_PAGES: Mapping[Message, str] = {
    **_ANYWHERE,
    Text.ITEM_CHANGED: gettext_noop("put the file back, or import what is new as another folder; %(item)s keeps its files"),
    Text.GRANT_NOT_RENEWABLE: gettext_noop("issue a new one"),
    Text.GRANT_DELIVERED: gettext_noop("issue a new one"),
    Text.GRANT_ENDED: gettext_noop("issue a new one"),
    Text.ITEM_WITHOUT_FILES: gettext_noop("import its folder again"),
}
_AT_A_TERMINAL: Mapping[Message, str] = {
    **_ANYWHERE,
    Text.MEDIA_FOLDER_ITSELF: "name a folder in it",
    Text.HOLDS_MEDIA_FOLDER: "name the folder of one album",
    Text.NOT_UNDER_MEDIA_FOLDER: "move it there, or bring it there with --copy",
    Text.FOLDER_NOT_COPIED: _PERMISSIONS_OR_SPACE,
    Text.FILE_NOT_COPIED: "correct permissions or the disk, or make space",
    Text.FILE_CHANGED_AT_COPYING: _WHEN_NOTHING_WRITES,
    Text.ITEM_CHANGED: f"put the file back (ftpgate item verify %(item)s names all), or {_NEW_FOLDER}",
    Text.TITLE_LENGTH: "correct --title",
    Text.ARTIST_LENGTH: "correct --artist",
    Text.YEAR_RANGE: "correct --year",
    Text.TAG_ENCODING: "correct --tag-encoding",
    Text.NOT_PURGEABLE: "look at the list again: ftpgate manage purge",
    Text.CART_EMPTY: "put something in it first",
    Text.CART_NOT_ON_OFFER: "show the items again with: ftpgate item unhide ID",
    Text.ITEMS_RANGE: "name 1 to %(most)d",
    Text.ITEM_WITHOUT_FILES: "import its folder with: ftpgate item add DIR",
    Text.EXPIRY_PASSED: "give a longer time, such as 7d",
    Text.GRANT_GONE: "look it up with: ftpgate grant list",
    Text.GRANT_NOT_RENEWABLE: "issue a new one with: ftpgate grant issue",
    Text.GRANT_DELIVERED: "issue a new one with: ftpgate grant issue",
    Text.GRANT_ENDED: "issue a new one with: ftpgate grant issue",
    Text.GRANT_EXPIRED: "renew it first with: ftpgate grant renew %(grant)s",
    Text.GRANT_REVOKED: "issue a new one with: ftpgate grant issue",
    Text.GRANT_OF_ANOTHER: "only its own customer can say that everything was received",
    Text.GRANT_WITHOUT_ITEM: "name an item of this grant",
    Text.ITEM_LACKS_UNSENT: "download them first",
    Text.TIER_UNKNOWN: "make it with: ftpgate tier set %(tier)s --rate 512k",
    Text.TIER_NAME: "use 1 to %(most)d characters",
    Text.TIER_CONNECTIONS: "use 1 to %(most)d",
    Text.TIER_RATE: "use bytes a second, 0 for no limit",
    Text.USER_NAME: "choose another name",
    Text.USER_TAKEN: "choose another name",
    Text.PASSWORD_WEAK: "choose another one",
    Text.SHOP_NAME: "choose another name",
    Text.SHOP_ORIGINS: "name origins such as https://shop.example",
    Text.SCOPE_UNKNOWN: "use some of %(known)s",
    Text.SCOPE_MISSING: "use some of %(known)s",
    Text.REFERENCE_UNUSABLE: "use 1 to %(most)d printable characters",
    Text.TOO_MANY_ENDPOINTS: "delete one that is not used",
    Text.EVENT_UNKNOWN: "use some of %(known)s",
    Text.EVENT_MISSING: "use some of %(known)s",
}


def for_staff(text: TranslatableText) -> str:
    """What is wrong and, where it is known, what to do about it, in the language of whoever looks."""
    hint = _ON_PAGES.get(text.message)
    said = translated(text)
    return said if hint is None else f"{said}: {filled(gettext(hint), text.parameters)}"


def terminal_hint(text: TranslatableText) -> str:
    """What to do about it at a command line, in English."""
    return filled(_AT_A_TERMINAL[text.message], text.parameters)


def for_terminal(text: TranslatableText) -> str:
    """What is wrong and what to do about it, in English."""
    return f"{text}: {terminal_hint(text)}"
