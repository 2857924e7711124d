"""A version's files: whether they are still those that its manifest tells of."""

from collections.abc import Collection
from pathlib import Path

from service.errors import NotReady
from service.manifest import Manifest, sha256_of


def change(folder: Path, manifest: Manifest, names: Collection[str]) -> str | None:
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
