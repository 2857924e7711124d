"""The Open Inference Protocol's bodies as the documentation shows them; the answers are mnist-baseline's own."""

from typing import Any

from service.openapi import BINARY, Responses, example

OCTETS = "application/octet-stream"

# The first image of MNIST's test set, as a PNG.
SEVEN = (
    "iVBORw0KGgoAAAANSUhEUgAAABwAAAAcCAAAAABXZoBIAAAAwUlEQVR42mNgGDaAEUKFpD77sfTFHeyS9xQYGBg+X4UKPuk6w8DA"
    "wMDAAuGm6l/TMnSweCzLwPDntSTDozPIOhkYGBgYBA3PmDIw/Lh1XShnGi5nBP+9KIRLTuzl/2AokwlDMlv0/U1cGq1//rPD6fHW"
    "f7tZcclxnv1hhVNj3b9tOOW8f3+wxCUnfPffMlxyzKf/3VbGJan2758vLjn5B/+KGXF78Z8JLjnbT+iSSGFrw8Nw9wuKJAsy56Lz"
    "O+ITGABpETyQcCy90wAAAABJRU5ErkJggg=="
)

REQUEST: dict[str, Any] = {
    "id": "seven",
    "inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": [SEVEN]}],
}

ANSWER: dict[str, Any] = {
    "model_name": "mnist-baseline",
    "model_version": "1",
    "id": "seven",
    "outputs": [
        {
            "name": "probabilities",
            "datatype": "FP32",
            "shape": [1, 10],
            "data": [
                7.12387870915876e-10, 1.720796376503131e-07, 9.54410666054173e-07, 3.8451838690889417e-07,
                4.253541963095131e-12, 5.065146652799557e-12, 1.3337171146811768e-15, 0.9999984502792358,
                2.2204926786173473e-09, 6.870315161222607e-08,
            ],
        },
        {"name": "label", "datatype": "BYTES", "shape": [1], "data": ["7"]},
    ],
}  # fmt: skip

SERVER = {
    "name": "convscope",
    "version": "0.1.0",
    "extensions": ["binary_tensor_data", "classification"],
}

MODEL = {
    "name": "mnist-baseline",
    "versions": ["1"],
    "platform": "onnx_onnxv1",
    "inputs": [{"name": "image", "datatype": "UINT8", "shape": [-1, 28, 28, 1]}],
    "outputs": [
        {"name": "probabilities", "datatype": "FP32", "shape": [-1, 10]},
        {"name": "label", "datatype": "BYTES", "shape": [-1]},
    ],
}

MODEL_READY = {"name": "mnist-baseline", "ready": True}

_PARAMETERS = {
    "type": "object",
    "additionalProperties": {"anyOf": [{"type": "string"}, {"type": "number"}, {"type": "boolean"}]},
}
_INPUT = {
    "type": "object",
    "required": ["name", "shape", "datatype"],
    "properties": {
        "name": {"const": "image"},
        "shape": {
            "type": "array",
            "items": {"type": "integer", "minimum": 1},
            "description": "[N,H,W,C]; [N] or [N,1] of BYTES",
        },
        "datatype": {"enum": ["UINT8", "FP32", "BYTES"]},
        "parameters": _PARAMETERS
        | {"description": "binary_data_size instead of data: so many bytes follow the JSON"},
        "data": {"type": "array", "items": {}, "description": "flat or nested; BYTES as base64"},
    },
}
_OUTPUT = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"type": "string", "description": "probabilities, label or a layer"},
        "parameters": _PARAMETERS
        | {
            "description": "binary_data: as bytes or not; classification: k, the k likeliest as value:index:label"
        },
    },
}
_REQUEST = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": "string", "description": "comes back"},
        "parameters": _PARAMETERS | {"description": "binary_data_output: every output as bytes"},
        "inputs": {"type": "array", "items": _INPUT, "minItems": 1, "maxItems": 1},
        "outputs": {
            "type": "array",
            "items": _OUTPUT,
            "description": "all but the layers unless some are named",
        },
    },
}


def bodies(length_header: str) -> dict[str, Any]:
    """Documents both forms of a request, and the header that tells them apart."""
    header = {
        "name": length_header,
        "in": "header",
        "required": False,
        "schema": {"type": "integer", "minimum": 0},
        "description": "bytes of the JSON, when binary tensors follow it; 0: the body is the pixels alone",
    }
    needs = f"needs the header {length_header}: the bytes of the JSON before the tensor, 0 when there is none"
    description = (
        "JSON; JSON and then the input's bytes, little-endian; or the bytes alone. May be gzip or deflate. "
        f"{OCTETS} {needs}."
    )
    content = {
        "application/json": {"schema": _REQUEST, "example": REQUEST},
        OCTETS: {"schema": BINARY | {"description": needs}},
    }
    return {
        "parameters": [header],
        "requestBody": {"required": True, "description": description, "content": content},
    }


def answers(length_header: str) -> Responses:
    """Documents both forms of an answer."""
    documented = example(
        ANSWER, "the outputs; those asked for as binary data follow the JSON", {OCTETS: BINARY}
    )
    documented[200]["headers"] = {
        length_header: {
            "schema": {"type": "integer"},
            "description": "bytes of the JSON, when binary tensors follow it",
        }
    }
    return documented
