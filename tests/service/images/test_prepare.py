from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from service.errors import InternalError, InvalidParameter, Problem, TooManyPixels
from service.images import Prepared, PrepareOptions, digits, prepare, prepare_each, small_png
from service.manifest import InputSpec
from tests.service.images.files import MAX_PIXELS, encoded, seven, with_orientation

DIGIT = InputSpec(height=28, width=28, channels=1)
COLOUR = InputSpec(height=32, width=32, channels=3)

Images = NDArray[np.uint8]


def prepared(data: bytes, spec: InputSpec, options: PrepareOptions | None = None) -> Prepared:
    return prepare(data, spec, options or PrepareOptions(), max_pixels=MAX_PIXELS)


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


def test_none_goes_by_the_size_of_the_file_however_it_is_decoded() -> None:
    """A JPEG of 1400 × 1400 may be decoded at half its sides, or less."""
    file = encoded(Image.new("L", (1400, 1400), 90), "JPEG")
    whole, half = (InputSpec(height=side, width=side, channels=1) for side in (1400, 700))
    assert prepared(file, whole, PrepareOptions("none")).image.shape == (1400, 1400, 1)
    for spec in (half, DIGIT):
        with pytest.raises(InvalidParameter, match=r"this one is 1400 × 1400$"):
            prepared(file, spec, PrepareOptions("none"))


def test_a_net_of_another_size_gets_digits_of_its_size(mnist: Images) -> None:
    spec = InputSpec(height=32, width=40, channels=1)
    for file in (encoded(seven()), encoded(mnist[0])):
        shown = prepared(file, spec)
        assert shown.image.shape == (32, 40, 1)
        assert shown.steps[-1] == "resized to 40 × 32"
    assert not any("resized" in step for step in prepared(encoded(seven()), DIGIT).steps)


def test_pixel_limit_holds_for_small_images_too(mnist: Images) -> None:
    file = encoded(mnist[0])
    with pytest.raises(TooManyPixels):
        prepare(file, DIGIT, PrepareOptions(), max_pixels=28 * 28 - 1)
    [problem] = prepare_each([file], DIGIT, PrepareOptions(), max_pixels=28 * 28 - 1)
    assert isinstance(problem, TooManyPixels)


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
