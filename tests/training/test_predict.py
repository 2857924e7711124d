from types import SimpleNamespace

import numpy as np
import pytest

from tests.training.conftest import drop
from training.predict import predict


@pytest.mark.usefixtures("listening")
def test_a_stop_that_was_dropped_ends_what_many_images_are_asked_for() -> None:
    asked: list[int] = []

    def answer(images: np.ndarray) -> np.ndarray:
        asked.append(len(images))
        drop()
        return np.zeros((len(images), 10), np.float32)

    with pytest.raises(KeyboardInterrupt):
        predict(SimpleNamespace(predict_on_batch=answer), np.zeros((1500, 28, 28, 1), np.uint8))
    assert asked == [500]
