import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from service.errors import InternalError, InvalidParameter, Problem, TooManyPixels
from service.images import Prepared, PrepareOptions, digits, form, prepare, prepare_each, small_png
from service.images.decode import decode, pixels
from service.manifest import InputSpec
from tests.service.images.files import MAX_PIXELS, chunk, encoded, png, seven, with_orientation

DIGIT = InputSpec(height=28, width=28, channels=1)
COLOUR = InputSpec(height=32, width=32, channels=3)
DATASETS = Path(__file__).parents[3] / "artifacts" / "datasets"

Images = NDArray[np.uint8]


def prepared(data: bytes, spec: InputSpec, options: PrepareOptions | None = None) -> Prepared:
    return prepare(data, spec, options or PrepareOptions(), max_pixels=MAX_PIXELS)


@pytest.fixture(scope="module")
def mnist() -> Images:
    """uint8 [10000,28,28]"""
    with np.load(DATASETS / "mnist" / "test.npz") as arrays:
        return np.asarray(arrays["images"]).reshape(-1, 28, 28)


@pytest.fixture(scope="module")
def cifar10() -> Images:
    """uint8 [10000,32,32,3]"""
    with np.load(DATASETS / "cifar10" / "test.npz") as arrays:
        return np.asarray(arrays["images"])


@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_every_mnist_test_image_comes_through_untouched(mnist: Images, kind: str) -> None:
    changed = [i for i, image in enumerate(mnist) if not _same(encoded(image, kind), DIGIT, image[..., None])]
    assert changed == []


@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_every_cifar10_test_image_comes_through_untouched(cifar10: Images, kind: str) -> None:
    changed = [i for i, image in enumerate(cifar10) if not _same(encoded(image, kind), COLOUR, image)]
    assert changed == []


def _same(data: bytes, spec: InputSpec, image: Images) -> bool:
    return bool(np.array_equal(prepared(data, spec).image, image))


def test_negative_of_a_mnist_image_is_turned_back(mnist: Images) -> None:
    shown = prepared(encoded(255 - mnist[0]), DIGIT)
    assert shown.inverted
    assert (shown.image[..., 0] == mnist[0]).all()


def test_mnist_image_in_colour_is_recognised(mnist: Images) -> None:
    shown = prepared(encoded(mnist[0][..., None].repeat(3, 2)), DIGIT)
    assert (shown.image[..., 0] == mnist[0]).all()


def test_answer_tells_what_was_done() -> None:
    shown = prepared(encoded(seven()), DIGIT)
    assert shown.inverted
    assert shown.steps[-1] == "placed as MNIST does"
    assert shown.box is not None
    assert np.abs(np.subtract(shown.box, (114, 23, 193, 172))).max() <= 3
    assert shown.ink_share == pytest.approx((shown.image > 127).mean())
    assert isinstance(shown.ink_share, float)
    assert shown.warnings == []


def test_invert_is_obeyed() -> None:
    data = encoded(seven())
    assert prepared(data, DIGIT, PrepareOptions(invert="yes")).inverted
    assert not prepared(data + b" ", DIGIT, PrepareOptions(invert="yes")).steps[0].endswith("stands out more")


def test_invert_chooses_the_lesser_side_when_told() -> None:
    both = np.asarray(seven(ground="gray", ink="black")).copy()
    both[20:180, 20:30] = 180
    assert prepared(encoded(both), DIGIT).inverted
    bright = prepared(encoded(both), DIGIT, PrepareOptions(invert="no"))
    assert not bright.inverted
    assert bright.box == (20, 20, 30, 180)


def test_none_takes_an_image_of_the_models_size_as_it_is() -> None:
    picture = np.arange(784, dtype=np.uint8).reshape(28, 28)
    shown = prepared(encoded(picture), DIGIT, PrepareOptions(preprocess="none"))
    assert (shown.image[..., 0] == picture).all()


def test_none_refuses_another_size_with_both() -> None:
    with pytest.raises(InvalidParameter, match=r"28 × 28 pixels; this one is 300 × 200"):
        prepared(encoded(seven()), DIGIT, PrepareOptions(preprocess="none"))


def test_a_net_of_another_size_gets_digits_of_its_size() -> None:
    spec = InputSpec(height=32, width=32, channels=1)
    assert prepared(encoded(seven()), spec).image.shape == (32, 32, 1)


def test_pixel_limit_holds_for_small_images_too() -> None:
    with pytest.raises(TooManyPixels):
        prepare(encoded(seven((28, 28), pen=2)), DIGIT, PrepareOptions(), max_pixels=100)


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("filtering", range(5))
def test_short_way_reads_what_the_long_way_does(mode: str, filtering: int) -> None:
    channels = len(Image.new(mode, (1, 1)).getbands())
    random = np.random.default_rng(filtering)
    rows = b"".join(bytes([filtering]) + random.bytes(40 * channels) for _ in range(30))
    data = png(40, 30, colour=channels - 1, rows=rows)
    short = small_png.read(data)
    assert short is not None
    assert (short == pixels(decode(data, max_pixels=MAX_PIXELS).image).reshape(short.shape)).all()


def test_short_way_leaves_the_unusual_to_the_long_one() -> None:
    plain = png(8, 8)
    assert small_png.read(plain) is not None
    for data in (
        plain[:29] + bytes([plain[29] ^ 1]) + plain[30:],
        png(8, 8, chunk(b"tRNS", b"\0\0")),
        png(8, 8, depth=16, rows=bytes(8 * 17)),
        png(65, 8),
        png(8, 8, rows=bytes(40)),
        png(8, 8, rows=bytes(7 * 9)),
        plain[:-1],
        plain.replace(b"IDAT", b"IDAt"),
        plain[:45] + bytes([plain[45] ^ 1]) + plain[46:],
        b"",
    ):
        assert small_png.read(data) is None


def test_short_way_takes_no_checksum_of_a_large_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    taken_of: list[int] = []

    def checksum(data: bytes) -> int:
        taken_of.append(len(data))
        return zlib.crc32(data)

    random = np.random.default_rng(0)
    large = png(400, 50, rows=b"".join(b"\0" + random.bytes(400) for _ in range(50)))
    plain = png(8, 6)
    monkeypatch.setattr(small_png, "zlib", SimpleNamespace(crc32=checksum))
    assert small_png.read(large) is None
    assert small_png.read_each([large, plain], (6, 8, 1))[0] == [1]
    assert max(taken_of) < len(plain) < len(large)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_many_are_read_as_each_is_whatever_stands_beside_them(mode: str) -> None:
    channels = len(Image.new(mode, (1, 1)).getbands())
    random = np.random.default_rng(0)
    whole = [
        png(
            8,
            6,
            colour=channels - 1,
            rows=b"".join(bytes([filtering]) + random.bytes(8 * channels) for _ in range(6)),
        )
        for filtering in range(5)
    ]
    row = b"\0" + b"\xff" * 8 * channels
    short, cut, long = (
        png(8, 6, colour=channels - 1, rows=rows) for rows in (row * 3, row * 3 + row[:4], row * 9)
    )
    wrong_filter = png(8, 6, colour=channels - 1, rows=b"\t" + bytes(6 * (1 + 8 * channels) - 1))
    others = [cut, png(8, 8), b"", long, wrong_filter, png(6, 8, colour=channels - 1)]
    files = [one for pair in zip([*whole, whole[0]], others, strict=True) for one in pair]
    files += [long, short, cut, long]
    read = {at: image for at, data in enumerate(files) if (image := small_png.read(data)) is not None}
    expected = {at: image for at, image in read.items() if image.shape == (6, 8, channels)}
    places, images = small_png.read_each(files, (6, 8, channels))
    assert places == [*expected]
    assert set(places) >= {0, 2, 4, 6, 8, 10, 12, 15}
    assert (images == np.stack([*expected.values()])).all()


def test_of_many_there_may_be_none_to_read() -> None:
    for files in ([], [b"no image"], [png(8, 6, rows=bytes(5))]):
        places, images = small_png.read_each(files, (6, 8, 1))
        assert (places, images.shape) == ([], (0, 6, 8, 1))


def test_a_pillow_that_has_its_decoders_otherwise_goes_the_long_way(
    monkeypatch: pytest.MonkeyPatch, mnist: Images
) -> None:
    monkeypatch.setattr(small_png, "_imaging", SimpleNamespace())
    data = encoded(mnist[0])
    assert small_png.read(data) is None
    assert small_png.read_each([data], (28, 28, 1))[0] == []
    [shown] = prepare_each([data], DIGIT, PrepareOptions(), max_pixels=MAX_PIXELS)
    assert isinstance(shown, Prepared)
    assert (shown.image[..., 0] == mnist[0]).all()


def test_many_are_seen_to_have_the_form_that_each_has(mnist: Images) -> None:
    random = np.random.default_rng(0)
    some = mnist[:500]
    others = [255 - some, np.roll(some, 2, 1), np.zeros_like(some[:1]), some // 12]
    others.append(np.where(random.random(some.shape) < 0.5, some, 255).astype(np.uint8))
    images = np.concatenate([mnist, *others])
    expected = [form.has_form(image) for image in images]
    assert form.have_form(images).tolist() == expected
    assert all(expected[:10_000])
    assert not all(expected[10_000:])
    assert form.ink_shares(images).tolist() == [form.ink_share(image) for image in images]


def with_its_centre_on_the_limit(more: int) -> Images:
    """Ink in rows 4 to 23, of mass 80,000 and some more, whose centre is as near as can be to 13.45 px from the top."""
    image = np.zeros((28, 28), np.int64)
    image[4:24, 4:24] = 200
    image[14, 4] += more % 56
    image[14, 5] += more // 56  # in the middle, where it moves nothing
    rows_up = 4000 + -(-11 * more // 20)
    pixels_up, rest = divmod(rows_up, 23 - 4)
    shares = (pixels_up + 19 - np.arange(20)) // 20
    image[23, 4:24] -= shares
    image[4, 4:24] += shares
    image[23, 4] -= 1
    image[23 - rest, 4] += 1
    return image.astype(np.uint8)


def test_one_and_many_agree_where_a_centre_is_on_the_limit() -> None:
    upper = np.stack([with_its_centre_on_the_limit(more) for more in range(120)])
    images = np.concatenate([upper, upper.transpose(0, 2, 1)])
    mass, rows = upper.sum((1, 2), dtype=np.int64), upper.sum(2, dtype=np.int64) @ np.arange(28)
    within = (20 * rows >= 269 * mass).tolist()
    assert {*within} == {True, False}
    assert form.have_form(images).tolist() == within * 2
    assert [form.has_form(image) for image in images] == within * 2


def one_by_one(files: list[bytes], spec: InputSpec, options: PrepareOptions) -> list[Prepared | Problem]:
    found: list[Prepared | Problem] = []
    for data in files:
        try:
            found.append(prepared(data, spec, options))
        except Problem as problem:
            found.append(problem)
    return found


@pytest.mark.parametrize(
    "options",
    [PrepareOptions(), PrepareOptions("none"), PrepareOptions(invert="yes"), PrepareOptions(invert="no")],
)
@pytest.mark.parametrize("spec", [DIGIT, COLOUR])
def test_many_files_are_prepared_as_each_would_be(
    mnist: Images, spec: InputSpec, options: PrepareOptions
) -> None:
    images = [Image.fromarray(image) for image in mnist[:5]]
    images += [Image.fromarray(255 - mnist[0]), Image.new("RGB", (32, 32), "red"), seven()]
    files = [encoded(image) for image in images]
    files[2:2] = [b"no image", files[0][:60], encoded(images[0], "JPEG")]
    many = prepare_each(files, spec, options, max_pixels=MAX_PIXELS)
    for one, alone in zip(many, one_by_one(files, spec, options), strict=True):
        if isinstance(alone, Problem):
            assert isinstance(one, Problem)
            assert one.body() == alone.body()
        else:
            assert isinstance(one, Prepared)
            assert np.array_equal(one.image, alone.image)
            assert [getattr(one, name) for name in ("steps", "inverted", "box", "ink_share", "warnings")] == [
                getattr(alone, name) for name in ("steps", "inverted", "box", "ink_share", "warnings")
            ]


@pytest.mark.parametrize("error", [IndexError("of nothing"), MemoryError()])
def test_what_nobody_foresaw_in_one_file_is_that_files_problem_and_logged(
    mnist: Images, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(digits, "to_digit", fail)
    files = [encoded(mnist[0]), encoded(seven()), encoded(mnist[1])]
    first, problem, last = prepare_each(files, DIGIT, PrepareOptions(), max_pixels=MAX_PIXELS)
    assert isinstance(first, Prepared)
    assert isinstance(last, Prepared)
    assert isinstance(problem, InternalError)
    assert problem.detail == "something failed inside the service; it is in the log"
    assert problem.__traceback__ is None
    assert caplog.messages == [f"preparing an image of {len(files[1])} bytes failed"]
    assert type(error).__name__ in caplog.text


SIZE = (2601, 2003)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_box_is_in_pixels_of_the_upright_picture_however_a_jpeg_is_decoded(orientation: int) -> None:
    picture = seven(SIZE, pen=120, centre=(0.3, 0.6))
    shown = prepared(with_orientation(picture, orientation, "JPEG"), DIGIT)
    plain = prepared(encoded(picture), DIGIT)
    assert any("reduction" in step for step in shown.steps)
    assert shown.box is not None
    assert plain.box is not None
    assert np.abs(np.subtract(shown.box, plain.box)).max() <= 12


def test_box_ends_with_the_picture_where_a_jpeg_is_decoded_at_a_part() -> None:
    picture = Image.new("L", SIZE, "white")
    picture.paste(0, (2300, 1700, *SIZE))
    box = prepared(encoded(picture, "JPEG"), DIGIT).box
    assert box is not None
    assert box[2:] == SIZE


def test_ink_is_as_small_as_it_is_however_a_jpeg_is_decoded() -> None:
    speck = Image.new("L", (1400, 1400), "white")
    speck.paste(0, (700, 700, 710, 712))
    for kind in ("PNG", "JPEG"):
        assert not any("very small" in warning for warning in prepared(encoded(speck, kind), DIGIT).warnings)


def test_many_are_nothing_where_there_are_none() -> None:
    assert prepare_each([], DIGIT, PrepareOptions(), max_pixels=MAX_PIXELS) == []
