"""LitServe, https://lightning.ai/docs/litserve: batches, base64 in JSON, ZeroMQ queue, one worker, one API server."""

import base64
import os

import litserve as ls
import numpy as np
from mnist import answer, decoded, run, session


class Digits(ls.LitAPI):
    def setup(self, device):
        self.graph = session()

    def decode_request(self, request):
        return decoded(base64.b64decode(request["image"]))

    def batch(self, inputs):
        return np.stack(inputs)

    def predict(self, x):
        return run(self.graph, x)

    def unbatch(self, output):
        return list(output)

    def encode_response(self, output):
        return answer(output)


if __name__ == "__main__":
    server = ls.LitServer(
        Digits(max_batch_size=64, batch_timeout=0.002),
        accelerator="cpu",
        workers_per_device=1,
        fast_queue=True,
    )
    server.run(
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        num_api_servers=1,
        log_level="error",
        access_log=False,
        generate_client_file=False,
    )
