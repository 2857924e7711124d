from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

DATASETS = Path(__file__).parents[3] / "artifacts" / "datasets"


@pytest.fixture(scope="package")
def mnist() -> NDArray[np.uint8]:
    """uint8 [10000,28,28]"""
    with np.load(DATASETS / "mnist" / "test.npz") as arrays:
        return np.asarray(arrays["images"]).reshape(-1, 28, 28)


@pytest.fixture(scope="package")
def cifar10() -> NDArray[np.uint8]:
    """uint8 [10000,32,32,3]"""
    with np.load(DATASETS / "cifar10" / "test.npz") as arrays:
        return np.asarray(arrays["images"])
