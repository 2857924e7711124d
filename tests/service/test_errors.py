"""What a problem's body says, without a service around it."""

import json
from typing import Any

import pytest

from service.errors import NotFound, counted, problem_response


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


def test_one_is_no_plural_and_thousands_are_separated() -> None:
    assert [counted(number, "file") for number in (0, 1, 1025)] == ["0 files", "1 file", "1,025 files"]
