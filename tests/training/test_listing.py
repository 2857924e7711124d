import re
from pathlib import Path

import pytest

from service.manifest import MANIFEST
from service.settings import ROOT
from tests.service.shipped import ARTIFACTS, MODELS, linked
from training.experiments import EXPERIMENTS
from training.listing import row, show, spread
from training.published import latest_manifest


@pytest.mark.parametrize("name", MODELS)
def test_figures_are_told_as_the_readme_has_them(name: str) -> None:
    manifest = latest_manifest(ARTIFACTS, name)
    assert manifest is not None
    readme = (ROOT / "README.md").read_text().splitlines()
    [printed] = (line for line in readme if re.match(rf"{name} +\d", line))
    assert [cell for cell in row(manifest) if cell] == re.split(r" {2,}", printed)
    if manifest.metrics.seeds:
        assert spread(manifest) in readme


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
