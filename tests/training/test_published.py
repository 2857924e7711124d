from pathlib import Path

import pytest

from service.manifest import ALIASES, HISTORY, MANIFEST
from tests.service.shipped import linked
from training.datasets import DataError
from training.published import (
    NotPublishedError,
    history_text,
    is_published,
    latest_folder,
    latest_manifest,
    load_net,
    named_manifest,
    needed_folder,
)


def test_versions_are_numbers_and_need_a_manifest(tmp_path: Path) -> None:
    for version in ("2", "10", ".partial-x", "old"):
        (tmp_path / "models" / "net" / version).mkdir(parents=True)
        (tmp_path / "models" / "net" / version / MANIFEST).touch()
    (tmp_path / "models" / "net" / "11").mkdir()
    found = latest_folder(tmp_path, "net")
    assert found is not None
    assert found.name == "10"
    assert needed_folder(tmp_path, "net", "another") == found


def test_what_is_not_there_is_asked_for_by_name(tmp_path: Path) -> None:
    assert latest_folder(tmp_path, "net") is None
    with pytest.raises(
        NotPublishedError, match=r"another is made from net, which is neither in .* nor an exp"
    ):
        needed_folder(tmp_path, "net", "another")
    with pytest.raises(NotPublishedError, match="made from mnist-l2: `python -m training train mnist-l2`"):
        needed_folder(tmp_path, "mnist-l2", "another")


def test_what_was_published_is_known_by_its_history(tmp_path: Path) -> None:
    first, second = ([{"epoch": 1, "loss": loss, "seconds": 2.5}] for loss in (float("nan"), 0.25))
    folder = tmp_path / "models" / "net" / "1"
    folder.mkdir(parents=True)
    (folder / HISTORY).write_text(history_text(first))
    assert not is_published(tmp_path, "net", first)  # no manifest: it does not count
    (folder / MANIFEST).touch()
    assert is_published(tmp_path, "net", first)
    assert not is_published(tmp_path, "net", second)
    assert not is_published(tmp_path, "another", first)


@pytest.mark.parametrize(("content", "reason"), [(b"\xff", "Invalid JSON"), (b"{}", "name: Field required")])
def test_a_damaged_manifest_is_one_line(tmp_path: Path, content: bytes, reason: str) -> None:
    folder = tmp_path / "models" / "net" / "1"
    folder.mkdir(parents=True)
    (folder / MANIFEST).write_bytes(content)
    with pytest.raises(DataError, match=rf"manifest\.json is damaged \({reason}.*") as caught:
        latest_manifest(tmp_path, "net")
    assert "\n" not in str(caught.value)


def test_a_model_is_found_by_its_name_or_an_alias(tmp_path: Path) -> None:
    artifacts = linked(tmp_path, "mnist-l2", "mnist-baseline", aliases={"mnist": "mnist-l2"})
    assert named_manifest(artifacts, "mnist-l2").name == "mnist-l2"
    assert named_manifest(artifacts, "mnist").name == "mnist-l2"


def test_a_models_own_name_goes_before_an_alias(tmp_path: Path) -> None:
    artifacts = linked(tmp_path, "mnist-l2", "mnist-baseline", aliases={"mnist-baseline": "mnist-l2"})
    assert named_manifest(artifacts, "mnist-baseline").name == "mnist-baseline"


def test_an_alias_of_what_is_not_there_asks_for_the_model(tmp_path: Path) -> None:
    artifacts = linked(tmp_path, aliases={"mnist": "mnist-l2"})
    with pytest.raises(DataError, match=r"no mnist-l2, which mnist stands for: run .* train mnist-l2`"):
        named_manifest(artifacts, "mnist")


def test_an_alias_of_nothing_is_not_offered(tmp_path: Path) -> None:
    artifacts = linked(tmp_path, "mnist-l2", aliases={"old": "gone"})
    with pytest.raises(DataError, match="has no gone, which old stands for: it has mnist-l2; "):
        named_manifest(artifacts, "old")


def test_where_there_is_no_model_list_shows_what_can_be_trained(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no net: it has no model yet; `python -m training list`"):
        named_manifest(tmp_path, "net")


@pytest.mark.parametrize("content", ["{", "[]", '{"mnist": 1}'])
def test_damaged_aliases_are_one_line(tmp_path: Path, content: str) -> None:
    artifacts = linked(tmp_path, "mnist-l2")
    (artifacts / ALIASES).write_text(content)
    assert named_manifest(artifacts, "mnist-l2").name == "mnist-l2"  # asks for no alias
    with pytest.raises(DataError, match=rf"{ALIASES} is damaged: it is no JSON object") as caught:
        named_manifest(artifacts, "mnist")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 and no more"])
def test_a_net_that_is_missing_or_damaged_is_named_with_the_way_out(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "model.keras"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"model\.keras is missing or damaged: bring it back"):
        load_net(path)
