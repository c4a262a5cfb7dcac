"""Pictures of strangers: their heads are read before anything is decoded, and what is kept is made anew."""

from __future__ import annotations

import io
import struct
import zlib

import pytest
from PIL import Image

from webportal.catalogue.pictures import MOST_BYTES, Head, Refused, head_of, jpeg_of


def made(kind: str, size: tuple[int, int] = (60, 40), mode: str = "RGB", **options: object) -> bytes:
    out = io.BytesIO()
    Image.new(mode, size, 5 if len(mode) == 1 or mode == "I;16" else None).save(out, kind, **options)
    return out.getvalue()


def png_head(width: int, height: int) -> bytes:
    """A PNG that claims a size and has one byte of it."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def webp_head(width: int, height: int) -> bytes:
    canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + canvas + made("WEBP")[12:]
    return b"RIFF" + struct.pack("<I", len(body)) + body


def jpeg_head(width: int, height: int) -> bytes:
    data = bytearray(made("JPEG"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_picture_is_made_anew(kind: str) -> None:
    for options in ({}, {"lossless": True} if kind == "WEBP" else {"optimize": True}):
        data = made(kind, (600, 400), **options) + b"<script>alert(1)</script>"  # type: ignore[arg-type]
        assert head_of(data) == Head(kind, 600, 400)
        anew = jpeg_of(data, 100)
        assert b"script" not in anew
        with Image.open(io.BytesIO(anew)) as image:
            assert (image.format, image.size) == ("JPEG", (100, 67))
        with Image.open(io.BytesIO(jpeg_of(data, 100, square=True))) as image:
            assert image.size == (100, 100)


@pytest.mark.parametrize(
    ("kind", "mode"), [("PNG", "P"), ("PNG", "LA"), ("PNG", "1"), ("PNG", "I;16"), ("JPEG", "CMYK"), ("JPEG", "L")]
)
def test_every_mode_can_be_shown(kind: str, mode: str) -> None:
    with Image.open(io.BytesIO(jpeg_of(made(kind, mode=mode), 30))) as image:
        assert (image.mode, image.size) == ("RGB", (30, 20))


def test_comments_and_places_are_not_kept() -> None:
    exif = Image.Exif()
    exif[0x010E], exif[0x0112] = "where I live", 6
    anew = jpeg_of(made("JPEG", (60, 40), exif=exif.tobytes(), comment="where I live"), 60)
    assert b"where I live" not in anew
    with Image.open(io.BytesIO(anew)) as image:
        assert image.size == (40, 60), "turned as it said"


@pytest.mark.parametrize(
    ("data", "name"),
    [
        *((made("GIF"), "GIF"), (made("BMP"), "BMP"), (made("TIFF"), "TIFF"), (made("ICO"), "ICO"), (b"%PDF-1.7", "PDF")),
        *((b"<svg xmlns=''><script/></svg>", "SVG"), (b"\n <?xml version='1.0'?><svg/>", "SVG"), (b"<!DOCTYPE html>", "HTML")),
        *((b"\0\0\0 ftypavif", "AVIF"), (b"PK\3\4", "ZIP"), (b"", "a file of this type"), (b"\x7fELF", "a file of this type")),
        *((b"GIF89a/*\xff\xd8\xff", "GIF"), (b" " + made("PNG"), "a file of this type")),
    ],
)
def test_other_types_are_refused_by_name(data: bytes, name: str) -> None:
    with pytest.raises(Refused, match=f"{name} is not taken; use JPEG, PNG or WebP"):
        jpeg_of(data, 400)


@pytest.mark.parametrize("size", [(4_500, 4_000), (16_000, 16_000), (60_000, 60_000), (65_535, 300)])
def test_what_is_too_large_is_refused_before_it_is_opened(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    heads = [png_head(*size), jpeg_head(*size), webp_head(*size)]

    def opened(*_: object, **__: object) -> None:
        raise AssertionError("a decoder saw it")

    monkeypatch.setattr(Image, "open", opened)
    for data in heads:
        with pytest.raises(Refused, match=f"{size[0]} x {size[1]} pixels, more than 17 million"):
            jpeg_of(data, 400)
    with pytest.raises(Refused, match="more than 20 MB"):
        jpeg_of(png_head(1, 1) + bytes(MOST_BYTES), 400)


def test_what_is_broken_is_refused() -> None:
    for kind in ("JPEG", "PNG", "WEBP"):
        data = made(kind, (300, 200))
        for cut in (0, 4, 12, 20, 30, 33, 60):
            with pytest.raises(Refused):
                jpeg_of(data[:cut], 400)
    scans = made("JPEG", progressive=True)
    at = scans.index(b"\xff\xda")
    for data in (png_head(0, 5), png_head(60, 40), webp_head(70, 70), scans[:at] + scans[at:-2] * 50, b"\xff\xd8\xff" * 1_000):
        with pytest.raises(Refused):
            jpeg_of(data, 400)
