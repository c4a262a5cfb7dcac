"""Texts as versions before 0.2.0 stored them, for migrations alone: nothing here changes any more.

A text was stored as `\\x1e` and a list in JSON: its English template, and what its placeholders stand for, which may be such
lists themselves. Strings without the mark were stored as they are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_MARK = "\x1e"
_CAUSE_AND_HINT = "%(cause)s: %(hint)s"
_CODES = {
    "is no regular file any more": "file_not_regular",
    "has %(found)d bytes, %(imported)d were imported": "file_size",
    "was written to since it was imported": "file_written",
    "was replaced by another file since it was imported": "file_replaced",
    "was written to since it was imported, or its name, owner, permissions or links were changed": "file_status",
    "is reached by a link that leads out of the media folder": "file_outside",
    "cannot be read (%(reason)s)": "file_unreadable",
    "is missing": "file_missing",
    "has changed": "file_changed",
    "changed while it was read": "file_changed_meanwhile",
    "Connection refused": "connection_refused",
    "Connection reset by peer": "connection_reset",
    "Input/output error": "input_output_error",
    "Is a directory": "is_a_directory",
    "Network is unreachable": "network_unreachable",
    "No route to host": "no_route_to_host",
    "No space left on device": "no_space_left",
    "No such file or directory": "no_such_file",
    "Not a directory": "not_a_directory",
    "Operation not permitted": "not_permitted",
    "Permission denied": "permission_denied",
    "Read-only file system": "read_only_file_system",
    "Stale file handle": "stale_file_handle",
    "Too many open files": "too_many_open_files",
    "left out: %(names)s": "left_out",
    "left out: %(names)s and %(more)d more": "left_out_and_more",
    "%(path)s (%(reason)s)": "path_and_reason",
    "the tags of %(files)s cannot be read; imported without": "tags_unreadable",
    (
        "the tags of %(files)s look wrongly decoded (%(sample)r): add the folder again with --tag-encoding, such as cp1251"
    ): "tags_doubtful",
    (
        "%(count)d paths have more than %(most)d characters, such as %(path)r: many programs on Windows cannot save them"
    ): "paths_long_for_windows",
    "%(file)r is not shown (%(reason)s)": "cover_not_shown",
    "the picture in %(file)r is not shown (%(reason)s)": "embedded_cover_not_shown",
    "the portal was stopped meanwhile: start it again": "import_stopped",
    "an error of our own; it has been logged": "internal_error",
    "left by a desktop system": "of_desktop",
    "left by a NAS": "of_nas",
    "of a version control system": "of_version_control",
    "left by an editor": "of_editor",
    "an unfinished download": "unfinished_download",
    "hidden, and no audio": "hidden",
    "a stream of another file": "stream_of_file",
    "no regular file": "no_regular_file",
    "the picture is broken": "picture_broken",
    "a file of this type": "unknown_type",
    "%(kind)s is not taken; use JPEG, PNG or WebP": "picture_type",
    "the picture has more than %(most)d MB": "picture_too_large",
    "the picture has %(size)s pixels, more than %(most)d million": "picture_too_many_pixels",
    "%(folder)r is no folder": "no_folder",
    "the name %(path)r is not UTF-8": "name_not_utf8",
    "%(file)r is not in the item %(item)s that was imported from this folder": "file_added",
    "%(file)r of the item %(item)s is not as it was imported (it %(problem)s)": "item_changed",
    "%(folder)r is just being imported by someone else": "imported_by_another",
    "%(folder)r cannot be imported (%(reason)s)": "folder_not_imported",
    "%(file)r changed while it was imported": "file_changed_at_import",
    "%(file)r %(problem)s": "file_and_problem",
    "there is no file to import in %(folder)r": "nothing_to_import",
    "the path %(path)r… has more than %(most)d bytes": "path_too_long",
    "the link %(path)r leads nowhere": "link_leads_nowhere",
    "the link %(path)r leads out of the folder": "link_leads_out",
    "the link %(path)r leads back to a folder it lies in": "link_leads_back",
    "%(folder)r holds more than %(most)d files": "too_many_files",
    "%(folder)r cannot be read (%(reason)s)": "folder_unreadable",
    "%(folder)r is no folder under the media folder": "no_folder_in_media",
    "%(folder)r is just being imported": "being_imported",
    "redirects are not followed": "redirected",
    "the endpoint's secret cannot be decrypted: FTPGATE_SECRET_KEY has changed; give it a new secret": "secret_unreadable",
    "the address %(address)r holds characters that no address has, or is too long": "address_characters",
    "%(address)r is not an address": "not_an_address",
    "the address %(address)r does not begin with https://": "address_not_https",
    "the address holds a user name or a fragment": "address_user_or_fragment",
    "%(host)r is not the name of a host": "not_a_host",
    "%(host)r is an internal address": "internal_address",
    "port 0 is none to connect to": "port_zero",
    "the answer is not one to a POST": "answer_not_to_post",
    "no answer within %(seconds)g s": "no_answer",
    "TLS failed: %(reason)s": "tls_failed",
    "the connection failed: %(reason)s": "connection_failed",
    "the answer is not HTTP: %(reason)s": "answer_not_http",
    "the name %(host)s is not known": "host_unknown",
    "%(host)s leads to the internal address %(address)s": "leads_to_internal",
    "the answer's head has no end": "answer_head_endless",
}

Coded = dict[str, Any]
"""`{"code": …, "parameters": {…}}`"""


def converted(old: str) -> list[Coded]:
    """What was stored as codes with parameters: one text, the parts of one that was joined by semicolons, or none if it is empty.

    What has no code, or cannot be read, is kept as plain English text. The hint behind a cause is left out: it is shown by
    the code now.
    """
    if not old.startswith(_MARK):
        return [_plain(old)] if old else []
    try:
        return _parts(json.loads(old[1:]))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return [_plain(old[1:])]


def english(coded: Coded) -> str:
    """The English text of a code with parameters, to undo a conversion."""
    templates = {code: template for template, code in _CODES.items()} | {"plain": "%(text)s"}
    values = {name: _said(value) for name, value in coded["parameters"].items()}
    return str(templates.get(coded["code"], coded["code"].replace("%", "%%")) % values)


def _said(value: Any) -> Any:
    if isinstance(value, list):
        return ", ".join(str(_said(one)) for one in value)
    return english(value) if isinstance(value, dict) else value


def _parts(stored: Any) -> list[Coded]:
    template, values = stored
    if template == _CAUSE_AND_HINT and _is_coded(values["cause"]):
        return [_converted(values["cause"])]
    if values and template == "; ".join(f"%({name})s" for name in values):
        return [_converted(value) for value in values.values()]
    return [_converted(stored)]


def _is_coded(stored: Any) -> bool:
    return isinstance(stored, list) and stored[0] in _CODES


def _converted(stored: Any) -> Coded:
    if not _is_coded(stored):
        return _plain(_old_english(stored))
    template, values = stored
    return {"code": _CODES[template], "parameters": {name: _parameter(value) for name, value in values.items()}}


def _parameter(value: Any) -> Any:
    if isinstance(value, str):
        return _clean(value)
    if not isinstance(value, list):
        return value
    template, values = value
    if values and template == ", ".join(f"%({name})s" for name in values):
        return [_converted(one) for one in values.values()]
    return _converted(value)


def _old_english(stored: Any) -> str:
    if not isinstance(stored, list):
        return str(stored)
    template, values = stored
    filled: Mapping[str, Any] = {name: _old_english(v) if isinstance(v, list) else v for name, v in values.items()}
    return str(template % filled) if filled else str(template)


def _plain(text: str) -> Coded:
    return {"code": "plain", "parameters": {"text": _clean(text)}}


def _clean(text: str) -> str:
    """PostgreSQL's jsonb takes neither NUL nor halves of characters."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
