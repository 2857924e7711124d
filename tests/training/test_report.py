"""`python -m training report` and `compare`, on shipped models."""

import shutil
from pathlib import Path

import pytest
from PIL import Image

from tests.service.shipped import ARTIFACTS, latest, linked, manifest
from tests.training.conftest import encodings_named
from training.__main__ import main
from training.published import latest_manifest
from training.report import accuracy_table, weight_table


def test_compare_prints_accuracy_weights_and_draws_them_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", "mnist-baseline", "mnist-l2", "--to", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    for name in ("mnist-baseline", "mnist-l2"):
        assert f"{manifest(name)['metrics']['accuracy']:.2%}" in said
    rows = {words[0]: words[1:] for words in map(str.split, said.splitlines()) if words}
    assert float(rows["dense"][1]) < float(rows["dense"][0])
    assert {path.name for path in tmp_path.iterdir()} == {"training.png", "weights.png"}


def test_tables_have_a_column_of_exact_cells() -> None:
    model = latest_manifest(ARTIFACTS, "mnist-baseline")
    assert model is not None
    accuracy, weights = accuracy_table(ARTIFACTS, [model]), weight_table(ARTIFACTS, [model])
    assert [list(column.cells) for column in accuracy.columns] == [
        ["mnist-baseline"],
        ["126,786"],
        ["12"],
        ["98.83%"],
        ["98.60% … 99.02%"],
        ["-1.23 points"],  # 97.81 % of the training images, with dropout, and 99.04 % of those held out
    ]
    assert [list(column.cells) for column in weights.columns] == [
        ["conv2d", "conv2d_1", "dense", "dense_1"],
        ["0.2030", "0.1322", "0.0988", "0.1341"],
    ]


def test_compare_takes_aliases_and_a_model_and_its_alias_as_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.report._figure", lambda *_: b"")
    monkeypatch.chdir(tmp_path)
    artifacts = linked(tmp_path, "mnist-baseline", "mnist-l2", aliases={"mnist": "mnist-l2"})
    assert main(["compare", "mnist", "mnist-baseline", "mnist-l2", "--artifacts", str(artifacts)]) == 0
    assert "build/reports/mnist-l2-mnist-baseline/weights.png" in capsys.readouterr().out


def test_a_pairs_epochs_and_lead_are_left_empty() -> None:
    manifests = [latest_manifest(ARTIFACTS, name) for name in ("cifar10-pair", "cifar10-strided")]
    with encodings_named():
        table = accuracy_table(ARTIFACTS, [one for one in manifests if one is not None])
    columns = {column.header: list(column.cells) for column in table.columns}
    assert columns["epochs"] == ["", "50"]
    assert columns["training − validation"][0] == ""
    assert str(columns["training − validation"][1]).endswith("points")
    assert columns["test accuracy"][0] == f"{manifest('cifar10-pair')['metrics']['accuracy']:.2%}"


def test_report_writes_every_figure(tmp_path: Path) -> None:
    assert main(["report", "mnist-baseline", "--to", str(tmp_path / "new"), "--theme", "dark"]) == 0
    figures = sorted((tmp_path / "new").iterdir())
    assert [path.stem for path in figures] == ["calibration", "confusion-matrix", "training", "weights"]
    for path in figures:
        with Image.open(path) as picture:
            assert picture.format == "PNG"


def test_a_model_that_is_not_published_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "mnist-baseline", "--artifacts", str(tmp_path)]) == 1
    assert "run `python -m training train mnist-baseline`" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["report", "nope"], ["compare", "mnist-baseline", "nope"]])
def test_a_name_of_nothing_is_answered_with_what_there_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    artifacts = linked(tmp_path, "mnist-baseline", "mnist-l2", aliases={"mnist": "mnist-l2"})
    assert main([*arguments, "--artifacts", str(artifacts)]) == 1
    said = capsys.readouterr().err
    assert f"{artifacts} has no nope: it has mnist, mnist-baseline, mnist-l2; " in said
    assert "train nope" not in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("file", "content", "arguments"),
    [
        ("weights.json", None, ["report", "mnist-8-filters"]),
        ("history.json", b"{", ["report", "mnist-8-filters"]),
        ("test_probabilities.npy", b"", ["report", "mnist-8-filters"]),
        ("history.json", b"{", ["compare", "mnist-8-filters"]),
        ("manifest.json", "mnist-baseline", ["report", "mnist-8-filters"]),
        ("manifest.json", "mnist-baseline", ["compare", "mnist-8-filters"]),
    ],
)
def test_a_file_that_is_not_as_it_was_is_named_in_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    file: str,
    content: bytes | str | None,
    arguments: list[str],
) -> None:
    folder = shutil.copytree(latest("mnist-8-filters"), linked(tmp_path) / "models" / "mnist-8-filters" / "1")
    (folder / file).unlink()
    if content is not None:
        (folder / file).write_bytes(
            content if isinstance(content, bytes) else (latest(content) / file).read_bytes()
        )
    assert main([*arguments, "--artifacts", str(tmp_path), "--to", str(tmp_path / "figures")]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert file in said


@pytest.mark.parametrize("arguments", [["list"], ["report", "mnist"], ["compare", "mnist"]])
def test_an_artifacts_folder_that_is_not_there_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert main([*arguments, "--artifacts", str(tmp_path / "nowhere")]) == 1
    assert "nowhere is no folder" in capsys.readouterr().err
