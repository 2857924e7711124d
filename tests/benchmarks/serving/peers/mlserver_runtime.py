"""MLServer, https://mlserver.readthedocs.io: a runtime of the Open Inference Protocol, in the server's own process."""

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse
from mnist import run, session


class Digits(MLModel):
    async def load(self) -> bool:
        self.graph = session()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        answer = run(self.graph, NumpyCodec.decode_input(payload.inputs[0]))
        return InferenceResponse(
            model_name=self.name, outputs=[NumpyCodec.encode_output("probabilities", answer)]
        )
