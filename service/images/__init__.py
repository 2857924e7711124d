"""From any picture a person sends to what a net was trained on."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.callers import Wanted, always
from service.errors import InternalError, InvalidParameter, Problem
from service.images import colour, digits, dither, small_png
from service.images.decode import Box, Decoded, decode, in_the_whole, pixels
from service.manifest import InputSpec

log = logging.getLogger("convscope")

_OVERSAMPLING = 8  # a photo is decoded at no less than so many times the size it is reduced to


class PrepareOptions(NamedTuple):
    """What a request may ask for: `invert` for digits, whether the ink is the dark side; `fit` for colour."""

    preprocess: Literal["auto", "none"] = "auto"
    invert: digits.Invert = "auto"
    fit: colour.Fit = "cover"


@dataclass(slots=True)  # frozen, it would take three times as long to make
class Prepared:
    """What the net is shown: uint8 [H,W,C], and how it came to be. `box` is the ink's, left, top, right and
    bottom in pixels of the upright picture; `ink_share` the share of the net's pixels above 127."""

    image: NDArray[np.uint8]
    steps: list[str] = field(default_factory=list)
    inverted: bool = False
    box: Box | None = None
    ink_share: float | None = None
    warnings: list[str] = field(default_factory=list)


def prepare(data: bytes, input_spec: InputSpec, options: PrepareOptions, *, max_pixels: int) -> Prepared:
    """An image file → what a model with this input was trained on: one channel a digit, three a colour photo.

    Raises NotAnImage, TooManyPixels, UndecodableImage, BlankImage, or InvalidParameter when the
    options leave no way to the model's size.
    """
    if max_pixels >= small_png.LONGEST**2:
        small = small_png.read(data)
        ready = None if small is None else _untouched(small, input_spec, options)
        if ready is not None:
            return ready
    side = max(input_spec.width, input_spec.height)
    if options.preprocess == "none":
        return _as_it_is(decode(data, max_pixels=max_pixels, detail=side), input_spec, options)
    if input_spec.channels == 1:
        return _digit(decode(data, max_pixels=max_pixels, of_ink=True), input_spec, options)
    decoded = decode(data, max_pixels=max_pixels, detail=_OVERSAMPLING * side)
    image, steps = colour.fit_to(decoded.image, input_spec.width, input_spec.height, options.fit)
    return _finished(pixels(image), decoded, steps, options.invert == "yes")


def prepare_each(
    files: list[bytes],
    input_spec: InputSpec,
    options: PrepareOptions,
    *,
    max_pixels: int,
    ready: Mapping[int, Prepared] | None = None,
    wanted: Wanted = always,
) -> list[Prepared | Problem]:
    """Many image files; one that cannot be prepared gives its problem instead. `ready` is what
    `digits_as_they_are` found among them, if it was asked before. `wanted` is asked before each file: where the
    answer is no, the rest is left out."""
    if ready is None:
        ready = digits_as_they_are(files, input_spec, options, max_pixels=max_pixels)
    return [
        ready.get(at) or _prepared_or_problem(data, input_spec, options, max_pixels)
        for at, data in enumerate(files)
        if wanted()
    ]


def digits_as_they_are(
    files: list[bytes], spec: InputSpec, options: PrepareOptions, *, max_pixels: int
) -> dict[int, Prepared]:
    """By their place, in order, the files in which nothing has to be done: looked at together, which is quicker."""
    shape = (digits.SIDE, digits.SIDE, 1)
    if (spec.height, spec.width, spec.channels) != shape or options.preprocess == "none":
        return {}
    if max_pixels < small_png.LONGEST**2:
        return {}
    places, images = small_png.read_each(files, shape)
    if not places:
        return {}
    shares = digits.ink_of_recognised(images[..., 0], options.invert)
    return {
        at: Prepared(image, [digits.OWN_FORM], ink_share=share)
        for at, image, share in zip(places, images, shares, strict=True)
        if share is not None
    }


def _prepared_or_problem(
    data: bytes, spec: InputSpec, options: PrepareOptions, max_pixels: int
) -> Prepared | Problem:
    try:
        return prepare(data, spec, options, max_pixels=max_pixels)
    except Exception as error:  # what nobody foresaw in one file is no reason to refuse the others
        problem = error if isinstance(error, Problem) else _unforeseen(error, data)
        # Its traceback, and that of what it comes from, hold every frame below and above this one, and so the image
        # and whatever is going to hold the problem: a cycle that stays until the garbage collector comes by.
        problem.__cause__ = problem.__context__ = None
        return problem.with_traceback(None)


def _unforeseen(error: Exception, data: bytes) -> Problem:
    log.error("preparing an image of %d bytes failed", len(data), exc_info=error)
    return InternalError()


def _untouched(image: NDArray[np.uint8], spec: InputSpec, options: PrepareOptions) -> Prepared | None:
    """The short way of a data set's own image, uint8 [H,W,C]; None where anything has to be done to it."""
    if image.shape != (spec.height, spec.width, spec.channels) or options.preprocess == "none":
        return None
    if spec.channels == 1:
        digit = digits.recognised(image[..., 0], options.invert) if spec.height == digits.SIDE else None
        return None if digit is None else _prepared(digit)
    return (
        Prepared(image, [colour.UNTOUCHED], warnings=colour.doubts(image))
        if options.invert != "yes"
        else None
    )


def _prepared(digit: digits.Digit) -> Prepared:
    return Prepared(
        digit.image[..., None], digit.steps, digit.inverted, digit.box, digit.ink_share, digit.warnings
    )


def _digit(decoded: Decoded, spec: InputSpec, options: PrepareOptions) -> Prepared:
    greys = dither.undone(decoded.image)
    digit = digits.to_digit(greys or decoded.image, options.invert, scale=decoded.scale)
    box = None if digit.box is None else in_the_whole(digit.box, decoded.scale, decoded.size)
    image, steps = digit.image, decoded.steps + [dither.BLURRED] * (greys is not None) + digit.steps
    if image.shape != (spec.height, spec.width):
        resized = Image.fromarray(image).resize((spec.width, spec.height), Image.Resampling.BICUBIC)
        image = pixels(resized)
        steps.append(f"resized to {spec.width} × {spec.height}")
    return Prepared(
        image[..., None], steps, digit.inverted, box, digit.ink_share, decoded.warnings + digit.warnings
    )


def _as_it_is(decoded: Decoded, spec: InputSpec, options: PrepareOptions) -> Prepared:
    width, height = decoded.size
    if (width, height) != (spec.width, spec.height):
        raise InvalidParameter(
            f"preprocess=none takes an image of {spec.width} × {spec.height} pixels; "
            f"this one is {width} × {height}"
        )
    image = decoded.image.convert("L" if spec.channels == 1 else "RGB")
    steps = ["used as it is (preprocess=none)"]
    return _finished(pixels(image), decoded, steps, options.invert == "yes")


def _finished(image: NDArray[np.uint8], decoded: Decoded, steps: list[str], invert: bool) -> Prepared:
    image = image if image.ndim == len("HWC") else image[..., None]
    steps, warnings = decoded.steps + steps, decoded.warnings + colour.doubts(image)
    if invert:
        image = 255 - image
        steps.append("inverted, as asked")
    return Prepared(image, steps, invert, warnings=warnings)
