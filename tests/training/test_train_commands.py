import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from service.manifest import HISTORY, MANIFEST, Manifest
from tests.service.shipped import latest
from tests.training.conftest import drop
from training import export, kept_runs, train_commands
from training.__main__ import main
from training.checkpoints import history_kept
from training.datasets import Arrays, DataError
from training.experiments import EXPERIMENTS, Experiment
from training.export import publish
from training.fit import build
from training.published import history_text
from training.runs import Run, save_checkpoint
from training.stops import TerminatedError

TINY = replace(EXPERIMENTS["mnist-8-filters"], epochs=1, held_out=100)

pytestmark = pytest.mark.filterwarnings("ignore:.*:DeprecationWarning:tf2onnx")


@pytest.fixture
def folder(few_arrays: dict[str, Arrays], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where `train` keeps and publishes, with few images and one short experiment."""
    monkeypatch.setattr(train_commands, "load", lambda *_: few_arrays["mnist"])
    monkeypatch.setattr(train_commands, "publish_test_set", lambda *_: None)
    monkeypatch.setitem(EXPERIMENTS, TINY.name, TINY)
    return tmp_path


def do(folder: Path, *arguments: str) -> int:
    return main([*arguments, "--checkpoints", str(folder / "kept"), "--artifacts", str(folder / "artifacts")])


def train(folder: Path, *arguments: str) -> int:
    return do(folder, "train", TINY.name, *arguments)


def kept(folder: Path) -> list[dict[str, float]]:
    return history_kept(folder / "kept" / f"{TINY.name}.npz")


def published(folder: Path, version: int) -> list[dict[str, float]]:
    path = folder / "artifacts" / "models" / TINY.name / str(version) / HISTORY
    rows: list[dict[str, float]] = json.loads(path.read_text())["epochs"]
    return rows


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that were given to other processes, each with its backend: this one cannot export."""
    asked: list[list[str]] = []

    class Done:
        def __init__(self, command: list[str], *, env: dict[str, str]) -> None:
            asked.append([env["KERAS_BACKEND"], *command[1:]])

        def __enter__(self) -> "Done":
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def wait(self) -> int:
            return 0

    monkeypatch.setattr(train_commands, "EXPORTER", "another")
    monkeypatch.setattr(subprocess, "Popen", Done)
    return asked


@pytest.fixture
def interrupted_export(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Ctrl-C in every export, until this is called."""

    def interrupted(*_: object, **__: object) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(train_commands, "publish", interrupted)
    return lambda: monkeypatch.setattr(train_commands, "publish", publish)


def test_another_seed_is_kept_and_told_of_by_what_is_published(folder: Path) -> None:
    assert train(folder, "--seed", "7") == 0
    assert sorted(path.name for path in folder.rglob("*.*")) == [f"{TINY.name}-seed-7.npz"]
    assert train(folder) == 0
    manifest = Manifest.model_validate_json(
        (folder / "artifacts" / "models" / TINY.name / "1" / MANIFEST).read_text()
    )
    assert [one.seed for one in manifest.metrics.seeds] == [1, 7]
    assert manifest.metrics.seeds[0].test_accuracy == manifest.metrics.accuracy


def test_a_finished_run_is_published_and_only_then_trained_anew(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(folder, "--no-export") == 0
    first = kept(folder)
    assert do(folder, "list") == 0
    assert "finished: export it" in capsys.readouterr().out
    assert train(folder, "--no-export") == 0
    assert f"{TINY.name}.npz holds a finished run: nothing to train" in capsys.readouterr().out
    assert kept(folder) == first
    assert train(folder) == 0
    assert published(folder, 1) == first
    assert train(folder) == 0
    assert published(folder, 2) == kept(folder) != first


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> list[Experiment]:
    """The experiments that were to be published, each in no time, in a folder whose name looks like markup."""
    asked: list[Experiment] = []

    def at_once(run: Run, *_: object, **__: object) -> Path:
        asked.append(run.experiment)
        return Path("../u/[bold]x[/y]/art")

    monkeypatch.setattr(train_commands, "publish", at_once)
    return asked


def change(monkeypatch: pytest.MonkeyPatch, **fields: Any) -> Experiment:
    """The experiment with other settings from now on."""
    changed = replace(TINY, **fields)
    monkeypatch.setitem(EXPERIMENTS, TINY.name, changed)
    return changed


def finished(experiment: Experiment, path: Path) -> Run:
    """A run that is kept as if it had been trained."""
    run = Run(experiment, build(experiment), [{"epoch": 1, "val_accuracy": 0.5, "seconds": 1.0}])
    save_checkpoint(run, path)
    return run


def finish(folder: Path, experiment: Experiment = TINY) -> list[dict[str, float]]:
    """A finished run is kept where `train` looks for it; its history."""
    return finished(experiment, kept_runs.checkpoint_path(folder / "kept", experiment)).history


def finish_and_publish(folder: Path) -> list[dict[str, float]]:
    """The same, and a version has its history."""
    history, home = finish(folder), folder / "artifacts" / "models" / TINY.name / "1"
    home.mkdir(parents=True)
    shipped = Manifest.model_validate_json((latest(TINY.name) / MANIFEST).read_bytes())
    about = shipped.model_copy(update={"version": "1", "experiment": TINY.record()})
    (home / MANIFEST).write_bytes(about.model_dump_json().encode())
    (home / HISTORY).write_bytes(history_text(history).encode())
    return history


@pytest.fixture
def trained_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training takes no time, and teaches nothing."""

    def at_once(experiment: Experiment, _: Arrays, path: Path, **__: object) -> Run:
        return finished(experiment, path)

    monkeypatch.setattr(train_commands, "fit", at_once)


def test_what_was_finished_is_published_in_better_words_and_told_with_its_folder(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    exported: list[Experiment],
) -> None:
    finish(folder)
    changed = change(monkeypatch, description="better words")
    assert do(folder, "export", TINY.name) == train(folder, "--resume") == 0
    assert exported == [changed, changed]
    assert capsys.readouterr().out.splitlines()[-1] == "✓ ../u/[bold]x[/y]/art"


def test_more_epochs_are_no_rest_of_a_finished_training(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = finish(folder)
    change(monkeypatch, epochs=2)
    for command in (["train"], ["train", "--resume"], ["export"]):
        assert do(folder, command[0], TINY.name, *command[1:]) == 1
        said = capsys.readouterr().out
        assert "was made with other settings (epochs: was 1, is 2): set them back" in said
        assert "unfinished" not in said
    assert kept(folder) == first
    finish_and_publish(folder)
    assert train(folder, "--no-export") == 0  # it is published: nothing of it needs to be kept
    assert len(kept(folder)) == 2


def test_what_is_published_is_not_published_again_by_resuming(
    folder: Path, trained_at_once: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(folder) == 0
    assert train(folder, "--resume") == 0
    assert f"{TINY.name} is published as it is: nothing to do" in capsys.readouterr().out
    home = folder / "artifacts" / "models" / TINY.name
    assert [one.name for one in home.iterdir()] == ["1"]
    assert do(folder, "export", TINY.name) == 0
    assert published(folder, 2) == published(folder, 1)


def test_who_resumes_what_is_published_is_told_what_it_was_published_with(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    finish_and_publish(folder)
    change(monkeypatch, description="better words")
    assert train(folder, "--resume") == 0
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.startswith(f"{TINY.name} is published with the description {TINY.description!r}; `export ")


@pytest.mark.parametrize("how", [(), ("--restart",)])
def test_what_is_kept_is_discarded_only_when_nothing_is_missing_for_another(
    folder: Path, monkeypatch: pytest.MonkeyPatch, how: tuple[str, ...]
) -> None:
    first = finish_and_publish(folder)

    def missing(*_: object) -> Arrays:
        raise DataError("there are no data")

    monkeypatch.setattr(train_commands, "load", missing)
    assert train(folder, *how) == 1
    assert kept(folder) == first


def test_an_experiment_that_could_not_be_published_is_not_begun(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(EXPERIMENTS, TINY.name, replace(TINY, readings=(2,)))
    assert train(folder) == 1
    assert "its readings are of epochs [2], and it has 1" in capsys.readouterr().err
    assert not (folder / "kept").exists() or not list((folder / "kept").iterdir())


def test_a_finished_run_of_another_seed_is_trained_again_with_restart_alone(folder: Path) -> None:
    finish(folder, replace(TINY, seed=7))
    path = folder / "kept" / f"{TINY.name}-seed-7.npz"
    first = path.read_bytes()
    assert train(folder, "--seed", "7") == 0
    assert path.read_bytes() == first
    assert train(folder, "--seed", "7", "--restart") == 0
    assert path.read_bytes() != first


def test_ctrl_c_in_an_export_says_how_to_go_on_and_the_same_command_does(
    folder: Path,
    trained_at_once: None,
    capsys: pytest.CaptureFixture[str],
    interrupted_export: Callable[[], None],
) -> None:
    assert train(folder) == 130
    first = kept(folder)
    assert (
        f"{TINY.name} is not published yet; `python -m training export {TINY.name} "
        in capsys.readouterr().err
    )
    assert do(folder, "export", TINY.name) == 130
    interrupted_export()
    assert train(folder) == 0
    assert published(folder, 1) == first


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The models that were to be made, each in no time."""
    names: list[str] = []

    def make(name: str, *_: object) -> int:
        names.append(name)
        return 0

    monkeypatch.setattr(train_commands, "_make", make)
    return names


@pytest.fixture
def dropping(monkeypatch: pytest.MonkeyPatch, listening: None) -> Callable[[ModuleType, str], None]:
    """Ctrl-C at the end of this function, where Python drops it."""

    def patch(module: ModuleType, name: str) -> None:
        function = getattr(module, name)

        def dropped(*arguments: Any, **others: Any) -> Any:
            done = function(*arguments, **others)
            drop()
            return done

        monkeypatch.setattr(module, name, dropped)

    return patch


@pytest.mark.parametrize(
    ("module", "last"),
    [(train_commands, "fit"), (export, "layer_table")],
    ids=["after the training", "before what is made is published"],
)
def test_a_stop_that_was_dropped_publishes_nothing(
    folder: Path,
    trained_at_once: None,
    capsys: pytest.CaptureFixture[str],
    dropping: Callable[[ModuleType, str], None],
    module: ModuleType,
    last: str,
) -> None:
    dropping(module, last)
    assert train(folder) == 130
    assert f"{TINY.name} is not published yet; `python -m training export" in capsys.readouterr().err
    assert len(kept(folder)) == 1
    assert not [path for path in (folder / "artifacts").rglob("*") if path.is_file()]


def test_a_stop_that_was_dropped_begins_no_other_process(
    folder: Path,
    trained_at_once: None,
    elsewhere: list[list[str]],
    dropping: Callable[[ModuleType, str], None],
) -> None:
    dropping(train_commands, "fit")
    assert train(folder) == 130
    assert elsewhere == []


def test_a_stop_that_was_dropped_before_a_training_discards_nothing(
    folder: Path, dropping: Callable[[ModuleType, str], None]
) -> None:
    first = finish_and_publish(folder)
    dropping(train_commands, "load")
    assert train(folder, "--restart") == 130
    assert kept(folder) == first


def test_a_stop_that_was_dropped_leaves_the_next_model_alone(
    folder: Path, made: list[str], dropping: Callable[[ModuleType, str], None]
) -> None:
    dropping(train_commands, "_make")
    assert do(folder, "train", "mnist-l2", TINY.name) == 130
    assert made == ["mnist-l2"]


def test_what_another_process_trains_is_left_to_it(
    folder: Path, trained_at_once: None, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / "kept" / f"{TINY.name}.npz"
    with kept_runs.held(path):
        for how in ("--resume", "--restart"):
            assert train(folder, how) == 1
            assert "another process is training mnist-8-filters" in capsys.readouterr().out
    assert not path.exists()
    assert train(folder, "--no-export") == 0
    assert len(kept(folder)) == 1


def test_a_run_is_not_resumed_and_discarded_at_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        train(folder, "--resume", "--restart")
    assert "not allowed with" in capsys.readouterr().err


def test_a_damaged_checkpoint_is_named_and_restart_discards_it(
    folder: Path, trained_at_once: None, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / "kept" / f"{TINY.name}.npz"
    path.parent.mkdir()
    path.write_bytes(b"PK\x03\x04 and no more")
    for command in ("train", "export"):
        assert do(folder, command, TINY.name) == 1
        assert f"{path} is damaged" in capsys.readouterr().out
    assert train(folder, "--restart", "--no-export") == 0
    assert len(kept(folder)) == 1


def test_on_another_backend_a_process_of_its_own_exports(
    folder: Path, trained_at_once: None, elsewhere: list[list[str]]
) -> None:
    assert train(folder) == 0
    assert elsewhere[0][:5] == ["another", "-m", "training", "export", TINY.name]
    assert str(folder / "kept") in elsewhere[0]


@pytest.mark.parametrize(
    "command", [["export", TINY.name], ["export", "cifar10-pair"], ["train", "cifar10-pair"]]
)
def test_on_another_backend_that_process_makes_whatever_needs_no_training(
    folder: Path, elsewhere: list[list[str]], command: list[str]
) -> None:
    assert do(folder, *command) == 0
    assert [asked[3:5] for asked in elsewhere] == [["export", command[1]]]


@pytest.mark.parametrize(("stop", "passed_on"), [(KeyboardInterrupt, 0), (TerminatedError, 1)])
def test_who_is_stopped_waits_for_the_process_that_exports(
    folder: Path,
    elsewhere: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    stop: type[BaseException],
    passed_on: int,
) -> None:
    """It heard of Ctrl-C too, of SIGTERM it has to be told, and says how to go on."""
    waits: Iterator[int | type[BaseException]] = iter([stop, 130])
    told: list[object] = []

    def terminate(process: object) -> None:
        told.append(process)

    def wait(_: object) -> int:
        answer = next(waits)
        if isinstance(answer, int):
            return answer
        raise answer

    monkeypatch.setattr(subprocess.Popen, "wait", wait)
    monkeypatch.setattr(subprocess.Popen, "terminate", terminate, raising=False)
    assert do(folder, "export", TINY.name) == 130
    assert (len(elsewhere), len(told)) == (1, passed_on)
    assert list(waits) == []


def test_a_net_put_together_of_others_has_no_seed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert do(folder, "train", TINY.name, "cifar10-pair", "--seed", "7") == 1
    assert "cifar10-pair: put together of published nets, not trained" in capsys.readouterr().out
    assert not any((folder / "kept").iterdir())  # nothing was trained before it was said


def test_with_another_seed_all_are_those_that_are_trained(
    folder: Path, made: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert do(folder, "train", "all", "--seed", "7") == 0
    assert made == [name for name in EXPERIMENTS if name != "cifar10-pair"]
    assert "left out: cifar10-pair: put together of published nets" in capsys.readouterr().out
