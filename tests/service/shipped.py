"""The models under artifacts/, as a fixture can serve some of them without opening all."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from service.settings import ROOT

ARTIFACTS = ROOT / "artifacts"
MODELS = sorted({path.parent.parent.name for path in ARTIFACTS.glob("models/*/*/manifest.json")})


def linked(folder: Path, *names: str, aliases: Mapping[str, str] | None = None) -> Path:
    """An artifacts folder with links to some of the models and to every data set; returns it."""
    (folder / "models").mkdir()
    (folder / "datasets").symlink_to(ARTIFACTS / "datasets")
    for name in names:
        (folder / "models" / name).symlink_to(ARTIFACTS / "models" / name)
    (folder / "aliases.json").write_text(json.dumps(aliases or {}))
    return folder


def latest(name: str) -> Path:
    """The folder of a model's latest version."""
    return max((ARTIFACTS / "models" / name).glob("[0-9]*"), key=lambda path: int(path.name))


def manifest(name: str) -> dict[str, Any]:
    """A model's manifest, as plain JSON."""
    read: dict[str, Any] = json.loads((latest(name) / "manifest.json").read_text())
    return read


def test_set(dataset: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images [N,H,W,C] and labels [N]."""
    with np.load(ARTIFACTS / "datasets" / dataset / "test.npz") as arrays:
        return arrays["images"], arrays["labels"]


test_set.__test__ = False  # type: ignore[attr-defined]


def run(graph: Path, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    """Every output of a graph by name, by ONNX Runtime alone."""
    session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    parts = [session.run(None, {"image": images[at : at + 500]}) for at in range(0, len(images), 500)]
    return {name: np.concatenate([part[at] for part in parts]) for at, name in enumerate(names)}
