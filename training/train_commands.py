"""The commands `train` and `export`."""

import argparse
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
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

from training import kept_runs, teacher, towers
from training.checkpoints import CheckpointError, history_kept
from training.datasets import DATASETS, DataError
from training.experiments import EXPERIMENTS, Experiment
from training.export import publish
from training.faults import fault
from training.fit import fit
from training.lines import done, refuse, say
from training.locks import BusyError
from training.parity import ParityError
from training.preprocess import load
from training.published import NotPublishedError, is_published, others_than_published
from training.runs import Run
from training.stops import TerminatedError, heed
from training.test_set import publish_test_set

EXPORTER = "tensorflow"  # the backend whose nets Keras writes as ONNX; checkpoints are the same for all


def train(arguments: argparse.Namespace, command: str) -> int:
    """Train every model named, one after the other; each is exported as soon as it is done."""
    console = Console()
    for folder in (arguments.artifacts, arguments.checkpoints):
        folder.mkdir(parents=True, exist_ok=True)  # one that cannot be made is told of before the training
    names = _named(arguments.names)
    put_together = [name for name in names if EXPERIMENTS[name].members]
    if arguments.seed is not None and put_together:
        line = f"{', '.join(put_together)}: put together of published nets, not trained; --seed changes nothing there"
        if "all" not in arguments.names:
            return refuse(console, line)
        say(console, f"left out: {line}")
        names = [name for name in names if name not in put_together]
    return _one_by_one(names, lambda name: _make(name, arguments, command, console), console)


def export(arguments: argparse.Namespace, command: str) -> int:
    """Export every model named from its finished checkpoint, or from the nets that it is made of."""
    console = Console()
    names = _named(arguments.names)
    return _one_by_one(names, lambda name: _export(name, arguments, command, console), console)


def _named(names: Sequence[str]) -> list[str]:
    """The experiments that were asked for, each once. Raises DataError for one that could not be published."""
    asked = list(EXPERIMENTS) if "all" in names else list(dict.fromkeys(names))
    for name in asked:
        wrong = fault(EXPERIMENTS[name])
        if wrong is not None:
            raise DataError(f"the experiment {name!r} cannot be made: {wrong}")
    return asked


def _one_by_one(names: Sequence[str], make: Callable[[str], int], console: Console) -> int:
    """`make` one after the other until one fails; an exit status."""
    for name in names:
        heed()
        try:
            status = make(name)
        except (BusyError, CheckpointError, NotPublishedError) as error:
            status = refuse(console, str(error))
        except ParityError as error:
            status = refuse(console, f"{name}: {error}")
        if status:
            return status
    return 0


def _make(name: str, arguments: argparse.Namespace, command: str, console: Console) -> int:
    """Train and export one model; an exit status. KeyboardInterrupt says how to go on."""
    own = EXPERIMENTS[name]
    experiment = own if arguments.seed is None else replace(own, seed=arguments.seed)
    run = None
    if not experiment.members:
        path = kept_runs.checkpoint_path(arguments.checkpoints, experiment)
        try:
            with kept_runs.held(path):
                run = _trained(experiment, arguments, console)
        except KeyboardInterrupt:
            kept = len(history_kept(path))
            raise KeyboardInterrupt(
                f"stopped: {name} keeps {kept} of {experiment.epochs} epochs; --resume goes on from there"
            ) from None
    if arguments.no_export or experiment != own:
        return 0
    if arguments.resume and is_published(arguments.artifacts, name, _history(experiment, run, arguments)):
        # Once more it would be another version, which what was taught by this one does not know.
        what = others_than_published(arguments.artifacts, experiment)
        say(
            console,
            f"{name} is published with {what}; `export {name}` publishes it with what the experiment has now"
            if what
            else f"{name} is published as it is: nothing to do; `export {name}` would publish it once more",
        )
        return 0
    return _export(name, arguments, command, console, run)


def _history(
    experiment: Experiment, run: Run | None, arguments: argparse.Namespace
) -> list[dict[str, float]]:
    """Of the run, or of the nets that the experiment is made of. Raises NotPublishedError."""
    return run.history if run else towers.history(towers.member_folders(experiment, arguments.artifacts))


def _trained(experiment: Experiment, arguments: argparse.Namespace, console: Console) -> Run:
    """The experiment's finished run: the one that is kept, where that is not published yet, or else a new one.

    Raises CheckpointError where an unfinished run or one with other settings is in the way, NotPublishedError where
    the teacher is missing.
    """
    path = kept_runs.checkpoint_path(arguments.checkpoints, experiment)
    history = [] if arguments.restart else history_kept(path)
    if not history or (not arguments.resume and is_published(arguments.artifacts, experiment.name, history)):
        return _train_one(experiment, path, arguments, console)
    if len(history_kept(path, experiment)) == experiment.epochs:
        say(console, f"{path} holds a finished run: nothing to train; --restart would discard it")
        return kept_runs.finished(experiment, path)
    if not arguments.resume:
        raise CheckpointError(
            f"{path} holds {len(history)} of {experiment.epochs} epochs of an unfinished run: "
            "--resume goes on with it, --restart begins again"
        )
    return _train_one(experiment, path, arguments, console)


def _train_one(experiment: Experiment, path: Path, arguments: argparse.Namespace, console: Console) -> Run:
    taught_by = teacher.find(experiment, arguments.artifacts)
    arrays = load(DATASETS[experiment.dataset], arguments.data)
    heed()
    if not arguments.resume:
        path.unlink(missing_ok=True)  # now that nothing is missing for another
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

        epochs_kept = len(history_kept(path))

        def batch(number: int, batches: int, logs: dict[str, float]) -> None:
            figures = f"loss {logs.get('loss', 0):.3f} accuracy {logs.get('accuracy', 0):.3f}"
            progress.update(bar, completed=epochs_kept + number / batches, figures=figures)

        def epoch(run: Run) -> None:
            nonlocal epochs_kept
            epochs_kept = len(run.history)
            progress.update(bar, completed=epochs_kept)
            say(console, f"{experiment.name}  {epoch_line(run)}")

        return fit(
            experiment,
            arrays,
            path,
            teacher=taught_by,
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


def _export(
    name: str, arguments: argparse.Namespace, command: str, console: Console, run: Run | None = None
) -> int:
    """Evaluate and publish a model: `run`, if it was just trained, or what is kept; an exit status.

    Raises CheckpointError, NotPublishedError, ParityError; KeyboardInterrupt says how to go on.
    """
    again = ["export", name]
    for option in ("data", "artifacts", "checkpoints"):
        value = getattr(arguments, option)
        again += [f"--{option}", str(value)] if value else []
    try:
        heed()
        if keras.backend.backend() != EXPORTER:
            return _export_elsewhere(again)
        _export_here(run or _to_export(EXPERIMENTS[name], arguments), arguments, command, console)
    except KeyboardInterrupt:
        line = shlex.join(["python", "-m", "training", *again])
        raise KeyboardInterrupt(f"stopped: {name} is not published yet; `{line}` does it") from None
    return 0


def _export_elsewhere(arguments: Sequence[str]) -> int:
    """In a process of its own with the backend that exports; its exit status."""
    command = [sys.executable, "-m", "training", *arguments]
    with subprocess.Popen(command, env={**os.environ, "KERAS_BACKEND": EXPORTER}) as process:  # noqa: S603
        try:
            return process.wait()
        except TerminatedError:
            process.terminate()
            return process.wait()
        except KeyboardInterrupt:  # the other process heard Ctrl-C too: it tidies up and says how to go on
            return process.wait()


def _to_export(experiment: Experiment, arguments: argparse.Namespace) -> Run:
    """What is kept of an experiment, or its members as one net. Raises CheckpointError, NotPublishedError."""
    if experiment.members:
        folders = towers.member_folders(experiment, arguments.artifacts)
        return Run(experiment, towers.net(folders), towers.history(folders), members=folders)
    path = kept_runs.checkpoint_path(arguments.checkpoints, experiment)
    kept = len(history_kept(path, experiment))
    if kept < experiment.epochs:
        raise CheckpointError(
            f"{experiment.name} has {kept} of {experiment.epochs} epochs: train it with --resume first"
        )
    return kept_runs.finished(experiment, path)


def _export_here(run: Run, arguments: argparse.Namespace, command: str, console: Console) -> None:
    arrays = load(DATASETS[run.experiment.dataset], arguments.data)
    publish_test_set(DATASETS[run.experiment.dataset], arrays, arguments.artifacts, arguments.data)
    try:
        with console.status(run.experiment.name) as status:
            folder = publish(
                run,
                arrays,
                arguments.artifacts,
                command=command,
                others=kept_runs.other_seeds(run, arguments.checkpoints),
                step=lambda text: status.update(f"{run.experiment.name}: {text}"),
            )
    finally:
        keras.utils.clear_session()
    done(console, str(folder))
