from pathlib import Path

import pytest

from service.manifest import HISTORY, MANIFEST
from training.datasets import DataError
from training.published import (
    NotPublishedError,
    history_text,
    is_published,
    latest_folder,
    latest_manifest,
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
    with pytest.raises(NotPublishedError, match="another is made from net: `python -m training train net`"):
        needed_folder(tmp_path, "net", "another")


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
