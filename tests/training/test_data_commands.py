from dataclasses import replace
from pathlib import Path

import pytest

from tests.training.conftest import write_small_cifar10
from training import data_commands


def test_a_folder_whose_name_looks_like_markup_is_told_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "[bold]x[" / "y]"
    dataset = write_small_cifar10(folder)
    dataset = replace(dataset, votes=dataset.sources[0])  # found, too
    assert data_commands.fetch([dataset], folder) == 0
    assert data_commands.preprocess([dataset], folder) == 0
    said = capsys.readouterr().out.splitlines()
    original = folder / dataset.sources[0].file
    assert said[0] == f"✓ {original.name}: verified, {original}"
    assert said[-1].startswith(
        f"✓ {folder / 'arrays' / 'cifar10.npz'}: 50 training and 10 test images of 32×32×3"
    )
    original.write_bytes(b"no gzip")
    assert data_commands.fetch([dataset], folder) == 1
    assert f"✗ {original} is damaged" in capsys.readouterr().out
