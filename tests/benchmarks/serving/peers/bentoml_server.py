"""BentoML, https://docs.bentoml.com: the raw image, or its adaptive batching, which takes the image in a form."""

import bentoml
import numpy as np
from mnist import answer, run, session
from PIL.Image import Image

OPTIONS = {"workers": 1, "metrics": {"enabled": False}, "logging": {"access": {"enabled": False}}}


def pixels(image):
    return np.asarray(image.convert("L"))[..., None]


@bentoml.service(**OPTIONS)
class Single:
    def __init__(self):
        self.graph = session()

    @bentoml.api(route="/predict")
    async def predict(self, image: Image, /) -> dict:
        return answer(run(self.graph, pixels(image)[None])[0])


@bentoml.service(**OPTIONS)
class Batching:
    def __init__(self):
        self.graph = session()

    @bentoml.api(route="/predict", batchable=True, max_batch_size=64, max_latency_ms=1000)
    async def predict(self, image: list[Image]) -> list[dict]:
        return [answer(row) for row in run(self.graph, np.stack([pixels(one) for one in image]))]
