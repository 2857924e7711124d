import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from service.manifest import MANIFEST, Manifest
from training import train_commands
from training.__main__ import main
from training.datasets import Arrays
from training.experiments import EXPERIMENTS

TINY = replace(EXPERIMENTS["mnist-8-filters"], epochs=1)

pytestmark = pytest.mark.filterwarnings(
    "ignore:In the future `np.object`:FutureWarning",  # Keras's exporter probes NumPy for an old name
    "ignore:.*:DeprecationWarning:tf2onnx",
)


@pytest.fixture
def folder(few_arrays: dict[str, Arrays], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where `train` keeps and publishes, with few images and one short experiment."""
    monkeypatch.setattr(train_commands, "load", lambda *_: few_arrays["mnist"])
    monkeypatch.setattr(train_commands, "publish_test_set", lambda *_: None)
    monkeypatch.setitem(EXPERIMENTS, TINY.name, TINY)
    return tmp_path


def train(folder: Path, *arguments: str) -> int:
    places = ["--checkpoints", str(folder / "kept"), "--artifacts", str(folder / "artifacts")]
    return main(["train", TINY.name, *places, *arguments])


def test_another_seed_is_kept_and_told_of_by_what_is_published(folder: Path) -> None:
    assert train(folder, "--seed", "7") == 0
    assert sorted(path.name for path in folder.rglob("*.*")) == [f"{TINY.name}-seed-7.npz"]
    assert train(folder) == 0
    manifest = Manifest.model_validate_json(
        (folder / "artifacts" / "models" / TINY.name / "1" / MANIFEST).read_text()
    )
    assert [one.seed for one in manifest.metrics.seeds] == [1, 7]
    assert manifest.metrics.seeds[0].test_accuracy == manifest.metrics.accuracy


def test_on_another_backend_a_process_of_its_own_exports(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def run(command: list[str], *, env: dict[str, str], check: bool) -> object:
        asked.append([*command, env["KERAS_BACKEND"], str(check)])
        return type("Done", (), {"returncode": 0})()

    monkeypatch.setattr(train_commands, "EXPORTER", "another")
    monkeypatch.setattr(subprocess, "run", run)
    assert train(folder) == 0
    assert asked[0][2:5] == ["training", "export", TINY.name]
    assert asked[0][-2:] == ["another", "False"]
    assert str(folder / "kept") in asked[0]
