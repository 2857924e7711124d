"""The Open Inference Protocol's bodies as HTTP has them: compressed or not, and JSON to where a header says."""

import zlib
from functools import partial

from fastapi import Request

from service.errands import in_thread
from service.errors import InvalidParameter, TooManyBytes
from service.open_inference.request import LENGTH_HEADER
from service.open_inference.tensors import shown

RATIO = 100  # an inflated body may be so many times as long, and SLACK: pictures and numbers are
SLACK = 1 << 20  # bytes
MEMBERS = 16  # of gzip, which may be a series (RFC 1952, section 2.2): with each, what follows it is copied
_MEMBER = b"\x1f\x8b"  # what each of them begins with
_WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}

LENGTH_NAME = LENGTH_HEADER.lower().encode()
"""as ASGI has it"""


async def unpack(request: Request, body: bytes, max_bytes: int) -> tuple[bytes, int | None]:
    """The body as it was before it was compressed, and the length of the JSON it begins with, None when all of it is.
    Raises InvalidParameter, TooManyBytes, NotReady."""
    encoding, length = b"identity", None
    for name, value in request.scope["headers"]:
        if name == b"content-encoding":
            encoding = value.strip().lower()
        elif name == LENGTH_NAME:
            length = value.decode("latin-1").strip()
    if encoding not in (b"identity", b""):
        body = await in_thread(partial(inflate, body, encoding.decode("latin-1"), max_bytes))
    return body, header_length(length, len(body))


def inflate(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """Undoes a Content-Encoding. Raises InvalidParameter, TooManyBytes."""
    window = _WINDOWS.get(encoding)
    if window is None:
        raise InvalidParameter(f"Content-Encoding is {shown(encoding)}; gzip, deflate or none is expected")
    limit = min(max_bytes, RATIO * len(body) + SLACK)
    inflated, rest, members = b"", body, 0
    while not members or (rest.startswith(_MEMBER) and encoding != "deflate" and members < MEMBERS):
        inflater = zlib.decompressobj(window)
        try:
            inflated += inflater.decompress(rest, limit + 1 - len(inflated))
        except zlib.error as error:
            raise InvalidParameter(f"the body is no {encoding}: {error}") from None
        if len(inflated) > limit:
            raise TooManyBytes(f"the {len(body):,} bytes of {encoding} inflate to more than {limit:,}")
        rest, members = inflater.unused_data, members + 1
    if not inflater.eof or rest:
        after = "it" if members < MEMBERS else f"its first {MEMBERS} members"
        found = f"bytes are left over after {after}" if inflater.eof else "it is cut off"
        raise InvalidParameter(f"the body is not one whole {encoding} stream: {found}")
    return inflated


def header_length(value: str | None, size: int) -> int | None:
    """The JSON's length of a body of `size` bytes, None when all of it is JSON. Raises InvalidParameter."""
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and len(value) < 20 and int(value) <= size):
        raise InvalidParameter(
            f"{LENGTH_HEADER} is {shown(value)}; it is the length of the JSON, from 0 to the body's {size}"
        )
    return int(value)
