"""Bodies as they come over the wire, whole and in pieces."""

from contextlib import nullcontext, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from service.errors import InvalidParameter, NotAnImage, TooManyBytes
from service.uploads import MAX_HEADS, Upload, read_many, read_one

FORM = 'multipart/form-data; boundary="line"'
PART = b'--line\r\nContent-Disposition: form-data; name="note"\r\n\r\nx\r\n'


def request(content_type: str | None, *chunks: bytes, length: int | bytes | None = None) -> Request:
    """A request whose body comes in these chunks."""
    messages: list[Message] = [
        {"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks[:-1]
    ]
    messages.append({"type": "http.request", "body": chunks[-1] if chunks else b"", "more_body": False})

    async def receive() -> Message:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    headers = [] if content_type is None else [(b"content-type", content_type.encode("latin-1"))]
    if length is not None:
        headers.append((b"content-length", length if isinstance(length, bytes) else b"%d" % length))
    return Request({"type": "http", "headers": headers}, receive)


def form(*parts: tuple[str, bytes]) -> bytes:
    """Parts of (Content-Disposition's parameters, contents)."""
    pieces = [
        b"--line\r\nContent-Disposition: form-data; %s\r\n\r\n%s\r\n" % (head.encode(), data)
        for head, data in parts
    ]
    return b"".join(pieces) + b"--line--\r\n"


async def one(content_type: str | None, *chunks: bytes, length: int | bytes | None = None) -> Upload:
    return await read_one(request(content_type, *chunks, length=length), field="file", max_bytes=1000)


@pytest.mark.parametrize("length", [b"3", b"0" * 5000 + b"3", b"0" * 5000])
async def test_a_length_may_be_written_with_any_number_of_zeros(length: bytes) -> None:
    assert await one("image/png", b"abc", length=length) == Upload(b"abc")
    with pytest.raises(TooManyBytes, match="has 1,001 bytes"):
        await one("image/png", length=b"0" * 5000 + b"1001")


@pytest.mark.parametrize(
    "content_type", ["image/png", "IMAGE/JPEG", "image/x-anything", "application/octet-stream", "", None]
)
async def test_a_raw_body_is_the_image(content_type: str | None) -> None:
    assert await one(content_type, b"ab", b"c", b"") == Upload(b"abc")


@pytest.mark.parametrize(
    ("head", "name"),
    [
        ('name="file"; filename="a.png"', "a.png"),
        ("name=file; filename=a.png", "a.png"),
        ('filename="a.png"; name="file"', "a.png"),
        ('filename="a; name=b.png"; name="file"', "a; name=b.png"),
        ('FileName="a.png"; NAME=file', "a.png"),
        ('filename=""; name="file"', ""),
        ('name="file"', None),
        ('name="file"; filename="a \\"b\\"; name=x.png"', 'a "b"; name=x.png'),
        ('name="file"; filename="größe.png"', "größe.png"),
        ('name="file"; filename="C:\\dir\\x.png"', "C:\\dir\\x.png"),
        ('name="file"; filename=""', ""),
        ('name="file"; filename="a.png"\r\nContent-Type: image/png', "a.png"),
        ('name="file"\r\nContent-Type: image/png; name="other"', None),
        ('name="file"; filename="a.png"\r\nContent-Type: image/png\r\nContent-Length: 9', "a.png"),
        ('name="file"; filename="a.png"; size=9', "a.png"),
        ('name="file";filename="a.png"', "a.png"),
        ('\r\n name="file";\r\n\tfilename="a.png"', "a.png"),
        ('name="file"; filename="a\r\n  b.png"\r\nContent-Type:\r\n image/png', "a b.png"),
        ("name=file; filename*=utf-8''%E2%82%AC.png", "€.png"),
        ("name=file; FileName*=\"UTF-8'de'a%20b%2C%22c%22.png\"", 'a b,"c".png'),
        ("name=file; filename*=iso-8859-1'en'%A3.png", "£.png"),
        ("name=file; filename*=utf-8''%E2%82.png", "\N{REPLACEMENT CHARACTER}.png"),
        ("name=file; filename*=utf-8''%E2%82%AC.png; filename=a.png", "a.png"),
        ("name=file; filename=\"\"; filename*=utf-8''a.png", ""),
        ("name=file; filename*=utf-16''a.png", None),
        ("name=file; filename*=a.png", None),
        ("name=file; filename*=utf-8'a.png", None),
    ],
)
async def test_a_form_gives_its_file(head: str, name: str | None) -> None:
    assert await one(FORM, form(('name="note"', b"x"), (head, b"\x89PNG\r\n\r\n--"))) == Upload(
        b"\x89PNG\r\n\r\n--", name
    )


async def test_a_parameter_among_the_fields_is_told_where_it_belongs() -> None:
    sent = request(FORM, form(('name="file"', b"abc"), ('name="note"', b"x"), ('name="top_k"', b"1")))
    with pytest.raises(InvalidParameter, match=r"has top_k as a field; .* in the URL, as \?top_k="):
        await read_one(sent, field="file", max_bytes=1000, parameters={"top_k", "fit"})


async def test_a_form_may_have_text_around_it() -> None:
    body = b"preamble\r\n" + form(('name="file"', b"abc")) + b"epilogue" + b"\r\n--line" * 10_001
    upload = await read_one(request(FORM, body), field="file", max_bytes=len(body))
    assert upload.data == b"abc"


async def test_form_headers_may_come_in_any_case_and_order() -> None:
    body = b'--line\r\nContent-Type: image/png\r\ncontent-disposition: form-data; name="file"\r\n\r\nabc\r\n--line--'
    assert (await one("Multipart/Form-Data;charset=utf-8; BOUNDARY=line", body)).data == b"abc"


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/json", "application/x-www-form-urlencoded", "nonsense"]
)
async def test_another_content_type_says_what_is_accepted(content_type: str) -> None:
    with pytest.raises(NotAnImage, match=r"image/png.*multipart/form-data") as refused:
        await one(content_type, b"abc")
    assert ("curl" in refused.value.detail) == ("urlencoded" in content_type)


@pytest.mark.parametrize(
    ("content_type", "body", "detail"),
    [
        ("image/png", b"", "the body is empty"),
        (FORM, form(('name="file"; filename="a.png"', b"")), "the form's file in 'file' is empty"),
        ("multipart/form-data", form(('name="file"', b"a")), "names no boundary"),
        (f"multipart/form-data; boundary={'b' * 71}", b"--" + b"b" * 71, "names no boundary of 1 to 70"),
        (FORM, b"", "closing boundary is missing"),
        (FORM, b"nonsense", "closing boundary is missing"),
        (FORM, form(('name="file"', b"abc"))[:-12], "closing boundary is missing"),
        (FORM, b"--line\r\nno empty line--line--\r\n--line--", "no empty line"),
        (FORM, b"--line--\r\n", "no field 'file' with a file; its fields: none"),
        (FORM, form(('name="image"', b"abc")), "no field 'file' with a file; its fields: 'image'"),
        (FORM, form(('name="file"', b"a"), ('name="file"', b"b")), "2 files in 'file'; one is expected"),
        (FORM, PART * 10_000 + b"--line--", "no field 'file' with a file; its fields: 'note'"),
        (FORM, PART * 10_001 + b"--line--", "more than 10,000 parts"),
        (FORM, PART * 10_000, "closing boundary is missing"),
        (FORM, PART * 10_001, "more than 10,000 parts"),
    ],
)
async def test_a_body_without_an_image_says_what_is_wrong(
    content_type: str, body: bytes, detail: str
) -> None:
    upload = read_one(request(content_type, body), field="file", max_bytes=1_000_000)
    with pytest.raises(InvalidParameter, match=detail):
        await upload


async def test_a_compressed_body_names_the_header() -> None:
    sent = request("image/png", b"\x1f\x8b")
    sent.scope["headers"].append((b"content-encoding", b"gzip"))
    with pytest.raises(NotAnImage, match="Content-Encoding is 'gzip'"):
        await read_one(sent, field="file", max_bytes=1000)


@pytest.mark.parametrize("coding", [b"Identity", b" identity ", b""])
async def test_a_body_that_is_said_to_be_as_it_is_is_the_image(coding: bytes) -> None:
    sent = request("image/png", b"abc")
    sent.scope["headers"].append((b"content-encoding", coding))
    assert await read_one(sent, field="file", max_bytes=1000) == Upload(b"abc")


async def test_a_body_that_says_nothing_of_more_is_whole() -> None:
    async def receive() -> Message:
        return {"type": "http.request", "body": b"abc"}

    sent = Request({"type": "http", "headers": []}, receive)
    assert await read_one(sent, field="file", max_bytes=1000) == Upload(b"abc")


async def test_too_long_a_body_is_refused_before_it_is_read() -> None:
    with pytest.raises(TooManyBytes, match="has 2,000 bytes; the limit is 1,000"):
        await read_one(request("image/png", length=2000), field="file", max_bytes=1000)


async def test_too_long_a_body_without_a_length_is_refused_on_the_way() -> None:
    chunks = [b"x" * 600, b"x" * 600, b"never read"]
    incoming = request("image/png", *chunks)
    with pytest.raises(TooManyBytes, match="more than 1,000 bytes, which is the limit"):
        await read_one(incoming, field="file", max_bytes=1000)
    assert (await incoming.receive())["body"] == b"never read"


async def test_a_body_of_exactly_the_limit_is_taken() -> None:
    assert len((await one("image/png", b"x" * 1000, length=1000)).data) == 1000


async def test_a_client_that_leaves_is_no_image() -> None:
    incoming = request("image/png", b"ab")
    await incoming.receive()
    with pytest.raises(ClientDisconnect):
        await read_one(incoming, field="file", max_bytes=1000)


@pytest.mark.parametrize("content_type", ["image/png", FORM])
async def test_an_empty_body_is_no_batch(content_type: str) -> None:
    with pytest.raises(InvalidParameter, match="the body is empty; send a multipart/form-data form"):
        await read_many(request(content_type, b""), field="files", max_bytes=1000, max_files=3)


async def test_files_keep_their_order() -> None:
    parts = [(f'name="files"; filename="{n}.png"', b"%d" % n) for n in range(20)]
    uploads = await read_many(request(FORM, form(*parts)), field="files", max_bytes=10_000, max_files=20)
    assert uploads == [Upload(b"%d" % n, f"{n}.png") for n in range(20)]


@pytest.mark.parametrize("line", ["Content-Disposition: form-data" + ";a=b" * 200, "a\r\n" * 200])
async def test_headers_that_take_long_to_read_are_not_read_without_end(line: str) -> None:
    part = f"--line\r\n{line}\r\n\r\nabc\r\n".encode()
    for count, reason in (
        (100, "has no field"),
        (2 * MAX_HEADS // len(part), "have more than 262,144 bytes"),
    ):
        body = part * count + b"--line--\r\n"
        with pytest.raises(InvalidParameter, match=reason):
            await read_many(request(FORM, body), field="files", max_bytes=len(body), max_files=9)


async def test_headers_may_be_as_long_as_the_limit() -> None:
    head = b'\r\nContent-Disposition: form-data; name="file"\r\nX: '
    for more, taken in ((0, True), (1, False)):
        body = b"--line" + head + b"x" * (MAX_HEADS - len(head) + more) + b"\r\n\r\nabc\r\n--line--"
        refused = nullcontext() if taken else pytest.raises(InvalidParameter, match="have more than 262,144")
        with refused:
            upload = await read_one(request(FORM, body), field="file", max_bytes=len(body))
            assert upload.data == b"abc"


async def test_of_many_long_names_some_are_told_in_part() -> None:
    body = form(*((f'name="{name:05}{"x" * 6000}"; filename="f"', b"abc") for name in range(500)))
    with pytest.raises(InvalidParameter, match=r"'00009xxx[^,]*… and 490 more$") as refused:
        await read_many(request(FORM, body), field="files", max_bytes=len(body), max_files=9)
    assert len(refused.value.detail) < 3000


async def test_too_many_files_name_the_limit() -> None:
    parts = [('name="files"', b"x")] * 1025
    for most, limit in ((1024, "1,024"), (1, "1")):
        with pytest.raises(InvalidParameter, match=f"1,025 files; at most {limit} may come at once"):
            await read_many(request(FORM, form(*parts)), field="files", max_bytes=100_000, max_files=most)


async def test_an_empty_file_among_others_is_left_to_its_place() -> None:
    parts = [('name="files"', b"a"), ('name="files"', b""), ('name="files"', b"c")]
    uploads = await read_many(request(FORM, form(*parts)), field="files", max_bytes=10_000, max_files=3)
    assert [upload.data for upload in uploads] == [b"a", b"", b"c"]


@given(
    st.lists(
        st.binary(max_size=40).filter(lambda data: b"\r\n--line" not in b"\r\n" + data),
        min_size=1,
        max_size=5,
    )
)
async def test_any_contents_come_through_a_form_unchanged(contents: list[bytes]) -> None:
    body = form(*(('name="files"', data) for data in contents))
    uploads = await read_many(request(FORM, body), field="files", max_bytes=10_000, max_files=5)
    assert [upload.data for upload in uploads] == contents


@given(content_type=st.text(st.characters(max_codepoint=255), max_size=60), body=st.binary(max_size=200))
async def test_junk_is_an_image_or_a_problem(content_type: str, body: bytes) -> None:
    for kind in (content_type, FORM, f"multipart/form-data;{content_type}"):
        with suppress(NotAnImage, InvalidParameter, TooManyBytes):
            await read_many(request(kind, body), field="files", max_bytes=150, max_files=3)
