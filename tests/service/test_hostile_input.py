"""Whatever a client sends is answered, and never with a 500."""

import struct
import zlib
from pathlib import Path

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.conftest import serving
from tests.service.stripes import encoded, stripe

PNG = encoded(stripe(5))
JPEG = encoded(stripe(5, "cifar10"), "JPEG")
TRICKY_PATHS = st.text(st.characters(codec="latin-1"), max_size=30).map(
    lambda text: httpx.URL("/", params={"": text}).query
)


def png_of_size(width: int, height: int) -> bytes:
    """A PNG whose header claims this many pixels; all of them black, one bit each."""
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    squeezer = zlib.compressobj(9)
    line = b"\x00" * (1 + (width + 7) // 8)
    data = b"".join([squeezer.compress(line) for _ in range(height)] + [squeezer.flush()])

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def assert_problem(answer: httpx.Response, status: int, slug: str) -> None:
    """RFC 9457, with everything the API promises of a problem."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    body = answer.json()
    assert body["type"] == f"/problems/{slug}"
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    assert body["instance"] == answer.request.url.raw_path.partition(b"?")[0].decode()
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    ("body", "status", "slug"),
    [
        (b"", 422, "invalid-parameter"),
        (b"hello, I am text", 415, "not-an-image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "not-an-image"),
        (b"\x00" * 1000, 415, "not-an-image"),
        (PNG[:8], 422, "undecodable-image"),
        (PNG[:40], 422, "undecodable-image"),
        (PNG[:-30], 422, "undecodable-image"),
        (JPEG[: len(JPEG) // 2], 422, "undecodable-image"),
        (JPEG[:3], 422, "undecodable-image"),
        (PNG[:50] + b"\xff" * 20 + PNG[70:], 422, "undecodable-image"),
        (png_of_size(20_000, 20_000), 413, "too-many-pixels"),
        (png_of_size(1, 1_000_000), 413, "too-many-pixels"),
        (b"\x00" * 30_000_000, 413, "too-many-bytes"),
    ],
    ids=["empty", "text", "svg", "zeros", "png-signature", "png-header", "cut-png", "cut-jpeg", "jpeg-signature",
         "damaged-png", "400-megapixels", "a-million-rows", "30-megabytes"],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/predict/mnist", "/predict/cifar10", "/predict/mnist/top-k"])
async def test_a_bad_body_is_a_problem(
    client: httpx.AsyncClient, path: str, body: bytes, status: int, slug: str
) -> None:
    assert_problem(await client.post(path, content=body, headers={"Content-Type": "image/png"}), status, slug)
    form = await client.post(path, files={"file": ("picture.png", body, "image/png")})
    assert_problem(form, status, slug)


async def test_a_picture_of_a_few_pixels_is_answered_alone_and_beside_others(
    client: httpx.AsyncClient,
) -> None:
    few = Image.new("L", (5, 14), 181)
    for place, shade in (((1, 0), 37), ((3, 8), 209), ((2, 12), 109)):
        few.putpixel(place, shade)
    data = encoded(np.asarray(few))
    assert (await client.post("/predict/mnist", content=data)).status_code == 200
    files = [("files", (name, body, "image/png")) for name, body in (("a", PNG), ("b", data), ("c", PNG))]
    answer = await client.post("/predict/mnist/batch", files=files)
    assert answer.status_code == 200
    assert len(answer.json()["results"]) == 3


@pytest.mark.parametrize(
    ("path", "status", "slug"),
    [
        ("/predict/nothing", 404, "unknown-model"),
        ("/predict/mnist?version=2", 404, "unknown-version"),
        ("/predict/mnist?version=", 404, "unknown-version"),
        ("/predict/mnist?version=%00", 404, "unknown-version"),
        ("/predict/mnist?top_k=0", 422, "invalid-parameter"),
        ("/predict/mnist?top_k=11", 422, "invalid-parameter"),
        ("/predict/mnist?top_k=-1", 422, "invalid-parameter"),
        ("/predict/mnist?top_k=ten", 422, "invalid-parameter"),
        ("/predict/mnist?top_k=%ff%fe", 422, "invalid-parameter"),
        (f"/predict/mnist?top_k={'9' * 5000}", 422, "invalid-parameter"),
        ("/predict/mnist?preprocess=magic", 422, "invalid-parameter"),
        ("/predict/mnist?invert=%F0%9F%98%80", 422, "invalid-parameter"),
        ("/predict/mnist?fit=", 422, "invalid-parameter"),
        ("/predict/mnist?include=everything", 422, "invalid-parameter"),
        ("/predict/cifar10?preprocess=none", 422, "invalid-parameter"),
        ("/predict/mnist/top-k?k=0", 422, "invalid-parameter"),
        ("/predict/mnist/top-k?k=11", 422, "invalid-parameter"),
        ("/predict/mnist/batch?top_k=11", 422, "invalid-parameter"),
        ("/predict/%00", 404, "unknown-model"),
        ("/predict/%ff%fe%fd", 404, "unknown-model"),
        ("/predict/%2e%2e%2f%2e%2e%2fetc%2fpasswd", 404, "not-found"),
        ("/predict/", 404, "not-found"),
        ("/predict/<script>", 404, "unknown-model"),
        (f"/predict/{'m' * 5000}", 404, "unknown-model"),
    ],
)
async def test_a_bad_path_or_query_is_a_problem(
    client: httpx.AsyncClient, path: str, status: int, slug: str
) -> None:
    answer = await client.post(path, content=PNG, headers={"Content-Type": "image/png"})
    assert_problem(answer, status, slug)


async def test_a_parameter_out_of_range_says_what_was_expected(client: httpx.AsyncClient) -> None:
    zero = (await client.post("/predict/mnist/top-k?k=0", content=PNG)).json()["detail"]
    assert zero == "k: Input should be greater than or equal to 1, not '0'"
    eleven = (await client.post("/predict/mnist/top-k?k=11", content=PNG)).json()["detail"]
    assert eleven == "k is 11; stripes has 10 classes, so it goes from 1 to 10"


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/json",
        "application/x-www-form-urlencoded",
        "\xff\xfe",
        "image",
        ";;;",
        "multipart/mixed",
    ],
)
async def test_another_content_type_is_no_image(client: httpx.AsyncClient, content_type: str) -> None:
    headers = [(b"content-type", content_type.encode("latin-1"))]
    answer = await client.post("/predict/mnist", content=PNG, headers=headers)
    if content_type == ";;;":
        assert answer.status_code == 200  # it names none, and the bytes are an image
    else:
        assert_problem(answer, 415, "not-an-image")


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"--x\r\n"),
        ("multipart/form-data; boundary=", b"--x\r\n"),
        ("multipart/form-data; boundary=x", b""),
        ("multipart/form-data; boundary=x", b"no form"),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\n--x--"),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n--x--',
        ),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="\xff\x00"\r\n\r\nb\r\n--x--',
        ),
    ],
)
@pytest.mark.parametrize("path", ["/predict/mnist", "/predict/mnist/batch"])
async def test_a_bad_form_is_a_problem(
    client: httpx.AsyncClient, path: str, content_type: str, body: bytes
) -> None:
    answer = await client.post(path, content=body, headers={"Content-Type": content_type})
    assert_problem(answer, 422, "invalid-parameter")


async def test_a_limit_can_be_set(artifacts: Path) -> None:
    async with serving(artifacts, max_body_bytes=100, max_pixels=100) as client:
        assert_problem(await client.post("/predict/mnist", content=PNG + b" " * 100), 413, "too-many-bytes")
        small = encoded(stripe(5)[:12])
        assert_problem(await client.post("/predict/mnist", content=small), 413, "too-many-pixels")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "BREW"])
async def test_a_wrong_method_names_the_right_ones(client: httpx.AsyncClient, method: str) -> None:
    answer = await client.request(method, "/models")
    assert_problem(answer, 405, "method-not-allowed")
    assert answer.headers["Allow"] == "GET, HEAD, OPTIONS"


async def test_options_names_the_methods(client: httpx.AsyncClient) -> None:
    answer = await client.options("/predict/mnist")
    assert (answer.status_code, answer.headers["Allow"]) == (204, "OPTIONS, POST")


@pytest.mark.parametrize(
    "path", ["/models", "/models/mnist", "/samples/mnist/0", "/docs", "/", "/models/nothing"]
)
async def test_head_is_get_without_its_body(client: httpx.AsyncClient, path: str) -> None:
    get, head = await client.get(path), await client.head(path)
    assert head.content == b""
    assert (head.status_code, head.headers) == (get.status_code, get.headers)


FUZZ = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)


@FUZZ
@given(
    body=st.binary(max_size=300),
    head=st.sampled_from([b"", PNG[:33], JPEG[:30], b"GIF89a", b"BM", b"RIFF\0\0\0\0WEBP"]),
)
async def test_any_bytes_are_answered(client: httpx.AsyncClient, head: bytes, body: bytes) -> None:
    for path in ("/predict/mnist", "/predict/cifar10"):
        answer = await client.post(path, content=head + body, headers={"Content-Type": "image/png"})
        assert answer.status_code in (200, 413, 415, 422)


@FUZZ
@given(junk=TRICKY_PATHS, method=st.sampled_from(["GET", "POST", "HEAD", "OPTIONS", "PUT"]))
async def test_any_path_and_query_is_answered(client: httpx.AsyncClient, junk: bytes, method: str) -> None:
    text = junk.decode().removeprefix("=")
    for path in (
        f"/{text}",
        f"/predict/{text}",
        f"/models/{text}/layers",
        f"/samples/{text}/{text}",
        f"/models?{text}",
    ):
        answer = await client.request(method, path, content=PNG)
        assert answer.status_code < 500


def test_the_pictures_of_these_tests_are_what_they_claim() -> None:
    assert png_of_size(20_000, 20_000)[16:24] == struct.pack(">II", 20_000, 20_000)
