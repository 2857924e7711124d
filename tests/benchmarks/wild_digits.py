"""How well digits in the wild are named: synthetic photographs of MNIST validation images, one distortion
at a time and all together, by plain resizing and by service.images.

    python -m tests.benchmarks.wild_digits [--model NAME] [--images N] [--json FILE]
"""

import argparse
import json
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image

from service.errors import Problem
from service.images import PrepareOptions, prepare
from service.manifest import IMAGE_INPUT, MODEL, InputSpec
from tests.benchmarks.arguments import new_file, parser_of, whole
from tests.benchmarks.data import loaded
from tests.benchmarks.photographs import DISTORTIONS, Scene, photograph
from training.datasets import MNIST, VALIDATION_IMAGES, training_split

SEED = 20
DIGIT = InputSpec(height=28, width=28, channels=1)
MAX_PIXELS = 25_000_000
ARTIFACTS = Path(__file__).parents[2] / "artifacts"

Images = NDArray[np.uint8]
Classifier = Callable[[Images], NDArray[np.int64]]


def main() -> None:
    """Print the table; with --json also write it."""
    options = _arguments()
    classify = load_classifier(options.model)
    digits, labels = validation_digits(options.images)
    clean = float((classify(digits) == labels).mean())
    rows = {"": {"plain resize": clean, "this path": clean}}
    _say(f"{options.model}, {len(digits)} validation images; as they are {clean:.1%}")
    _say(f"{'distortion':<16} {'plain resize':>12} {'this path':>10} {'to clean':>9}")
    for name in options.only or DISTORTIONS:
        rows[name] = _accuracies(name, digits, labels, classify)
        plain, ours = rows[name].values()
        _say(f"{name:<16} {plain:>12.1%} {ours:>10.1%} {100 * (ours - clean):>+9.1f}")
    if options.json:
        options.json.write_text(
            json.dumps({"model": options.model, "images": len(digits), "accuracy": rows}, indent=1)
        )


def validation_digits(count: int) -> tuple[Images, NDArray[np.int64]]:
    """`count` images spread over the validation split: uint8 [N,28,28], int64 [N]."""
    _, _, images, labels = training_split(loaded(MNIST))
    chosen = np.linspace(0, len(labels) - 1, count).astype(int)
    return images[chosen, ..., 0], labels[chosen].astype(np.int64)


def load_classifier(model: str) -> Classifier:
    """A model of artifacts/, by name or alias, or the path of an ONNX file → uint8 [N,28,28] to labels [N]."""
    session = onnxruntime.InferenceSession(_model_file(model), providers=["CPUExecutionProvider"])
    name, outputs = session.get_inputs()[0].name, session.get_outputs()[0].name
    if session.get_inputs()[0].shape[1:] != [28, 28, 1]:
        sys.exit(f"{model} takes {session.get_inputs()[0].shape}, no digits of [N,28,28,1]")
    takes_bytes = name == IMAGE_INPUT

    def classify(images: Images) -> NDArray[np.int64]:
        rows = images[..., None] if takes_bytes else images[..., None].astype(np.float32)
        return np.concatenate(
            [
                session.run([outputs], {name: part})[0].argmax(1)
                for part in np.array_split(rows, -(-len(rows) // 256))
            ]
        )

    return classify


def _model_file(model: str) -> Path:
    """Exits, saying what there is, when there is no such model."""
    graphs = digit_graphs()
    file = Path(model) if model.endswith(".onnx") else graphs.get(model)
    if file is None or not file.is_file():
        sys.exit(f"no model of digits {model}: there are {', '.join(graphs)}, or the path of an ONNX file")
    return file


def digit_graphs() -> dict[str, Path]:
    """The graph of the latest version of every model of digits in artifacts/, by name and by alias."""
    manifests: dict[str, Path] = {}
    for path in sorted(
        ARTIFACTS.glob("models/*/[0-9]*/manifest.json"), key=lambda path: int(path.parent.name)
    ):
        if json.loads(path.read_text())["dataset"] == "mnist":
            manifests[path.parts[-3]] = path
    aliases = json.loads((ARTIFACTS / "aliases.json").read_text())
    names = {name: name for name in manifests} | aliases
    return {name: manifests[of].parent / MODEL for name, of in sorted(names.items()) if of in manifests}


def _accuracies(
    name: str, digits: Images, labels: NDArray[np.int64], classify: Classifier
) -> dict[str, float]:
    random = np.random.default_rng(SEED)
    files = (photograph(digit, DISTORTIONS[name](random, Scene()), random) for digit in digits)
    pairs = [(_plain(file), _prepared(file)) for file in files]
    plain, ours = (np.stack(images) for images in zip(*pairs, strict=True))
    return {
        "plain resize": float((classify(plain) == labels).mean()),
        "this path": float((classify(ours) == labels).mean()),
    }


def _plain(file: bytes) -> Images:
    with Image.open(BytesIO(file)) as picture:
        return np.asarray(picture.convert("L").resize((28, 28), Image.Resampling.BILINEAR))


def _prepared(file: bytes) -> Images:
    """What the service shows the net; black, so most likely wrong, where it refuses."""
    try:
        return prepare(file, DIGIT, PrepareOptions(), max_pixels=MAX_PIXELS).image[..., 0]
    except Problem:
        return np.zeros((28, 28), np.uint8)


def _say(line: str) -> None:
    print(line, flush=True)


def _arguments() -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument("--model", default="mnist", help="name or alias in artifacts/, or an ONNX file")
    parser.add_argument(
        "--images",
        type=whole(1, VALIDATION_IMAGES),
        default=1000,
        help="validation images for each distortion",
    )
    parser.add_argument("--json", type=new_file, help="also write the table here")
    parser.add_argument(
        "--only", action="append", choices=list(DISTORTIONS), help="this distortion (repeatable)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
