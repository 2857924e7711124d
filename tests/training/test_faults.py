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
        ({"readings": (2, 13)}, "epochs [13], and it has 12"),
    ],
)
def test_what_would_end_in_a_failure_is_told(change: dict[str, Any], told: str) -> None:
    found = fault(replace(EXPERIMENTS["mnist-baseline"], **change))
    assert found is not None
    assert told in found
