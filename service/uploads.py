"""The images in a request's body: raw, or the files of a multipart form. Bytes only; nothing is decoded here."""

import re
from collections.abc import Collection
from typing import NamedTuple
from urllib.parse import unquote

from starlette.requests import ClientDisconnect, Request

from service.errors import InvalidParameter, NotAnImage, TooManyBytes, counted, listed

ACCEPTED = (
    "send the image itself with Content-Type image/png, image/jpeg, image/webp, image/gif, image/bmp or "
    "application/octet-stream, or a multipart/form-data form with the image in a file field"
)
MOST_DIGITS = 20  # of a length, which has no more where a server has understood it
MAX_PARTS = 10_000  # of a form, files or not: beyond, it is no form a person made
MAX_HEADS = 262_144  # bytes of its parts' headers that are not as usual, and take the loop long to read

# As they usually come; whatever else is image/… is raw as well.
_RAW = frozenset((b"image/png", b"image/jpeg", b"image/webp", b"application/octet-stream", b""))
_BOUNDARY = re.compile(rb'(?:^|;)\s*boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70})(?![^\s;"]))', re.IGNORECASE)
_PARAMETER = re.compile(rb';\s*([^\s=;"]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))')
_USUAL_HEAD = re.compile(
    rb'\r\nContent-Disposition: form-data; name="([^"\\\r\n]*)"(?:; filename="([^"\\\r\n]*)")?'
    rb"(?:\r\nContent-Type: [^\r\n]*)?\r\n\r\n",
    re.IGNORECASE,
)
"""What nearly every client writes: one match instead of four searches."""
_FOLD = re.compile(rb"\r\n[ \t]+")
"""Where a header goes on on the next line."""


class Upload(NamedTuple):
    """One file as it came."""

    data: bytes
    name: str | None = None


async def read_one(
    request: Request, *, field: str, max_bytes: int, parameters: Collection[str] = ()
) -> Upload:
    """The request's one image. Raises NotAnImage, TooManyBytes, InvalidParameter.

    `parameters` are those of the query: a form that has one of them as a field is an error, or it would be as if
    nothing had been asked."""
    boundary = _boundary(_content_type(request))
    body = await read_body(request, max_bytes)
    uploads = [Upload(body)] if boundary is None else _files(body, boundary, field, parameters)
    if len(uploads) > 1:
        raise InvalidParameter(f"the form has {len(uploads):,} files in '{field}'; one is expected here")
    if not uploads[0].data:
        what = "the body" if boundary is None else f"the form's file in '{field}'"
        raise InvalidParameter(f"{what} is empty; {ACCEPTED}")
    return uploads[0]


async def read_many(
    request: Request, *, field: str, max_bytes: int, max_files: int, parameters: Collection[str] = ()
) -> list[Upload]:
    """The files of a form's field, in order; a raw image counts as one. Raises as read_one does."""
    boundary = _boundary(_content_type(request))
    body = await read_body(request, max_bytes)
    if not body:
        raise InvalidParameter(f"the body is empty; send a multipart/form-data form with files in '{field}'")
    uploads = [Upload(body)] if boundary is None else _files(body, boundary, field, parameters)
    if len(uploads) > max_files:
        raise InvalidParameter(f"the form has {len(uploads):,} files; at most {max_files:,} may come at once")
    return uploads


def _content_type(request: Request) -> bytes:
    # The scope's own list: building Headers and Message objects costs more than decoding a small image.
    content_type = b""
    for name, value in request.scope["headers"]:
        if name == b"content-type":
            content_type = bytes(value)
        elif name == b"content-encoding" and value.strip().lower() not in (b"identity", b""):
            raise NotAnImage(
                f"Content-Encoding is {value.decode('latin-1')!r}: images are compressed already; send them as they are"
            )
    return content_type


def _boundary(content_type: bytes) -> bytes | None:
    """None for a raw body, the boundary of a form. Raises for what is neither."""
    if content_type in _RAW:
        return None
    media_type = content_type.partition(b";")[0].strip().lower()
    if media_type.startswith(b"image/") or media_type in _RAW:
        return None
    if media_type != b"multipart/form-data":
        hint = (
            " (which is what curl says unless told otherwise with -H)" if b"urlencoded" in media_type else ""
        )
        raise NotAnImage(f"Content-Type is {media_type.decode('latin-1')!r}{hint}; {ACCEPTED}")
    match = _BOUNDARY.search(content_type, len(media_type))
    if match is None:
        raise InvalidParameter(
            "Content-Type is multipart/form-data and names no boundary of 1 to 70 characters"
        )
    return bytes(match[1] or match[2])


async def read_body(request: Request, max_bytes: int) -> bytes:
    """The whole body. Raises TooManyBytes: by Content-Length before a byte is read, else as soon as it is
    too long.

    The connection stays open: the server discards what still comes. To close it now would reset it, and
    a client that is still sending would never see the answer.
    """
    for name, value in request.scope["headers"]:
        if name == b"content-length" and value.isdigit():
            # Python refuses to read thousands of digits.
            length = int(value.lstrip(b"0")[:MOST_DIGITS] or b"0")
            if length > max_bytes:
                raise TooManyBytes(f"the body has {length:,} bytes; the limit is {max_bytes:,}")
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > max_bytes:
            raise TooManyBytes(f"the body has more than {counted(max_bytes, 'byte')}, which is the limit")
        if not message.get("more_body", False):
            return b"".join((*chunks, chunk)) if chunks else bytes(chunk)
        chunks.append(chunk)


def _files(body: bytes, boundary: bytes, field: str, parameters: Collection[str]) -> list[Upload]:
    """The parts of a form (RFC 7578) whose name is `field`. The body is in memory, so splitting it is enough."""
    delimiter = b"\r\n--" + boundary
    # The first delimiter has no line before it, and what stands there is no part; the last is followed by "--".
    _, *pieces = (b"\r\n" + body).split(delimiter, MAX_PARTS + 1)
    last = next((at for at, piece in enumerate(pieces) if piece.startswith(b"--")), None)
    if last is None:
        if len(pieces) > MAX_PARTS:
            raise InvalidParameter(f"the form has more than {MAX_PARTS:,} parts")
        raise InvalidParameter("the form is cut off or broken: its closing boundary is missing")
    parts = _parts(pieces[:last])
    files = [upload for name, upload in parts if name == field]
    if len(files) < len(parts):
        misplaced = [name for name, _ in parts if name in parameters]
        if misplaced:
            raise InvalidParameter(
                f"the form has {misplaced[0]} as a field; parameters stand in the URL, as ?{misplaced[0]}=…"
            )
    if not files:
        names = sorted({name for name, _ in parts if name is not None})
        there = listed(names) or "none with a name"
        raise InvalidParameter(f"the form has no field '{field}' with a file; its fields: {there}")
    return files


def _parts(pieces: list[bytes]) -> list[tuple[str | None, Upload]]:
    """Field name and contents of what stands between delimiters."""
    room = MAX_HEADS
    parts: list[tuple[str | None, Upload]] = []
    for piece in pieces:
        usual = _USUAL_HEAD.match(piece)
        if usual is not None:
            name, file_name = usual.groups()
            named = None if file_name is None else file_name.decode("utf-8", "replace")
            parts.append((name.decode("utf-8", "replace"), Upload(piece[usual.end() :], named)))
            continue
        head, separator, data = piece.partition(b"\r\n\r\n")
        if not separator:
            raise InvalidParameter("the form is broken: a part has no empty line after its headers")
        room -= len(head)
        if room < 0:
            raise InvalidParameter(f"the headers of the form's parts have more than {MAX_HEADS:,} bytes")
        parts.append(_unusual(head, data))
    return parts


def _unusual(head: bytes, data: bytes) -> tuple[str | None, Upload]:
    for line in _FOLD.sub(b" ", head).split(b"\r\n"):
        if line[:20].lower() == b"content-disposition:":
            named = _parameters(line)
            file_name = named.get(b"filename", _extended(named.get(b"filename*", "")))
            return named.get(b"name"), Upload(data, file_name)
    return None, Upload(data)


def _parameters(line: bytes) -> dict[bytes, str]:
    """Those of a header, by their names in small letters. One may stand within another's quotes, and is none then."""
    found: dict[bytes, str] = {}
    for name, quoted, bare in _PARAMETER.findall(line):
        text = (quoted or bare).decode("utf-8", "replace")
        # No more is escaped: a browser leaves the other backslashes of a file's name as they are.
        found.setdefault(name.lower(), re.sub(r'\\(["\\])', r"\1", text) if quoted else text)
    return found


def _extended(value: str) -> str | None:
    """`utf-8''%E2%82%AC.png` → `€.png` (RFC 8187); None for what is not so written. No form should have it (RFC 7578),
    and older clients send it."""
    charset, _, rest = value.partition("'")
    _language, quote, text = rest.partition("'")
    if charset.lower() not in ("utf-8", "iso-8859-1") or not quote:
        return None
    return unquote(text, charset, "replace")
