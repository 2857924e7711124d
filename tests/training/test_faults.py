import math
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
        ({"learning_rate": 0.0}, "learning_rate is 0.0: it must be more than 0"),
        (
            {"teacher": "mnist-compact", "views": 1, "softness": 0.0},
            "softness is 0.0: it must be more than 0",
        ),
        ({"teacher": "mnist-compact", "views": 1, "softness": math.inf}, "softness is inf"),
        ({"closing": 2.0}, "closing is 2.0: it must be from 0 to 1"),
        ({"closing": math.nan}, "closing is nan"),
        ({"label_smoothing": 1.0}, "label_smoothing is 1.0: it must be from 0 to less than 1"),
        ({"label_smoothing": -0.1}, "label_smoothing is -0.1"),
        ({"averaging": 1.0}, "averaging is 1.0"),
        ({"easy": (1.0, 1.0)}, "easy.0 is 1.0: it must be from 0 to less than 1"),
        ({"easy": (0.7, 1.1)}, "easy.1 is 1.1"),
        ({"smaller": (14, 1.1)}, "smaller.1 is 1.1"),
        ({"smaller": (0, 1.0)}, "smaller.0 is 0: it must be from 1 to 28 pixels"),
        ({"smaller": (29, 1.0)}, "smaller.0 is 29"),
        (
            {"smaller": (14, 1.0)},
            "smaller: two_strided_convolutions has other weights for images of 14·14 pixels",
        ),
        ({"smaller": (3, 1.0)}, "smaller: two_strided_convolutions takes no images of 3·3 pixels"),
        ({"teacher": "cifar10-pair", "views": 1}, "its teacher cifar10-pair is of cifar10, and not of mnist"),
        ({"teacher": "mnist-baseline", "views": 1}, "it is its own teacher"),
        (
            {"members": ("mnist-l2", "cifar10-plain")},
            "its member cifar10-plain is of cifar10, and not of mnist",
        ),
        ({"members": ("mnist-l2", "mnist-baseline")}, "it is its own member"),
        ({"dataset": "cifar10", "members": ("cifar10-pair",)}, "member cifar10-pair is itself put together"),
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
        {"teacher": "somebody's", "views": 1},
        {"members": ("mnist-l2", "mnist-compact")},
        {
            "closing": 1.0,
            "label_smoothing": 0.0,
            "averaging": 0.99,
            "easy": (0.99, 1.0),
            "smaller": (28, 1.0),
        },
        {"softness": 0.0},  # nobody is asked
        {"architecture": "compact", "options": {"filters": ((8,),)}, "smaller": (14, 0.5)},
    ],
)
def test_what_can_be_made_has_none(change: dict[str, Any]) -> None:
    assert fault(replace(EXPERIMENTS["mnist-baseline"], **change)) is None


def test_what_is_put_together_of_others_is_not_asked_how_it_is_trained() -> None:
    pair = EXPERIMENTS["cifar10-pair"]
    assert (pair.epochs, fault(pair)) == (0, None)
    assert fault(replace(pair, held_out=50_000)) is not None
