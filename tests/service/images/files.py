"""Image files of every kind the service reads, made on the spot: the formats, their oddities, and broken ones."""

import io
import struct
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from service.images.decode import Decoded, decode

MAX_PIXELS = 25_000_000


def encoded(image: Image.Image | NDArray[np.uint8], kind: str = "PNG", **options: object) -> bytes:
    """An image file's bytes."""
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def decoded(data: bytes) -> Decoded:
    """As a digit is."""
    return decode(data, max_pixels=MAX_PIXELS, of_ink=True)


Colour = str | int | tuple[int, ...]


def seven(
    size: tuple[int, int] = (300, 200),
    pen: int = 14,
    mode: str = "L",
    ground: Colour = "white",
    ink: Colour = "black",
    centre: tuple[float, float] = (0.5, 0.5),
) -> Image.Image:
    """A 7 about a centre, given in shares of the size."""
    picture = Image.new(mode, size, ground)
    x, y, reach = size[0] * centre[0], size[1] * centre[1], min(size) * 0.35
    points = [(x - reach / 2, y - reach), (x + reach / 2, y - reach), (x - reach / 4, y + reach)]
    ImageDraw.Draw(picture).line(points, fill=ink, width=pen, joint="curve")
    return picture


def corners() -> Image.Image:
    """RGB 48 × 32 in four quarters: red, green over blue, white."""
    picture = Image.new("RGB", (48, 32))
    for box, colour in (
        ((0, 0, 24, 16), (255, 0, 0)),
        ((24, 0, 48, 16), (0, 255, 0)),
        ((0, 16, 24, 32), (0, 0, 255)),
        ((24, 16, 48, 32), (255, 255, 255)),
    ):
        picture.paste(colour, box)
    return picture


def with_orientation(picture: Image.Image, orientation: int, kind: str) -> bytes:
    """A picture stored turned, with the EXIF orientation that turns it back when shown."""
    stored = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = picture.transpose(stored[orientation]) if orientation in stored else picture
    return encoded(turned, kind, exif=exif, **({"quality": 95, "subsampling": 0} if kind == "JPEG" else {}))


def chunk(name: bytes, body: bytes) -> bytes:
    """One PNG chunk."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(
    width: int,
    height: int,
    *chunks: bytes,
    depth: int = 8,
    colour: int = 0,
    rows: bytes | None = None,
    stream: bytes | None = None,
    interlaced: bool = False,
) -> bytes:
    """A PNG written by hand: chunks go before the pixels, which are zeros unless given as rows, or as they are
    compressed."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced))
    body = stream or zlib.compress(rows if rows is not None else bytes(height * (width + 1)))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def every_kind() -> dict[str, bytes]:
    """A good file of every format and of every oddity of pixels, all of the same 7."""
    colour, grey = seven(mode="RGB"), seven()
    ink_only = Image.new("RGBA", grey.size, (0, 0, 0, 0))
    ink_only.putalpha(Image.eval(grey, lambda v: 255 - v))
    wide = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    return {
        "PNG grey": encoded(grey),
        "PNG RGB": encoded(colour),
        "PNG 1 bit": encoded(grey.convert("1")),
        "PNG 16 bit": encoded(wide),
        "PNG grey and alpha": encoded(ink_only.convert("LA")),
        "PNG RGBA": encoded(ink_only),
        "PNG palette": encoded(grey.quantize(4)),
        "PNG palette with transparency": encoded(grey.quantize(4), transparency=0),
        "PNG interlaced RGBX": encoded(colour, optimize=True),
        "JPEG grey": encoded(grey, "JPEG"),
        "JPEG RGB": encoded(colour, "JPEG"),
        "JPEG progressive": encoded(colour, "JPEG", progressive=True),
        "JPEG CMYK": encoded(colour.convert("CMYK"), "JPEG"),
        "WEBP": encoded(colour, "WEBP"),
        "WEBP lossless with alpha": encoded(ink_only, "WEBP", lossless=True, exact=True),
        "GIF": encoded(grey, "GIF"),
        "GIF with transparency": encoded(grey.quantize(4), "GIF", transparency=0),
        "BMP grey": encoded(grey, "BMP"),
        "BMP RGB": encoded(colour, "BMP"),
        "BMP 1 bit": encoded(grey.convert("1"), "BMP"),
        "BMP 32 bit": encoded(colour.convert("RGBA"), "BMP"),
    }


def red_profile() -> bytes:
    """A colour profile that shows every mixture of four inks as one deep red."""
    ramp = bytes(range(256))
    table = struct.pack(">4sI4B9i", b"mft1", 0, 4, 3, 2, 0, *(65536 * (i % 4 == 0) for i in range(9)))
    table += ramp * 4 + bytes((round(53 * 2.55), 80 + 128, 67 + 128)) * 16 + ramp * 3
    white = struct.pack(">4sI3i", b"XYZ ", 0, 0xF6D6, 0x10000, 0xD32D)
    text = b"text" + bytes(4) + b"none\0"
    tags, directory, start = b"", struct.pack(">I", 4), 128 + 4 + 4 * 12
    for name, body in ((b"A2B0", table), (b"wtpt", white), (b"cprt", text), (b"desc", text)):
        directory += struct.pack(">4sII", name, start + len(tags), len(body))
        tags += body + bytes(-len(body) % 4)
    size = start + len(tags)
    header = struct.pack(">II I4s4s4s 12x 4s 28x 3i 48x", size, 0, 0x02400000, b"prtr", b"CMYK", b"Lab ", b"acsp",
                         0xF6D6, 0x10000, 0xD32D)  # fmt: skip
    return header + directory + tags
