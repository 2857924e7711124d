"""The files of a version or a test set: whether they are still those that its manifest tells of."""

from collections.abc import Collection
from pathlib import Path

from pydantic import ValidationError

from service.errors import NotInArtifact, NotReady
from service.manifest import DATASET, DatasetManifest, Manifest, sha256_of


def first_fault(folder: Path, manifest: Manifest | DatasetManifest, names: Collection[str]) -> str | None:
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


def require(manifest: Manifest, name: str) -> None:
    """Raises NotInArtifact where the version was published without this file."""
    if name not in manifest.files:
        raise NotInArtifact(f"{manifest.name} {manifest.version} was published without {name}")


def unchanged(artifacts: Path, manifest: Manifest, names: Collection[str]) -> Path:
    """The version's folder. Raises NotReady where one of these files has changed: what it says would be of another net,
    or a failure that nobody understands."""
    folder = artifacts / "models" / manifest.name / manifest.version
    reason = first_fault(folder, manifest, names)
    if reason is not None:
        raise NotReady(f"{manifest.name} {manifest.version} cannot be looked into: {reason}")
    return folder


def samples_folder(artifacts: Path, dataset: str) -> Path:
    """The folder of a data set's test images. Raises NotReady where one of its files has changed, or tells nothing of
    the others: what is shown of a model would be of other images."""
    folder = artifacts / "datasets" / dataset
    try:
        about = DatasetManifest.model_validate_json((folder / DATASET).read_bytes())
        reason = first_fault(folder, about, about.files)
    except OSError as error:
        reason = unreadable(DATASET, error)
    except ValidationError:
        reason = f"{DATASET} does not follow its schema"
    if reason is not None:
        raise NotReady(f"the test images of {dataset} cannot be shown: {reason}")
    return folder
