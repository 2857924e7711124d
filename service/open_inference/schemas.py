"""Bodies of the protocol's answers, for the documentation and for mypy. The request's is read by hand."""

from typing import Annotated, NotRequired

from pydantic import Field
from typing_extensions import TypedDict


class ServerMetadata(TypedDict):
    """What answers."""

    name: str
    version: str
    extensions: list[str]


class Live(TypedDict):
    live: bool


class Ready(TypedDict):
    ready: bool


class ModelReady(TypedDict):
    name: str
    ready: bool


class TensorMetadata(TypedDict):
    """One input or output."""

    name: str
    datatype: str
    shape: Annotated[list[int], Field(description="-1 is variable")]


class ModelMetadata(TypedDict):
    """What a model takes and gives."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: Annotated[
        list[TensorMetadata],
        Field(description="those that come unasked; every layer's feature map comes when asked for by name"),
    ]


class InferOutput(TypedDict):
    """One tensor, row-major."""

    name: str
    datatype: str
    shape: list[int]
    data: NotRequired[Annotated[list[float] | list[str], Field(description="flat; absent when it is binary")]]
    parameters: NotRequired[dict[str, int]]


class InferAnswer(TypedDict):
    """The outputs, in the order they were asked for."""

    model_name: Annotated[str, Field(description="the model itself, also when an alias was asked")]
    model_version: str
    id: NotRequired[str]
    outputs: list[InferOutput]
