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


def refuse_changed(artifacts: Path, manifest: Manifest, names: Collection[str]) -> None:
    """Raises NotReady: what they say would be of another net, or a failure that nobody understands."""
    reason = change(artifacts / "models" / manifest.name / manifest.version, manifest, names)
    if reason is not None:
        raise NotReady(f"{manifest.name} {manifest.version} cannot be looked into: {reason}")
