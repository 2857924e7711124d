"""Requests, and what is read of answers."""

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks.serving.bench import COLOUR, DIGITS
from tests.benchmarks.serving.messages import Request, binary_tensor, get, json_tensor, label_of
from tests.benchmarks.serving.mixed_load import MIXED, request_of
from tests.benchmarks.serving.open_loop import answered, percentile
from tests.benchmarks.serving.servers import digit
from tests.conftest import serving
from tests.service.shipped import linked


@pytest.mark.parametrize(
    "answer",
    [
        {"label": "7", "probability": 1.0},
        [{"label": "7", "probability": 1.0}],
        {"model": "m", "results": [{"label": "7"}, {"label": "2"}]},
        {"outputs": [{"name": "probabilities", "data": [0, 0, 0, 0.1, 0, 0, 0, 0.9, 0, 0]}]},
    ],
)
def test_the_label_is_found_in_every_servers_answer(answer: object) -> None:
    assert label_of(json.dumps(answer).encode()) == "7"


def test_a_raw_request_is_one_http_message() -> None:
    head, _, body = Request("/x?y=1", b"body", "image/png", (("A", "b"),)).raw().partition(b"\r\n\r\n")
    assert body == b"body"
    assert head.splitlines()[0] == b"POST /x?y=1 HTTP/1.1"
    assert {b"Content-Length: 4", b"Content-Type: image/png", b"A: b"} <= set(head.splitlines())


@pytest.mark.parametrize(
    ("sent", "size"),
    [
        (b"HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 4\r\n\r\nbody", 48),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", 0),
    ],
)
def test_an_answer_knows_how_long_it_was_with_its_head(sent: bytes, size: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(get, listener.getsockname()[1], "/")
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(sent)
            assert asked.result() == (200, b"body", size)
    assert size in (0, len(sent))


def test_the_request_of_the_comparison_is_a_small_png() -> None:
    assert digit().body.startswith(b"\x89PNG")
    assert len(digit().body) == 254


def test_binary_tensors_say_where_their_header_ends() -> None:
    images = np.arange(2 * 28 * 28, dtype=np.uint8).reshape(2, 28, 28, 1)
    request = binary_tensor("/v2/models/m/infer", images)
    length = int(dict(request.headers)["Inference-Header-Content-Length"])
    tensor = json.loads(request.body[:length])["inputs"][0]
    assert tensor["parameters"]["binary_data_size"] == len(request.body) - length == images.nbytes
    assert request.body[length:] == images.tobytes()
    assert json.loads(json_tensor("/", images).body)["inputs"][0]["data"][:3] == [0, 1, 2]


@pytest.mark.parametrize("cut", range(0, 60, 7))
def test_an_answer_is_whole_only_with_its_last_byte(cut: int) -> None:
    answer = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 5\r\n\r\n12345"
    assert answered(answer) == 503
    assert answered(answer[:cut]) == 0


def test_a_percentile_is_one_of_the_values() -> None:
    assert percentile(range(1, 101), 0.99) == 99
    assert percentile(range(1, 102), 0.99) == 100
    assert percentile([5.0], 0.99) == 5
    assert percentile([3, 1, 2], 0.5) == 2
    assert percentile([2, 1], 0.5) == 1


async def test_the_soak_expects_what_the_service_answers(tmp_path: Path) -> None:
    artifacts = linked(tmp_path, DIGITS, "cifar10-mnist-like", aliases={COLOUR: "cifar10-mnist-like"})
    answered_with = {}
    async with serving(artifacts) as client:
        for kind in MIXED:
            request = request_of(kind)
            headers = {"Content-Type": request.content_type}
            answer = await client.post(request.path, content=request.body, headers=headers)
            answered_with[kind] = answer.status_code
    assert answered_with == {kind: one.status for kind, one in MIXED.items()}
