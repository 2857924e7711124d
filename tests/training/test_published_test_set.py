"""What the service gets of a data set: training.test_set."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from service.manifest import DATASET, TEST_IMAGES, VOTES, DatasetManifest, Votes, VotesFile, file_entry
from tests.training.conftest import encodings_named, md5
from training.datasets import MNIST, Arrays, Dataset, Source
from training.test_set import parse_votes, publish_test_set

Answers = Mapping[str, int]


def asked(test_index: int, given: int, guessed: int, answers: Answers) -> dict[str, object]:
    """One question as it was published: two labels, and how many took which."""
    return {
        "id": test_index,
        "url": f"https://labelerrors.com/static/mnist/{test_index}.png",
        "given_original_label": given,
        "our_guessed_label": guessed,
        "mturk": answers,
    }


RAW = json.dumps([asked(7, 3, 5, {"given": 1, "guessed": 4, "neither": 0})]).encode()


@pytest.fixture
def published(tmp_path: Path) -> tuple[Dataset, Path]:
    """A data set with the test images of `few_arrays`, and a data folder that has its votes."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "votes.json").write_bytes(RAW)
    votes = Source("votes.json", (), {"votes.json": md5(RAW)})
    return replace(MNIST, test_images=100, votes=votes), tmp_path / "data"


def test_the_folder_has_the_test_images_their_labels_and_the_votes(
    published: tuple[Dataset, Path], few_arrays: dict[str, Arrays], tmp_path: Path
) -> None:
    dataset, data = published
    labels = few_arrays["mnist"].test_labels[::-1]  # the other way about than those of training
    arrays = replace(few_arrays["mnist"], test_labels=labels)
    with encodings_named():
        folder = publish_test_set(dataset, arrays, tmp_path / "artifacts", data)
    assert folder == tmp_path / "artifacts" / "datasets" / "mnist"
    assert {path.name for path in folder.iterdir()} == {DATASET, TEST_IMAGES, VOTES}
    with np.load(folder / TEST_IMAGES) as kept:
        assert np.array_equal(kept["images"], arrays.test_images)
        assert np.array_equal(kept["labels"], labels)
    assert VotesFile.model_validate_json((folder / VOTES).read_text()) == parse_votes(RAW)
    about = DatasetManifest.model_validate_json((folder / DATASET).read_text())
    assert about == DatasetManifest(
        name="mnist",
        classes=list("0123456789"),
        images=100,
        shape=(28, 28, 1),
        licence=MNIST.licence,
        files={name: file_entry(folder / name) for name in (TEST_IMAGES, VOTES)},
    )


def test_without_the_votes_file_there_are_none_and_what_is_there_stays(
    published: tuple[Dataset, Path], few_arrays: dict[str, Arrays], tmp_path: Path
) -> None:
    dataset, data = published
    folder = publish_test_set(dataset, few_arrays["mnist"], tmp_path, tmp_path / "nowhere")
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert set(files) == {DATASET, TEST_IMAGES}
    publish_test_set(dataset, few_arrays["cifar10"], tmp_path, data)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files


@pytest.mark.parametrize(
    ("guessed_index", "answers", "votes"),
    [
        (5, {"given": 1, "guessed": 3, "neither": 1}, {"given": 1, "guessed": 3, "neither": 1, "both": 0}),
        (
            5,
            {"given": 0, "guessed": 1, "neither": 0, "both": 4},
            {"given": 0, "guessed": 1, "neither": 0, "both": 4},
        ),
        # Both choices were the same one, and each who took it is in the file twice.
        (3, {"given": 4, "guessed": 4, "neither": 1}, {"given": 4, "guessed": 0, "neither": 1, "both": 0}),
    ],
)
def test_votes_are_read_by_test_index(guessed_index: int, answers: Answers, votes: Answers) -> None:
    raw = json.dumps([asked(9_999, 3, guessed_index, answers), asked(0, 1, 2, answers)]).encode()
    parsed = parse_votes(raw).votes
    assert list(parsed) == [9_999, 0]
    assert parsed[9_999] == Votes(**votes, guessed_index=guessed_index)
    assert parsed[0].guessed_index == 2
