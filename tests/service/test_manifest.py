import pytest

from service.manifest import FileEntry, Manifest, Votes, served_bytes
from tests.service.shipped import manifest


def listing(**sizes: int) -> Manifest:
    """A shipped model's manifest with other files, by their sizes; `__` stands for a dot."""
    files = {name.replace("__", "."): FileEntry(bytes=size, sha256="0" * 64) for name, size in sizes.items()}
    return Manifest.model_validate(manifest("mnist-baseline")).model_copy(update={"files": files})


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
