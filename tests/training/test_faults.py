from dataclasses import replace
from typing import Any

import pytest

from training.experiments import EXPERIMENTS
from training.faults import fault


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_what_is_shipped_has_none(name: str) -> None:
    assert fault(EXPERIMENTS[name]) is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"name": "Own Net"}, "small letters"),
        ({"dataset": "mnits"}, "no dataset 'mnits'"),
        ({"architecture": "none_such"}, "no architecture 'none_such'"),
        ({"augmentation": "none_such"}, "no augmentation"),
        ({"calibration": "none_such"}, "no calibration"),
        ({"precision": "float12"}, "no precision 'float12'"),
        ({"readings": (2, 13)}, "epochs [13], and it has 12"),
        ({"name": "mine-seed-7"}, "another experiment's other seeds"),
        ({"held_out": 0}, "held_out is 0 of 60000 images"),
        ({"held_out": 60_000}, "held_out is 60000 of 60000 images"),
        ({"epochs": 0}, "epochs is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"teacher": "mnist-compact"}, "views is 0"),
        ({"architecture": "layers"}, "no architecture 'layers'"),
        ({"options": {"filter": 8}}, "options: got an unexpected keyword argument 'filter'"),
        ({"optimiser": "adamm"}, "'adamm'"),
        ({"optimiser_options": {"rate": 1}}, "optimiser: Argument(s) not recognized: {'rate': 1}"),
        ({"optimiser": "nesterov", "optimiser_options": {"rate": 1}}, "not recognized: {'rate': 1}"),
        ({"schedule": (1.0, 0.0)}, "schedule.2: Field required"),
        ({"augmentation": "digits", "augmentation_options": {"rot": 1}}, "augmentation_options: "),
        ({"augmentation": "photographs", "augmentation_options": {"rot": 1}}, "argument 'rot'"),
        ({"augmentation": "digits", "closing_options": {"rot": 1}}, "closing_options: "),
        ({"augmentation_options": {"rot": 1}}, "augmentation_options: there is no augmentation"),
        ({"epochs": 2.5}, "epochs: Input should be a valid integer"),
        ({"batch_size": "12"}, "batch_size: Input should be a valid integer"),
        ({"dataset": ["mnist"]}, "dataset: Input should be a valid string"),
        ({"easy": (0.7,)}, "easy.1: Field required"),
    ],
)
def test_what_would_end_in_a_failure_is_told(change: dict[str, Any], told: str) -> None:
    found = fault(replace(EXPERIMENTS["mnist-baseline"], **change))
    assert found is not None
    assert told in found
    assert "\n" not in found


@pytest.mark.parametrize(
    "change",
    [
        {"held_out": 1},
        {"held_out": 59_999},
        {"name": "mine-seed-7th"},
        {"teacher": "mnist-compact", "views": 1},
    ],
)
def test_what_can_be_made_has_none(change: dict[str, Any]) -> None:
    assert fault(replace(EXPERIMENTS["mnist-baseline"], **change)) is None


def test_what_is_put_together_of_others_is_not_asked_how_it_is_trained() -> None:
    pair = EXPERIMENTS["cifar10-pair"]
    assert (pair.epochs, fault(pair)) == (0, None)
    assert fault(replace(pair, held_out=50_000)) is not None
