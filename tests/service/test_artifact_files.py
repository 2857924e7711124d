"""What is shown is of the files that a manifest tells of, or refused."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from service.manifest import (
    DATASET,
    FEATURE_MAPS,
    HISTORY,
    TEST_IMAGES,
    TEST_PROBABILITIES,
    VOTES,
    WEIGHT_STATISTICS,
)
from tests.conftest import serving
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
    async with serving(tmp_path) as client:
        yield client


@pytest.mark.parametrize(
    ("file", "path"),
    [
        (FEATURE_MAPS, f"{HOME}/feature-maps?sample=0"),
        (HISTORY, f"{HOME}/training"),
        (HISTORY, f"{HOME}/training?format=png"),
        (WEIGHT_STATISTICS, f"{HOME}/weights"),
        (WEIGHT_STATISTICS, f"{HOME}/weights?format=png"),
        (TEST_PROBABILITIES, f"{HOME}/hard-examples"),
        (TEST_PROBABILITIES, f"{HOME}/calibration"),
        (TEST_PROBABILITIES, f"{HOME}/calibration?format=png"),
    ],
)
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
    assert (await its_client.get(path)).status_code == 200


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
    async with serving(tmp_path) as client:
        refused = await client.get(path)
        (folder / file).write_bytes(right)
        answered = await client.get(path)
    assert (refused.status_code, answered.status_code) == (503, 200)
    assert f"the test images of mnist cannot be shown: {told}" in refused.json()["detail"]


async def test_a_figure_of_test_images_that_changed_while_the_service_runs_is_refused(
    version: Path, tmp_path: Path
) -> None:
    (tmp_path / "datasets").unlink()
    folder = shutil.copytree(ARTIFACTS / "datasets" / "mnist", tmp_path / "datasets" / "mnist")
    async with serving(tmp_path) as client:
        assert (await client.get(f"{HOME}/calibration")).status_code == 200
        (folder / TEST_IMAGES).write_bytes((folder / TEST_IMAGES).read_bytes()[:-9])
        refused = await client.get(f"{HOME}/calibration?format=png")
    assert refused.status_code == 503
    assert "the test images of mnist cannot be shown" in refused.json()["detail"]
