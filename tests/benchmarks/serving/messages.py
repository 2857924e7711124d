"""The requests that are sent, and what must come back."""

import http.client
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.settings import ROOT

BOUNDARY = "a-boundary-of-the-benchmark"


class Request(NamedTuple):
    """One POST."""

    path: str
    body: bytes
    content_type: str
    headers: tuple[tuple[str, str], ...] = ()

    def raw(self) -> bytes:
        """As it goes over the wire."""
        lines = [
            f"POST {self.path} HTTP/1.1",
            "Host: 127.0.0.1",
            f"Content-Type: {self.content_type}",
            f"Content-Length: {len(self.body)}",
            *(f"{name}: {value}" for name, value in self.headers),
        ]
        return "\r\n".join((*lines, "", "")).encode() + self.body


class Answer(NamedTuple):
    status: int
    body: bytes
    size: int = 0
    """bytes over the wire, its head among them; 0 where nobody counted"""


def ask(port: int, request: Request, *, seconds: float = 30.0) -> Answer:
    """One request over a connection of its own. Raises OSError and HTTPException as http.client does."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        headers = {"Content-Type": request.content_type, **dict(request.headers)}
        connection.request("POST", request.path, request.body, headers)
        return _whole(connection.getresponse())
    finally:
        connection.close()


def get(port: int, path: str, *, seconds: float = 30.0) -> Answer:
    """The same for a GET."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        connection.request("GET", path)
        return _whole(connection.getresponse())
    finally:
        connection.close()


def _whole(answer: http.client.HTTPResponse) -> Answer:
    body = answer.read()
    if answer.chunked:  # by then nobody knows in how many
        return Answer(answer.status, body)
    lines = (f"{name}: {value}" for name, value in answer.getheaders())
    head = "\r\n".join((f"HTTP/1.1 {answer.status} {answer.reason}", *lines, "", ""))
    return Answer(answer.status, body, len(head) + len(body))


def image(path: str, data: bytes, kind: str = "image/png") -> Request:
    """An image file as the raw body."""
    return Request(path, data, kind)


def form(path: str, field: str, files: Sequence[bytes]) -> Request:
    """PNG files in a field of a multipart form."""
    parts = b"".join(
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="{at}.png"\r\n'
        "Content-Type: image/png\r\n\r\n".encode()
        + data
        + b"\r\n"
        for at, data in enumerate(files)
    )
    return Request(path, parts + f"--{BOUNDARY}--\r\n".encode(), f"multipart/form-data; boundary={BOUNDARY}")


def json_tensor(path: str, images: NDArray[np.uint8]) -> Request:
    """uint8 [N,H,W,C] as an Open Inference request of JSON alone."""
    tensor = {
        "name": "image",
        "shape": list(images.shape),
        "datatype": "UINT8",
        "data": images.ravel().tolist(),
    }
    return Request(path, json.dumps({"inputs": [tensor]}).encode(), "application/json")


def binary_tensor(path: str, images: NDArray[np.uint8]) -> Request:
    """uint8 [N,H,W,C] as the bytes themselves, probabilities wanted back in the same way."""
    tensor = {
        "name": "image",
        "shape": list(images.shape),
        "datatype": "UINT8",
        "parameters": {"binary_data_size": images.nbytes},
    }
    output = {"name": "probabilities", "parameters": {"binary_data": True}}
    head = json.dumps({"inputs": [tensor], "outputs": [output]}).encode()
    length = ("Inference-Header-Content-Length", str(len(head)))
    return Request(path, head + images.tobytes(), "application/octet-stream", (length,))


def label_of(body: bytes) -> str:
    """The class in an answer of this service, of the peers' scripts, or of JSON tensors."""
    answer: Any = json.loads(body)
    if isinstance(answer, dict) and "outputs" in answer:
        return str(int(np.argmax(answer["outputs"][0]["data"])))
    if isinstance(answer, dict) and "results" in answer:
        answer = answer["results"]
    if isinstance(answer, list):
        answer = answer[0]
    return str(answer["label"])


def labels_of(body: bytes) -> list[str]:
    """Of a batch by this service; of an image with a problem there is none."""
    return [str(one["label"]) for one in json.loads(body)["results"] if "label" in one]


def output_shape(body: bytes) -> list[int]:
    """Of the only tensor in an Open Inference answer, whose bytes may follow its JSON."""
    head, _ = json.JSONDecoder().raw_decode(body.decode("latin-1"))
    return [int(size) for size in head["outputs"][0]["shape"]]


def is_right(answer: Answer, right: Callable[[Answer], bool]) -> bool:
    """One that cannot be read is not: a page of HTML with status 200, or JSON of another shape."""
    with suppress(ValueError, LookupError, TypeError):
        return right(answer)
    return False


@cache
def test_images(dataset: str, count: int) -> NDArray[np.uint8]:
    """The first images of a test set, uint8 [N,H,W,C]."""
    with np.load(ROOT / "artifacts" / "datasets" / dataset / "test.npz") as arrays:
        return np.ascontiguousarray(arrays["images"][:count])


test_images.__test__ = False  # type: ignore[attr-defined]


def encoded(pixels: NDArray[np.uint8], kind: str = "PNG", **options: Any) -> bytes:
    """uint8 [H,W,C] → an image file; `options` are Pillow's."""
    file = BytesIO()
    Image.fromarray(pixels.squeeze()).save(file, kind, **options)
    return file.getvalue()
