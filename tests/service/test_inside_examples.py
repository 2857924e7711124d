"""The examples in the documentation of what is inside a model are the service's own answers."""

import json
from pathlib import Path
from typing import Any

import pytest

from service.routes import inside_examples
from tests.conftest import serving
from tests.service.shipped import latest, linked

HOME = "/models/mnist-baseline"


def begins(real: Any, shown: Any) -> bool:
    """Whether `shown` is `real` to four digits, with lists cut to their beginning."""
    match shown:
        case float():
            return bool(real == pytest.approx(shown, abs=5e-5))
        case dict():
            return real.keys() == shown.keys() and all(begins(real[name], shown[name]) for name in shown)
        case list():
            return bool(shown) == bool(real) and len(shown) <= len(real) and all(map(begins, real, shown))
    return bool(real == shown)


async def test_documented_answers_are_real(tmp_path: Path) -> None:
    documented = {
        f"{HOME}/feature-maps": inside_examples.FEATURE_MAPS,
        f"{HOME}/hard-examples?limit=2": inside_examples.HARD_EXAMPLES,
        f"{HOME}/hard-examples/1901": inside_examples.HARD_EXAMPLE,
        f"{HOME}/training": inside_examples.TRAINING,
        f"{HOME}/confusion-matrix": inside_examples.CONFUSION_MATRIX,
        f"{HOME}/calibration": inside_examples.CALIBRATION,
        f"{HOME}/layers/conv2d/weights": inside_examples.WEIGHTS,
    }
    async with serving(linked(tmp_path, "mnist-baseline")) as client:
        for path, shown in documented.items():
            real = (await client.get(path)).json()
            assert begins(real, shown), path
        image = (await client.get("/samples/mnist/0")).content
        answer = await client.post(f"{HOME}/feature-maps", content=image)
        assert begins(answer.json(), inside_examples.FEATURE_MAPS_OF_AN_IMAGE)


async def test_a_model_links_to_all_that_is_known_of_it(tmp_path: Path) -> None:
    async with serving(linked(tmp_path, "mnist-baseline")) as client:
        links = (await client.get(HOME)).json()["links"]
        for name in (
            "feature_maps",
            "hard_examples",
            "training",
            "weights",
            "calibration",
            "confusion_matrix",
        ):
            assert (await client.get(links[name])).status_code == 200, name


async def test_looking_inside_does_not_disturb_predictions(tmp_path: Path) -> None:
    """Feature maps and pictures, asked for beside predictions, change none of them."""
    async with serving(linked(tmp_path, "mnist-baseline")) as client:
        image = (await client.get("/samples/mnist/0")).content
        before = (await client.post("/predict/mnist-baseline", content=image)).json()
        for layer in json.loads((latest("mnist-baseline") / "manifest.json").read_text())["layers"]:
            await client.get(f"{HOME}/feature-maps?layer={layer['name']}&format=png")
        assert (await client.post("/predict/mnist-baseline", content=image)).json() == before
