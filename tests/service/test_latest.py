"""service.latest"""

import pytest

from service.errors import NotReady
from service.latest import Latest


def test_those_asked_for_last_are_kept_and_no_more() -> None:
    latest, made = Latest[str, str](2), list[str]()

    def get(key: str) -> str:
        return latest.get(key, lambda: made.append(key) or key.upper())  # type: ignore[func-returns-value]

    assert [get(key) for key in "abacab"] == [*"ABACAB"]
    assert made == [*"abcb"]  # c took the place of b, since a had been asked for again


def test_what_cannot_be_made_is_made_anew_by_the_next() -> None:
    latest = Latest[str, int](1)

    def fails() -> int:
        raise NotReady("not now")

    with pytest.raises(NotReady):
        latest.get("a", fails)
    assert latest.get("a", lambda: 1) == 1
