"""How a client is told of a problem."""

import json
import logging
from typing import Any

import httpx
import pytest
from fastapi.staticfiles import StaticFiles

from service.errors import NotFound
from service.problem_responses import problem_response


def instance(**scope: Any) -> str:
    answer: str = json.loads(bytes(problem_response(scope, NotFound("x")).body))["instance"]
    return answer


@pytest.mark.parametrize(
    ("raw", "reference"),
    [
        (b"/models/%2e%2e%2fetc", "/models/%2e%2e%2fetc"),
        (b"/models/%00", "/models/%00"),
        (b"/v1/a:b/@x;y=(1),*!$&+'~", "/v1/a:b/@x;y=(1),*!$&+'~"),
        (b'/<a>"{b}|\\^`', "/%3Ca%3E%22%7Bb%7D%7C%5C%5E%60"),
        (b"/100%/%4/%zz", "/100%25/%254/%25zz"),
        (b"/gr\xc3\xb6\xff", "/gr%C3%B6%FF"),
        (b"//example.org/models", "/.//example.org/models"),
    ],
)
def test_an_instance_is_the_path_as_it_came_and_a_uri_reference(raw: bytes, reference: str) -> None:
    assert instance(path="/whatever", raw_path=raw) == reference


@pytest.mark.parametrize("scope", [{}, {"raw_path": None}])
def test_an_instance_is_quoted_where_the_server_keeps_no_path_as_it_came(scope: dict[str, Any]) -> None:
    assert instance(path="/models/../größe\0%41", **scope) == "/models/../gr%C3%B6%C3%9Fe%00%2541"


async def test_a_refusal_of_the_framework_that_nobody_foresaw_is_logged(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Starlette has a 401 for a file that the service may not read."""

    def unreadable(*_: object) -> None:
        raise PermissionError("swagger-ui.css may not be read")

    monkeypatch.setattr(StaticFiles, "lookup_path", unreadable)
    with caplog.at_level(logging.ERROR, "convscope"):
        answer = await client.get("/page/vendor/swagger-ui.css")
    assert (answer.status_code, answer.json()["type"]) == (500, "/problems/internal")
    assert caplog.messages == ["GET /page/vendor/swagger-ui.css failed"]
    assert "may not be read" in caplog.text
