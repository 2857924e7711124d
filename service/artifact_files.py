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
        try:
            size = path.stat().st_size
            if size != entry.bytes:
                return f"{name} has {size} bytes, not {entry.bytes}"
            if sha256_of(path) != entry.sha256:
                return f"{name} has another checksum than the manifest says"
        except OSError as error:
            return unreadable(name, error)
    return None


def unreadable(name: str, error: OSError) -> str:
    """Why a file cannot be read, in words without a path."""
    if isinstance(error, FileNotFoundError):
        return f"{name} is missing"
    return f"{name} cannot be read: {error.strerror}"


def version_folder(artifacts: Path, name: str, version: str) -> Path:
    return artifacts / "models" / name / version


def unchanged(artifacts: Path, manifest: Manifest, names: Collection[str]) -> Path:
    """The version's folder. Raises NotReady where one of these files has changed: what it says would be of another net,
    or a failure that nobody understands."""
    folder = version_folder(artifacts, manifest.name, manifest.version)
    reason = change(folder, manifest, names)
    if reason is not None:
        raise not_as_published(manifest.name, manifest.version, reason)
    return folder


def not_as_published(name: str, version: str, reason: str) -> NotReady:
    """What is told of a version whose files cannot be shown."""
    return NotReady(f"{name} {version} cannot be looked into: {reason}")


def samples_folder(artifacts: Path, dataset: str) -> Path:
    """The folder of a data set's test images. Raises NotReady where one of its files has changed, or tells nothing of
    the others: what is shown of a model would be of other images."""
    folder = artifacts / "datasets" / dataset
    try:
        about = DatasetManifest.model_validate_json((folder / DATASET).read_bytes())
        reason = change(folder, about, about.files)
    except OSError as error:
        reason = unreadable(DATASET, error)
    except ValidationError:
        reason = f"{DATASET} does not follow its schema"
    if reason is not None:
        raise NotReady(f"the test images of {dataset} cannot be shown: {reason}")
    return folder
