import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from service.errors import NotAnImage, TooManyPixels, UndecodableImage
from service.images.decode import decode, pixels
from tests.service.images.files import (
    chunk,
    corners,
    decoded,
    encoded,
    every_kind,
    png,
    seven,
    with_orientation,
)

EVERY_KIND = every_kind()
TURNED = [(kind, orientation) for kind in ("JPEG", "PNG", "WEBP") for orientation in range(1, 9)]


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_every_kind_shows_the_same_seven(kind: str) -> None:
    shown = np.asarray(decoded(EVERY_KIND[kind]).image.convert("L"), np.float32)
    expected = np.asarray(seven(), np.float32)
    agreement = np.corrcoef(shown.ravel(), expected.ravel())[0, 1]
    # Cutting out the paper of a picture with a transparent palette entry leaves white ink on black, or black on white.
    assert abs(agreement) > 0.98 if "transparency" in kind else agreement > 0.98


@pytest.mark.parametrize(("kind", "orientation"), TURNED)
def test_exif_orientation_is_undone(kind: str, orientation: int) -> None:
    whole = decoded(with_orientation(corners(), orientation, kind))
    shown = whole.image
    assert shown.size == whole.size == (48, 32)
    assert [_name(shown, x, y) for y in (8, 24) for x in (12, 36)] == ["red", "green", "blue", "white"]
    assert whole.steps == [f"turned upright (EXIF orientation {orientation})"] * (orientation > 1)


def _name(picture: Image.Image, x: int, y: int) -> str:
    red, green, blue = (pixels(picture)[y, x] > 127).tolist()
    return {100: "red", 10: "green", 1: "blue", 111: "white"}.get(100 * red + 10 * green + blue, "mixed")


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_first_frame_of_an_animation_with_a_warning(kind: str) -> None:
    first, second = seven(mode="RGB"), Image.new("RGB", (300, 200), "red")
    shown = decoded(encoded(first, kind, save_all=True, append_images=[second], duration=50))
    assert shown.warnings == ["the image is animated: only its first frame was used"]
    assert np.abs(np.asarray(shown.image.convert("L"), int) - np.asarray(seven(), int)).mean() < 2


def test_still_images_are_not_called_animated() -> None:
    assert all(decoded(data).warnings == [] for data in EVERY_KIND.values())


def test_large_jpeg_is_decoded_at_a_part_of_its_size() -> None:
    shown = decoded(encoded(seven((4000, 3000), pen=150), "JPEG"))
    assert 640 <= min(shown.image.size) <= 1280
    assert any("reduction" in step for step in shown.steps)


@pytest.mark.parametrize(
    "data", [b"", b"\0", b"hello", b"BMW is a car", b"%PDF-1.7", b"<svg/>", b"II*\0" + bytes(40)]
)
def test_other_bytes_are_not_an_image(data: bytes) -> None:
    with pytest.raises(NotAnImage, match=r"the (1 byte is|[\d]+ bytes are) no PNG|the file is empty"):
        decoded(data)


@pytest.mark.parametrize("kind", ["TIFF", "ICO", "PPM", "TGA", "PCX"])
def test_formats_not_promised_are_not_opened(kind: str) -> None:
    with pytest.raises(NotAnImage):
        decoded(encoded(seven((64, 64)), kind))


@pytest.mark.parametrize("kind", [kind for kind in EVERY_KIND if "alpha" not in kind])
def test_truncated_files_are_undecodable(kind: str) -> None:
    data = EVERY_KIND[kind]
    with pytest.raises(UndecodableImage):
        decoded(data[: len(data) // 2])


def test_too_many_pixels_are_refused_with_the_numbers() -> None:
    with pytest.raises(TooManyPixels, match=r"20,000 × 20,000 = 400,000,000 pixels; at most 25,000,000"):
        decoded(png(20_000, 20_000, rows=b""))


def gif_of_size(width: int, height: int) -> bytes:
    """Sides are of 16 bits, but the first frame may begin as far from the corner as it is long."""
    data = bytearray(encoded(seven((8, 8)), "GIF"))
    frame = data.index(b"\x2c\0\0\0\0\x08\0\x08\0")
    data[frame + 1 : frame + 9] = struct.pack("<4H", width // 2, height // 2, width // 2, height // 2)
    return bytes(data)


def bmp_of_size(width: int, height: int) -> bytes:
    data = bytearray(encoded(corners(), "BMP"))
    data[18:26] = struct.pack("<ii", width, height)
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (png(1, 65_536, rows=b""), "1 × 65,536"),
        (png(65_536, 1, rows=b""), "65,536 × 1"),
        (bmp_of_size(2, -70_000), "2 × 70,000"),
        (gif_of_size(10, 100_000), "10 × 100,000"),
    ],
    ids=["tall PNG", "wide PNG", "BMP", "GIF"],
)
def test_long_sides_are_refused_of_few_pixels_too(data: bytes, size: str) -> None:
    with pytest.raises(
        TooManyPixels, match=f"{size} pixels large; at most 65,535 are decoded along either side"
    ):
        decoded(data)


def test_longest_side_is_decoded() -> None:
    assert decoded(png(1, 65_535)).image.size == (1, 65_535)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_size_is_checked_in_every_format(kind: str) -> None:
    data = encoded(corners(), kind)
    assert decode(data, max_pixels=48 * 32).image.size == (48, 32)
    with pytest.raises(TooManyPixels, match="48 × 32"):
        decode(data, max_pixels=48 * 32 - 1)


def test_compressed_text_bomb_is_never_unpacked() -> None:
    bomb = chunk(b"zTXt", b"note\0\0" + zlib.compress(bytes(20 << 20), 9))
    assert decoded(png(8, 8, bomb)).image.size == (8, 8)


def test_huge_colour_profile_of_a_png_is_never_unpacked() -> None:
    bomb = chunk(b"iCCP", b"profile\0\0" + zlib.compress(bytes(20 << 20), 9))
    assert decoded(png(8, 8, bomb)).image.size == (8, 8)


def test_pixels_of_more_data_than_the_header_says_are_left() -> None:
    assert decoded(png(8, 8, rows=bytes(30 << 20))).image.size == (8, 8)


def test_polyglot_is_read_as_what_it_begins_with() -> None:
    picture, page = encoded(corners()), b"<html><script>alert(1)</script>"
    assert decoded(picture + page + encoded(corners(), "JPEG")).image.size == (48, 32)
    with pytest.raises(NotAnImage):
        decoded(page + picture)


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (0, 0)])
def test_empty_size_is_undecodable(size: tuple[int, int]) -> None:
    with pytest.raises(UndecodableImage, match=f"{size[0]} × {size[1]}"):
        decoded(png(*size, rows=b""))


def test_what_a_decoder_says_at_length_is_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: PngImageFile) -> None:
        raise OSError("x" * 1000)

    monkeypatch.setattr(PngImageFile, "load", fail)
    with pytest.raises(UndecodableImage) as problem:
        decoded(encoded(seven()))
    assert problem.value.detail == f"the PNG cannot be decoded: {'x' * 200}…"


def test_a_file_that_ends_within_a_chunk_is_cut_off_and_nothing_of_python_is_told() -> None:
    with pytest.raises(UndecodableImage) as problem:
        decoded(encoded(seven())[:33])
    assert problem.value.detail == "the PNG cannot be decoded: it is cut off"
