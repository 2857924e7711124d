"""The command `list`: what can be trained, and how good what was trained is."""

from pathlib import Path
from statistics import mean, stdev

from rich.console import Console
from rich.table import Table

from service.manifest import Manifest, served_bytes
from training.checkpoints import CheckpointError, history_kept
from training.datasets import DataError
from training.experiments import EXPERIMENTS, Experiment
from training.lines import say
from training.published import latest_manifest

_HEADINGS = (
    "model",
    "version",
    "parameters",
    "epochs",
    "test accuracy",
    "95 % interval",
    "size",
    "trained in",
)


def show(artifacts: Path, checkpoints: Path) -> int:
    """Print one row an experiment, from the manifest of its latest version; 1 if one of these is damaged."""
    table = Table(box=None, header_style="bold")
    for heading in _HEADINGS:
        table.add_column(heading, justify="left" if heading == "model" else "right")
    spreads, damaged = [], []
    for name, experiment in EXPERIMENTS.items():
        try:
            manifest = latest_manifest(artifacts, name)
        except DataError as error:
            damaged.append(str(error))
            table.add_row(name, "", "", "", "damaged", "", "", "")
            continue
        if manifest is None:
            state = _state(experiment, checkpoints / f"{name}.npz")
            table.add_row(name, "", "", str(experiment.epochs or ""), state, "", "", "")
        else:
            table.add_row(*row(manifest))
            spreads += [spread(manifest)] if manifest.metrics.seeds else []
    console = Console(width=None if Console().is_terminal else 120)
    console.print(table)
    for line in (*spreads, *damaged):
        say(console, line)
    return 1 if damaged else 0


def _state(experiment: Experiment, checkpoint: Path) -> str:
    """How far the training is of a model that is not published."""
    try:
        kept = history_kept(checkpoint)
    except CheckpointError:  # `train` says what is wrong with it
        return "damaged"
    if not checkpoint.is_file():
        return "not trained"
    return "unfinished" if len(kept) < experiment.epochs else "finished: export it"


def row(manifest: Manifest) -> tuple[str, ...]:
    """A model's figures as the table and the README print them; a net of towers has no epochs of its own."""
    low, high = manifest.metrics.accuracy_interval
    size = served_bytes(manifest)
    return (
        manifest.name,
        manifest.version,
        f"{manifest.parameters:,}",
        "" if manifest.members else str(manifest.experiment["epochs"]),
        f"{manifest.metrics.accuracy:.2%}",
        f"{low:.2%} … {high:.2%}",
        f"{size / 1e6:.2f} MB",
        f"{manifest.provenance.seconds:.0f} s",
    )


def spread(manifest: Manifest) -> str:
    """How much of a result is chance: mean and standard deviation over seeds, as one line."""
    seeds = manifest.metrics.seeds
    accuracies = [one.test_accuracy for one in seeds]
    each = ", ".join(f"{one.seed}: {one.test_accuracy:.2%}" for one in seeds)
    return (
        f"{manifest.name} over {len(seeds)} seeds: {mean(accuracies):.3%} ± {stdev(accuracies):.3%} ({each}; "
        f"served: {manifest.provenance.seed})"
    )
