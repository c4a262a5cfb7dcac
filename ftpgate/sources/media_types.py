"""Media types by a name's extension: the same on every machine, which `mimetypes` and its system files are not."""

from __future__ import annotations

DEFAULT = "application/octet-stream"
ZIP = "application/zip"

# IANA's registered names, and audio/flac of RFC 9639. Nothing that a browser would run in the gate's origin (HTML, SVG,
# scripts) is named: it goes as DEFAULT.
_TYPES = {
    "aac": "audio/aac",
    "aif": "audio/aiff",
    "aiff": "audio/aiff",
    "avif": "image/avif",
    "bmp": "image/bmp",
    "cue": "text/plain",
    "epub": "application/epub+zip",
    "flac": "audio/flac",
    "gif": "image/gif",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "log": "text/plain",
    "m3u": "audio/mpegurl",
    "m3u8": "audio/mpegurl",
    "m4a": "audio/mp4",
    "m4b": "audio/mp4",
    "md5": "text/plain",
    "mid": "audio/midi",
    "midi": "audio/midi",
    "mka": "audio/matroska",
    "mkv": "video/matroska",
    "mp3": "audio/mpeg",
    "mp4": "video/mp4",
    "nfo": "text/plain",
    "oga": "audio/ogg",
    "ogg": "audio/ogg",
    "ogv": "video/ogg",
    "opus": "audio/ogg",
    "pdf": "application/pdf",
    "png": "image/png",
    "tif": "image/tiff",
    "tiff": "image/tiff",
    "txt": "text/plain",
    "wav": "audio/wav",
    "webm": "video/webm",
    "webp": "image/webp",
    "zip": ZIP,
}


def media_type(name: str) -> str:
    """The `Content-Type` for a file of this name; `application/octet-stream` when the extension says nothing."""
    return _TYPES.get(name.rpartition(".")[2].lower(), DEFAULT)
