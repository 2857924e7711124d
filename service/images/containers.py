"""What a file says about itself before any pixel of it is decoded: size, orientation, animation.

Read here rather than through Pillow so that the pixel limit holds before a decoder allocates
anything, and so that chunks that have nothing to do with the pixels (compressed text, colour
profiles of PNG, EXIF directories) are never parsed at all. Every reader raises MalformedError, or one
of READER_ERRORS, when the file ends or contradicts itself before the answer is known.
"""

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

READER_ERRORS = (struct.error, IndexError, ValueError)

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_KEPT = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
_BMP_HEADERS = {12, 40, 52, 56, 64, 108, 124}
_JPEG_FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
_JPEG_ALONE = {0x01, *range(0xD0, 0xD9)}
_JPEG_KEPT = {0xE0, 0xEE}  # of the application segments: JFIF and Adobe, which name the colour space
# Among coded pixels; all other pairs that begin so are pixels, restarts, or skipped by a decoder as well.
_JPEG_MARKER = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")
_MAX_SCANS = 100  # encoders write about ten; each costs a pass over the whole picture
_MAX_CHUNKS = 20_000
_MAX_BLOCKS = 200_000  # of up to 255 bytes each: 50 MB of GIF
_ORIENTATION_TAG = 0x0112
_OTHER_THAN_SHORT = {1: "B", 4: "I", 6: "B", 9: "I"}  # EXIF's types of whole numbers


class MalformedError(ValueError):
    """The file contradicts its own format; the text says where."""


@dataclass(frozen=True, slots=True)
class Container:
    """A file's own description. `data` is the file without the chunks that no pixel depends on; `orientation` EXIF's,
    1…8, or 0 where the file says nothing about it."""

    format: str
    width: int
    height: int
    data: bytes
    orientation: int = 0
    animated: bool = False


def sniff(data: bytes) -> str | None:
    """PNG, JPEG, WEBP, GIF or BMP by the first bytes; None for anything else."""
    if data.startswith(PNG_SIGNATURE):
        return "PNG"
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WEBP"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if data.startswith(b"BM") and int.from_bytes(data[14:18], "little") in _BMP_HEADERS:
        return "BMP"
    return None


def read(data: bytes, kind: str) -> Container:
    """The description of a file that `sniff` named. Raises MalformedError or one of READER_ERRORS."""
    return _READERS[kind](data)


def _png(data: bytes) -> Container:
    kept, orientation, animated = [PNG_SIGNATURE], 0, False
    for name, start, end in png_chunks(data):
        if (
            name == b"IDAT"
            and end <= len(data)
            and zlib.crc32(data[start + 4 : end - 4]) != _checksum(data, end)
        ):
            raise MalformedError("its pixels are not those that its checksum is of")
        if name in _PNG_KEPT:
            kept.append(data[start:end])
        elif name == b"eXIf":
            orientation = orientation or _orientation(data[start + 8 : end - 4])
        elif name == b"acTL":
            animated = int.from_bytes(data[start + 8 : start + 12], "big") > 1
    width, height = struct.unpack_from(">II", data, 16)
    return Container("PNG", width, height, b"".join(kept), orientation, animated)


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Each chunk as (name, start, end), length and checksum included, up to IEND or the end of the data."""
    position = len(PNG_SIGNATURE)
    if data[position + 4 : position + 8] != b"IHDR":
        raise MalformedError("its first chunk is not IHDR")
    for _ in range(_MAX_CHUNKS):
        name = data[position + 4 : position + 8]
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        yield name, position, end
        if name == b"IEND" or end >= len(data):
            return
        position = end
    raise MalformedError(f"it has more than {_MAX_CHUNKS} chunks")


def _checksum(data: bytes, end: int) -> int:
    return int.from_bytes(data[end - 4 : end], "big")


def _jpeg(data: bytes) -> Container:
    width = height = components = 0
    orientation, segments = 0, []
    for marker, start, end in _jpeg_segments(data):
        segments.append((marker, start, end))
        if len(segments) > _MAX_CHUNKS:
            raise MalformedError(f"it has more than {_MAX_CHUNKS} segments")
        if marker in _JPEG_FRAMES and not components:
            height, width, components = struct.unpack_from(">HHB", data, start + 1)
        elif marker == 0xE1 and data.startswith(b"Exif\0\0", start):
            orientation = orientation or _orientation(data[start + 6 : end])
    if not components:
        raise MalformedError("it has no frame header")
    scans = segments[-1][1] - 4
    end = _after_scans(data, scans)
    kept = [data[start - 4 : end] for marker, start, end in segments[:-1] if _needed(marker, components)]
    return Container("JPEG", width, height, b"".join([b"\xff\xd8", *kept, data[scans:end]]), orientation)


def _needed(marker: int, components: int) -> bool:
    """Whether pixels depend on a segment: of four components also the colour profile (APP2)."""
    is_comment = 0xE0 <= marker <= 0xEF or marker == 0xFE
    return not is_comment or marker in _JPEG_KEPT or (marker == 0xE2 and components == 4)


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Each segment as (marker, start of its payload, end), up to the head of the first scan (0xDA)."""
    position, marker = 2, 0
    while marker != 0xDA:
        if data[position] != 0xFF:
            raise MalformedError(f"byte {position} is no marker")
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
        elif marker in _JPEG_ALONE:
            position += 2
        else:
            (length,) = struct.unpack_from(">H", data, position + 2)
            if length < 2:
                raise MalformedError(f"the segment at byte {position} is {length} bytes long")
            yield marker, position + 4, position + 2 + length
            position += 2 + length


def _after_scans(data: bytes, position: int) -> int:
    """The end of the picture whose first scan begins there: telephones append films, in which anything may stand."""
    scans = 0
    for _ in range(_MAX_CHUNKS):
        found = _JPEG_MARKER.search(data, position)
        if found is None:
            return len(data)
        marker, position = found[0][1], found.end()
        if marker == 0xD9:
            return position
        scans += marker == 0xDA
        if scans > _MAX_SCANS:
            raise MalformedError(f"it has more than {_MAX_SCANS} scans")
        position += max(2, int.from_bytes(data[position : position + 2], "big"))
    raise MalformedError(f"it has more than {_MAX_CHUNKS} segments")


def _webp(data: bytes) -> Container:
    width = height = 0
    orientation, animated = 0, False
    for name, body, end in _webp_chunks(data):
        if name == b"VP8X":
            animated = bool(data[body] & 0x02)
            width = 1 + int.from_bytes(data[body + 4 : body + 7], "little")
            height = 1 + int.from_bytes(data[body + 7 : body + 10], "little")
        elif name == b"EXIF":
            orientation = orientation or _orientation(data[body:end].removeprefix(b"Exif\0\0"))
        elif name == b"VP8 " and not width:
            width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, body + 6))
        elif name == b"VP8L" and not width:
            bits = int.from_bytes(data[body + 1 : body + 5], "little")
            width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if not width:
        raise MalformedError("it has no picture chunk")
    return Container("WEBP", width, height, data, orientation, animated)


def _webp_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Each chunk as (name, start of its payload, end)."""
    position = 12
    for _ in range(_MAX_CHUNKS):
        if position + 8 > len(data):
            return
        name, length = struct.unpack_from("<4sI", data, position)
        yield name, position + 8, position + 8 + length
        position += 8 + length + (length & 1)


def _gif(data: bytes) -> Container:
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    position = 13 + _palette_bytes(flags)
    frames = 0
    for _ in range(_MAX_CHUNKS):
        if frames > 1 or data[position : position + 1] in (b"", b";"):
            break
        if data[position] == 0x2C:
            left, top, *sides, flags = struct.unpack_from("<4HB", data, position + 1)
            if not frames:  # the canvas grows to hold the first frame
                width, height = max(width, left + sides[0]), max(height, top + sides[1])
            frames += 1
            position = _after_blocks(data, position + 11 + _palette_bytes(flags))
        else:
            position = _after_blocks(data, position + 2) if data[position] == 0x21 else position + 1
    return Container("GIF", width, height, data, animated=frames > 1)


def _palette_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _after_blocks(data: bytes, position: int) -> int:
    """The place after a chain of GIF sub-blocks, each led by its length and the last of length 0."""
    for _ in range(_MAX_BLOCKS):
        if position >= len(data) or not data[position]:
            return position + 1
        position += data[position] + 1
    raise MalformedError(f"it has more than {_MAX_BLOCKS} sub-blocks")


def _bmp(data: bytes) -> Container:
    header = int.from_bytes(data[14:18], "little")
    width, height = struct.unpack_from("<HH" if header == 12 else "<Ii", data, 18)
    return Container("BMP", width, abs(height), data)


def _orientation(exif: bytes) -> int:
    """The EXIF orientation, 1…8, of a TIFF-like block; 0 where it says nothing that can be read."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None or len(exif) < 10:
        return 0
    (directory,) = struct.unpack_from(order + "I", exif, 4)
    if directory + 2 > len(exif):
        return 0
    (count,) = struct.unpack_from(order + "H", exif, directory)
    for entry in range(directory + 2, min(directory + 2 + 12 * count, len(exif) - 11), 12):
        tag, kind = struct.unpack_from(order + "HH", exif, entry)
        if tag == _ORIENTATION_TAG:
            (value,) = struct.unpack_from(order + _OTHER_THAN_SHORT.get(kind, "H"), exif, entry + 8)
            return value if 1 <= value <= 8 else 0
    return 0


_READERS: dict[str, Callable[[bytes], Container]] = {
    "PNG": _png,
    "JPEG": _jpeg,
    "WEBP": _webp,
    "GIF": _gif,
    "BMP": _bmp,
}
