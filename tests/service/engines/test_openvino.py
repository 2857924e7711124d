"""How OpenVINO is set, and what it keeps between runs."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import openvino as ov
import pytest

from service.engines import Precision
from service.engines.onnxruntime import OnnxRuntime
from service.engines.openvino import OpenVino, _padded
from tests.service.engines.graphs import LOGITS, file_of, with_logits
from tests.service.stripes import stripe, stripes_graph

IMAGES = np.stack([stripe(digit) for digit in range(4)])


def test_it_answers_one_request_at_a_time_as_fast_as_it_can(tmp_path: Path) -> None:
    compiled = OpenVino(file_of(stripes_graph("mnist"), tmp_path), threads=2)._compiled
    assert compiled.get_property("NUM_STREAMS") == 1
    assert str(compiled.get_property("PERFORMANCE_HINT")).endswith("LATENCY")


@pytest.mark.parametrize(
    ("asked", "hint", "taken", "told"),
    [
        ("float32", "f32", "f32", "float32"),
        ("bfloat16", "bf16", "bf16", "bfloat16"),
        ("bfloat16", "bf16", "f32", "float32"),  # a processor that has nothing for it
    ],
)
def test_it_is_asked_for_a_precision_and_the_one_it_took_is_told(
    monkeypatch: pytest.MonkeyPatch, asked: Precision, hint: str, taken: str, told: Precision
) -> None:
    hints = list[str]()

    def compile_model(_: Path, device: str, options: dict[str, Any]) -> Any:
        hints.append(options["INFERENCE_PRECISION_HINT"])
        return SimpleNamespace(
            outputs=[], get_property=lambda _: SimpleNamespace(to_string=lambda: taken), device=device
        )

    monkeypatch.setattr(ov, "Core", lambda: SimpleNamespace(compile_model=compile_model))
    assert (OpenVino(Path("graph"), precision=asked).precision, hints) == (told, [hint])


@pytest.mark.parametrize("rows", [1, 4])
def test_every_output_of_a_graph_is_given(tmp_path: Path, rows: int) -> None:
    graph = file_of(with_logits(), tmp_path)
    engine, other = OpenVino(graph), OnnxRuntime(graph)
    assert engine.outputs == other.outputs
    assert LOGITS in engine.outputs
    for given, expected in zip(engine.run(IMAGES[:rows]), other.run(IMAGES[:rows]), strict=True):
        assert given == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(("rows", "pool"), [(1, "_single_runs"), (4, "_requests")])
def test_a_run_is_done_where_the_one_before_it_was(tmp_path: Path, rows: int, pool: str) -> None:
    engine = OpenVino(file_of(stripes_graph("mnist"), tmp_path))
    engine.run(IMAGES[:rows])
    kept = [*getattr(engine, pool)]
    engine.run(IMAGES[:rows])
    assert (len(kept), [*getattr(engine, pool)]) == (1, kept)


def test_of_many_images_there_are_few_numbers_that_it_compiles_for() -> None:
    numbers = {rows: len(_padded(np.ones((rows, 1, 1, 1), np.uint8))) for rows in (2, 8, 9, 17, 33, 64, 65)}
    assert numbers == {2: 2, 8: 8, 9: 10, 17: 20, 33: 40, 64: 64, 65: 80}
    padded = _padded(np.ones((9, 1, 1, 1), np.uint8))
    assert padded.ravel().tolist() == [1] * 9 + [0]


@pytest.mark.parametrize("rows", [1, 4])
def test_what_is_not_uint8_is_no_image(tmp_path: Path, rows: int) -> None:
    engine = OpenVino(file_of(stripes_graph("mnist"), tmp_path))
    engine.run(IMAGES[:rows])
    with pytest.raises(Exception, match=r"uint8|u8|cast"):
        engine.run(IMAGES[:rows].astype(np.float32))
