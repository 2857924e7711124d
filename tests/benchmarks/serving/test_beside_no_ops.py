"""Which figure is divided by which."""

import pytest

from tests.benchmarks.serving.bench import BEST_DIGITS, COLOUR, DIGITS, Section
from tests.benchmarks.serving.beside_no_ops import (
    BATCH,
    BEST_BATCH,
    BY_FEW,
    FORM,
    NO_OP,
    OURS,
    PHOTO,
    TENSOR,
    _compare,
)
from tests.benchmarks.serving.turns import ONE

# Rates whose ratios are all different.
RATES = {
    OURS: 2.0,
    NO_OP: 3.0,
    FORM: 5.0,
    BATCH: 7.0,
    BEST_BATCH: 11.0,
    TENSOR: 13.0,
    PHOTO: 17.0,
    BATCH + BY_FEW: 19.0,
    TENSOR + BY_FEW: 23.0,
    f"the engine alone, {DIGITS}": 29.0,
    f"the engine alone, {BEST_DIGITS}": 31.0,
    f"the engine alone, {COLOUR}": 37.0,
}
SHARES = {
    "share of the no-op": 2 / 3,
    "multipart, share of raw": 5 / 2,
    "batch, share of the engine": 7 / 29,
    f"batch of {BEST_DIGITS}, share of the engine": 11 / 31,
    "tensors, share of the engine": 13 / 29,
    f"{COLOUR}, share of the engine": 17 / 37,
    f"batch{BY_FEW}, share of the engine": 19 / 29,
    f"tensors{BY_FEW}, share of the engine": 23 / 29,
}


def test_each_share_is_of_what_it_is_said_to_be_of() -> None:
    section = Section()
    for name, rate in RATES.items():  # processor times differ from one another by more than the rates do
        section.rounds |= {f"{name}: images/s": [rate], f"{name}: processor us": [1 / rate**2]}
    for name, milliseconds in ((OURS, 1.5), (NO_OP, 0.5)):
        section.rounds[f"{name + ONE}: p50 ms"] = [milliseconds]
        section.rounds[f"{name + ONE}: processor us"] = [milliseconds**2]
    _compare(section)
    by_time = {f"{name}, by processor time": share**2 for name, share in SHARES.items()}
    waiting = {
        "p50 at 1 client, times the no-op": 3,
        "p50 at 1 client, times the no-op, by processor time": 9,
    }
    assert section.figures == pytest.approx(SHARES | by_time | waiting)
