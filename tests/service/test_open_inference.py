"""/v2/…: the Open Inference Protocol over HTTP."""

import gzip
import json
import zlib
from base64 import b64encode
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from service.app import create_app
from service.open_inference import schemas
from service.routes import open_inference, open_inference_bodies
from service.settings import Settings
from tests.conftest import serving
from tests.service.stripes import encoded, stripe, write_model

INFER = "/v2/models/mnist/infer"
LENGTH = "Inference-Header-Content-Length"
DIGITS = np.stack([stripe(digit) for digit in (3, 1, 4)])
TENSOR = {"name": "image", "datatype": "UINT8", "shape": [3, 28, 28, 1]}
BINARY = {"binary_data": True}


def request(**changes: Any) -> dict[str, Any]:
    return {"inputs": [TENSOR | {"data": DIGITS.tolist()}], **changes}


def binary_body(tail: bytes, **changes: Any) -> tuple[bytes, dict[str, str]]:
    """JSON, then the input's bytes; and the header."""
    head = {"inputs": [TENSOR | {"parameters": {"binary_data_size": len(tail)}}], **changes}
    text = json.dumps(head).encode()
    return text + tail, {LENGTH: str(len(text))}


def outputs_of(answer: httpx.Response) -> dict[str, Any]:
    """Name → what it holds, of an answer in either form."""
    assert answer.status_code == 200, answer.text
    length = answer.headers.get(LENGTH)
    assert answer.headers["Content-Type"] == (
        "application/json" if length is None else "application/octet-stream"
    )
    body = json.loads(answer.content[: None if length is None else int(length)])
    TypeAdapter(schemas.InferAnswer).validate_python(body, strict=True, extra="forbid")
    at = len(answer.content) if length is None else int(length)
    found = {}
    for output in body["outputs"]:
        if "data" in output:
            found[output["name"]] = output["data"]
            continue
        end = at + output["parameters"]["binary_data_size"]
        found[output["name"]] = answer.content[at:end]
        at = end
    assert at == len(answer.content)
    return found


def assert_error(answer: httpx.Response, status: int, said: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    body = answer.json()
    assert list(body) == ["error"]
    assert said in body["error"]
    assert "Traceback" not in body["error"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v2", {"name": "convscope", "version": "0.1.0", "extensions": ["binary_tensor_data", "classification"]}),
        ("/v2/health/live", {"live": True}),
        ("/v2/health/ready", {"ready": True}),
        ("/v2/models/mnist/ready", {"name": "stripes", "ready": True}),
        ("/v2/models/stripes/versions/1/ready", {"name": "stripes", "ready": True}),
    ],
)  # fmt: skip
async def test_the_service_says_what_it_is(client: httpx.AsyncClient, path: str, body: object) -> None:
    answer = await client.get(path)
    assert (answer.status_code, answer.json()) == (200, body)


@pytest.mark.parametrize("path", ["/v2/models/cifar10", "/v2/models/stripes-colour/versions/1"])
async def test_a_model_says_what_it_takes_and_gives(client: httpx.AsyncClient, path: str) -> None:
    body = (await client.get(path)).json()
    TypeAdapter(schemas.ModelMetadata).validate_python(body, strict=True, extra="forbid")
    assert (body["name"], body["versions"]) == ("stripes-colour", ["1"])
    assert body["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, 32, 32, 3]}]
    assert body["outputs"] == [
        {"name": "probabilities", "datatype": "FP32", "shape": [-1, 10]},
        {"name": "label", "datatype": "BYTES", "shape": [-1]},
    ]


@pytest.mark.parametrize(
    ("engine", "platform"),
    [("onnxruntime", "onnx_onnxv1"), ("openvino", "onnx_onnxv1"), ("tensorflow", "tensorflow_keras")],
)
async def test_a_model_says_from_which_file_it_is_run(artifacts: Path, engine: str, platform: str) -> None:
    app = create_app(Settings(artifacts=artifacts))
    async with app.router.lifespan_context(app):
        app.state.service.store.snapshot.find("mnist")._engine = SimpleNamespace(name=engine)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client:
            assert (await client.get("/v2/models/mnist")).json()["platform"] == platform


async def test_json_in_json_out(client: httpx.AsyncClient) -> None:
    answer = await client.post(INFER, json=request(id="mine"))
    body = answer.json()
    assert (body["model_name"], body["model_version"], body["id"]) == ("stripes", "1", "mine")
    shapes = [(one["name"], one["datatype"], one["shape"]) for one in body["outputs"]]
    assert shapes == [("probabilities", "FP32", [3, 10]), ("label", "BYTES", [3])]
    assert outputs_of(answer)["label"] == ["3", "1", "4"]
    native = await client.post("/predict/mnist?preprocess=none", content=encoded(stripe(3)))
    assert max(outputs_of(answer)["probabilities"][:10]) == pytest.approx(
        native.json()["probability"], abs=1e-6
    )


async def test_the_id_is_absent_unless_given(client: httpx.AsyncClient) -> None:
    assert "id" not in (await client.post(INFER, json=request())).json()


async def test_binary_in_binary_out_is_the_same_as_json(client: httpx.AsyncClient) -> None:
    body, headers = binary_body(DIGITS.tobytes(), parameters={"binary_data_output": True})
    found = outputs_of(await client.post(INFER, content=body, headers=headers))
    expected = outputs_of(await client.post(INFER, json=request()))
    assert np.frombuffer(found["probabilities"], "<f4").tolist() == expected["probabilities"]
    assert found["label"] == b"\1\0\0\0003\1\0\0\0001\1\0\0\0004"


async def test_each_output_may_be_binary_or_not(client: httpx.AsyncClient) -> None:
    asked = [{"name": "label"}, {"name": "probabilities", "parameters": BINARY}]
    found = outputs_of(await client.post(INFER, json=request(outputs=asked)))
    assert list(found) == ["label", "probabilities"]
    assert (type(found["label"]), len(found["probabilities"])) == (list, 3 * 10 * 4)


async def test_a_body_of_pixels_alone_is_answered_in_binary(client: httpx.AsyncClient) -> None:
    found = outputs_of(await client.post(INFER, content=DIGITS.tobytes(), headers={LENGTH: "0"}))
    assert np.frombuffer(found["probabilities"], "<f4").reshape(3, 10).argmax(axis=1).tolist() == [3, 1, 4]


async def test_floats_from_0_to_1_are_the_same_image(client: httpx.AsyncClient) -> None:
    floats = [TENSOR | {"datatype": "FP32", "data": (DIGITS / 255).ravel().tolist()}]
    answer = await client.post(INFER, json={"inputs": floats})
    assert answer.json() == (await client.post(INFER, json=request())).json()


async def test_encoded_images_are_prepared_as_predict_does(client: httpx.AsyncClient) -> None:
    files = [
        encoded(np.kron(stripe(digit, "cifar10"), np.ones((4, 4, 1), np.uint8)), "JPEG") for digit in range(9)
    ]
    data = [b64encode(one).decode() for one in files]
    tensor = {"name": "image", "datatype": "BYTES", "shape": [9], "data": data}
    answer = await client.post("/v2/models/cifar10/infer", json={"inputs": [tensor]})
    assert outputs_of(answer)["label"] == [f"class-{digit}" for digit in range(9)]


async def test_more_images_than_one_run_takes_are_answered_in_order(client: httpx.AsyncClient) -> None:
    order = [7 * number % 10 for number in range(200)]
    body = np.stack([stripe(digit) for digit in order]).tobytes()
    found = outputs_of(await client.post(INFER, content=body, headers={LENGTH: "0"}))
    assert np.frombuffer(found["probabilities"], "<f4").reshape(200, 10).argmax(axis=1).tolist() == order


async def test_classification_gives_the_likeliest_as_value_index_label(client: httpx.AsyncClient) -> None:
    asked = [{"name": "probabilities", "parameters": {"classification": 2}}]
    answer = await client.post(INFER, json=request(outputs=asked))
    [output] = answer.json()["outputs"]
    assert (output["datatype"], output["shape"]) == ("BYTES", [3, 2])
    parts = [text.split(":") for text in output["data"]]
    assert [part[1:] for part in parts[::2]] == [["3", "3"], ["1", "1"], ["4", "4"]]
    values = np.array([float(part[0]) for part in parts]).reshape(3, 2)
    exact = np.array(outputs_of(await client.post(INFER, json=request()))["probabilities"]).reshape(3, 10)
    assert np.array_equal(values.astype("<f4"), np.sort(exact)[:, :-3:-1].astype("<f4"))


@pytest.mark.parametrize(("encoding", "squeeze"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_a_compressed_body_is_read(client: httpx.AsyncClient, encoding: str, squeeze: Any) -> None:
    """The length of the JSON is that of before it was compressed."""
    body, headers = binary_body(DIGITS.tobytes())
    answer = await client.post(INFER, content=squeeze(body), headers=headers | {"Content-Encoding": encoding})
    assert outputs_of(answer)["label"] == ["3", "1", "4"]


async def test_a_version_can_be_named(artifacts: Path) -> None:
    write_model(artifacts, "stripes", "2")
    async with serving(artifacts) as client:
        latest = await client.post(INFER, json=request())
        first = await client.post("/v2/models/mnist/versions/1/infer", json=request())
        assert (latest.json()["model_version"], first.json()["model_version"]) == ("2", "1")
        assert (await client.get("/v2/models/mnist")).json()["versions"] == ["1", "2"]


@pytest.mark.parametrize("path", [INFER, "/v2/models/mnist/versions/1/infer"])
async def test_a_version_in_the_query_is_refused_instead_of_passed_over(
    client: httpx.AsyncClient, path: str
) -> None:
    asked = {"version": "7"}
    home = path.removesuffix("/infer")
    answers = [await client.post(path, json=request(), params=asked)]
    answers += [await client.get(f"{home}{which}", params=asked) for which in ("", "/ready")]
    for answer in answers:
        assert answer.status_code == 400
        assert "a version has a path of its own" in answer.json()["error"]


@pytest.mark.parametrize(
    ("method", "path", "status", "said"),
    [
        ("GET", "/v2/models/nothing", 404, "there is no model 'nothing'; there are mnist"),
        ("GET", "/v2/models/nothing/ready", 404, "no model"),
        ("GET", "/v2/models/mnist/versions/2", 404, "no version '2'; it has 1"),
        ("GET", "/v2/models/mnist/versions/2/ready", 404, "no version"),
        ("POST", "/v2/models/nothing/infer", 404, "no model"),
        ("POST", "/v2/models/mnist/versions/x/infer", 404, "no version"),
        ("GET", "/v2/nothing", 404, "nothing at /v2/nothing"),
        ("GET", INFER, 405, "POST"),
        ("POST", "/v2/health/live", 405, "GET"),
        ("POST", "/v2", 405, "GET"),
        ("GET", "/v2?version=1", 400, "there are no parameters here"),
        ("POST", INFER, 400, "pixels alone need the header Inference-Header-Content-Length: 0"),
    ],
)
async def test_errors_are_in_the_protocols_own_form(
    client: httpx.AsyncClient, method: str, path: str, status: int, said: str
) -> None:
    assert_error(await client.request(method, path), status, said)


async def test_other_paths_keep_their_form_of_an_error(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v2x")
    assert answer.headers["Content-Type"] == "application/problem+json"


async def test_without_a_model_nothing_is_ready(tmp_path: Path) -> None:
    async with serving(tmp_path) as client:
        answer = await client.get("/v2/health/ready")
        assert_error(answer, 503, "no model is served")
        assert answer.headers["Retry-After"]
        assert (await client.get("/v2/health/live")).json() == {"live": True}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"outputs": [{"name": "x"}]}, "stripes has no output 'x'; there are probabilities, label"),
        ({"outputs": [{"name": "dense"}]}, "no output 'dense'"),  # published without feature maps
        ({"outputs": [{"name": "label", "parameters": {"classification": 1}}]}, "not 'label'"),
        ({"outputs": [{"name": "label", "parameters": {"shared_memory_region": "a"}}]}, "shared memory is not"),
        ({"outputs": [{"name": "probabilities", "parameters": {"classification": 11}}]}, "there are 10 classes"),
        ({"inputs": [TENSOR | {"shape": [3, 32, 32, 3], "data": []}]}, "[-1, 28, 28, 1] is expected, [3, 32, 32, 3]"),
    ],
)  # fmt: skip
async def test_what_does_not_fit_the_model_is_a_400(
    client: httpx.AsyncClient, changes: dict[str, Any], said: str
) -> None:
    assert_error(await client.post(INFER, json=request(**changes)), 400, said)


@pytest.mark.parametrize(
    ("file", "status", "said"),
    [
        (b"hello", 400, "image: element 1: the 5 bytes are no PNG"),
        (encoded(stripe(1))[:-30], 400, "element 1"),
        (encoded(np.zeros((40, 40, 1), np.uint8)), 413, "element 1"),
    ],
    ids=["no-image", "cut", "too-many-pixels"],
)
async def test_one_bad_image_fails_the_request_and_is_named(
    artifacts: Path, file: bytes, status: int, said: str
) -> None:
    data = [b64encode(one).decode() for one in (encoded(stripe(1)), file)]
    tensor = {"name": "image", "datatype": "BYTES", "shape": [2], "data": data}
    async with serving(artifacts, max_pixels=1000) as client:
        answer = await client.post("/v2/models/cifar10/infer", json={"inputs": [tensor]})
    assert_error(answer, status, said)


@pytest.mark.parametrize("length", ["-1", "1e3", "ten", "99999999"])
async def test_a_length_of_json_that_cannot_be_is_a_400(client: httpx.AsyncClient, length: str) -> None:
    assert_error(await client.post(INFER, content=b"{}", headers={LENGTH: length}), 400, LENGTH)


async def test_limits_hold_before_and_after_a_body_is_inflated(artifacts: Path) -> None:
    body = np.zeros((100, 28, 28, 1), np.uint8).tobytes()
    gzipped = {LENGTH: "0", "Content-Encoding": "gzip"}
    async with serving(artifacts, max_batch_bytes=len(body) - 1) as client:
        assert_error(
            await client.post(INFER, content=body, headers={LENGTH: "0"}), 413, "the limit is 78,399"
        )
        answer = await client.post(INFER, content=gzip.compress(body), headers=gzipped)
        assert_error(answer, 413, "inflate to more than 78,399")
    async with serving(artifacts, max_json_bytes=1000) as client:
        assert_error(await client.post(INFER, json=request()), 413, "the JSON has")
        assert (await client.post(INFER, content=gzip.compress(body), headers=gzipped)).status_code == 200


async def test_past_the_deadline_is_a_504(artifacts: Path) -> None:
    async with serving(artifacts, deadline=1e-9) as client:
        assert_error(await client.post(INFER, json=request()), 504, "time allowed")


async def test_to_inflate_a_body_takes_of_the_time_allowed(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = []

    def noted(module: ModuleType, name: str) -> None:
        real = getattr(module, name)

        def note(*args: Any) -> Any:
            order.append(name)
            return real(*args)

        monkeypatch.setattr(module, name, note)

    noted(open_inference, "deadline_of")
    noted(open_inference_bodies, "inflate")
    body = gzip.compress(json.dumps(request()).encode())
    assert (await client.post(INFER, content=body, headers={"Content-Encoding": "gzip"})).status_code == 200
    assert order == ["deadline_of", "inflate"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(
    body=st.binary(max_size=40) | st.sampled_from([json.dumps(request()).encode(), b"{}", DIGITS.tobytes()]),
    length=st.none() | st.integers(-1, 50).map(str) | st.text(st.characters(codec="latin-1"), max_size=3),
    encoding=st.sampled_from([None, "gzip", "deflate", "identity", "br", ""]),
)
async def test_anything_is_answered(
    client: httpx.AsyncClient, body: bytes, length: str | None, encoding: str | None
) -> None:
    headers = [
        (name, value.encode("latin-1"))
        for name, value in ((LENGTH.encode(), length), (b"Content-Encoding", encoding))
        if value is not None
    ]
    answer = await client.post(INFER, content=body, headers=headers)
    if answer.status_code != 200:
        assert_error(answer, 400, "")
