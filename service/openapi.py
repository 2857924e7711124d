"""What FastAPI cannot know of itself: bodies that are images, and problems as application/problem+json."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel

from service.errors import PROBLEM_JSON, Problem, ProblemBody
from service.problem_responses import ErrorBody, open_inference_status

IMAGE_TYPES = ("image/png", "image/jpeg", "image/webp", "image/gif", "image/bmp", "application/octet-stream")
JSON = "application/json"
BINARY = {"type": "string", "format": "binary"}
VALIDATION_SCHEMAS = ("HTTPValidationError", "ValidationError")

TAGS = [
    {"name": "predictions", "description": "An image in, the class out."},
    {"name": "models", "description": "What is served, how good it is and where it came from."},
    {"name": "feature maps", "description": "What every layer makes of an image."},
    {"name": "hard examples", "description": "The test images a model gets wrong, or hardly right."},
    {
        "name": "reports",
        "description": "Training, weights, confusions and calibration, as numbers and as figures.",
    },
    {"name": "samples", "description": "The test images."},
    {
        "name": "open inference protocol",
        "description": "Version 2, as KServe, Triton, OpenVINO Model Server and MLServer speak it.",
    },
    {"name": "operations", "description": "Probes and counters."},
    {"name": "documentation", "description": "Pages for people."},
]

Responses = dict[int | str, dict[str, Any]]


def one_image(field: str) -> dict[str, Any]:
    """Documents a body that is one image, raw or in a form."""
    return _body(field, BINARY, "The image itself, or a form with it. PNG, JPEG, WEBP, GIF or BMP.")


def many_images(field: str) -> dict[str, Any]:
    """Documents a body that is a form of images."""
    return _body(
        field, {"type": "array", "items": BINARY, "minItems": 1}, "A form with the images, or one raw image."
    )


def _body(field: str, files: dict[str, Any], description: str) -> dict[str, Any]:
    form = {"type": "object", "properties": {field: files}, "required": [field]}
    raw = {media_type: {"schema": BINARY} for media_type in IMAGE_TYPES}
    content = {**raw, "multipart/form-data": {"schema": form}}
    return {"requestBody": {"required": True, "description": description, "content": content}}


def example(
    body: object,
    description: str = "the answer",
    others: dict[str, dict[str, str]] | None = None,
    *,
    json_first: bool = True,
) -> Responses:
    """Documents a 200 with a real answer; `others` are further media types with their schemas. The first is to be what
    comes unless something else is asked for: generated clients take it for what they get."""
    further = {media_type: {"schema": schema} for media_type, schema in (others or {}).items()}
    numbers: dict[str, Any] = {JSON: {"example": body}}
    return {
        200: {
            "description": description,
            "content": {**numbers, **further} if json_first else {**further, **numbers},
        }
    }


class _Form(NamedTuple):
    """How an error is written."""

    model: type[BaseModel]
    media_type: str


_PROBLEM = _Form(ProblemBody, PROBLEM_JSON)
_OPEN_INFERENCE = _Form(ErrorBody, JSON)


def problems(*kinds: type[Problem]) -> Responses:
    """Documents the problems an operation can answer with, an example each."""
    responses: Responses = {}
    for kind in kinds:
        value = kind(_explanation(kind)).body().model_dump(exclude_none=True)
        _add(responses, kind.status, kind, _PROBLEM, value)
    return responses


def open_inference_errors(*kinds: type[Problem]) -> Responses:
    """Documents the same problems in the form of the Open Inference Protocol."""
    responses: Responses = {}
    for kind in kinds:
        status, value = open_inference_status(kind.status), {"error": _explanation(kind)}
        _add(responses, status, kind, _OPEN_INFERENCE, value)
    return responses


def _add(responses: Responses, status: int, kind: type[Problem], form: _Form, value: object) -> None:
    """One response for all problems of a status."""
    content: dict[str, Any] = {form.media_type: {"examples": {}}}
    response = responses.setdefault(status, {"model": form.model, "description": "", "content": content})
    response["description"] = " or ".join(filter(None, [response["description"], kind.title]))
    examples = response["content"][form.media_type]["examples"]
    examples[kind.slug] = {"summary": kind.title, "value": value}
    if kind.retry_after is not None:
        response["headers"] = {
            "Retry-After": {
                "description": "seconds after which the same request may well succeed",
                "schema": {"type": "integer"},
            }
        }


def _explanation(kind: type[Problem]) -> str:
    return " ".join((kind.__doc__ or "").split())


def describe(app: FastAPI) -> dict[str, Any]:
    """The app's OpenAPI document, made once."""
    if app.openapi_schema is None:
        schema = get_openapi(
            title=app.title,
            version=app.version,
            summary=app.summary,
            description=app.description,
            routes=app.routes,
            tags=TAGS,
            license_info=app.license_info,
        )
        for path in schema["paths"].values():
            for operation in path.values():
                _correct_problems(operation["responses"])
                _correct_parameters(operation.get("parameters", []))
        _restore(app, schema["paths"])
        for name in VALIDATION_SCHEMAS:
            schema.get("components", {}).get("schemas", {}).pop(name, None)
        app.openapi_schema = schema
    return app.openapi_schema


def _correct_problems(responses: dict[str, Any]) -> None:
    """FastAPI lists a problem's schema under the type of the answer, and a 422 that this service never gives."""
    for status, response in list(responses.items()):
        content = response.get("content", {})
        documented = content.get(JSON, {}).get("schema", {})
        if documented.get("$ref", "").endswith(VALIDATION_SCHEMAS):
            del responses[status]
        elif PROBLEM_JSON in content:
            [schema] = [entry["schema"] for entry in content.values() if "schema" in entry]
            response["content"] = {PROBLEM_JSON: {**content[PROBLEM_JSON], "schema": schema}}


def _correct_parameters(parameters: list[dict[str, Any]]) -> None:
    for parameter in parameters:
        if parameter["in"] == "query":
            _leave_out_null(parameter["schema"])
        _fill_in(parameter)


def _leave_out_null(schema: dict[str, Any]) -> None:
    """A query cannot carry null: what may be absent from it is of its other type, and generated clients need no union.
    And one value that is possible is a list of one, as several are."""
    [kind] = [one for one in schema.pop("anyOf", [{}]) if one != {"type": "null"}]
    schema |= kind
    if "const" in schema:
        schema["enum"] = [schema.pop("const")]


def _fill_in(parameter: dict[str, Any]) -> None:
    """The page with the documentation offers what stands here, and not the examples that FastAPI puts into the schema:
    an operation could not be tried without typing all of its path. Of a query's the first is filled in."""
    examples = parameter["schema"].get("examples")
    if examples and parameter["in"] == "path":
        parameter["example"] = examples[0]
    elif examples:
        del parameter["schema"]["examples"]
        parameter["examples"] = {one or "left out": {"value": one} for one in examples}


def _restore(app: FastAPI, paths: dict[str, Any]) -> None:
    """FastAPI drops every null of an example, and an answer has some; and it puts JSON first."""
    for route, operation in _operations(app, paths):
        given = route.responses.get(200, {}).get("content", {})
        answer = operation["responses"]["200"]
        documented = answer.get("content", {})
        for media_type, entry in given.items():
            if "example" in entry:
                documented[media_type]["example"] = entry["example"]
        answer["content"] = {**{one: documented[one] for one in given}, **documented}


def _operations(app: FastAPI, paths: dict[str, Any]) -> Iterator[tuple[APIRoute, dict[str, Any]]]:
    """Each with the route that it documents."""
    for route in app.routes:
        if isinstance(route, APIRoute) and route.include_in_schema:
            for method in route.methods or ():
                yield route, paths[route.path_format][method.lower()]
