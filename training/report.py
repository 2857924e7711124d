"""The commands `report` and `compare`: figures a person would rather look at, of models that are published.

The figures are the service's own: both ask `python -m service.figures` for them.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from service.manifest import HISTORY, WEIGHT_STATISTICS, Manifest
from training.datasets import DataError
from training.published import named_manifest

ROOT = Path(__file__).parent.parent
KINDS = ("training", "weights", "confusion-matrix", "calibration")
COMPARED = ("training", "weights")  # what can be drawn on common axes


def report(arguments: argparse.Namespace) -> int:
    """Write every figure of one model into a folder."""
    manifest = named_manifest(arguments.artifacts, arguments.name)
    folder: Path = arguments.to or Path("build", "reports", manifest.name)
    return _write(arguments, [manifest], KINDS, folder)


def compare(arguments: argparse.Namespace) -> int:
    """Print the models' figures side by side and draw them on common axes."""
    named = (named_manifest(arguments.artifacts, name) for name in arguments.names)
    manifests = list({one.name: one for one in named}.values())  # a model and its alias are one
    console = Console(width=None if Console().is_terminal else 140)
    for table in (
        accuracy_table(arguments.artifacts, manifests),
        weight_table(arguments.artifacts, manifests),
    ):
        console.print(table)
        console.print()
    folder: Path = arguments.to or Path("build", "reports", "-".join(one.name for one in manifests))
    return _write(arguments, manifests, COMPARED, folder)


def accuracy_table(artifacts: Path, manifests: Sequence[Manifest]) -> Table:
    """A row a model: accuracy with its interval, parameters, and how far training is ahead of validation.

    Epochs and lead are left empty for a net of towers: those of its towers are not its own.
    """
    table = Table(box=None, header_style="bold")
    for heading in (
        "model",
        "parameters",
        "epochs",
        "test accuracy",
        "95 % interval",
        "training − validation",
    ):
        table.add_column(heading, justify="left" if heading == "model" else "right")
    for manifest in manifests:
        history = [] if manifest.members else _json(artifacts, manifest, HISTORY)["epochs"]
        low, high = manifest.metrics.accuracy_interval
        table.add_row(
            manifest.name,
            f"{manifest.parameters:,}",
            str(len(history) or ""),
            f"{manifest.metrics.accuracy:.2%}",
            f"{low:.2%} … {high:.2%}",
            f"{100 * _lead(history[-1]):+.2f} points" if history else "",
        )
    return table


def _lead(row: dict[str, float]) -> float:
    """By how much accuracy is higher on the training images than on those held out, after one epoch."""
    return row["accuracy"] - row["val_accuracy"]


def weight_table(artifacts: Path, manifests: Sequence[Manifest]) -> Table:
    """A row a layer: the standard deviation of its kernel in each model, which L2 makes smaller."""
    table = Table(
        box=None, header_style="bold", title="standard deviation of the kernels", title_justify="left"
    )
    table.add_column("layer")
    for manifest in manifests:
        table.add_column(manifest.name, justify="right")
    found = [_kernels(artifacts, manifest) for manifest in manifests]
    for layer in dict.fromkeys(name for kernels in found for name in kernels):
        table.add_row(layer, *(f"{kernels[layer]:.4f}" if layer in kernels else "" for kernels in found))
    return table


def _kernels(artifacts: Path, manifest: Manifest) -> dict[str, float]:
    """Standard deviation of each layer's weights that are more than a vector."""
    return {
        layer["name"]: weight["standard_deviation"]
        for layer in _json(artifacts, manifest, WEIGHT_STATISTICS)["layers"]
        for weight in layer["weights"]
        if len(weight["shape"]) > 1
    }


def _write(
    arguments: argparse.Namespace, manifests: Sequence[Manifest], kinds: Sequence[str], folder: Path
) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    for kind in kinds:
        path = folder / f"{kind}.png"
        path.write_bytes(_figure(arguments.artifacts, manifests, kind, arguments.theme))
        print(path)  # noqa: T201 — what the command is for
    return 0


def _figure(artifacts: Path, manifests: Sequence[Manifest], kind: str, theme: str) -> bytes:
    request = {
        "kind": kind,
        "artifacts": str(artifacts.resolve()),
        "manifests": [manifest.model_dump_json() for manifest in manifests],
        "theme": theme,
    }
    command = [sys.executable, "-m", "service.figures"]
    done = subprocess.run(  # noqa: S603
        command, input=json.dumps(request).encode(), capture_output=True, check=False, cwd=ROOT
    )
    if done.returncode:
        # One line where it is something that a person can mend.
        raise DataError(f"no {kind} figure: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def _json(artifacts: Path, manifest: Manifest, file: str) -> dict[str, Any]:
    path = artifacts / "models" / manifest.name / manifest.version / file
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is damaged ({error}): bring it back from a copy") from error
    return content
