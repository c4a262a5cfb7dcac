"""The portal's texts that are stored as codes with parameters, or are the reason of an error.

The codes are in databases: a member can be given another English text, but its name and its placeholders stay. What is to be
done about an error is not said here but where it is shown (`webportal.staff.hints`).
"""

from __future__ import annotations

from enum import unique

from ftpgate.translatable import FileProblem, Message, SystemReason


def _(text: str) -> str:
    """Marks a text for `ftpgate manage messages`; Django's own does the same, and would be imported for nothing else."""
    return text


@unique
class Text(Message):
    PLAIN = "%(text)s"
    """Text that was stored before there were codes, or that comes from another program."""
    INTERNAL_ERROR = _("an error of our own; it has been logged")

    # What whoever imports a folder should know.
    LEFT_OUT = _("left out: %(names)s")
    LEFT_OUT_AND_MORE = _("left out: %(names)s and %(more)d more")
    PATH_AND_REASON = "%(path)s (%(reason)s)"
    TAGS_UNREADABLE = _("the tags of %(files)s cannot be read; imported without")
    TAGS_DOUBTFUL = _(
        "the tags of %(files)s look wrongly decoded (%(sample)r): add the folder again with --tag-encoding, such as cp1251"
    )
    PATHS_LONG_FOR_WINDOWS = _(
        "paths of more than %(most)d characters: %(count)d, such as %(path)r; many programs on Windows cannot save them"
    )
    COVER_NOT_SHOWN = _("%(file)r is not shown (%(reason)s)")
    EMBEDDED_COVER_NOT_SHOWN = _("the picture in %(file)r is not shown (%(reason)s)")
    IMPORT_STOPPED = _("the portal was stopped meanwhile: start it again")

    # Why something in a folder is left out.
    OF_DESKTOP = _("left by a desktop system")
    OF_NAS = _("left by a NAS")
    OF_VERSION_CONTROL = _("of a version control system")
    OF_EDITOR = _("left by an editor")
    UNFINISHED_DOWNLOAD = _("an unfinished download")
    HIDDEN = _("hidden, and no audio")
    STREAM_OF_FILE = _("a stream of another file")
    NO_REGULAR_FILE = _("no regular file")

    # Why a picture is not taken.
    PICTURE_BROKEN = _("the picture is broken")
    PICTURE_TYPE = _("%(kind)s is not taken; use JPEG, PNG or WebP")
    PICTURE_TOO_LARGE = _("the picture has more than %(most)d MB")
    PICTURE_TOO_MANY_PIXELS = _("the picture has %(size)s pixels, more than %(most)d million")
    UNKNOWN_TYPE = _("a file of this type")

    # Why a folder is not imported.
    NO_FOLDER = _("%(folder)r is no folder")
    NO_FOLDER_IN_MEDIA = _("%(folder)r is no folder under the media folder")
    MEDIA_FOLDER_ITSELF = _("%(folder)r is the media folder itself")
    HOLDS_MEDIA_FOLDER = _("%(folder)r holds the media folder")
    NOT_UNDER_MEDIA_FOLDER = _("%(folder)r is not under the media folder %(media)r")
    BEING_IMPORTED = _("%(folder)r is just being imported")
    IMPORTED_BY_ANOTHER = _("%(folder)r is just being imported by someone else")
    FOLDER_NOT_IMPORTED = _("%(folder)r cannot be imported (%(reason)s)")
    FOLDER_NOT_COPIED = _("the folder cannot be copied to %(media)r (%(reason)s)")
    FOLDER_UNREADABLE = _("%(folder)r cannot be read (%(reason)s)")
    NOTHING_TO_IMPORT = _("there is no file to import in %(folder)r")
    TOO_MANY_FILES = _("%(folder)r holds more than %(most)d files")
    FOLDER_NAME_NOT_UTF8 = _("the folder's name %(path)r is not UTF-8")
    NAME_NOT_UTF8 = _("the name %(path)r is not UTF-8")
    PATH_TOO_LONG = _("the path %(path)r… has more than %(most)d bytes")
    LINK_LEADS_NOWHERE = _("the link %(path)r leads nowhere")
    LINK_LEADS_OUT = _("the link %(path)r leads out of the folder")
    LINK_LEADS_BACK = _("the link %(path)r leads back to a folder it lies in")
    FILE_AND_PROBLEM = _("%(file)r %(problem)s")
    FILE_CHANGED_AT_READING = _("%(file)r changed while it was read")
    FILE_CHANGED_AT_IMPORT = _("%(file)r changed while it was imported")
    FILE_CHANGED_AT_COPYING = _("%(file)r changed while it was copied")
    FILE_NOT_COPIED = _("%(file)r cannot be copied (%(reason)s)")
    FILE_ADDED = _("%(file)r is not in the item %(item)s that was imported from this folder")
    ITEM_CHANGED = _("%(file)r of the item %(item)s is not as it was imported (it %(problem)s)")
    TITLE_LENGTH = _("the title is empty or has more than %(most)d characters")
    ARTIST_LENGTH = _("the artist has more than %(most)d characters")
    YEAR_RANGE = _("the year %(year)d is out of range")
    TAG_ENCODING = _("%(encoding)r is %(reason)s")

    # Why files stay on the disk.
    NOT_PURGEABLE = _("the item %(item)s is not safe to remove")
    FILE_KEPT = "%(file)s: %(reason)s"
    OUTSIDE_MEDIA = _("it lies outside the media folder")

    # Why a grant stays as it is.
    CART_EMPTY = _("the cart is empty")
    ITEMS_RANGE = _("a grant cannot be issued for %(count)d items")
    ITEM_WITHOUT_FILES = _("the item %(item)s has no files")
    ITEM_WITHDRAWN = _("the item %(item)s is withdrawn")
    CART_NOT_ON_OFFER = _("nothing in the cart is on offer any more")
    EXPIRY_PASSED = _("the expiry has passed already")
    GRANT_GONE = _("the grant %(grant)s is gone")
    GRANT_NOT_REVOCABLE = _("the grant %(grant)s is %(state)s and cannot be revoked")
    GRANT_NOT_RENEWABLE = _("the grant %(grant)s is %(state)s and cannot be renewed")
    GRANT_DELIVERED = _("every item of the grant %(grant)s was delivered")
    GRANT_EXPIRED = _("the grant %(grant)s is expired, a token would open nothing")
    GRANT_ENDED = _("the grant %(grant)s is %(state)s, a token would open nothing")
    GRANT_REVOKED = _("the grant %(grant)s is revoked")
    GRANT_OF_ANOTHER = _("the grant %(grant)s is not %(user)s's")
    GRANT_WITHOUT_ITEM = _("the grant %(grant)s does not hold the item %(item)s")
    ITEM_LACKS_UNSENT = _("the item %(item)s lacks %(count)d bytes that were not sent")
    STATE_OPEN = _("open")
    STATE_COMPLETE = _("complete")
    STATE_EXPIRED = _("expired")
    STATE_REVOKED = _("revoked")

    # Why a user, a tier, a shop or a key is not made.
    TIER_UNKNOWN = _("there is no tier %(tier)r")
    TIER_NAME = _("%(name)r is no name for a tier")
    TIER_CONNECTIONS = _("%(connections)d connections are out of range")
    TIER_RATE = _("the rate %(rate)d is out of range")
    USER_NAME = _("%(name)r is no name for a user (%(reason)s)")
    USER_TAKEN = _("there is a user %(name)r already")
    PASSWORD_WEAK = _("the password is not taken (%(reason)s)")
    SHOP_NAME = _("%(name)r is no name for a shop (%(reason)s)")
    SHOP_ORIGINS = _("%(origins)r cannot be the shop's own pages (%(reason)s)")
    SCOPE_UNKNOWN = _("there is no scope %(scope)r")
    SCOPE_MISSING = _("a key without a scope could do nothing")
    REFERENCE_UNUSABLE = _("the user's reference is not usable")

    # Why an address is not one for an endpoint.
    ADDRESS_CHARACTERS = _("the address %(address)r holds characters that no address has, or is too long")
    NOT_AN_ADDRESS = _("%(address)r is not an address")
    ADDRESS_NOT_HTTPS = _("the address %(address)r does not begin with https://")
    ADDRESS_USER_OR_FRAGMENT = _("the address holds a user name or a fragment")
    NOT_A_HOST = _("%(host)r is not the name of a host")
    INTERNAL_ADDRESS = _("%(host)r is an internal address")
    PORT_ZERO = _("port 0 cannot be connected to")
    TOO_MANY_ENDPOINTS = _("the shop %(shop)s has %(most)d endpoints already")
    EVENT_UNKNOWN = _("there is no event %(event)r")
    EVENT_MISSING = _("an endpoint without events would hear nothing")

    # Why an event was not taken.
    NO_ANSWER = _("no answer within %(seconds)g s")
    TLS_FAILED = _("TLS failed: %(reason)s")
    CONNECTION_FAILED = _("the connection failed: %(reason)s")
    ANSWER_NOT_HTTP = _("the answer is not HTTP: %(reason)s")
    ANSWER_NOT_TO_POST = _("the answer is not one to a POST")
    ANSWER_HEAD_ENDLESS = _("the answer's head has no end")
    HOST_UNKNOWN = _("the name %(host)s is not known")
    LEADS_TO_INTERNAL = _("%(host)s leads to the internal address %(address)s")
    REDIRECTED = _("redirects are not followed")
    SECRET_UNREADABLE = _("the endpoint's secret cannot be decrypted: FTPGATE_SECRET_KEY has changed; give it a new secret")


TABLES: tuple[type[Message], ...] = (FileProblem, SystemReason, Text)
