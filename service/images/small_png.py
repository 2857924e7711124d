"""The short way for what test images are sent as: tiny PNGs of nothing but a header, pixels and an end.

Pillow's file layer takes three times as long over one of them as its decoder does, so the decoder is
called directly. Whatever is in any way unusual or wrong goes the long way, which also says what is wrong.
"""

import struct
import zlib
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import _imaging

from service.images.containers import PNG_SIGNATURE

LONGEST = 64  # px
_HEAD = struct.Struct(">8sI4sII5BI")  # up to the pixels' chunk
_HEADER_BYTES = 13
_CHUNK = struct.Struct(">I4s")  # its length and name
_PIXELS = _HEAD.size + _CHUNK.size  # where they begin
_CHECK_BYTES = 4
_END = b"\0\0\0\0IEND\xaeB`\x82"
_CHANNELS = {(8, 0, 0, 0, 0): 1, (8, 2, 0, 0, 0): 3}  # by depth, colour, compression, filter, interlacing
_MODES = {1: "L", 3: "RGB"}
_BLANK = 171  # what stands where a decoder writes nothing; few pictures end with a row of it
_SHADES = {1: _BLANK, 3: (_BLANK, _BLANK, _BLANK)}

Shape = tuple[int, int, int]
"""H,W,C"""


def read(data: bytes) -> NDArray[np.uint8] | None:
    """uint8 [H,W,C] of a plain 8-bit grey or RGB PNG of at most 64 × 64 pixels; None for anything else."""
    shape = _shape(data[: _HEAD.size])
    # In this order: the checksum of a large picture takes long.
    if shape is None or (stream := _stream(data)) is None:
        return None
    images, damaged = _inflated([stream], shape)
    return None if damaged else images[0]


def read_each(files: list[bytes], shape: Shape) -> tuple[list[int], NDArray[np.uint8]]:
    """Of many files those that `read` reads and that have this shape: their places, and uint8 [N,H,W,C]."""
    streams = {
        at: stream
        for at, data in enumerate(files)
        if _shape(data[: _HEAD.size]) == shape and (stream := _stream(data)) is not None
    }
    places = [*streams]
    if not places:
        return [], np.empty((0, *shape), np.uint8)
    images, damaged = _inflated([*streams.values()], shape)
    if damaged:
        images = np.delete(images, damaged, axis=0)
        for at in reversed(damaged):
            del places[at]
    return places, images


@lru_cache(maxsize=64)
def _shape(head: bytes) -> Shape | None:
    """What a file's first bytes say; they are the same in all files of one shape."""
    if len(head) < _HEAD.size:
        return None
    signature, length, header, width, height, *kind, check = _HEAD.unpack(head)
    channels = _CHANNELS.get(tuple(kind))
    if (
        (signature, length, header) != (PNG_SIGNATURE, _HEADER_BYTES, b"IHDR")
        or not (0 < width <= LONGEST and 0 < height <= LONGEST)
        or channels is None
        or check != zlib.crc32(head[12:29])
    ):
        return None
    return height, width, channels


def _stream(data: bytes) -> bytes | None:
    """The compressed pixels, if they are all that stands between the header and the end."""
    if len(data) < _PIXELS:
        return None
    length, name = _CHUNK.unpack_from(data, _HEAD.size)
    end = _PIXELS + length
    if name != b"IDAT" or len(data) != end + _CHECK_BYTES + len(_END):
        return None
    if data[end:] != zlib.crc32(data[_HEAD.size + 4 : end]).to_bytes(_CHECK_BYTES, "big") + _END:
        return None
    return data[_PIXELS:end]


def _inflated(streams: list[bytes], shape: Shape) -> tuple[NDArray[np.uint8], list[int]]:
    """uint8 [N,H,W,C], and the places of those that are damaged. All are decoded into one tall picture, by what
    `Image.frombytes` and `Image.tobytes` call: around it they take as long again as it does."""
    height, width, channels = shape
    mode, tall = _MODES[channels], height * len(streams)
    try:
        picture = _imaging.fill(mode, (width, tall), _SHADES[channels])
        for at, stream in enumerate(streams):
            decoder = _imaging.zip_decoder(mode, mode, 0)
            decoder.setimage(picture, (0, at * height, width, (at + 1) * height))
            decoder.decode(stream)
        encoder = _imaging.raw_encoder(mode, mode, 0, 1)
        encoder.setimage(picture, (0, 0, width, tall))
        pixels: bytes = encoder.encode(tall * width * channels)[2]
        # The decoder does not mind where a stream ends, and writes no row from where it is damaged.
        blank, size = _blank_row(width * channels), height * width * channels
        damaged = [at for at in range(len(streams)) if pixels.startswith(blank, (at + 1) * size - len(blank))]
        return np.frombuffer(pixels, np.uint8).reshape(len(streams), *shape), damaged
    except (AttributeError, TypeError, ValueError):  # a Pillow that has them otherwise
        return np.empty((len(streams), *shape), np.uint8), [*range(len(streams))]


@lru_cache(maxsize=64)
def _blank_row(samples: int) -> bytes:
    return bytes((_BLANK,)) * samples
