from pathlib import Path

import pytest

from service.manifest import MANIFEST
from training.published import NotPublishedError, latest_folder, needed_folder


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
