"""Whether a PNG has all of its rows: a decoder is content when their stream ends, however early that is.

The sizes are those of the PNG specification (third edition), sections 8 and 9: of each row a byte for its filter, and
its samples in whole bytes; of an interlaced picture the rows of seven smaller ones.
"""

import struct
import zlib

from service.images.containers import png_chunks

_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of a pixel, by the kind of its colour
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Adam7: the first column and row of each, and how far apart they are"""
_HEADER = struct.Struct(">IIBBxxB")  # width, height, depth, kind of colour, interlacing
_HEADER_AT = 16  # bytes after the signature, its length and its name
_PIECE = 1 << 16  # bytes that are inflated at once, and then forgotten


def are_there(data: bytes) -> bool:
    """Inflates a file's pixels once more, in little memory: about half of what decoding them takes."""
    expected, inflater = _expected(data), zlib.decompressobj()
    for name, start, end in png_chunks(data):
        rest = data[start + 8 : end - 4] if name == b"IDAT" else b""
        while rest and expected > 0 and not inflater.eof:
            # No further than the rows go: what follows them no decoder reads, so it may be damaged.
            expected -= len(inflater.decompress(rest, min(_PIECE, expected)))
            rest = inflater.unconsumed_tail
    return expected <= 0 or expected <= len(inflater.flush())


def _expected(data: bytes) -> int:
    """Bytes of all rows."""
    width, height, depth, colour, interlaced = _HEADER.unpack_from(data, _HEADER_AT)
    bits = depth * _SAMPLES[colour]
    passes = _PASSES if interlaced else ((0, 0, 1, 1),)
    return sum(
        _rows((width - left + across - 1) // across, (height - top + down - 1) // down, bits)
        for left, top, across, down in passes
    )


def _rows(width: int, height: int, bits: int) -> int:
    return height * (1 + (width * bits + 7) // 8) if width > 0 and height > 0 else 0
