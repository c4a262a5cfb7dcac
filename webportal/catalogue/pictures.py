"""Pictures from outside: looked at by their heads first, then made anew, so that nothing is served as it came."""

from __future__ import annotations

import io
import threading
from typing import NamedTuple

from PIL import Image, ImageOps

from ftpgate.translatable import TranslatableText
from webportal.core.texts import Text

MOST_BYTES = 20 << 20
"""Of a picture's file."""
MOST_PIXELS = 17_000_000
"""4,096 a side: 68 MB decoded, three times as much while libwebp does it. One of a single colour has a few kilobytes."""
_MOST_SCANS = 100
"""Scans of a progressive JPEG, of which each goes over the whole picture; encoders make ten."""
_DEEPEST_HEAD = 1 << 20
"""Bytes in which a JPEG tells its size; before it stand colour profiles and thumbnails of 64 kB each."""
_SIZED = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})  # start of frame (ITU-T T.81, table B.1)
_BARE = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a length
_NAMES = (
    (b"GIF8", "GIF"), (b"BM", "BMP"), (b"II*\0", "TIFF"), (b"MM\0*", "TIFF"), (b"%PDF", "PDF"), (b"\0\0\1\0", "ICO"),
    (b"8BPS", "PSD"), (b"\xff\x0a", "JPEG XL"), (b"\0\0\0\x0cJXL ", "JPEG XL"), (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"PK\3\4", "ZIP"),
)  # fmt: skip
_ONE_AT_A_TIME = threading.Lock()
"""Decoding takes memory; whoever comes meanwhile waits some tenths of a second for what takes some of them itself."""


class Refused(Exception):
    """A picture is not taken; `text` says why."""

    def __init__(self, text: TranslatableText) -> None:
        super().__init__(text)
        self.text = text


_BROKEN = Text.PICTURE_BROKEN()


class Head(NamedTuple):
    """What a picture says of itself before it is decoded. `kind` is Pillow's name; sizes are pixels."""

    kind: str
    width: int
    height: int


def head_of(data: bytes) -> Head:
    """The head of a JPEG, PNG or WebP picture.

    Raises:
        Refused: it is of another type, or broken.
    """
    head = _png(data) or _jpeg(data) or _webp(data)
    if head is None:
        raise Refused(Text.PICTURE_TYPE(kind=_kind(data)))
    if not (head.width and head.height):
        raise Refused(_BROKEN)
    return head


def jpeg_of(data: bytes, side: int, *, square: bool = False) -> bytes:
    """A picture anew, as a JPEG of at most `side` pixels a side (or cut to a square of just that), without its metadata.

    Raises:
        Refused: its type is not taken, it is too large, or broken. Nothing of it was decoded unless its head is in bounds.
    """
    if len(data) > MOST_BYTES:
        raise Refused(Text.PICTURE_TOO_LARGE(most=MOST_BYTES >> 20))
    head = head_of(data)
    if head.width * head.height > MOST_PIXELS:
        size, most = f"{head.width} x {head.height}", MOST_PIXELS // 1_000_000
        raise Refused(Text.PICTURE_TOO_MANY_PIXELS(size=size, most=most))
    if head.kind == "JPEG" and data.count(b"\xff\xda") > _MOST_SCANS:
        raise Refused(_BROKEN)
    try:
        with _ONE_AT_A_TIME, Image.open(io.BytesIO(data), formats=(head.kind,)) as image:
            if image.size != (head.width, head.height):
                raise Refused(_BROKEN)
            return _saved(image, side, square=square)
    except (Image.DecompressionBombError, OSError, ValueError, SyntaxError, EOFError, ArithmeticError, LookupError, MemoryError):
        raise Refused(_BROKEN) from None


def _saved(image: Image.Image, side: int, *, square: bool) -> bytes:
    image.draft("RGB", (side, side))
    small: Image.Image = image if image.mode in ("L", "RGB", "RGBA", "CMYK", "YCbCr") else image.convert("RGBA")
    if square:
        small = ImageOps.fit(small, (side, side), Image.Resampling.LANCZOS)
    else:
        small.thumbnail((side, side), reducing_gap=2.0)
    small = ImageOps.exif_transpose(small)
    small = (small if small.mode == "RGBA" else small.convert("RGB")).convert("RGBA")
    opaque = Image.new("RGB", small.size, "white")
    opaque.paste(small, mask=small.getchannel("A"))
    made = io.BytesIO()
    opaque.save(made, "JPEG", quality=88, optimize=True, progressive=True)
    return made.getvalue()


def _kind(data: bytes) -> str:
    """What a file seems to be, by its first bytes."""
    start = data[:512].lstrip().lower()
    if start.startswith((b"<svg", b"<?xml", b"<!doctype svg")):
        return "SVG"
    if start.startswith((b"<!doctype", b"<html")):
        return "HTML"
    if data[4:12] in (b"ftypavif", b"ftypheic", b"ftypheix", b"ftypmif1"):
        return "AVIF" if data[8:12] == b"avif" else "HEIC"
    return next((name for magic, name in _NAMES if data.startswith(magic)), Text.UNKNOWN_TYPE())


def _png(data: bytes) -> Head | None:
    """RFC 2083: the first chunk is the header."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR") or len(data) < 33:
        return None
    return Head("PNG", int.from_bytes(data[16:20]), int.from_bytes(data[20:24]))


def _jpeg(data: bytes) -> Head | None:
    """ITU-T T.81, annex B: segments up to the start of the frame."""
    if not data.startswith(b"\xff\xd8\xff"):
        return None
    at = 2
    while at + 9 < min(len(data), _DEEPEST_HEAD) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF or marker in _BARE:
            at += 1 if marker == 0xFF else 2
        elif marker in _SIZED:
            return Head("JPEG", int.from_bytes(data[at + 7 : at + 9]), int.from_bytes(data[at + 5 : at + 7]))
        else:
            at += 2 + max(2, int.from_bytes(data[at + 2 : at + 4]))
    return Head("JPEG", 0, 0)


def _webp(data: bytes) -> Head | None:
    """RFC 9649: the canvas of the extended form, or the size of the only frame."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP" or len(data) < 30:
        return None
    form = data[12:16]
    if form == b"VP8X":
        return Head("WEBP", 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little"))
    if form == b"VP8L" and data[20] == 0x2F:
        bits = int.from_bytes(data[21:25], "little")
        return Head("WEBP", 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
    if form == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        return Head("WEBP", int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF)
    return Head("WEBP", 0, 0)
