"""What the service needs of a data set: its test images, and what people said of the doubtful labels."""

import json
import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from service.manifest import DATASET, TEST_IMAGES, VOTES, DatasetManifest, Votes, VotesFile, file_entry
from training.datasets import Arrays, Dataset, contents, data_folders, find
from training.whole_files import written

VOTES_SOURCE = (
    "cleanlab/label-errors (Northcutt, Athalye and Mueller, "
    "Pervasive Label Errors in Test Sets Destabilize Machine Learning Benchmarks, 2021)"
)
VOTES_LICENCE = "Apache-2.0"


def publish_test_set(dataset: Dataset, arrays: Arrays, artifacts: Path, data: Path | None = None) -> Path:
    """Write artifacts/datasets/<name>/ unless it is there. Returns the folder.

    Votes are left out where their file is not found: they are a help to readers, and nothing depends on them.
    """
    folder = artifacts / "datasets" / dataset.name
    if (folder / DATASET).is_file():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / TEST_IMAGES]
    with _written(files[0]) as partial:
        np.savez_compressed(partial, images=arrays.test_images, labels=arrays.test_labels)
    path = find(dataset.votes, data_folders(data))
    if path is not None:
        raw = next(iter(contents(path, dataset.votes).values()))
        files.append(folder / VOTES)
        with _written(files[-1]) as partial:
            partial.write_text(parse_votes(raw).model_dump_json(indent=1) + "\n", encoding="utf-8")
    about = DatasetManifest(
        name=dataset.name,
        classes=list(dataset.classes),
        images=dataset.test_images,
        shape=dataset.shape,
        licence=dataset.licence,
        files={file.name: file_entry(file) for file in files},
    )
    with _written(folder / DATASET) as partial:  # last: the folder counts from now on
        partial.write_text(about.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return folder


def _written(path: Path) -> AbstractContextManager[Path]:
    # Of its own name: two exports that begin side by side may both be making it.
    return written(path, path.with_name(f".partial-{os.getpid()}-{path.name}"))


def parse_votes(raw: bytes) -> VotesFile:
    """The published list of questions and answers → votes by test index."""
    return VotesFile(
        source=VOTES_SOURCE,
        licence=VOTES_LICENCE,
        votes={row["id"]: _votes(row) for row in json.loads(raw)},
    )


def _votes(row: dict[str, Any]) -> Votes:
    counts = {"both": 0, **row["mturk"]}
    if row["our_guessed_label"] == row["given_original_label"]:
        # Some were asked with both choices the same: whoever took it is counted as having taken either.
        counts["guessed"] = 0
    return Votes.model_validate({**counts, "guessed_index": row["our_guessed_label"]})
