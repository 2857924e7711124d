"""What /docs, /redoc, /problems and /openapi.json promise."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import TypeAdapter

from service import schemas, schemas_inside
from service.errors import Problem, problem_types
from service.manifest import sha256_of
from service.settings import ROOT
from tests.conftest import serving
from tests.service.shipped import linked

VENDOR = ROOT / "service" / "page" / "vendor"


@pytest.fixture
async def document(client: httpx.AsyncClient) -> dict[str, Any]:
    answer = await client.get("/openapi.json")
    assert answer.status_code == 200
    body: dict[str, Any] = answer.json()
    return body


def operations(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [operation for path in document["paths"].values() for operation in path.values()]


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/", "/problems", "/problems/unknown-model"])
async def test_pages_load_nothing_from_elsewhere_and_all_that_they_load_is_there(
    client: httpx.AsyncClient, path: str
) -> None:
    page = await client.get(path)
    assert page.headers["Content-Type"].startswith("text/html")
    loaded = re.findall(r"""(?:src|href|url)\s*[=:]\s*["']([^"']+)""", page.text)
    assert loaded
    for address in loaded:
        if address.startswith("data:"):
            continue
        assert address.startswith("/"), f"{path} loads {address}"
        assert (await client.get(address)).status_code == 200, address


async def test_vendored_files_are_those_their_list_names(client: httpx.AsyncClient) -> None:
    listed = dict(re.findall(r"^([0-9a-f]{64})  (\S+)$", (VENDOR / "README.md").read_text(), re.MULTILINE))
    assert set(listed.values()) == {path.name for path in VENDOR.iterdir()} - {"README.md"}
    for checksum, name in listed.items():
        assert sha256_of(VENDOR / name) == checksum, name


async def test_what_is_vendored_asks_nobody_else_for_pictures(client: httpx.AsyncClient) -> None:
    script = (await client.get("/page/vendor/redoc.standalone.js")).text
    assert re.findall(r"src:\s*[\"']https?:", script) == []


@pytest.mark.parametrize("path", ["/page/document.py", "/page/__init__.py", "/page/vendor/../document.py"])
async def test_no_source_is_served(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 404


async def test_a_file_takes_no_other_method_and_says_which_it_takes(client: httpx.AsyncClient) -> None:
    answer = await client.post("/page/vendor/swagger-ui.css")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")


async def test_every_problem_has_its_page(client: httpx.AsyncClient) -> None:
    index = (await client.get("/problems")).text
    for slug, kind in problem_types().items():
        assert f'href="/problems/{slug}"' in index
        page = (await client.get(f"/problems/{slug}")).text
        assert kind.title in page
        assert str(kind.status) in page


async def test_who_sends_too_much_is_told_of_every_limit(client: httpx.AsyncClient) -> None:
    page = (await client.get("/problems/too-many-bytes")).text
    for name in ("MAX_BODY_BYTES", "MAX_BATCH_BYTES", "MAX_JSON_BYTES"):
        assert f"CONVSCOPE_{name}" in page


async def test_an_unknown_problem_is_not_found(client: httpx.AsyncClient) -> None:
    assert (await client.get("/problems/nothing")).status_code == 404


def test_every_problem_explains_itself() -> None:
    for kind in problem_types().values():
        assert kind.__doc__
        assert kind.__doc__ != Problem.__doc__


async def test_operation_ids_are_stable_and_unique(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for operation in operations(document)]
    assert len(ids) == len(set(ids))
    assert {
        "predict", "predict_top_k", "predict_batch", "list_models", "get_model", "list_layers", "get_sample",
        "health_live", "health_ready", "metrics",
    } <= set(ids)  # fmt: skip


async def test_every_operation_has_a_tag_a_description_and_an_example(document: dict[str, Any]) -> None:
    for operation in operations(document):
        assert operation["tags"]
        assert operation["description"]
        content = operation["responses"]["200"]["content"]
        if "application/json" in content:
            assert content["application/json"]["example"], operation["operationId"]


async def test_what_the_page_fills_into_a_path_is_answered(document: dict[str, Any], tmp_path: Path) -> None:
    """Whoever tries an operation there finds its whole path filled in."""
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    async with serving(linked(shipped, "mnist-baseline")) as client:
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                filled = {
                    one["name"]: one["example"]
                    for one in operation.get("parameters", [])
                    if one["in"] == "path"
                }
                if method == "get":
                    answer = await client.get(path.format(**filled))
                    assert answer.status_code == 200, (path, answer.text)


async def test_an_answer_of_several_forms_tells_caches_that_it_depends_on_accept(
    document: dict[str, Any], tmp_path: Path
) -> None:
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    seen = 0
    async with serving(linked(shipped, "mnist-baseline")) as client:
        for path, operations in document["paths"].items():
            operation = operations.get("get", {})
            if len(operation.get("responses", {}).get("200", {}).get("content", {})) > 1:
                filled = {
                    one["name"]: one["example"] for one in operation["parameters"] if one["in"] == "path"
                }
                answer = await client.get(path.format(**filled))
                assert (answer.status_code, answer.headers.get("Vary")) == (200, "Accept"), path
                seen += 1
    assert seen > 5


async def test_what_comes_unless_another_form_is_asked_for_is_documented_first(
    document: dict[str, Any],
) -> None:
    contents = {
        path: list(operation["responses"]["200"]["content"])
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if method == "get"
    }
    assert contents["/samples/{dataset}/{index}"] == ["image/png", "application/json"]
    assert contents["/models/{model}/hard-examples"] == ["application/json", "image/png", "text/csv"]


@pytest.mark.parametrize("path", ["/predict/{model}", "/predict/{model}/top-k", "/predict/{model}/batch"])
async def test_both_forms_of_a_body_are_documented(document: dict[str, Any], path: str) -> None:
    content = document["paths"][path]["post"]["requestBody"]["content"]
    assert content["image/png"]["schema"] == {"type": "string", "format": "binary"}
    form = content["multipart/form-data"]["schema"]
    assert form["required"] == ["files" if "batch" in path else "file"]
    assert form["properties"].get("files", {"minItems": 1})["minItems"] == 1


async def test_every_error_is_a_documented_problem(document: dict[str, Any]) -> None:
    for operation in operations(document):
        if "open inference protocol" in operation["tags"]:
            continue
        for status, response in operation["responses"].items():
            if int(status) >= 400:
                content = response["content"]
                assert list(content) == ["application/problem+json"], operation["operationId"]
                assert content["application/problem+json"]["schema"]["$ref"].endswith("/ProblemBody")
                for example in content["application/problem+json"]["examples"].values():
                    assert example["value"]["status"] == int(status)
    assert "HTTPValidationError" not in document["components"]["schemas"]


async def test_errors_of_the_open_inference_protocol_are_documented_in_its_own_form(
    document: dict[str, Any],
) -> None:
    own = [one for one in operations(document) if "open inference protocol" in one["tags"]]
    assert {"v2_infer", "v2_infer_version"} <= {one["operationId"] for one in own}
    for operation in own:
        for status, response in operation["responses"].items():
            if int(status) >= 400:
                assert int(status) in (400, 404, 413, 503, 504)
                content = response["content"]["application/json"]
                assert content["schema"]["$ref"].endswith("/ErrorBody")
                assert all(set(one["value"]) == {"error"} for one in content["examples"].values())


async def test_a_refusal_that_may_pass_says_when_to_come_again(document: dict[str, Any]) -> None:
    told = {"/problems": False, "/v2": False}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            for response in operation["responses"].values():
                [content, *_] = response.get("content", {"": {}}).values()
                passing = {"queue-full", "not-ready"} & set(content.get("examples", {}))
                assert bool(passing) == ("Retry-After" in response.get("headers", {})), path
                if passing:
                    told["/v2" if path.startswith("/v2/") else "/problems"] = True
    assert all(told.values())


async def test_no_parameter_of_a_query_may_be_null_and_a_choice_is_a_plain_list(
    document: dict[str, Any],
) -> None:
    found = [
        one for each in operations(document) for one in each.get("parameters", ()) if one["in"] == "query"
    ]
    for parameter in found:
        assert "null" not in str(parameter["schema"]), parameter
        assert not {"anyOf", "enum"} <= set(parameter["schema"]), parameter
    choices = {one["name"]: one["schema"]["enum"] for one in found if "enum" in one["schema"]}
    assert choices["include"] == ["input"]
    assert {"format", "theme", "preprocess", "kind"} <= set(choices)


async def test_the_items_of_every_list_are_told(document: dict[str, Any]) -> None:
    def lists(part: Any) -> Iterator[dict[str, Any]]:
        if isinstance(part, dict):
            if part.get("type") == "array":
                yield part
            part = list(part.values())
        if isinstance(part, list):
            for one in part:
                yield from lists(one)

    found = list(lists(document["components"]["schemas"]))
    assert len(found) > 20
    for one in found:
        assert one.get("items") or one.get("prefixItems"), one


async def test_an_interval_is_a_pair_wherever_it_stands(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for name in ("ModelSummary", "ModelDetail", "Metrics"):
        interval = schemas[name]["properties"]["accuracy_interval"]
        assert (interval["minItems"], interval["maxItems"]) == (2, 2)


@pytest.mark.parametrize("method", ["get", "post"])
async def test_a_layer_is_offered_for_a_picture_of_one(document: dict[str, Any], method: str) -> None:
    operation = document["paths"]["/models/{model}/feature-maps"][method]
    [layer] = [one for one in operation["parameters"] if one["name"] == "layer"]
    example = operation["responses"]["200"]["content"]["application/json"]["example"]
    first, *others = [one["value"] for one in layer["examples"].values()]
    assert first == ""  # filled in: every layer, as when it is left out
    assert set(others) & {one["name"] for one in example["layers"]}


async def test_a_body_of_tensors_says_which_header_it_needs(document: dict[str, Any]) -> None:
    body = document["paths"]["/v2/models/{model}/infer"]["post"]["requestBody"]
    for text in (body["description"], body["content"]["application/octet-stream"]["schema"]["description"]):
        assert "needs the header Inference-Header-Content-Length" in text


async def test_every_reference_of_the_document_leads_somewhere(document: dict[str, Any]) -> None:
    text = (document["components"]["schemas"]).keys()
    assert set(re.findall(r"#/components/schemas/(\w+)", str(document))) == set(text)


@pytest.mark.parametrize(
    ("path", "parameters"),
    [
        ("/predict/{model}", {"model", "version", "top_k", "preprocess", "invert", "fit", "include"}),
        ("/predict/{model}/top-k", {"model", "version", "k", "preprocess", "invert", "fit"}),
        ("/predict/{model}/batch", {"model", "version", "top_k", "preprocess", "invert", "fit"}),
    ],
)
async def test_parameters_are_documented(document: dict[str, Any], path: str, parameters: set[str]) -> None:
    assert {one["name"] for one in document["paths"][path]["post"]["parameters"]} == parameters


@pytest.mark.parametrize(
    ("path", "method", "schema"),
    [
        ("/predict/{model}", "post", schemas.Prediction),
        ("/predict/{model}/top-k", "post", schemas.TopK),
        ("/predict/{model}/batch", "post", schemas.BatchPrediction),
        ("/models", "get", schemas.ModelList),
        ("/models/{model}", "get", schemas.ModelDetail),
        ("/models/{model}/layers", "get", schemas.LayerList),
        ("/samples/{dataset}/{index}", "get", schemas.Sample),
    ],
)
async def test_examples_are_answers_that_could_be(
    document: dict[str, Any], path: str, method: str, schema: Any
) -> None:
    example = document["paths"][path][method]["responses"]["200"]["content"]["application/json"]["example"]
    TypeAdapter(schema).validate_python(example)


async def test_the_example_of_an_image_sent_speaks_of_no_sample(document: dict[str, Any]) -> None:
    operation = document["paths"]["/models/{model}/feature-maps"]["post"]
    example = operation["responses"]["200"]["content"]["application/json"]["example"]
    TypeAdapter(schemas_inside.FeatureMapList).validate_python(example)
    assert "sample" not in str(example)
    assert example["preprocessing"]["steps"]


@pytest.mark.parametrize(
    ("path", "method", "parameter", "said"),
    [
        ("/models/{model}/feature-maps", "get", "format", "png and npy need `layer`"),
        ("/models/{model}/feature-maps", "post", "format", "png and npy need `layer`"),
        ("/models/{model}/training", "get", "against", "the JSON describes the first model only"),
        ("/models/{model}/weights", "get", "against", "the JSON has its numbers as `against`"),
        ("/predict/{model}", "post", "invert", "for colour images, it is the same as no"),
    ],
)
async def test_a_parameter_says_what_it_does(
    document: dict[str, Any], path: str, method: str, parameter: str, said: str
) -> None:
    [found] = [one for one in document["paths"][path][method]["parameters"] if one["name"] == parameter]
    assert said in found["description"]
