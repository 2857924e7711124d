import json
from typing import Any

import pytest
from pydantic import ValidationError

from service.manifest import FEATURE_MAPS, MODEL, FileEntry, Manifest, Votes, served_bytes
from tests.service.shipped import ARTIFACTS, manifest
from tests.service.stripes import manifest_of

FILE = {"bytes": 0, "sha256": "0" * 64}
LAYER = {
    "name": "a",
    "type": "Dense",
    "shape": [10],
    "parameters": 0,
    "trainable": 0,
    "minimum": 0,
    "maximum": 1,
}


def listing(**sizes: int) -> Manifest:
    """A shipped model's manifest with other files, by their sizes; `__` stands for a dot."""
    files = {name.replace("__", "."): FileEntry(bytes=size, sha256="0" * 64) for name, size in sizes.items()}
    return Manifest.model_validate(manifest("mnist-baseline")).model_copy(update={"files": files})


def changed(changes: dict[str, Any]) -> str:
    """A manifest with these entries in place of some, as `metrics.nll`; JSON, or nearly: it may have numbers that
    JSON has not."""
    made = manifest_of("stripes", "1", "mnist", {MODEL: FILE}) | {"parameters": 0}
    for name, value in {"layers": [LAYER], **changes}.items():
        owner = made
        *path, last = name.split(".")
        for step in path:
            owner = owner[step]
        owner[last] = value
    return json.dumps(made)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"parameters": 1}, "do not add up"),
        ({"layers": [LAYER, LAYER]}, "two layers have one name"),
        ({"layers": [LAYER | {"shape": []}]}, "layers.0.shape"),
        ({"layers": [LAYER | {"shape": [3, 0]}]}, "layers.0.shape.1"),
        ({"layers": [LAYER | {"maximum": float("inf")}]}, "layers.0.maximum"),
        ({"layers": [], "files": {MODEL: FILE, FEATURE_MAPS: FILE}}, "no layer is named"),
        ({"metrics.confusion": [[5] * 10] * 9}, "one row and one column a class"),
        ({"metrics.confusion": [[5] * 12] * 10}, "one row and one column a class"),
        ({"metrics.confusion": [[5]] * 10}, "one row and one column a class"),
        ({"metrics.confusion": [[5] * 10] * 9 + [[5] * 9]}, "one row and one column a class"),
        ({"metrics.nll": float("inf")}, "metrics.nll"),
        ({"metrics.temperature_exponent": float("nan")}, "metrics.temperature_exponent"),
    ],
)  # fmt: skip
def test_a_manifest_that_could_not_be_shown_is_refused(changes: dict[str, Any], said: str) -> None:
    Manifest.model_validate_json(changed({}))
    with pytest.raises(ValidationError) as caught:
        Manifest.model_validate_json(changed(changes))
    assert said in str(caught.value)


def test_a_bare_graph_needs_no_layers() -> None:
    assert Manifest.model_validate_json(changed({"layers": []})).layers == []


def test_every_version_that_was_published_follows_the_schema() -> None:
    paths = sorted(ARTIFACTS.glob("models/*/*/manifest.json"))
    assert paths
    for path in paths:
        Manifest.model_validate_json(path.read_bytes())


def test_served_are_the_graph_and_the_file_that_it_reads_its_weights_from() -> None:
    assert (
        served_bytes(listing(model__onnx=1, feature_maps__onnx=10, model__keras=100, weights__json=1000))
        == 101
    )


def test_a_graph_with_weights_of_its_own_does_without_the_keras_file() -> None:
    assert served_bytes(listing(model__onnx=1, weights__bin=10, model__keras=100)) == 11


def test_towers_are_served_and_the_head_that_only_keras_needs_is_not() -> None:
    towers = {"tower-1__keras": 10, "tower-2__keras": 100}
    assert served_bytes(listing(model__onnx=1, head__keras=1000, **towers)) == 111


@pytest.mark.parametrize(
    ("given", "guessed", "neither", "both", "disputed"),
    [(2, 3, 0, 0, True), (3, 2, 0, 0, False), (1, 1, 3, 0, True), (2, 1, 0, 2, False), (0, 2, 1, 2, True)],
)
def test_a_label_is_disputed_where_most_people_do_not_find_it_right(
    given: int, guessed: int, neither: int, both: int, *, disputed: bool
) -> None:
    """Who finds both right finds it right."""
    votes = Votes(given=given, guessed=guessed, neither=neither, both=both, guessed_index=0)
    assert votes.disputed is disputed
