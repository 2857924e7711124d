"""The commands `train` and `export`."""

import argparse
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import keras
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from training import teacher, towers
from training.datasets import DATASETS
from training.experiments import EXPERIMENTS, Experiment
from training.export import publish
from training.fit import build, fit
from training.parity import ParityError
from training.preprocess import load
from training.published import NotPublishedError
from training.runs import CheckpointError, Run, epochs_kept, load_checkpoint
from training.test_set import publish_test_set

EXPORTER = "tensorflow"  # the backend whose nets Keras writes as ONNX; checkpoints are the same for all
_INTERRUPTED = 130  # what a shell reports for a command that Ctrl-C ended


def train(arguments: argparse.Namespace, command: str) -> int:
    """Train every model named, one after the other; each is exported as soon as it is done."""
    console = Console()
    for name in arguments.names:
        status = _make(name, arguments, command, console)
        if status:
            return status
    return 0


def _make(name: str, arguments: argparse.Namespace, command: str, console: Console) -> int:
    """Train and export one model; an exit status."""
    experiment = _with_seed(EXPERIMENTS[name], arguments.seed)
    if experiment.members:
        return 0 if _publish_towers(experiment, arguments, command, console) else 1
    path = checkpoint_path(arguments.checkpoints, experiment)
    try:
        if arguments.restart:
            path.unlink(missing_ok=True)
        elif not arguments.resume:
            _refuse_to_discard(experiment, path)
        run = _train_one(experiment, arguments, console)
    except KeyboardInterrupt:
        kept = epochs_kept(path)
        console.print(
            f"\nstopped: {name} keeps {kept} of {experiment.epochs} epochs; --resume goes on from there"
        )
        return _INTERRUPTED
    except (CheckpointError, NotPublishedError) as error:
        console.print(f"[red]✗[/] {error}", highlight=False)
        return 1
    if arguments.no_export or experiment != EXPERIMENTS[name]:
        return 0
    if keras.backend.backend() != EXPORTER:
        return 0 if _export_elsewhere(name, arguments) else 1
    return 0 if _export_one(run, arguments, command, console) else 1


def export(arguments: argparse.Namespace, command: str) -> int:
    """Export every model named from its finished checkpoint."""
    console = Console()
    for name in arguments.names:
        experiment = EXPERIMENTS[name]
        if experiment.members:
            if not _publish_towers(experiment, arguments, command, console):
                return 1
            continue
        path = checkpoint_path(arguments.checkpoints, experiment)
        kept = epochs_kept(path)
        if kept < experiment.epochs:
            console.print(
                f"[red]✗[/] {name} has {kept} of {experiment.epochs} epochs: train it with --resume first"
            )
            return 1
        run = _finished(experiment, path)
        if not _export_one(run, arguments, command, console):
            return 1
    return 0


def checkpoint_path(folder: Path, experiment: Experiment) -> Path:
    """Where a model's training state is kept: runs with another seed than the experiment's have files of their own."""
    own = EXPERIMENTS[experiment.name].seed
    name = experiment.name if experiment.seed == own else f"{experiment.name}-seed-{experiment.seed}"
    return folder / f"{name}.npz"


def _finished(experiment: Experiment, path: Path) -> Run:
    run = Run(experiment, build(experiment))
    load_checkpoint(run, path)
    return run


def _other_seeds(experiment: Experiment, folder: Path) -> list[Run]:
    """The finished runs of an experiment with other seeds than its own."""
    runs = []
    for path in sorted(folder.glob(f"{experiment.name}-seed-*.npz")):
        other = replace(experiment, seed=int(path.stem.rpartition("-")[2]))
        if epochs_kept(path) == experiment.epochs:
            runs.append(_finished(other, path))
    return runs


def _with_seed(experiment: Experiment, seed: int | None) -> Experiment:
    return experiment if seed is None else replace(experiment, seed=seed)


def _refuse_to_discard(experiment: Experiment, path: Path) -> None:
    kept = epochs_kept(path)
    if 0 < kept < experiment.epochs:
        raise CheckpointError(
            f"{path} holds {kept} of {experiment.epochs} epochs of an unfinished run: "
            "--resume goes on with it, --restart begins again"
        )
    path.unlink(missing_ok=True)


def _train_one(experiment: Experiment, arguments: argparse.Namespace, console: Console) -> Run:
    arrays = load(DATASETS[experiment.dataset], arguments.data)
    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task(experiment.name, total=experiment.epochs, figures="")

        def batch(done: int, batches: int, logs: dict[str, float]) -> None:
            figures = f"loss {logs.get('loss', 0):.3f} accuracy {logs.get('accuracy', 0):.3f}"
            progress.update(bar, completed=epochs_kept_now[0] + done / batches, figures=figures)

        def epoch(run: Run) -> None:
            epochs_kept_now[0] = len(run.history)
            progress.update(bar, completed=len(run.history))
            console.print(f"{experiment.name}  {epoch_line(run)}", highlight=False, soft_wrap=True)

        path = checkpoint_path(arguments.checkpoints, experiment)
        epochs_kept_now = [epochs_kept(path)]
        return fit(
            experiment,
            arrays,
            path,
            teacher=teacher.find(experiment, arguments.artifacts),
            resume=arguments.resume,
            progress=batch if sys.stdout.isatty() else None,
            after_epoch=epoch,
        )


def epoch_line(run: Run) -> str:
    """The last epoch's figures as one line of a log."""
    row = run.history[-1]
    return (
        f"epoch {int(row['epoch']):3d}/{run.experiment.epochs}  loss {row['loss']:.4f}  accuracy {row['accuracy']:.4f}"
        f"  validation loss {row['val_loss']:.4f}  accuracy {row['val_accuracy']:.4f}  {row['seconds']:.1f} s"
    )


def _publish_towers(
    experiment: Experiment, arguments: argparse.Namespace, command: str, console: Console
) -> bool:
    """A net of published ones: there is nothing to train."""
    try:
        folders = towers.member_folders(experiment, arguments.artifacts)
    except NotPublishedError as error:
        console.print(f"[red]✗[/] {error}", highlight=False)
        return False
    run = Run(experiment, towers.net(folders), towers.history(folders), members=folders)
    return _export_one(run, arguments, command, console)


def _export_elsewhere(name: str, arguments: argparse.Namespace) -> bool:
    """In a process of its own with the backend that exports."""
    command = [sys.executable, "-m", "training", "export", name]
    for option in ("data", "artifacts", "checkpoints"):
        value = getattr(arguments, option)
        command += [f"--{option}", str(value)] if value else []
    done = subprocess.run(command, env={**os.environ, "KERAS_BACKEND": EXPORTER}, check=False)  # noqa: S603
    return done.returncode == 0


def _export_one(run: Run, arguments: argparse.Namespace, command: str, console: Console) -> bool:
    arrays = load(DATASETS[run.experiment.dataset], arguments.data)
    publish_test_set(DATASETS[run.experiment.dataset], arrays, arguments.artifacts, arguments.data)
    try:
        with console.status(run.experiment.name) as status:
            folder = publish(
                run,
                arrays,
                arguments.artifacts,
                command=command,
                others=_other_seeds(run.experiment, arguments.checkpoints),
                step=lambda text: status.update(f"{run.experiment.name}: {text}"),
            )
    except (ParityError, CheckpointError) as error:
        console.print(f"[red]✗[/] {run.experiment.name}: {error}", highlight=False)
        return False
    finally:
        keras.utils.clear_session()
    console.print(f"[green]✓[/] {folder}", highlight=False)
    return True
