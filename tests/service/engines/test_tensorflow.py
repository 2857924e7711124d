"""Which files TensorFlow takes, and how it is set."""

import json
from functools import partial
from pathlib import Path

import pytest
import tensorflow as tf

from service.engines.tensorflow import TensorFlow, _listed
from service.manifest import KERAS_MODEL, MANIFEST, MODEL, TOWERS_HEAD, file_entry, tower_keras
from tests.service.shipped import latest
from tests.service.stripes import write_model

TOWERS = [tower_keras(number) for number in range(1, 12)]


def folder_with(artifacts: Path, there: list[str], listed: list[str]) -> Path:
    """A version with these Keras files, of which its manifest tells of some."""
    folder = write_model(artifacts, "stripes")
    for name in there:
        (folder / name).write_bytes(b"")
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"] |= {name: file_entry(folder / name).model_dump() for name in listed}
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return folder


def test_a_model_of_towers_is_put_together_in_their_order(tmp_path: Path) -> None:
    files = [TOWERS_HEAD, *TOWERS, KERAS_MODEL]
    folder = folder_with(tmp_path, files, files)
    assert [file.name for file in _listed(folder)] == [TOWERS_HEAD, *TOWERS]
    assert {file.parent for file in _listed(folder)} == {folder}


def test_files_that_the_manifest_does_not_list_are_not_taken(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, [KERAS_MODEL, TOWERS_HEAD, TOWERS[0]], [KERAS_MODEL])
    assert _listed(folder) == [folder / KERAS_MODEL]


@pytest.mark.parametrize(
    ("listed", "missing"),
    [
        ([], KERAS_MODEL),
        ([TOWERS[0]], TOWERS_HEAD),
        ([TOWERS_HEAD, TOWERS[0], TOWERS[2]], TOWERS[1]),
    ],
)
def test_a_file_that_is_missing_among_those_listed_is_told(
    tmp_path: Path, listed: list[str], missing: str
) -> None:
    folder = folder_with(tmp_path, [KERAS_MODEL, TOWERS_HEAD, *TOWERS], listed)
    with pytest.raises(FileNotFoundError) as raised:
        _listed(folder)
    assert raised.value.filename == missing


def test_its_threads_are_limited_and_those_of_a_later_model_are_as_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limits = list[tuple[str, int]]()

    def limit(kind: str, threads: int) -> None:
        if (kind, threads) == ("intra", 3):
            raise RuntimeError("Intra op parallelism cannot be modified after initialization.")
        limits.append((kind, threads))

    threading = tf.config.threading
    for kind in ("intra", "inter"):
        monkeypatch.setattr(threading, f"set_{kind}_op_parallelism_threads", partial(limit, kind))
    for threads in (2, 3):
        TensorFlow(latest("mnist-8-filters") / MODEL, threads=threads)
    assert limits == [("intra", 2), ("inter", 1)]
