"""Probes and counters."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx

from service.manifest import MODEL
from service.routes.health import waiting
from tests.conftest import serving
from tests.service.stripes import encoded, stripe


async def test_a_running_service_is_live_and_ready(client: httpx.AsyncClient) -> None:
    assert (await client.get("/health/live")).json() == {"status": "ok"}
    assert (await client.get("/health/ready")).json() == {"status": "ok", "models": 2}


async def test_a_service_none_of_whose_models_can_be_opened_is_not_ready(artifacts: Path) -> None:
    async with serving(artifacts, keep_open="none") as client:
        for name, status in {"stripes": 200, "stripes-colour": 503}.items():
            (artifacts / "models" / name / "1" / MODEL).unlink()
            assert (await client.post(f"/predict/{name}", content=encoded(stripe(1)))).status_code == 503
            ready = await client.get("/health/ready")
            assert ready.status_code == status
    why = "stripes 1 cannot be opened again: model.onnx is missing, nor can any other; GET /models says why"
    assert ready.json()["detail"] == why


async def test_metrics_count_requests_by_route_and_status(client: httpx.AsyncClient) -> None:
    await client.post("/predict/mnist", content=encoded(stripe(1)))
    await client.post("/predict/nothing", content=b"x")
    await client.get("/made/up")
    answer = await client.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    lines = answer.text.splitlines()
    for line in (
        'convscope_requests_total{route="/predict/{model}",method="POST",status="200"} 1',
        'convscope_requests_total{route="/predict/{model}",method="POST",status="404"} 1',
        'convscope_requests_total{route="(none)",method="GET",status="404"} 1',
        'convscope_request_seconds_count{route="/predict/{model}"} 2',
        'convscope_request_seconds_bucket{route="/predict/{model}",le="+Inf"} 2',
        'convscope_batch_rows_bucket{model="stripes",le="1"} 1',
        'convscope_waiting_rows{model="stripes"} 0',
    ):
        assert line in lines
    assert "/made/up" not in answer.text


def test_images_that_wait_for_any_version_of_a_model_wait_for_it() -> None:
    versions: Any = [
        SimpleNamespace(name=name, waiting_rows=rows) for name, rows in (("a", 3), ("b", 1), ("a", 0))
    ]
    assert waiting(versions) == {"a": 3, "b": 1}


async def test_metrics_of_several_workers_tell_whose_they_are(artifacts: Path) -> None:
    async with serving(artifacts, workers=2) as client:
        await client.post("/predict/mnist", content=encoded(stripe(1)))
        lines = (await client.get("/metrics")).text.splitlines()
    samples = [line for line in lines if not line.startswith("#")]
    assert samples
    assert all(f'{{worker="{os.getpid()}",' in line for line in samples)


async def test_documentation_is_counted_by_its_routes(client: httpx.AsyncClient) -> None:
    for path in ("/openapi.json", "/docs", "/page/vendor/swagger-ui.css", "/page/vendor/nothing.js"):
        await client.get(path)
    lines = (await client.get("/metrics")).text.splitlines()
    for route in ("/openapi.json", "/docs", "/page/vendor"):
        assert f'convscope_requests_total{{route="{route}",method="GET",status="200"}} 1' in lines
    assert 'convscope_requests_total{route="/page/vendor",method="GET",status="404"} 1' in lines
    assert not any('route="(none)"' in line for line in lines)


async def test_a_method_that_was_made_up_is_no_new_series(client: httpx.AsyncClient) -> None:
    assert (await client.request("BREW", "/models")).status_code == 405
    assert "BREW" not in (await client.get("/metrics")).text
