"""What systems and programs leave in folders beside what people put there, told by its name. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection

from ftpgate.translatable import TranslatableText
from webportal.catalogue.importing.tags import is_audio
from webportal.core.texts import Text

_DESKTOP = Text.OF_DESKTOP()
_NAS = Text.OF_NAS()
_VERSIONS = Text.OF_VERSION_CONTROL()
_EDITOR = Text.OF_EDITOR()
_UNFINISHED = Text.UNFINISHED_DOWNLOAD()
_HIDDEN = Text.HIDDEN()
_OF_ANOTHER = Text.STREAM_OF_FILE()

_IGNORE, _EXACT = re.IGNORECASE, re.NOFLAG

# Windows and macOS, and what is shared with them, take names in any case; ext4 and the bins of Windows' FAT do not, and
# `Lost+Found` and `Recycled` are titles of albums.
_FOLDERS = (
    (
        _DESKTOP,
        _IGNORE,
        r"\$recycle\.bin|system volume information|__macosx|found\.[0-9]{3}|\.appledouble|\.appledb|\.appledesktop"
        r"|\.spotlight-v100|\.fseventsd|\.documentrevisions-v100|\.temporaryitems|\.trash(?:es|-.+)?|\.thumbnails"
        r"|network trash folder|temporary items|thevolumesettingsfolder",
    ),
    (_DESKTOP, _EXACT, r"RECYCLE[RD]|lost\+found"),
    (
        _NAS,
        _IGNORE,
        r"@eadir|[#@.]recycle|[#.@~]snapshots?|@recently-snapshot|@tmp|@sharebin|@__\w+|\.@\w+|\.streams|\.zfs"
        r"|\.synologyworkingdirectory",
    ),
    (_VERSIONS, _IGNORE, r"\.(?:git|hg|svn|bzr)"),
    (_UNFINISHED, _IGNORE, r".+\.(?:download|incomplete)"),
)
_FILES = (
    (
        _DESKTOP,
        _IGNORE,
        r"(?:eh)?thumbs(?:_vista)?\.db|desktop\.ini|icon\r|\.ds_store|\._.*|\.trashed-.+|\.nfs[0-9a-f]{16,}|\.fuse_hidden.+",
    ),
    (_NAS, _IGNORE, r".*@syno(?:eastream|resource)|aquota\.(?:user|group)"),
    (
        _UNFINISHED,
        _IGNORE,
        r".+\.(?:part|part-frag[0-9]+|dtapart|aria2|aria2__temp|crdownload|opdownload|fdmdownload|download|filepart|partial|incomplete"
        r"|!ut|!qb|!bt|!sync|ut!|bc!|jc!|xltd|td|td\.cfg|ytdl|dctmp|part\.met(?:\.bak)?|lftp-pget-status|\w{2,4}\.st)"
        r"|incomplete(?:~|[0-9a-f]{32}).+|\.pending-.+",
    ),
    (_EDITOR, _IGNORE, r"~\$.*|.*\.te?mp|.*~|#.+#|\.~lock\..*|\..*\.sw[a-p]"),
)
_STREAM = re.compile(
    r".*(?::|\.)zone\.identifier(?::\$data)?"
    r"|.+:(?:afp_\w+|encryptable|favicon|smartscreen|ms-properties|oecustomproperty|.*(?:document)?summaryinformation|\{[-0-9a-f]{36}\}"
    r"|com\.(?:apple|dropbox|microsoft)\..+|[^:]*:\$\w+)",
    _IGNORE,
)
"""Names of streams that are in use (Windows, NTFS drives on Linux and macOS), as a copy to another file system shows them."""

# How macOS, Samba and Linux's cifs show, on other systems, what those cannot have in a name: `:` and the controls.
_MAPPED = {0xF022: ":", 0xF03A: ":", **{0xF000 + code: chr(code) for code in range(1, 32)}}

_COMPILED = {
    folder: [(reason, re.compile(pattern, flags)) for reason, flags, pattern in table]
    for folder, table in ((True, _FOLDERS), (False, _FOLDERS + _FILES))
}
_AUDIO = re.compile(
    r".*\.(?:aac|ac3|alac|amr|ape|au|caf|dff|dsf|dts|mka|midi?|mod|mpc|oma|ra|shn|tak|tta|voc|weba|wv|xm)", _IGNORE
)
"""Sound whose tags are not read."""


def why_left_out(name: str, *, folder: bool, hidden: bool = False, beside: Collection[str] = ()) -> TranslatableText | None:
    """Why a file or folder of this name is no part of an item; None when it is one.

    Args:
        hidden: it lies in a hidden folder.
        beside: the names in the same folder. What follows one of them and a colon is a stream of that file.
    """
    plain = name.translate(_MAPPED)
    for reason, pattern in _COMPILED[folder]:
        if pattern.fullmatch(plain):
            return reason
    if not folder and _is_stream(plain, beside):
        return _OF_ANOTHER
    if not folder and (hidden or plain.startswith(".")) and not _sounds(plain):
        return _HIDDEN
    return None


def _sounds(name: str) -> bool:
    return is_audio(name) or _AUDIO.fullmatch(name) is not None


def _is_stream(name: str, beside: Collection[str]) -> bool:
    file, colon, stream = name.rpartition(":")
    if _STREAM.fullmatch(name):
        return True
    return bool(colon) and bool(stream) and not _sounds(stream) and (file in beside or _sounds(file))
