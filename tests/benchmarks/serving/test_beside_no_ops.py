"""What is behind each name, and which figure is divided by which."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from tests.benchmarks.serving import beside_no_ops
from tests.benchmarks.serving.bench import BEST_DIGITS, COLOUR, DIGITS, FULL, Bench, Cores, Row, Section
from tests.benchmarks.serving.beside_no_ops import (
    BATCH,
    BEST_BATCH,
    BY_FEW,
    FORM,
    NO_OP,
    OURS,
    PHOTO,
    TENSOR,
    _compare,
)
from tests.benchmarks.serving.turns import ONE, Case

# Rates whose ratios are all different.
RATES = {
    OURS: 2.0,
    NO_OP: 3.0,
    FORM: 5.0,
    BATCH: 7.0,
    BEST_BATCH: 11.0,
    TENSOR: 13.0,
    PHOTO: 17.0,
    BATCH + BY_FEW: 19.0,
    TENSOR + BY_FEW: 23.0,
    f"the engine alone, {DIGITS}": 29.0,
    f"the engine alone, {BEST_DIGITS}": 31.0,
    f"the engine alone, {COLOUR}": 37.0,
}
SHARES = {
    "share of the no-op": 2 / 3,
    "multipart, share of raw": 5 / 2,
    "batch, share of the engine": 7 / 29,
    f"batch of {BEST_DIGITS}, share of the engine": 11 / 31,
    "tensors, share of the engine": 13 / 29,
    f"{COLOUR}, share of the engine": 17 / 37,
    f"batch{BY_FEW}, share of the engine": 19 / 29,
    f"tensors{BY_FEW}, share of the engine": 23 / 29,
}


def test_each_share_is_of_what_it_is_said_to_be_of() -> None:
    section = Section()
    for name, rate in RATES.items():  # processor times differ from one another by more than the rates do
        section.rounds |= {f"{name}: images/s": [rate], f"{name}: processor us": [1 / rate**2]}
    for name, milliseconds in ((OURS, 1.5), (NO_OP, 0.5)):
        section.rounds[f"{name + ONE}: p50 ms"] = [milliseconds]
        section.rounds[f"{name + ONE}: processor us"] = [milliseconds**2]
    _compare(section)
    by_time = {f"{name}, by processor time": share**2 for name, share in SHARES.items()}
    waiting = {
        "p50 at 1 client, times the no-op": 3,
        "p50 at 1 client, times the no-op, by processor time": 9,
    }
    assert section.figures == pytest.approx(SHARES | by_time | waiting)


PNG = "image/png"
FORMS = "multipart/form-data"
BYTES = "application/octet-stream"
BARE = "bare ASGI app, uvicorn"
ONE_DIGIT = ("/predict/mnist-baseline", PNG)
BATCH_OF = "/predict/{}/batch"
INFER = "/v2/models/mnist-baseline/infer"
# Of each case: the server, path and kind of the request, connections, images in a request.
CASES = {
    "bare ASGI app, uvicorn": (BARE, *ONE_DIGIT, 32, 1),
    "bare ASGI app, uvicorn, 1 client": (BARE, *ONE_DIGIT, 1, 1),
    "FastAPI no-op": ("FastAPI no-op", *ONE_DIGIT, 32, 1),
    "FastAPI no-op, 1 client": ("FastAPI no-op", *ONE_DIGIT, 1, 1),
    "this project, raw body": ("service", *ONE_DIGIT, 32, 1),
    "this project, raw body, 1 client": ("service", *ONE_DIGIT, 1, 1),
    "this project, multipart": ("service", "/predict/mnist-baseline", FORMS, 32, 1),
    "this project, 64 PNG a request": ("service", BATCH_OF.format("mnist-baseline"), FORMS, 32, 64),
    "this project, mnist, 64 PNG a request": ("service", BATCH_OF.format("mnist"), FORMS, 32, 64),
    "this project, 64 binary tensors a request": ("service", INFER, BYTES, 32, 64),
    "this project, cifar10, raw body": ("service", "/predict/cifar10", PNG, 32, 1),
    "this project, 64 PNG a request, 4 clients": ("service", BATCH_OF.format("mnist-baseline"), FORMS, 4, 64),
    "this project, 64 binary tensors a request, 4 clients": ("service", INFER, BYTES, 4, 64),
}
NOT_ALONE = {"bare ASGI app, uvicorn, 1 client", *(name for name in CASES if "4 clients" in name)}


class Recorder:
    """Turns that nobody takes."""

    def __init__(self, *_: Any) -> None:
        self.cases: dict[str, Case] = {}
        self.engines: dict[str, str] = {}
        self.rounds = 0

    def add(self, name: str, case: Case, **_: Any) -> None:
        self.cases[name] = case

    def add_engine(self, name: str, engine: Any) -> None:
        self.engines[name] = engine.model

    def take(self, _: str, rounds: int) -> None:
        self.rounds = rounds


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """What takes turns; servers and engines only seem to be there."""

    @contextmanager
    def server(_: Bench, name: str = "service") -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(name=name)

    @contextmanager
    def engines(_: Bench, models: tuple[str, ...]) -> Iterator[dict[str, SimpleNamespace]]:
        sweep = {1: 10.0, 2: 30.0}
        yield {model: SimpleNamespace(name="x", model=model, rows=2, sweep=sweep) for model in models}

    recorder = Recorder()
    monkeypatch.setattr(beside_no_ops, "Turns", lambda *_: recorder)
    monkeypatch.setattr(beside_no_ops, "service", server)
    monkeypatch.setattr(beside_no_ops, "no_op", server)
    monkeypatch.setattr(beside_no_ops, "engines_alone", engines)
    monkeypatch.setattr(beside_no_ops, "row", lambda section, name, *_, **__: Row(name))
    monkeypatch.setattr(beside_no_ops, "_compare", lambda _: None)
    return recorder


@pytest.mark.parametrize(("alone", "left_out"), [(True, set()), (False, NOT_ALONE)])
def test_behind_each_name_is_what_it_says(recorded: Recorder, alone: bool, left_out: set[str]) -> None:
    section = Section()
    beside_no_ops.measure(Bench(replace(FULL, alone=alone, rounds=3), Cores(3, 5)), section)
    found = {
        name: (
            case.child.name,
            case.request.path,
            case.request.content_type.partition(";")[0],
            case.connections,
            case.images,
        )
        for name, case in recorded.cases.items()
    }
    assert found == {name: case for name, case in CASES.items() if name not in left_out}
    models = ("mnist-baseline", "mnist", "cifar10")
    assert recorded.engines == {f"the engine alone, {model}": model for model in models}
    assert recorded.rounds == 3
    assert section.facts["the engine alone, mnist, images/s by rows a run"] == {1: 10.0, 2: 30.0}


def test_a_request_has_as_many_images_as_are_counted(recorded: Recorder) -> None:
    beside_no_ops.measure(Bench(FULL, Cores(3, 5)), Section())
    for name, case in recorded.cases.items():
        if "tensors" in name:
            assert len(case.request.body) > case.images * 28 * 28
        else:
            assert case.request.body.count(b"\x89PNG") == case.images
