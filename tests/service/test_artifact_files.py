"""What is shown is of the files that a manifest tells of, or refused."""

import errno
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from service.manifest import (
    DATASET,
    FEATURE_MAPS,
    HISTORY,
    MANIFEST,
    TEST_IMAGES,
    TEST_PROBABILITIES,
    VOTES,
    WEIGHT_STATISTICS,
    sha256_of,
)
from tests.conftest import PATIENT, serving
from tests.service.shipped import ARTIFACTS, latest

NAME = "mnist-8-filters"
HOME = f"/models/{NAME}"


@pytest.fixture
def version(tmp_path: Path) -> Path:
    """A shipped one in a folder of its own, of which nothing was asked yet."""
    (tmp_path / "datasets").symlink_to(ARTIFACTS / "datasets")
    return shutil.copytree(latest(NAME), tmp_path / "models" / NAME / latest(NAME).name)


@pytest.fixture
async def its_client(version: Path, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(tmp_path, **PATIENT) as client:
        yield client


SHOWN = pytest.mark.parametrize(
    ("file", "path"),
    [
        (FEATURE_MAPS, f"{HOME}/feature-maps?sample=0"),
        (HISTORY, f"{HOME}/training"),
        (WEIGHT_STATISTICS, f"{HOME}/weights"),
        (TEST_PROBABILITIES, f"{HOME}/hard-examples"),
        (TEST_PROBABILITIES, f"{HOME}/calibration"),
    ],
)


@SHOWN
async def test_a_file_that_has_changed_is_refused_with_the_reason_until_it_is_right_again(
    version: Path, its_client: httpx.AsyncClient, file: str, path: str
) -> None:
    right = (version / file).read_bytes()
    for wrong in (None, right[:-1], right[:-1] + bytes((right[-1] ^ 1,))):
        (version / file).unlink(missing_ok=True)
        if wrong is not None:
            (version / file).write_bytes(wrong)
        refused = await its_client.get(path)
        assert refused.status_code == 503
        assert f"{NAME} 1 cannot be looked into: {file} " in refused.json()["detail"]
    (version / file).write_bytes(right)
    answered = await its_client.get(path)
    assert answered.status_code == 200, answered.text


@SHOWN
async def test_a_file_that_cannot_be_read_is_refused_with_the_reason(
    its_client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, file: str, path: str
) -> None:
    refuse_to_read(monkeypatch, file)
    refused = await its_client.get(path)
    assert refused.status_code == 503
    why = f"{NAME} 1 cannot be looked into: {file} cannot be read: Too many open files"
    assert refused.json()["detail"] == why


def refuse_to_read(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """As the system does. Permissions would do nothing for a test that is run by root."""

    def read(path: Path) -> str:
        if path.name in names:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), str(path))
        return sha256_of(path)

    monkeypatch.setattr("service.artifact_files.sha256_of", read)


@pytest.mark.parametrize(
    ("file", "path"),
    [
        (HISTORY, f"{HOME}/training"),
        (WEIGHT_STATISTICS, f"{HOME}/weights"),
        (TEST_PROBABILITIES, f"{HOME}/calibration"),
    ],
)
async def test_no_figure_is_drawn_from_a_file_that_has_changed_and_none_twice(
    version: Path, its_client: httpx.AsyncClient, file: str, path: str
) -> None:
    assert (await its_client.get(path)).status_code == 200  # what the service knows by now does not help
    right = (version / file).read_bytes()
    (version / file).write_bytes(right[:-1] + bytes((right[-1] ^ 1,)))
    refused = await its_client.get(f"{path}?format=png")
    assert refused.status_code == 503
    assert f"{NAME} 1 cannot be looked into: {file} has another checksum" in refused.json()["detail"]
    (version / file).write_bytes(right)
    drawn = await its_client.get(f"{path}?format=png")
    (version / file).unlink()
    again = await its_client.get(f"{path}?format=png")
    assert [drawn.status_code, again.status_code] == [200, 200]
    assert again.content == drawn.content


@pytest.mark.parametrize("path", [f"{HOME}/confusion-matrix", f"{HOME}/training"])
@pytest.mark.parametrize("manifest", [None, "{"])
async def test_a_version_whose_manifest_is_gone_has_the_figures_of_what_is_served(
    version: Path, its_client: httpx.AsyncClient, path: str, manifest: str | None
) -> None:
    (version / MANIFEST).unlink()
    if manifest is not None:
        (version / MANIFEST).write_text(manifest)
    assert (await its_client.get(f"{path}?format=png")).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/samples/mnist/0",
        f"{HOME}/feature-maps?sample=0",
        f"{HOME}/hard-examples",
        f"{HOME}/calibration",
        f"{HOME}/calibration?format=png",
    ],
)
@pytest.mark.parametrize(
    ("file", "told"), [(TEST_IMAGES, f"{TEST_IMAGES} has "), (VOTES, f"{VOTES} has "), (DATASET, DATASET)]
)
async def test_test_images_that_have_changed_are_not_shown_until_they_are_right_again(
    version: Path, tmp_path: Path, path: str, file: str, told: str
) -> None:
    (tmp_path / "datasets").unlink()
    folder = shutil.copytree(ARTIFACTS / "datasets" / "mnist", tmp_path / "datasets" / "mnist")
    right = (folder / file).read_bytes()
    (folder / file).write_bytes(right[:-9])
    async with serving(tmp_path, **PATIENT) as client:
        refused = await client.get(path)
        (folder / file).write_bytes(right)
        answered = await client.get(path)
    assert (refused.status_code, answered.status_code) == (503, 200)
    assert f"the test images of mnist cannot be shown: {told}" in refused.json()["detail"]


async def test_test_images_that_cannot_be_read_or_went_away_are_no_unknown_data_set(
    version: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "datasets").unlink()
    folder = shutil.copytree(ARTIFACTS / "datasets" / "mnist", tmp_path / "datasets" / "mnist")
    told = []
    async with serving(tmp_path, **PATIENT) as client:
        with monkeypatch.context() as patch:
            refuse_to_read(patch, TEST_IMAGES)
            told.append(await client.get("/samples/mnist/0"))
        (folder / DATASET).unlink()
        (folder / DATASET).mkdir()
        told.append(await client.get("/samples/mnist/0"))
        shutil.rmtree(folder)
        told.append(await client.get("/samples/mnist/0"))
        assert (await client.get("/samples/nothing/0")).status_code == 404
    assert [answer.status_code for answer in told] == [503, 503, 503]
    assert [
        answer.json()["detail"].removeprefix("the test images of mnist cannot be shown: ") for answer in told
    ] == [
        "test.npz cannot be read: Too many open files",
        "dataset.json cannot be read: Is a directory",
        "dataset.json is missing",
    ]


async def test_a_figure_of_test_images_that_changed_while_the_service_runs_is_refused(
    version: Path, tmp_path: Path
) -> None:
    (tmp_path / "datasets").unlink()
    folder = shutil.copytree(ARTIFACTS / "datasets" / "mnist", tmp_path / "datasets" / "mnist")
    async with serving(tmp_path, **PATIENT) as client:
        assert (await client.get(f"{HOME}/calibration")).status_code == 200
        (folder / TEST_IMAGES).write_bytes((folder / TEST_IMAGES).read_bytes()[:-9])
        refused = await client.get(f"{HOME}/calibration?format=png")
    assert refused.status_code == 503
    assert "the test images of mnist cannot be shown" in refused.json()["detail"]
