from pathlib import Path

import pytest

from service.manifest import MANIFEST
from tests.service.shipped import linked
from training.experiments import EXPERIMENTS
from training.listing import row, show
from training.published import latest_manifest


def test_a_net_of_towers_has_no_epochs_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    artifacts = linked(tmp_path, "cifar10-pair", "cifar10-strided")
    pair, strided = (latest_manifest(artifacts, name) for name in ("cifar10-pair", "cifar10-strided"))
    assert pair is not None
    assert strided is not None
    assert (row(pair)[3], row(strided)[3]) == ("", "50")
    show(tmp_path / "empty", tmp_path)
    rows = {words[0]: words[1:] for words in map(str.split, capsys.readouterr().out.splitlines())}
    assert rows["cifar10-pair"] == ["not", "trained"]
    assert rows["cifar10-strided"] == ["50", "not", "trained"]


def test_a_damaged_manifest_is_named_and_all_others_are_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    artifacts = linked(tmp_path, "mnist-baseline")
    folder = artifacts / "models" / "mnist-l2" / "1"
    folder.mkdir(parents=True)
    (folder / MANIFEST).write_text("{")
    assert show(artifacts, tmp_path) == 1
    said = capsys.readouterr().out
    assert "98.83%" in said
    assert all(name in said for name in EXPERIMENTS)
    assert f"{folder / MANIFEST} is damaged" in said.splitlines()[-1]
