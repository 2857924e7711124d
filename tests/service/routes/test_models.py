"""GET /models…"""

import json
from pathlib import Path

import httpx
from pydantic import TypeAdapter

from service import schemas
from service.manifest import MANIFEST
from tests.conftest import serving
from tests.service.stripes import encoded, stripe, write_aliases, write_model
from tests.service.test_class_names import publish


async def test_models_are_listed_with_their_aliases(client: httpx.AsyncClient) -> None:
    answer = await client.get("/models")
    TypeAdapter(schemas.ModelList).validate_json(answer.content, strict=True, extra="forbid")
    body = answer.json()
    assert [(one["name"], one["aliases"], one["state"]) for one in body["models"]] == [
        ("stripes", ["mnist"], "ready"),
        ("stripes-colour", ["cifar10"], "ready"),
    ]
    assert body["refused"] == []


async def test_a_refused_version_is_listed_with_its_reason(artifacts: Path) -> None:
    (write_model(artifacts, "broken") / "model.onnx").unlink()
    async with serving(artifacts) as client:
        body = (await client.get("/models")).json()
        assert body["refused"] == [{"name": "broken", "version": "1", "reason": "model.onnx is missing"}]
        answer = await client.get("/models/broken")
        assert answer.status_code == 404
        assert "model.onnx is missing" in answer.json()["detail"]


async def test_a_version_whose_files_have_changed_is_unavailable_until_they_are_back(artifacts: Path) -> None:
    graph = artifacts / "models" / "stripes" / "1" / "model.onnx"
    right = graph.read_bytes()
    image, url = encoded(stripe(3)), "/predict/mnist?preprocess=none"
    async with serving(artifacts, keep_open="none") as client:
        graph.unlink()
        for _ in range(2):
            answer = await client.post(url, content=image)
            assert (answer.status_code, answer.json()["type"]) == (503, "/problems/not-ready")
            assert "model.onnx is missing" in answer.json()["detail"]
        answer = await client.get("/models")
        TypeAdapter(schemas.ModelList).validate_json(answer.content, strict=True, extra="forbid")
        body = answer.json()
        assert [one["state"] for one in body["models"]] == ["unavailable", "ready"]
        assert body["refused"] == [{"name": "stripes", "version": "1", "reason": "model.onnx is missing"}]
        for path in ("/v2/models/stripes/ready", "/v2/models/mnist/versions/1/ready"):
            assert (await client.get(path)).status_code == 503
        graph.write_bytes(right)
        assert (await client.post(url, content=image)).json()["label"] == "3"
        assert (await client.get("/v2/models/stripes/ready")).json()["ready"]
        assert (await client.get("/models")).json()["refused"] == []


async def test_every_link_leads_somewhere(client: httpx.AsyncClient) -> None:
    for model in (await client.get("/models")).json()["models"]:
        for name, link in model["links"].items():
            assert (await client.request("POST" if name == "predict" else "GET", link)).status_code in (
                200,
                422,
            )


async def test_a_model_tells_all_there_is_to_know(client: httpx.AsyncClient) -> None:
    body = (await client.get("/models/mnist")).json()
    TypeAdapter(schemas.ModelDetail).validate_python(body)
    assert body["name"] == "stripes"
    assert body["classes"] == [str(digit) for digit in range(10)]
    assert body["input"] == {"height": 28, "width": 28, "channels": 1, "dtype": "uint8", "layout": "NHWC"}
    assert body["created"] == "2026-01-01T00:00:00Z"


async def test_an_older_version_can_be_asked_for(artifacts: Path) -> None:
    write_model(artifacts, "stripes", "2")
    async with serving(artifacts) as client:
        latest = (await client.get("/models/mnist")).json()
        older = (await client.get("/models/mnist", params={"version": "1"})).json()
        followed = (await client.get(older["links"]["self"])).json()
    assert (latest["version"], latest["versions"]) == ("2", ["1", "2"])
    assert older["version"] == followed["version"] == "1"
    assert all(link.endswith("?version=1") for link in older["links"].values())
    assert latest["links"]["self"] == "/models/stripes"


async def test_layers_are_summed_up(client: httpx.AsyncClient) -> None:
    body = (await client.get("/models/stripes/layers")).json()
    TypeAdapter(schemas.LayerList).validate_python(body, strict=True, extra="forbid")
    assert body["layers"] == [
        {"name": "dense", "type": "Dense", "shape": [10], "parameters": 7840, "trainable": 7840}
    ]
    assert body["parameters"] == sum(layer["parameters"] for layer in body["layers"])


async def test_parameters_that_training_leaves_as_they_are_are_not_counted_among_the_trainable(
    artifacts: Path,
) -> None:
    folder = artifacts / "models" / "stripes" / "1"
    [layer] = json.loads((folder / MANIFEST).read_text())["layers"]
    publish(folder, layers=[layer | {"trainable": 7}], trainable_parameters=7)
    async with serving(artifacts) as client:
        body = (await client.get("/models/stripes/layers")).json()
        assert (body["parameters"], body["trainable"]) == (7840, 7)
        assert (body["layers"][0]["parameters"], body["layers"][0]["trainable"]) == (7840, 7)


async def test_a_bare_graph_of_which_no_layer_is_known_is_served(artifacts: Path) -> None:
    publish(write_model(artifacts, "bare"), layers=[], parameters=0, trainable_parameters=0)
    image = encoded(stripe(3))
    async with serving(artifacts) as client:
        assert (await client.post("/predict/bare?preprocess=none", content=image)).json()["label"] == "3"
        assert (await client.get("/models/bare/layers")).json()["layers"] == []
        path = "/models/bare/feature-maps"
        for query in ("", "?channels=0", "?layer=x", "?format=png", "?sample=4"):
            answers = [await client.get(f"{path}{query}")]
            answers += [] if "sample" in query else [await client.post(f"{path}{query}", content=image)]
            for answer in answers:
                assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-in-artifact")
                assert "feature_maps.onnx" in answer.json()["detail"]


async def test_unknown_models_and_versions_say_what_there_is(client: httpx.AsyncClient) -> None:
    for path in ("/models/mnits", "/models/mnits/layers", "/models/mnist?version=9"):
        answer = await client.get(path)
        assert answer.status_code == 404
        assert "stripes" in answer.json()["detail"] or "it has 1" in answer.json()["detail"]


async def test_a_service_without_models_is_live_and_not_ready(tmp_path: Path) -> None:
    write_aliases(tmp_path, {})
    async with serving(tmp_path) as client:
        assert (await client.get("/health/live")).status_code == 200
        answer = await client.get("/health/ready")
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "1"
        assert answer.json()["type"] == "/problems/not-ready"
        assert (await client.get("/models")).json() == {"models": [], "refused": []}
