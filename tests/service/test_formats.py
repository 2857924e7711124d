import pytest
from starlette.requests import Request

from service.errors import NotAcceptable
from service.formats import choose_format

OFFERS = {"png": "image/png", "json": "application/json"}


def request(query: str = "", accept: str | None = None) -> Request:
    headers = [] if accept is None else [(b"accept", accept.encode())]
    return Request({"type": "http", "query_string": query.encode(), "headers": headers})


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, "png"),
        ("*/*", "png"),
        ("application/json", "json"),
        ("APPLICATION/JSON", "json"),
        ("application/*", "json"),
        ("image/png;q=0.1, application/json", "json"),
        ("text/html, image/webp, */*;q=0.8", "png"),
        ("application/json;q=nonsense, image/png", "png"),
        ("image/png;q=nan, application/json;q=0.5", "json"),
        ("image/png;q=inf, application/json;q=0.5", "json"),
        ("image/png;q=1.001, application/json;q=0.5", "json"),
        ("image/png;q=0.001, application/json;q=-1", "png"),
        ("image/png;q=0.999, application/json;q=1.000", "json"),
        ("image/png;q=0, */*", "json"),
        ("*/*, image/png;q=0.1, application/json;q=0.2", "json"),
        ("application/json, text/plain, */*", "json"),
        ("application/json, image/png", "json"),
    ],
)
def test_accept_decides(accept: str | None, chosen: str) -> None:
    assert choose_format(request(accept=accept), OFFERS) == chosen


def test_accept_may_stand_on_several_lines() -> None:
    lines = [(b"accept", b"text/html"), (b"host", b"service"), (b"accept", b"application/json")]
    asked = Request({"type": "http", "query_string": b"", "headers": lines})
    assert choose_format(asked, OFFERS) == "json"


def test_of_very_many_ranges_the_first_count() -> None:
    assert choose_format(request(accept="text/html," * 50 + "application/json"), OFFERS) == "json"
    with pytest.raises(NotAcceptable) as refusal:
        choose_format(request(accept="text/html," * 5000 + "application/json"), OFFERS)
    assert len(str(refusal.value)) < 500


def test_the_parameter_comes_before_accept() -> None:
    assert choose_format(request("format=png", "application/json"), OFFERS) == "png"


def test_an_unknown_format_lists_those_there_are() -> None:
    with pytest.raises(NotAcceptable, match="format=xml cannot be made here; png, json can"):
        choose_format(request("format=xml"), OFFERS)


@pytest.mark.parametrize("asked", [request("format=xml"), request(accept="text/csv")])
def test_a_refusal_ends_with_the_hint(asked: Request) -> None:
    with pytest.raises(NotAcceptable, match=r"; ask elsewhere$"):
        choose_format(asked, OFFERS, "ask elsewhere")


@pytest.mark.parametrize("accept", ["text/csv", "image/png;q=0"])
def test_nothing_acceptable_lists_the_media_types(accept: str) -> None:
    with pytest.raises(NotAcceptable, match="image/png, application/json"):
        choose_format(request(accept=accept), {"png": "image/png", "json": "application/json"})
