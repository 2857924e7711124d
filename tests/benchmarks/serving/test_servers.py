"""With what the servers are started."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from tests.benchmarks.serving import apps, servers
from tests.benchmarks.serving.bench import SHORT, Bench, Cores

BENCH = Bench(SHORT, Cores(server=3, load=5))


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], dict[str, Any]]]:
    """Commands and options of servers that only seem to be started."""
    found: list[tuple[list[str], dict[str, Any]]] = []

    @contextmanager
    def started(name: str, command: list[str], **options: Any) -> Iterator[SimpleNamespace]:
        found.append((command, options))
        yield SimpleNamespace(name=name, port=options["port"])

    monkeypatch.setattr(servers, "started", started)
    monkeypatch.setattr(servers, "wait_for", lambda *_, **__: None)
    return found


def begin(server: AbstractContextManager[Any]) -> None:
    with server:
        pass


@pytest.mark.parametrize("name", servers.NO_OPS)
def test_a_no_op_does_nothing_that_the_service_does_not(
    begun: list[tuple[list[str], dict[str, Any]]], name: str
) -> None:
    begin(servers.no_op(BENCH, name))
    command, options = begun[0]
    assert options["cores"] == [BENCH.cores.server]
    assert {"--no-access-log", "--no-server-header", "--no-proxy-headers"} <= set(command)
    assert command[command.index("--port") + 1] == str(options["port"])
    assert f"tests.benchmarks.serving.apps:{servers.NO_OPS[name]}" in command


def test_the_service_has_one_process_on_one_core_unless_more_are_meant(
    begun: list[tuple[list[str], dict[str, Any]]],
) -> None:
    begin(servers.service(BENCH))
    begin(servers.service(BENCH, cores=[3, 5], CONVSCOPE_WORKERS="2"))
    (_, one), (_, two) = begun
    assert (one["cores"], one["environment"]["CONVSCOPE_WORKERS"]) == ([BENCH.cores.server], "1")
    assert (two["cores"], two["environment"]["CONVSCOPE_WORKERS"]) == ([3, 5], "2")


@pytest.mark.parametrize("app", [apps.bare(), apps.framework()])
async def test_a_no_op_reads_all_of_the_body(app: Any) -> None:
    async def parts() -> Any:
        for part in (b"12", b"345"):
            yield part

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://no-op") as client:
        answer = await client.post("/predict/mnist-baseline", content=parts())
    assert answer.json() == {"bytes": 5}
