"""Responses of hot paths."""

import pytest
from fastapi import Response

from service.routes.direct import json_response


@pytest.mark.parametrize("varies", [False, True])
def test_a_json_response_has_the_same_headers_as_the_frameworks_own(*, varies: bool) -> None:
    own = Response(
        b'{"label":"7"}', headers={"Vary": "Accept"} if varies else {}, media_type="application/json"
    )
    ready = json_response({"label": "7"}, varies=varies)
    assert (ready.status_code, ready.body) == (own.status_code, own.body)
    assert dict(ready.headers) == dict(own.headers)
