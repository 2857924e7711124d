import io
import struct

import pytest
from PIL import Image

from service.errors import TooManyPixels, UndecodableImage
from service.images import containers
from service.images.decode import pixels
from tests.service.images.files import chunk, corners, decoded, encoded, png, red_profile, seven

ORDERS = {"big": (">", b"MM"), "little": ("<", b"II")}


def exif(orientation: int, order: str, kind: str = "H", tags: tuple[int, ...] = ()) -> bytes:
    """A TIFF directory of these tags, all of value 6, and of the orientation as an entry of a struct's kind."""
    sign, name = ORDERS[order]
    types = {"B": 1, "H": 3, "I": 4}
    entries = [(tag, "H", 6) for tag in tags] + [(0x0112, kind, orientation)]
    body = b"".join(
        struct.pack(sign + "HHI", tag, types[kind], 1) + struct.pack(sign + kind, value).ljust(4, b"\0")
        for tag, kind, value in entries
    )
    return name + struct.pack(sign + "HIH", 42, 8, len(entries)) + body + bytes(4)


def segment(marker: int, body: bytes) -> bytes:
    """One of a JPEG's."""
    return struct.pack(">BBH", 0xFF, marker, 2 + len(body)) + body


def jpeg(*segments: bytes) -> bytes:
    """Four quarters of colour with these segments first."""
    data = encoded(corners(), "JPEG", quality=95)
    return data[:2] + b"".join(segments) + data[2:]


def oriented(data: bytes, kind: str) -> int:
    return containers.read(data, kind).orientation


def webp(directory: bytes) -> bytes:
    file = io.BytesIO()
    corners().save(file, "WEBP", exif=directory)
    return file.getvalue()


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", "BHI")
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_read_by_its_type_in_either_order_of_bytes(
    orientation: int, kind: str, order: str
) -> None:
    directory = exif(orientation, order, kind)
    assert oriented(jpeg(segment(0xE1, b"Exif\0\0" + directory)), "JPEG") == orientation
    assert oriented(png(4, 4, chunk(b"eXIf", directory)), "PNG") == orientation
    assert oriented(webp(directory), "WEBP") == orientation


@pytest.mark.parametrize("order", ORDERS)
def test_orientation_is_none_of_the_entries_before_it(order: str) -> None:
    directory = exif(3, order, tags=(0x0100, 0x0103, 0x010F))
    assert oriented(png(4, 4, chunk(b"eXIf", directory)), "PNG") == 3
    assert oriented(png(4, 4, chunk(b"eXIf", directory[:-16])), "PNG") == 0


@pytest.mark.parametrize("other", [b"", b"MM\0*\0\0\0\x08\0\0", exif(9, "big"), exif(3, "big")])
def test_first_exif_that_says_something_is_the_one_that_counts(other: bytes) -> None:
    first, second = (segment(0xE1, b"Exif\0\0" + directory) for directory in (exif(6, "big"), other))
    assert oriented(jpeg(first, second), "JPEG") == 6
    assert decoded(jpeg(first, second)).image.size == (32, 48)
    if other != exif(3, "big"):
        assert oriented(jpeg(second, first), "JPEG") == 6


def test_gif_frame_larger_than_its_canvas_counts() -> None:
    data = bytearray(encoded(seven((8, 8)), "GIF"))
    frame = data.index(b"\x2c\0\0\0\0\x08\0\x08\0")
    data[frame + 5 : frame + 9] = struct.pack("<HH", 60_000, 60_000)
    with pytest.raises(TooManyPixels, match="60,000 × 60,000"):
        decoded(bytes(data))


def test_jpeg_of_a_thousand_scans_is_refused() -> None:
    data = encoded(corners(), "JPEG", progressive=True)
    scan = data[data.rindex(b"\xff\xda") : -2]
    with pytest.raises(UndecodableImage, match="more than 100 scans"):
        decoded(data[:-2] + scan * 1000 + data[-2:])


@pytest.mark.parametrize("progressive", [False, True])
def test_what_follows_a_jpeg_is_not_read(progressive: bool) -> None:
    picture = encoded(corners(), "JPEG", progressive=progressive)
    film = b"\0\0\0\x18ftypmp42" + (b"\xff\xda\0\x02" + bytes(60)) * 1000
    shown = decoded(picture + film)
    assert (pixels(shown.image) == pixels(decoded(picture).image)).all()
    assert containers.read(picture + film, "JPEG").data == containers.read(picture, "JPEG").data


def test_scans_of_a_thumbnail_in_a_jpegs_segment_are_none_of_its_own() -> None:
    data = encoded(corners(), "JPEG", progressive=True)
    thumbnail = b"JFXX\0" + b"\xff\xda\0\x02\xff\xd9" * 1000
    segment = b"\xff\xe0" + struct.pack(">H", 2 + len(thumbnail)) + thumbnail
    scan = data.rindex(b"\xff\xda")
    for at in (2, scan):  # before the first scan, and between two
        assert decoded(data[:at] + segment + data[at:]).image.size == (48, 32)


def test_scans_after_the_end_of_a_picture_within_a_segment_count() -> None:
    data = encoded(corners(), "JPEG", progressive=True)
    at = data.rindex(b"\xff\xda")
    comment = b"\xff\xfe\0\x04\xff\xd9"
    with pytest.raises(UndecodableImage, match="more than 100 scans"):
        decoded(data[:at] + comment + data[at:-2] * 200 + data[-2:])


@pytest.mark.parametrize("place", ["before the first scan", "after it"])
def test_jpeg_of_a_million_segments_is_refused(place: str) -> None:
    data = encoded(corners(), "JPEG")
    at = 2 if place == "before the first scan" else len(data) - 2
    with pytest.raises(UndecodableImage, match="more than 20000 segments"):
        decoded(data[:at] + b"\xff\xfe\0\x02" * 1_000_000 + data[at:])


@pytest.mark.parametrize(
    "exif", [b"", b"MM", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff" + b"\x01\x12" * 30]
)
def test_damaged_exif_is_ignored(exif: bytes) -> None:
    file = io.BytesIO()
    corners().save(file, "JPEG", exif=b"Exif\0\0" + exif)
    assert decoded(file.getvalue()).image.size == (48, 32)


@pytest.mark.parametrize("alone", [b"\xff\x01", b"\xff\xd0", b"\xff\xd8", b"\xff\xff\xff\x01"])
def test_markers_without_a_length_before_the_frame_are_passed_over(alone: bytes) -> None:
    container = containers.read(jpeg(alone), "JPEG")
    assert (container.width, container.height) == (48, 32)
    assert container.data == containers.read(jpeg(), "JPEG").data
    assert (pixels(decoded(jpeg(alone)).image) == pixels(decoded(jpeg()).image)).all()


def with_frames(*sizes: tuple[int, int]) -> bytes:
    """A JPEG with a frame header of each width and height."""
    whole = jpeg()
    at = whole.index(b"\xff\xc0")
    end = at + 2 + int.from_bytes(whole[at + 2 : at + 4], "big")
    frames = [whole[at : at + 5] + struct.pack(">HH", *size[::-1]) + whole[at + 9 : end] for size in sizes]
    return whole[:at] + b"".join(frames) + whole[end:]


def test_jpeg_without_a_frame_is_damaged() -> None:
    with pytest.raises(UndecodableImage, match="it has no frame header"):
        decoded(with_frames())


def test_jpeg_of_two_frames_is_refused_by_the_size_of_the_first() -> None:
    with pytest.raises(TooManyPixels, match="20,000 × 20,000"):
        decoded(with_frames((20_000, 20_000), (48, 32)))
    for second in ((48, 32), (20_000, 20_000)):
        with pytest.raises(UndecodableImage):
            decoded(with_frames((48, 32), second))


def test_a_colour_profile_is_kept_only_of_inks() -> None:
    for mode, kept in (("RGB", False), ("L", False), ("CMYK", True)):
        data = encoded(Image.new(mode, (16, 16)), "JPEG", icc_profile=red_profile())
        assert (b"ICC_PROFILE" in containers.read(data, "JPEG").data) is kept


def test_chunks_that_say_nothing_of_an_animation_are_none() -> None:
    two = struct.pack(">I", 2)
    data = png(8, 8, chunk(b"gAMA", two), chunk(b"pHYs", two + two + b"\1"), rows=bytes(8 * 9))
    assert not containers.read(data, "PNG").animated
    assert containers.read(png(8, 8, chunk(b"acTL", two + bytes(4))), "PNG").animated
