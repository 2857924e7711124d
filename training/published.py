"""Which models artifacts/ has."""

import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from service.manifest import ALIASES, HISTORY, MANIFEST, Manifest
from training.checkpoints import UNTRAINED
from training.datasets import DataError
from training.experiments import EXPERIMENTS, Experiment
from training.whole_files import DamagedError, reading


class NotPublishedError(Exception):
    """A model that another is made from is not there; the message says how to get it."""


def version_folders(artifacts: Path, name: str) -> list[Path]:
    """The folders of a model's versions, in no order."""
    folders = [path.parent for path in (artifacts / "models" / name).glob(f"*/{MANIFEST}")]
    return [folder for folder in folders if folder.name.isdigit()]


def latest_folder(artifacts: Path, name: str) -> Path | None:
    """The folder of a model's highest version, or None."""
    return max(version_folders(artifacts, name), key=lambda folder: int(folder.name), default=None)


def needed_folder(artifacts: Path, name: str, by: str) -> Path:
    """The same of a model that the experiment called `by` is made from. Raises NotPublishedError."""
    folder = latest_folder(artifacts, name)
    if folder is None:
        raise NotPublishedError(
            f"{by} is made from {name}: `python -m training train {name}` first"
            if name in EXPERIMENTS
            else f"{by} is made from {name}, which is neither in {artifacts} nor an experiment"
        )
    return folder


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a version folder. Raises DataError where it is damaged, or another's."""
    path = folder / MANIFEST
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        reason = f"{where}: {first['msg']}" if where else first["msg"]
        raise DataError(
            f"{path} is damaged ({reason}): bring it back from a copy, or delete its folder"
        ) from error
    if (manifest.name, manifest.version) != (folder.parent.name, folder.name):
        raise DataError(f"{path} is of {manifest.name} {manifest.version}, which is another folder")
    return manifest


def load_net(path: Path) -> Any:
    """A published Keras net, which is not trained any more. Raises DataError where it is damaged or missing."""
    import keras  # noqa: PLC0415 — `list` does without

    try:
        with reading():
            return keras.saving.load_model(path, compile=False)
    except (DamagedError, OSError) as error:
        raise DataError(
            f"{path} is missing or damaged: bring it back from a copy, or delete its folder"
        ) from error


def latest_manifest(artifacts: Path, name: str) -> Manifest | None:
    """The manifest of a model's highest version, or None. Raises DataError where it is damaged."""
    folder = latest_folder(artifacts, name)
    return None if folder is None else read_manifest(folder)


def named_manifest(artifacts: Path, name: str) -> Manifest:
    """The manifest of the highest version of a model, asked for by its name or an alias.

    Raises DataError where there is none, which says what to do, or it is damaged.
    """
    model = name if latest_folder(artifacts, name) else _aliases(artifacts).get(name, name)
    manifest = latest_manifest(artifacts, model)
    if manifest is None:
        asked = model if model == name else f"{model}, which {name} stands for"
        raise DataError(f"{artifacts} has no {asked}: {_instead(artifacts, model)}")
    return manifest


def _instead(artifacts: Path, model: str) -> str:
    """What to do about a model that is not published."""
    if model in EXPERIMENTS:
        return f"run `python -m training train {model}`"
    folders = sorted((artifacts / "models").glob("*"))
    models = [folder.name for folder in folders if latest_folder(artifacts, folder.name)]
    aliases = [alias for alias, target in _aliases(artifacts).items() if target in models]
    there = ", ".join(dict.fromkeys([*aliases, *models])) or "no model yet"
    return f"it has {there}; `python -m training list` shows what can be trained"


def _aliases(artifacts: Path) -> dict[str, str]:
    """Alias → model; a model's own name goes before an alias, as in the service. Raises DataError."""
    path = artifacts / ALIASES
    try:
        return TypeAdapter(dict[str, str]).validate_json(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValidationError as error:
        raise DataError(f'{path} is damaged: it is no JSON object of "alias": "model"') from error


def history_text(history: list[dict[str, Any]]) -> str:
    """What a version's history.json holds: one row an epoch."""
    return json.dumps({"epochs": history}, indent=1) + "\n"


def is_published(artifacts: Path, name: str, history: list[dict[str, Any]]) -> bool:
    """Whether a version of the model came out of the training with this very history.

    Its figures and times are no other training's: nothing else needs to be kept of what was published.
    """
    text = history_text(history).encode()
    files = [folder / HISTORY for folder in version_folders(artifacts, name)]
    return any(file.is_file() and file.read_bytes() == text for file in files)


def others_than_published(artifacts: Path, experiment: Experiment) -> str:
    """What the latest version has of the fields that train nothing, where the experiment has it otherwise now."""
    manifest = latest_manifest(artifacts, experiment.name)
    was, now = {} if manifest is None else manifest.experiment, experiment.record()
    return ", ".join(
        f"the {field} {was[field]!r}" for field in UNTRAINED if field in was and was[field] != now[field]
    )
