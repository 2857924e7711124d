"""Ray Serve, https://docs.ray.io/en/latest/serve: serve.batch in one replica, the raw image."""

import os
import signal
import sys

import numpy as np
import ray
from mnist import answer, decoded, run, session
from ray import serve
from starlette.requests import Request

QUIET = {"enable_access_log": False, "log_level": "ERROR"}


@serve.deployment(num_replicas=1, max_ongoing_requests=128, logging_config=QUIET)
class Digits:
    def __init__(self):
        self.graph = session()

    @serve.batch(max_batch_size=64, batch_wait_timeout_s=0.002)
    async def predict(self, images):
        return [answer(row) for row in run(self.graph, np.stack(images))]

    async def __call__(self, request: Request):
        return await self.predict(decoded(await request.body()))


def stop(*_):
    serve.shutdown()
    ray.shutdown()
    sys.exit(0)


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    signal.signal(signal.SIGTERM, stop)
    serve.start(http_options={"host": "127.0.0.1", "port": int(os.environ["PORT"])}, logging_config=QUIET)
    serve.run(Digits.bind(), route_prefix="/predict")
    signal.pause()
