"""Which models artifacts/ has."""

from pathlib import Path

from service.manifest import MANIFEST, Manifest


class NotPublishedError(Exception):
    """A model that another is made from is not there; the message says how to get it."""


def latest_folder(artifacts: Path, name: str) -> Path | None:
    """The folder of a model's highest version, or None."""
    folders = [path.parent for path in (artifacts / "models" / name).glob(f"*/{MANIFEST}")]
    versions = [folder for folder in folders if folder.name.isdigit()]
    return max(versions, key=lambda folder: int(folder.name), default=None)


def needed_folder(artifacts: Path, name: str, by: str) -> Path:
    """The same of a model that the experiment called `by` is made from. Raises NotPublishedError."""
    folder = latest_folder(artifacts, name)
    if folder is None:
        raise NotPublishedError(f"{by} is made from {name}: `python -m training train {name}` first")
    return folder


def latest_manifest(artifacts: Path, name: str) -> Manifest | None:
    """The manifest of a model's highest version, or None."""
    folder = latest_folder(artifacts, name)
    return None if folder is None else Manifest.model_validate_json((folder / MANIFEST).read_text())
