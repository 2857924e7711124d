"""The files of a version or a test set: whether they are still those that its manifest tells of."""

from collections.abc import Collection
from pathlib import Path

from pydantic import ValidationError

from service.errors import NotReady
from service.manifest import DATASET, DatasetManifest, Manifest, sha256_of


def change(folder: Path, manifest: Manifest | DatasetManifest, names: Collection[str]) -> str | None:
    """What is wrong with the first of these files that is not as the manifest has it; None where all are."""
    for name in names:
        path, entry = folder / name, manifest.files[name]
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != entry.bytes:
            return f"{name} has {path.stat().st_size} bytes, not {entry.bytes}"
        if sha256_of(path) != entry.sha256:
            return f"{name} has another checksum than the manifest says"
    return None


def version_folder(artifacts: Path, name: str, version: str) -> Path:
    return artifacts / "models" / name / version


def unchanged(artifacts: Path, manifest: Manifest, names: Collection[str]) -> Path:
    """The version's folder. Raises NotReady where one of these files has changed: what it says would be of another net,
    or a failure that nobody understands."""
    folder = version_folder(artifacts, manifest.name, manifest.version)
    reason = change(folder, manifest, names)
    if reason is not None:
        raise NotReady(f"{manifest.name} {manifest.version} cannot be looked into: {reason}")
    return folder


def samples_folder(artifacts: Path, dataset: str) -> Path:
    """The folder of a data set's test images. Raises NotReady where one of its files has changed, or tells nothing of
    the others: what is shown of a model would be of other images."""
    folder = artifacts / "datasets" / dataset
    try:
        about = DatasetManifest.model_validate_json((folder / DATASET).read_bytes())
        reason = change(folder, about, about.files)
    except FileNotFoundError:
        reason = f"{DATASET} is missing"
    except ValidationError:
        reason = f"{DATASET} does not follow its schema"
    if reason is not None:
        raise NotReady(f"the test images of {dataset} cannot be shown: {reason}")
    return folder
