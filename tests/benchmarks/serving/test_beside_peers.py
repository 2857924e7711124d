"""Which peer is the best, and with what they are started."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.benchmarks.serving import beside_peers, command
from tests.benchmarks.serving.bench import DIGITS, SHORT, Bench, Cores, Row, Section
from tests.benchmarks.serving.errors import BenchmarkError
from tests.benchmarks.serving.goals import judged

BENCH = Bench(SHORT, Cores(server=3, load=5))


def of_two_peers() -> Section:
    rates = {"slow": 10.0, "this project beside slow": 70.0, "quick": 20.0, "this project beside quick": 60.0}
    section = Section(rows=[Row("slow", 10.0), Row("quick", 20.0), Row("broken")])
    for name, rate in rates.items():
        section.rounds |= {f"{name}: images/s": [rate], f"{name}: processor us": [1 / rate**2]}
    return section


def peers_are(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    peers = [replace(beside_peers.PEERS[0], name=name) for name in names]
    monkeypatch.setattr(beside_peers, "PEERS", tuple(peers))


def test_the_best_peer_is_the_one_with_the_most_beside_what_took_turns_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    peers_are(monkeypatch, "slow", "quick")
    section = of_two_peers()
    beside_peers._compare(section)
    assert section.figures == pytest.approx(
        {"times the best peer": 3, "times the best peer, by processor time": 9}
    )
    assert section.lines == ["the best peer of this run: quick"]


@pytest.mark.parametrize("missing", ["broken", "not asked for"])
def test_the_best_of_some_peers_is_told_and_judged_by_nothing(
    monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    peers_are(monkeypatch, "slow", "quick", missing)
    section = of_two_peers()
    beside_peers._compare(section)
    some = "times the best of the peers measured"
    assert section.figures == pytest.approx({some: 3, f"{some}, by processor time": 9})
    assert section.lines == [
        "the best peer of this run: quick: 2 of 3 were measured, which no goal is judged by"
    ]
    goals = {one.goal.figure: one.verdict for one in judged([section])}
    assert goals["times the best peer"] == "not measured"


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


# Of each case beside every peer: whose it is, connections, images.
BESIDE = {"{}": ("peer", 32, 1), "{}, 1 client": ("peer", 1, 1), "this project beside {}": ("service", 32, 1)}
# What each peer is asked.
ASKED = {
    "MLServer 1.7.1, JSON tensor": ("/v2/models/mnist/infer", "application/json"),
    "MLServer 1.7.1, JSON tensor, batching": ("/v2/models/mnist/infer", "application/json"),
    "LitServe 0.2.19, batching": ("/predict", "application/json"),
    "BentoML 1.4.39, raw body": ("/predict", "image/png"),
    "BentoML 1.4.39, batching": ("/predict", "multipart/form-data"),
    "Ray Serve 2.60.0, batching": ("/predict", "image/png"),
}


@pytest.mark.parametrize("peer", beside_peers.PEERS, ids=lambda peer: peer.name)
def test_a_peer_and_this_project_are_loaded_alike(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, peer: beside_peers.Peer
) -> None:
    cases: dict[str, Any] = {}
    taken: list[int] = []
    turns = SimpleNamespace(
        add=lambda name, case, **_: cases.update({name: case}), take=lambda _, rounds: taken.append(rounds)
    )
    monkeypatch.setattr(beside_peers, "Turns", lambda *_: turns)
    monkeypatch.setattr(beside_peers, "environment", lambda *_: tmp_path)
    monkeypatch.setattr(beside_peers, "stack", lambda folder: {"h11": str(folder)})
    monkeypatch.setattr(beside_peers, "_started", lambda *_: nullcontext("peer"))
    monkeypatch.setattr(beside_peers, "row", lambda section, name, *_, **__: Row(name))
    section, ours = Section(), "service"
    beside_peers._measured(BENCH, section, peer, ours)  # type: ignore[arg-type]
    found = {name: (case.child, case.connections, case.images) for name, case in cases.items()}
    assert found == {name.format(peer.name): case for name, case in BESIDE.items()}
    asked = {
        name: (case.request.path, case.request.content_type.partition(";")[0]) for name, case in cases.items()
    }
    by_name = ASKED[peer.name]
    assert list(asked.values()) == [by_name, by_name, ("/predict/mnist-baseline", "image/png")]
    assert taken == [SHORT.rounds]
    assert section.facts == {f"versions of {peer.name}": {"h11": str(tmp_path)}}


@pytest.mark.parametrize(
    ("beginning", "batching"),
    [
        ("mlserver 1.7.1, json tensor", {}),
        ("mlserver 1.7.1, json tensor, batching", {"max_batch_size": 32, "max_batch_time": 0.001}),
    ],
)
def test_mlserver_has_what_makes_it_quick(beginning: str, batching: dict[str, object]) -> None:
    peer = beside_peers.named((beginning,))[-1 if batching else 0]
    assert "httptools" in peer.extra
    server, model = peer.settings["settings.json"], peer.settings["model-settings.json"]
    assert (server["gzip_enabled"], server["parallel_workers"], server["debug"]) == (False, 0, False)
    assert {name: value for name, value in model.items() if name.startswith("max_")} == batching


def test_litserve_has_what_makes_it_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[str, Any] = {}

    class Api:
        def __init__(self, **options: Any) -> None:
            told.update(options)

    def server(_: Api, **options: Any) -> SimpleNamespace:
        told.update(options)
        return SimpleNamespace(run=told.update)

    of_peers = SimpleNamespace(answer=None, decoded=None, run=None, session=None)
    monkeypatch.setitem(sys.modules, "litserve", SimpleNamespace(LitAPI=Api, LitServer=server))
    monkeypatch.setitem(sys.modules, "mnist", of_peers)
    monkeypatch.setenv("PORT", "17")
    run_path(str(beside_peers.SCRIPTS / "litserve_server.py"), run_name="__main__")
    assert (told["max_batch_size"], told["batch_timeout"]) == (64, 0.002)
    assert (told["workers_per_device"], told["num_api_servers"], told["fast_queue"]) == (1, 1, True)
    assert (told["port"], told["access_log"]) == (17, False)


def test_who_is_skipped_is_told_where_programs_look(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any) -> Row:
        raise BenchmarkError("cannot be installed: no network")

    monkeypatch.setattr(beside_peers, "_measured", missing)
    monkeypatch.setattr(beside_peers, "service", nullcontext)
    section = Section()
    beside_peers.measure(replace(BENCH, peers=("ray", "lit")), section)
    reason = "cannot be installed: no network"
    assert section.skipped == {"LitServe 0.2.19, batching": reason, "Ray Serve 2.60.0, batching": reason}
    assert section.figures == {}


@pytest.mark.parametrize("error", [ConnectionRefusedError("nobody"), json.JSONDecodeError("no JSON", "<", 0)])
def test_a_peer_that_dies_leaves_those_before_it(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def dying(*_: Any) -> None:
        raise error

    monkeypatch.setattr(beside_peers, "_measured", dying)
    monkeypatch.setattr(beside_peers, "service", nullcontext)
    section = Section()
    beside_peers.measure(replace(BENCH, peers=("bentoml",)), section)
    assert len(section.lines) == 3
    assert f"BentoML 1.4.39, raw body skipped: {type(error).__name__}: " in section.lines[1]


def test_an_interruption_keeps_the_peers_that_were_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    def first_only(_: Bench, section: Section, peer: beside_peers.Peer, ours: Any) -> Row:
        if section.rows:
            raise KeyboardInterrupt
        for name, rate in ((peer.name, 2.0), (f"this project beside {peer.name}", 10.0)):
            section.rounds |= {f"{name}: images/s": [rate], f"{name}: processor us": [1.0]}
        return Row(peer.name, per_second=2.0)

    monkeypatch.setattr(beside_peers, "_measured", first_only)
    monkeypatch.setattr(beside_peers, "service", nullcontext)
    found, failed = command.measured(BENCH, ["peers"])
    assert failed == ["interrupted"]
    assert [row.name for row in found["peers"].rows] == [beside_peers.PEERS[0].name]
    assert found["peers"].figures["times the best of the peers measured"] == 5
    assert "was interrupted" in found["peers"].lines[-1]


def test_a_peers_engine_has_one_thread_which_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
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
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
