"""Any image file → one upright 8-bit picture, grey or RGB. Never anything but a Problem for any bytes."""

import struct
from dataclasses import dataclass, field
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from service.errors import NotAnImage, TooManyPixels, UndecodableImage, brief
from service.images import containers, flatten, png_rows

Box = tuple[int, int, int, int]
"""Left, top, right and bottom, in pixels."""

DETAIL = 640  # px; enough of either side for any digit
LONGEST_SIDE = 65_535  # px, and JPEG's own; Pillow keeps a pointer to every row, of one pixel too
_ON_ITS_SIDE = (5, 6, 7, 8)  # the orientations that make width of height
_PNG_DEPTH_AT = 24
_TRANSPOSED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# The plugins are called by name: Image.open would try other formats, and warn of sizes checked here.
_PLUGINS: dict[str, type[ImageFile.ImageFile]] = {
    "PNG": PngImageFile,
    "JPEG": JpegImageFile,
    "WEBP": WebPImageFile,
    "GIF": GifImageFile,
    "BMP": BmpImageFile,
}


@dataclass(frozen=True, slots=True)
class Decoded:
    """An upright picture of mode "L" or "RGB", 8 bits a channel; what was done to get it, in words.

    `size` is that of the whole picture, upright; `scale` how many of its pixels are along one of `image`.
    """

    image: Image.Image
    size: tuple[int, int]
    scale: int = 1
    steps: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def decode(data: bytes, *, max_pixels: int, detail: int = DETAIL, of_ink: bool = False) -> Decoded:
    """A PNG, JPEG, WEBP, GIF or BMP file → its first frame, upright, without transparency.

    A JPEG with sides of twice `detail` pixels or more is decoded at a half, a quarter or an eighth of them. `of_ink` is
    for what should be ink on paper: see `flatten.to_8_bit`.
    Raises NotAnImage, TooManyPixels (before anything is decoded) or UndecodableImage.
    """
    container = _describe(data)
    _check_size(container, max_pixels)
    try:
        return _open(container, detail, of_ink=of_ink)
    except MemoryError:
        raise
    except Exception as error:  # Pillow's decoders raise a dozen types on damaged files
        raise UndecodableImage(f"the {container.format} cannot be decoded: {_reason(error)}") from error


def _describe(data: bytes) -> containers.Container:
    kind = containers.sniff(data)
    if kind is None:
        if not data:
            raise NotAnImage("the file is empty; a PNG, JPEG, WEBP, GIF or BMP image is expected")
        few = "1 byte is" if len(data) == 1 else f"{len(data):,} bytes are"
        raise NotAnImage(f"the {few} no PNG, JPEG, WEBP, GIF or BMP: they begin with {data[:8].hex(' ')}")
    try:
        return containers.read(data, kind)
    except containers.READER_ERRORS as error:
        what = str(error) if isinstance(error, containers.MalformedError) else "it ends within its header"
        raise UndecodableImage(f"the {kind} of {len(data):,} bytes is damaged: {what}") from error


def _check_size(container: containers.Container, max_pixels: int) -> None:
    width, height = container.width, container.height
    if width * height > max_pixels:
        raise TooManyPixels(
            f"the {container.format} has {width:,} × {height:,} = {width * height:,} pixels; "
            f"at most {max_pixels:,} are decoded"
        )
    if max(width, height) > LONGEST_SIDE:
        raise TooManyPixels(
            f"the {container.format} is {width:,} × {height:,} pixels large; "
            f"at most {LONGEST_SIDE:,} are decoded along either side"
        )
    if not width or not height:
        raise UndecodableImage(f"the {container.format} is {width} × {height} pixels large")


def _open(container: containers.Container, detail: int, *, of_ink: bool) -> Decoded:
    steps, warnings, whole = [], [], (container.width, container.height)
    with _PLUGINS[container.format](BytesIO(container.data)) as image:
        if image.size != whole:
            raise ValueError(f"its parts disagree about its size, {image.size}")
        image.draft(None, (detail, detail))
        scale = -(-container.width // image.width)
        if scale > 1:
            steps.append(f"decoded at {image.width} × {image.height} by the JPEG's own reduction")
        image.load()
        if container.format == "PNG" and _may_lack_rows(image) and not png_rows.are_there(container.data):
            raise ValueError("its pixels end before its last row")
        if container.format == "PNG":
            flatten.read_clear(image, container.data[_PNG_DEPTH_AT])
        upright, flattening = flatten.to_8_bit(image, of_ink=of_ink)
    steps += flattening
    if flatten.INVISIBLE in flattening:
        warnings.append(
            "invisible: all of the image is transparent, and what a viewer would not show was used"
        )
    if container.orientation in _TRANSPOSED:
        upright = upright.transpose(_TRANSPOSED[container.orientation])
        whole = whole[::-1] if container.orientation in _ON_ITS_SIDE else whole
        steps.append(f"turned upright (EXIF orientation {container.orientation})")
    if container.animated:
        warnings.append("the image is animated: only its first frame was used")
    return Decoded(upright, whole, scale, steps, warnings)


def _may_lack_rows(image: Image.Image) -> bool:
    """Rows that Pillow does not find are black, or whatever else zeros are."""
    last = image.crop((0, image.height - 1, *image.size))
    return "interlace" in image.info or last.getbbox(alpha_only=False) is None


def _reason(error: Exception) -> str:
    if isinstance(error.__cause__ or error, struct.error):
        return "it is cut off"
    return brief(str(error).strip() or type(error).__name__)


def in_the_whole(box: Box, scale: int, size: tuple[int, int]) -> Box:
    """What was found in a picture that was reduced by `scale`, in one of this width and height."""
    left, top, right, bottom = (edge * scale for edge in box)
    return left, top, min(right, size[0]), min(bottom, size[1])


def pixels(image: Image.Image) -> NDArray[np.uint8]:
    """uint8 [H,W] of a picture of mode "L", [H,W,3] of one of mode "RGB"."""
    flat = np.frombuffer(image.tobytes(), np.uint8)
    return flat.reshape(image.height, image.width, *image.getbands()[1:] and (3,))
