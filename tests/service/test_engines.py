"""Every engine gives the exported model's answers: the whole test set of every shipped model."""

import itertools
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

import service.engines
from service.engines import (
    Engine,
    EngineName,
    Precision,
    choose,
    choose_precision,
    has_tiles,
    open_graph,
)
from service.manifest import MODEL, PROBABILITIES, TEST_PROBABILITIES, Manifest
from service.settings import ROOT, Settings
from tests.at_home import left_at_home
from tests.conftest import serving
from tests.service.shipped import MODELS, latest, linked, manifest, test_set
from tests.service.stripes import write_model
from training.parity import change_of_labels

INSTALLED: list[EngineName] = ["onnxruntime", "openvino", "tensorflow"]
ROWS = 64  # of one run, as the service's default
ENGINES: list[tuple[EngineName, Precision]] = [
    ("onnxruntime", "float32"),
    ("openvino", "float32"),
    ("openvino", "bfloat16"),
    ("tensorflow", "float32"),
]


def faithful(name: str) -> bool:
    measured = Manifest.model_validate(manifest(name)).bfloat16
    assert measured is not None, f"{name} was not measured in bfloat16"
    return measured.faithful


@pytest.fixture(scope="module")
def images() -> dict[str, tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    return {dataset: test_set(dataset) for dataset in ("mnist", "cifar10")}


def opened(name: str, engine: EngineName, precision: Precision = "float32", threads: int = 1) -> Engine:
    return open_graph(latest(name) / MODEL, engine, threads=threads, precision=precision)


def probabilities(engine: Engine, images: NDArray[np.uint8], rows: int = ROWS) -> NDArray[np.float32]:
    """Of every image."""
    output = engine.outputs.index(PROBABILITIES)
    return np.concatenate([engine.run(images[at : at + rows])[output] for at in range(0, len(images), rows)])


def over_both_cores(engines: list[Engine], images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The same, each half by an engine of its own: OpenVINO's runs one batch at a time."""
    half = len(images) // 2
    with ThreadPoolExecutor(2) as threads:
        return np.concatenate(list(threads.map(probabilities, engines, (images[:half], images[half:]))))


# bfloat16 is used only for models whose manifest says that it is faithful: so that has to be true. Without tiles for
# it (AMX) the largest net would take half a minute, and is never run in it. On a busy machine the largest may take
# minutes in any.
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("name", "engine", "precision"),
    [
        (name, engine, precision)
        for name in MODELS
        for engine, precision in ENGINES
        if precision == "float32" or (faithful(name) and (has_tiles() or manifest(name)["parameters"] < 1e6))
    ],
)
def test_the_whole_test_set_gets_the_exported_models_labels(
    name: str, engine: EngineName, precision: Precision, images: dict[str, Any]
) -> None:
    shipped = Manifest.model_validate(manifest(name))
    pictures, labels = images[shipped.dataset]
    exported = np.load(latest(name) / TEST_PROBABILITIES)
    answers = over_both_cores([opened(name, engine, precision) for _ in range(2)], pictures)
    assert answers.dtype == np.float32
    assert change_of_labels(exported, answers, labels).faithful
    if precision == "float32":
        assert np.abs(answers - exported).max() < 1e-3


@pytest.mark.parametrize("engine", INSTALLED)
def test_every_batch_size_answers_each_image_as_it_does_alone(engine: EngineName) -> None:
    pictures, _ = test_set("mnist")
    opened_engine = opened("mnist-8-filters", engine)
    alone = probabilities(opened_engine, pictures[:67], rows=1)
    for rows in (2, 7, 8, 9, 17, 33, 64, 67):
        assert probabilities(opened_engine, pictures[:67], rows) == pytest.approx(alone, abs=1e-5)


# Threads that give way to each other as often as can be, in a process that has not run the engine yet.
SIDE_BY_SIDE = """
import sys, threading
from pathlib import Path
import numpy as np
from service.engines import open_graph
sys.setswitchinterval(1e-7)
graph, name = Path(sys.argv[1]), sys.argv[2]
started = threading.Barrier(6)
def run():
    engine = open_graph(graph, name, threads=1, precision="float32")
    started.wait()
    engine.run(np.zeros((1, 28, 28, 1), np.uint8))
threads = [threading.Thread(target=run) for _ in range(6)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])  # the engines that services start with
def test_the_first_runs_of_several_models_do_not_wait_for_each_other(engine: EngineName) -> None:
    """As when a service starts. OpenVINO's hung for ever, every second time under this test or more often."""
    graph = latest("mnist-8-filters") / MODEL
    command = [sys.executable, "-c", SIDE_BY_SIDE, str(graph), engine]
    subprocess.run(command, cwd=ROOT, check=True, timeout=60, stderr=subprocess.DEVNULL)  # noqa: S603


# TensorFlow reports nothing, but keeps settings there.
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_an_engine_reports_to_nobody(engine: EngineName, tmp_path: Path) -> None:
    """What does keeps an identifier, and what it could not send, in the user's home. OpenVINO has a package for it,
    which is not installed with this project but may be."""
    home, packages = tmp_path / "home", tmp_path / "packages"
    for folder in (home, packages):
        folder.mkdir()
    (packages / "openvino_telemetry.py").write_text(
        "from pathlib import Path\n(Path.home() / 'told').touch()\n"
    )
    graph = latest("mnist-8-filters") / MODEL
    statement = (
        "import sys; sys.path.insert(0, sys.argv[3]); from pathlib import Path; "
        "from service.engines import open_graph; open_graph(Path(sys.argv[1]), sys.argv[2], threads=1)"
    )
    assert left_at_home(home, statement, graph, engine, packages) == []


def test_an_engine_has_as_many_threads_as_it_is_told() -> None:
    model: Any = opened("mnist-8-filters", "onnxruntime", threads=3)
    assert model._session.get_session_options().intra_op_num_threads == 3
    model = opened("mnist-8-filters", "openvino", threads=2)
    assert model._compiled.get_property("INFERENCE_NUM_THREADS") == 2


def taken(precision: str) -> str:
    """What OpenVINO takes for it here: a processor of AVX2 alone has nothing for bfloat16."""
    return precision if "avx512bw" in Path("/proc/cpuinfo").read_text() else "float32"


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_openvino_is_told_the_precision_and_tells_what_it_took(precision: Precision) -> None:
    model: Any = opened("mnist-8-filters", "openvino", precision)
    hint = model._compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    assert hint == {"float32": "f32", "bfloat16": "bf16"}[model.precision]
    assert model.precision == taken(precision)


def test_openvino_leaves_its_threads_to_the_scheduler() -> None:
    """Pinned, those of all workers would share one core."""
    model = opened("mnist-8-filters", "openvino")
    assert model._compiled.get_property("ENABLE_CPU_PINNING") is False  # type: ignore[attr-defined]


@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize("engine", INSTALLED)
def test_answers_outlive_the_next_run(engine: EngineName, rows: int) -> None:
    pictures, _ = test_set("mnist")
    opened_engine = opened("mnist-8-filters", engine)
    first = opened_engine.run(pictures[:rows])[0]
    kept = first.copy()
    opened_engine.run(pictures[rows : 2 * rows])
    assert np.array_equal(first, kept)


@pytest.mark.parametrize("engine", INSTALLED)
def test_single_images_that_are_run_side_by_side_get_their_own_answers(engine: EngineName) -> None:
    """By a net whose runs are long enough for threads to meet in one."""
    pictures = test_set("cifar10")[0][:64]
    opened_engine = opened("cifar10-fast", engine)
    expected = probabilities(opened_engine, pictures)
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda at: opened_engine.run(pictures[at : at + 1])[0][0], range(64)))
    assert np.stack(answers) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("engine", INSTALLED)
def test_an_image_of_another_shape_is_no_image_of_the_models(engine: EngineName) -> None:
    opened_engine = opened("mnist-8-filters", engine)
    opened_engine.run(np.zeros((1, 28, 28, 1), np.uint8))
    with pytest.raises(Exception, match=r"28|shape"):
        opened_engine.run(np.zeros((1, 1, 28, 1), np.uint8))


def test_tensorflow_does_not_take_several_models_for_one_that_is_traced_time_and_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pictures, _ = test_set("mnist")
    for _ in range(8):  # as at the start of a service, which lets go of each
        opened("mnist-8-filters", "tensorflow").run(pictures[:1])
    assert "retracing" not in caplog.text


@pytest.mark.parametrize("engine", INSTALLED)
def test_images_are_read_as_they_lie_and_left_so(engine: EngineName) -> None:
    """As a request's bytes are: nobody may write to them. Or a view that skips some."""
    pictures, _ = test_set("mnist")
    opened_engine = opened("mnist-8-filters", engine)
    expected = opened_engine.run(np.array(pictures[:16:2]))[0]
    locked = np.frombuffer(pictures[:16].tobytes(), np.uint8).reshape(16, 28, 28, 1)
    for images in (locked[::2], np.frombuffer(locked[::2].tobytes(), np.uint8).reshape(8, 28, 28, 1)):
        assert not images.flags.writeable
        assert opened_engine.run(images)[0] == pytest.approx(expected, abs=1e-6)
    assert np.array_equal(locked, pictures[:16])


@pytest.mark.parametrize(("engine", "precision"), ENGINES)
async def test_the_service_runs_on_the_engine_that_is_set(
    engine: EngineName, precision: Precision, tmp_path: Path
) -> None:
    """In the precision that is set: by default it depends on the processor."""
    async with serving(linked(tmp_path, "mnist-8-filters"), engine=engine, precision=precision) as client:
        detail = (await client.get("/models/mnist-8-filters")).json()
        assert detail["engine"] == {"name": engine, "precision": taken(precision)}
        sample = (await client.get("/samples/mnist/0")).content
        answer = await client.post("/predict/mnist-8-filters", content=sample)
        assert answer.json()["label"] == "7"


async def test_only_a_faithful_model_is_served_in_bfloat16_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.engines, "has_tiles", lambda: True)
    artifacts = linked(tmp_path, "mnist-8-filters", "cifar10-strided")
    async with serving(artifacts, engine="openvino") as client:
        models = [
            (await client.get(f"/models/{name}")).json() for name in ("mnist-8-filters", "cifar10-strided")
        ]
    assert [model["engine"]["precision"] for model in models] == [taken("bfloat16"), "float32"]


def test_auto_is_openvino_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose("auto") == "openvino"
    monkeypatch.setattr(service.engines, "find_spec", lambda name: None)
    assert choose("auto") == "onnxruntime"


def test_an_engine_that_is_not_installed_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service.engines, "find_spec", lambda name: None)
    with pytest.raises(ValidationError, match=r"openvino is not installed: `uv sync --extra openvino`"):
        Settings(engine="openvino")


def test_bfloat16_is_chosen_for_a_faithful_model_on_a_processor_with_tiles(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for tiles, faithful in itertools.product((True, False), repeat=2):
        monkeypatch.setattr(service.engines, "has_tiles", lambda tiles=tiles: tiles)
        expected = "bfloat16" if tiles and faithful else "float32"
        assert choose_precision("auto", faithful=faithful) == expected
        assert choose_precision("float32", faithful=faithful) == "float32"
        assert choose_precision("bfloat16", faithful=faithful) == "bfloat16"


def test_threads_are_divided_among_the_workers() -> None:
    assert Settings(engine_threads=4, workers=2).threads_of_worker == 2
    assert Settings(engine_threads=1, workers=2).threads_of_worker == 1


async def test_a_model_without_the_engines_file_is_refused_and_the_others_are_served(tmp_path: Path) -> None:
    write_model(tmp_path, "stripes")  # has no Keras file
    (tmp_path / "models" / "mnist-8-filters").symlink_to(latest("mnist-8-filters").parent)
    async with serving(tmp_path, engine="tensorflow") as client:
        listed = (await client.get("/models")).json()
        metadata = (await client.get("/v2/models/mnist-8-filters")).json()
    assert metadata["platform"] == "tensorflow_keras"
    assert [model["name"] for model in listed["models"]] == ["mnist-8-filters"]
    assert [(one["name"], one["reason"]) for one in listed["refused"]] == [
        ("stripes", "model.keras is missing, which the engine needs")
    ]
