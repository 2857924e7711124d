"""Which peer is the best, and with what they are started."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.benchmarks.serving import beside_peers
from tests.benchmarks.serving.bench import DIGITS, SHORT, Bench, Cores, Row, Section

BENCH = Bench(SHORT, Cores(server=3, load=5))


def test_the_best_peer_is_the_one_with_the_most_beside_what_took_turns_with_it() -> None:
    rates = {"slow": 10.0, "this project beside slow": 70.0, "quick": 20.0, "this project beside quick": 60.0}
    section = Section(rows=[Row("slow", 10.0), Row("quick", 20.0), Row("broken")])
    for name, rate in rates.items():
        section.rounds |= {f"{name}: images/s": [rate], f"{name}: processor us": [1 / rate**2]}
    beside_peers._compare(section)
    assert section.figures == pytest.approx(
        {"times the best peer": 3, "times the best peer, by processor time": 9}
    )
    assert section.lines == ["the best peer of this run: quick"]


def test_without_a_peer_nothing_is_compared() -> None:
    section = Section()
    beside_peers._compare(section)
    assert section == Section()


def test_a_peer_has_the_servers_core_its_port_and_the_graph_of_the_comparison(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    begun: list[dict[str, Any]] = []

    @contextmanager
    def started(name: str, command: list[str], **options: Any) -> Iterator[SimpleNamespace]:
        begun.append(options)
        yield SimpleNamespace(port=options["port"])

    monkeypatch.setattr(beside_peers, "started", started)
    monkeypatch.setattr(beside_peers, "wait_for", lambda *_, **__: None)
    monkeypatch.setattr(beside_peers, "FOLDER", tmp_path)
    peer = beside_peers.named(("mlserver",))[0]
    with beside_peers._started(BENCH, peer, tmp_path) as child:
        assert f'"http_port": {child.port}' in (tmp_path / "settings" / "settings.json").read_text()
    assert begun[0]["cores"] == [BENCH.cores.server]
    environment = begun[0]["environment"]
    assert environment["PORT"] == str(begun[0]["port"])
    assert f"/{DIGITS}/" in environment["MODEL"]
    assert (environment["BENTOML_DO_NOT_TRACK"], environment["RAY_USAGE_STATS_ENABLED"]) == ("True", "0")


def test_a_peers_engine_has_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the service's has: on one core more of them would only be in each other's way."""
    pytest.importorskip("onnxruntime")
    spec = spec_from_file_location("mnist", beside_peers.SCRIPTS / "mnist.py")
    assert spec is not None
    assert spec.loader is not None
    script = module_from_spec(spec)
    spec.loader.exec_module(script)
    monkeypatch.setenv("MODEL", beside_peers._environment(0)["MODEL"])
    options = script.session().get_session_options()
    assert options.intra_op_num_threads == options.inter_op_num_threads == 1
