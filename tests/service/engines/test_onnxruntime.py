"""How ONNX Runtime is set, and what it keeps between runs."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from service.engines.onnxruntime import OnnxRuntime
from tests.service.engines.graphs import file_of, in_double, with_logits
from tests.service.stripes import stripe, stripes_graph

IMAGES = np.stack([stripe(digit) for digit in range(4)])


def test_its_threads_leave_the_core_to_the_event_loop(tmp_path: Path) -> None:
    options = OnnxRuntime(file_of(stripes_graph("mnist"), tmp_path))._session.get_session_options()
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)
    assert options.log_severity_level == 3  # a warning for each of its fallbacks would be a line a model


def test_a_single_image_is_run_where_the_one_before_it_was(tmp_path: Path) -> None:
    engine = OnnxRuntime(file_of(stripes_graph("mnist"), tmp_path))
    engine.run(IMAGES[:1])
    kept = [*engine._single_runs]
    engine.run(IMAGES[1:2])
    assert (len(kept), [*engine._single_runs]) == (1, kept)


@pytest.mark.parametrize("graph", [with_logits(), in_double()], ids=["several-outputs", "in-double"])
def test_an_image_alone_is_answered_as_among_others_whatever_the_outputs_are(
    tmp_path: Path, graph: onnx.ModelProto
) -> None:
    engine = OnnxRuntime(file_of(graph, tmp_path))
    alone, together = engine.run(IMAGES[:1]), engine.run(IMAGES)
    for one, all_of_them in zip(alone, together, strict=True):
        assert one.dtype == all_of_them.dtype
        assert one == pytest.approx(all_of_them[:1], abs=1e-6)


@pytest.mark.parametrize("rows", [1, 4])
def test_what_is_not_uint8_is_no_image(tmp_path: Path, rows: int) -> None:
    engine = OnnxRuntime(file_of(stripes_graph("mnist"), tmp_path))
    with pytest.raises(Exception, match=r"uint8|cast"):
        engine.run(IMAGES[:rows].astype(np.float32))
