import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from service.errors import NotAnImage, TooManyPixels, UndecodableImage
from service.images import containers
from service.images.decode import Decoded, decode, pixels
from tests.service.images.files import (
    MAX_PIXELS,
    chunk,
    corners,
    encoded,
    every_kind,
    png,
    red_profile,
    seven,
    with_orientation,
)

EVERY_KIND = every_kind()
TURNED = [(kind, orientation) for kind in ("JPEG", "PNG", "WEBP") for orientation in range(1, 9)]


def decoded(data: bytes) -> Decoded:
    return decode(data, max_pixels=MAX_PIXELS)


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_every_kind_shows_the_same_seven(kind: str) -> None:
    shown = np.asarray(decoded(EVERY_KIND[kind]).image.convert("L"), np.float32)
    expected = np.asarray(seven(), np.float32)
    agreement = np.corrcoef(shown.ravel(), expected.ravel())[0, 1]
    # Cutting out the paper of a picture with a transparent palette entry leaves white ink on black, or black on white.
    assert abs(agreement) > 0.98 if "transparency" in kind else agreement > 0.98


def test_sixteen_bit_grey_is_scaled_not_clipped() -> None:
    wide = np.array([[0, 257, 32896, 65535]], np.uint16)
    assert pixels(decoded(encoded(Image.fromarray(wide))).image).tolist() == [[0, 1, 128, 255]]


def test_one_sixteen_bit_grey_made_transparent_is_laid_on_a_ground() -> None:
    rows = b"".join(b"\0" + struct.pack(">4H", 0, 0, 65535, 0) for _ in range(4))
    data = png(4, 4, chunk(b"tRNS", struct.pack(">H", 65535)), depth=16, rows=rows)
    assert pixels(decoded(data).image).tolist() == [[0, 0, 255, 0]] * 4


@pytest.mark.parametrize(("depth", "stored"), [(2, 1), (4, 0), (4, 3)])
def test_a_grey_of_few_bits_made_transparent_is_laid_on_a_ground(depth: int, stored: int) -> None:
    other = 1 if stored == 0 else 0
    row = [stored, other, other, other]
    bits = "".join(f"{sample:0{depth}b}" for sample in row)
    rows = (b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")) * 2
    clear = chunk(b"tRNS", struct.pack(">H", stored + (1 << depth)))  # of which only the lower bits count
    shown = pixels(decoded(png(4, 2, clear, depth=depth, rows=rows)).image)
    grey = other * 255 // (2**depth - 1)
    assert (shown[:, 1:] == grey).all()
    assert (shown[:, 0] == 255).all()


@pytest.mark.parametrize(("clear", "expected"), [(0x4080, [255, 0, 0, 0]), (0x0100, [64, 0, 0, 0])])
def test_a_sixteen_bit_colour_made_transparent_is_known_by_its_upper_bytes(
    clear: int, expected: list[int]
) -> None:
    rows = b"".join(b"\0" + struct.pack(">12H", *[0x4080] * 3, *[0] * 9) for _ in range(2))
    data = png(4, 2, chunk(b"tRNS", struct.pack(">3H", *[clear] * 3)), depth=16, colour=2, rows=rows)
    assert pixels(decoded(data).image)[..., 1].tolist() == [expected] * 2


@pytest.mark.parametrize(("ink", "ground"), [(0, 255), (255, 0)])
def test_ink_that_is_only_in_the_alpha_is_kept(ink: int, ground: int) -> None:
    alpha = np.zeros((20, 20), np.uint8)
    alpha[5:15, 9:11] = 255
    layers = np.dstack([np.full((20, 20, 3), ink, np.uint8), alpha])
    shown = pixels(decoded(encoded(layers)).image)
    assert (shown[5:15, 9:11] == ink).all()
    assert (shown[alpha == 0] == ground).all()


def test_uniform_transparency_is_dropped() -> None:
    layers = np.dstack([np.asarray(corners()), np.full((32, 48), 7, np.uint8)])
    assert (pixels(decoded(encoded(layers)).image) == np.asarray(corners())).all()


def test_a_picture_that_a_viewer_would_not_show_is_warned_of() -> None:
    layers = np.dstack([np.asarray(corners()), np.zeros((32, 48), np.uint8)])
    shown = decoded(encoded(layers))
    assert (pixels(shown.image) == np.asarray(corners())).all()
    assert [warning.partition(":")[0] for warning in shown.warnings] == ["invisible"]


def test_cmyk_goes_through_its_profile() -> None:
    shown = decoded(
        encoded(Image.new("CMYK", (16, 16), (200, 30, 10, 40)), "JPEG", icc_profile=red_profile())
    )
    assert shown.steps == ["CMYK to RGB through the embedded profile"]
    red, green, blue = pixels(shown.image)[8, 8].tolist()
    assert red > 90
    assert max(green, blue) < 20


def test_cmyk_with_a_useless_profile_is_still_read() -> None:
    inks = Image.new("CMYK", (16, 16), (200, 30, 10, 40))
    as_screen = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert decoded(encoded(inks, "JPEG", icc_profile=as_screen)).steps == ["CMYK to RGB"]
    assert decoded(encoded(inks, "JPEG")).image.mode == "RGB"


@pytest.mark.parametrize(("kind", "orientation"), TURNED)
def test_exif_orientation_is_undone(kind: str, orientation: int) -> None:
    shown = decoded(with_orientation(corners(), orientation, kind)).image
    assert shown.size == (48, 32)
    assert [_name(shown, x, y) for y in (8, 24) for x in (12, 36)] == ["red", "green", "blue", "white"]


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


def test_gif_frame_larger_than_its_canvas_counts() -> None:
    data = bytearray(encoded(seven((8, 8)), "GIF"))
    frame = data.index(b"\x2c\0\0\0\0\x08\0\x08\0")
    data[frame + 5 : frame + 9] = struct.pack("<HH", 60_000, 60_000)
    with pytest.raises(TooManyPixels, match="60,000 × 60,000"):
        decoded(bytes(data))


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


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (0, 0)])
def test_empty_size_is_undecodable(size: tuple[int, int]) -> None:
    with pytest.raises(UndecodableImage, match=f"{size[0]} × {size[1]}"):
        decoded(png(*size, rows=b""))


@pytest.mark.parametrize(
    "exif", [b"", b"MM", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff" + b"\x01\x12" * 30]
)
def test_damaged_exif_is_ignored(exif: bytes) -> None:
    file = io.BytesIO()
    corners().save(file, "JPEG", exif=b"Exif\0\0" + exif)
    assert decoded(file.getvalue()).image.size == (48, 32)


def test_a_file_that_ends_within_a_chunk_is_cut_off_and_nothing_of_python_is_told() -> None:
    with pytest.raises(UndecodableImage) as problem:
        decoded(encoded(seven())[:33])
    assert problem.value.detail == "the PNG cannot be decoded: it is cut off"
