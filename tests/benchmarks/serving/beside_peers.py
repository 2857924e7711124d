"""Other servers with the same graph, one at a time; this project stays up beside each and takes turns with it."""

import base64
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from service.engines import choose
from service.manifest import MODEL
from service.settings import Settings
from tests.benchmarks.serving.bench import DIGITS, FOLDER, Bench, Row, Section
from tests.benchmarks.serving.child import Child, free_port, started, wait_for
from tests.benchmarks.serving.environments import environment, stack
from tests.benchmarks.serving.errors import BenchmarkError, measuring
from tests.benchmarks.serving.messages import Request, encoded, form, image, json_tensor, test_images
from tests.benchmarks.serving.servers import digit, is_seven, service
from tests.benchmarks.serving.turns import ONE, PROCESSOR, RATE, Case, Turns, row
from tests.service.shipped import latest

SCRIPTS = Path(__file__).parent / "peers"
START = 120.0  # seconds
LIMIT = 900.0  # seconds that a peer may live
OURS = "this project"
BEST = "times the best peer"
BEST_OF_SOME = "times the best of the peers measured"


@dataclass(frozen=True)
class Peer:
    """A server as its own documentation starts it: one worker, no access log; `extra` packages and `settings` also
    for what makes it quicker without being its default."""

    name: str
    requirement: str
    command: tuple[str, ...]
    """after the environment's bin/; {port} and {folder}, of this run's settings, are filled in"""
    request: Callable[[], Request]
    extra: tuple[str, ...] = ()
    settings: dict[str, dict[str, object]] = field(default_factory=dict)
    """JSON files for the folder"""


def _tensor() -> Request:
    return json_tensor("/v2/models/mnist/infer", test_images("mnist", 1))


def _base64() -> Request:
    body = {"image": base64.b64encode(encoded(test_images("mnist", 1)[0])).decode()}
    return Request("/predict", json.dumps(body).encode(), "application/json")


def _raw() -> Request:
    return image("/predict", encoded(test_images("mnist", 1)[0]))


def _form() -> Request:
    return form("/predict", "image", [encoded(test_images("mnist", 1)[0])])


def _mlserver(name: str, **batching: object) -> Peer:
    """In the server's own process (parallel_workers 0): quicker for a net this small than its pool of workers.

    uvicorn, on which it runs, takes httptools where it is installed and else parses in Python. Its answers would pass
    a middleware that compresses those who ask for it, which nobody here does.
    """
    server = {"debug": False, "host": "127.0.0.1", "http_port": "{port}", "grpc_port": "{port2}", "parallel_workers": 0,
              "metrics_endpoint": None, "gzip_enabled": False}  # fmt: skip
    model = {"name": "mnist", "implementation": "mlserver_runtime.Digits", **batching}
    return Peer(
        f"MLServer 1.7.1, JSON tensor{name}",
        "mlserver==1.7.1",
        ("mlserver", "start", "{folder}"),
        _tensor,
        extra=("httptools",),
        settings={"settings.json": server, "model-settings.json": model},
    )


def _bentoml(name: str, service_class: str, request: Callable[[], Request]) -> Peer:
    command = (
        "bentoml",
        "serve",
        f"bentoml_server:{service_class}",
        "--host",
        "127.0.0.1",
        "--port",
        "{port}",
    )
    return Peer(f"BentoML 1.4.39, {name}", "bentoml==1.4.39", command, request)


PEERS = (
    _mlserver(""),
    _mlserver(", batching", max_batch_size=32, max_batch_time=0.001),
    Peer(
        "LitServe 0.2.19, batching", "litserve==0.2.19", ("python", f"{SCRIPTS}/litserve_server.py"), _base64
    ),
    _bentoml("raw body", "Single", _raw),
    _bentoml("batching", "Batching", _form),
    Peer("Ray Serve 2.60.0, batching", "ray[serve]==2.60.0", ("python", f"{SCRIPTS}/ray_server.py"), _raw),
)


def named(beginnings: tuple[str, ...]) -> list[Peer]:
    """Those whose name begins with one of these, which are in small letters."""
    return [peer for peer in PEERS if peer.name.lower().startswith(beginnings)]


def measure(bench: Bench, section: Section) -> None:
    """A line for each peer, and what this project serves for each request of the best of them."""
    chosen = named(bench.peers) if bench.peers else PEERS
    section.lines.append(
        f"this project runs its graph by {choose(Settings().engine)}, every peer by onnxruntime"
    )
    with service(bench) as ours:
        try:
            for peer in chosen:
                _try(bench, section, peer, ours)
        finally:  # also of those that were finished before an interruption
            _compare(section)


def _try(bench: Bench, section: Section, peer: Peer, ours: Child) -> None:
    """One that cannot be measured takes none of the others with it."""
    try:
        with measuring():
            section.rows.append(_measured(bench, section, peer, ours))
    except BenchmarkError as error:
        section.skipped[peer.name] = str(error)
        section.lines.append(f"{peer.name} skipped: {error}")
        bench.say(section.lines[-1])


def _compare(section: Section) -> None:
    """The best peer is known only where all of them were measured."""
    rates = {one.name: one.per_second for one in section.rows if one.per_second}
    if not rates:
        return
    best = max(rates, key=rates.__getitem__)
    every = all(peer.name in rates for peer in PEERS)
    of_all = "" if every else f": {len(rates)} of {len(PEERS)} were measured, which no goal is judged by"
    section.lines.append(f"the best peer of this run: {best}{of_all}")
    beside, figure = _beside(best), BEST if every else BEST_OF_SOME
    section.figures[figure] = section.ratio(f"{beside}: {RATE}", f"{best}: {RATE}")
    section.figures[f"{figure}, by processor time"] = section.ratio(
        f"{best}: {PROCESSOR}", f"{beside}: {PROCESSOR}"
    )


def _beside(name: str) -> str:
    return f"{OURS} beside {name}"


def _measured(bench: Bench, section: Section, peer: Peer, ours: Child) -> Row:
    bench.say(f"{peer.name}: installing, unless it is there")
    folder = environment(peer.requirement.partition("=")[0].partition("[")[0], peer.requirement, *peer.extra)
    section.facts[f"versions of {peer.name}"] = stack(folder)
    bench.say(f"{peer.name}: starting")
    turns = Turns(bench, section)
    with _started(bench, peer, folder) as child:
        turns.add(peer.name, Case(child, peer.request(), is_seven), warm=2)
        turns.add(peer.name + ONE, Case(child, peer.request(), is_seven, 1), warm=0)
        turns.add(_beside(peer.name), Case(ours, digit(), is_seven))
        turns.take(peer.name, bench.plan.rounds)
        return row(section, peer.name, child, one=peer.name + ONE)


@contextmanager
def _started(bench: Bench, peer: Peer, folder: Path) -> Iterator[Child]:
    port, settings = free_port(), FOLDER / "settings"
    settings.mkdir(parents=True, exist_ok=True)
    ports = {'"{port}"': str(port), '"{port2}"': str(free_port())}
    for name, content in peer.settings.items():
        text = json.dumps(content)
        for placeholder, number in ports.items():
            text = text.replace(placeholder, number)
        (settings / name).write_text(text)
    command = [part.format(port=port, folder=settings) for part in peer.command]
    began = time.monotonic()
    with started(
        peer.name,
        [folder / "bin" / command[0], *command[1:]],
        port=port,
        cores=[bench.cores.server],
        logs=FOLDER / "logs",
        limit=LIMIT,
        environment=_environment(port),
    ) as child:
        wait_for(child, peer.request(), is_seven, began=began, seconds=START)
        yield child


def _environment(port: int) -> dict[str, str]:
    return {
        "PORT": str(port),
        "PYTHONPATH": str(SCRIPTS),
        "MODEL": str(latest(DIGITS) / MODEL),
        # Nobody is told that a benchmark ran.
        "BENTOML_DO_NOT_TRACK": "True",
        "DO_NOT_TRACK": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
