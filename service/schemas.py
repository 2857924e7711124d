"""Bodies of requests and answers. The answers are typed dictionaries: checked by mypy where they are made,
documented by pydantic, and written as JSON without being validated a second time."""

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal, NotRequired

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from service.errors import UNKNOWN_PARAMETER, ProblemBody, listed
from service.manifest import InputSpec, Member, Metrics, Provenance

Probability = Annotated[float, Field(ge=0, le=1)]
Pixels = list[list[int]] | list[list[list[int]]]
"""[H,W] or [H,W,3]"""


class KnownQuery(BaseModel):
    """Parameters of a query. One that does not exist is an error: misspelt, it would be as if nothing had been asked,
    and the answer would be of another version or of an image that was prepared otherwise."""

    model_config = ConfigDict(frozen=True)
    parameters: ClassVar[tuple[str, ...]] = ()
    """their names; pydantic's own list takes as long to get at as a body to read"""

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        super().__pydantic_init_subclass__(**options)
        cls.parameters = tuple(cls.model_fields)

    @model_validator(mode="before")
    @classmethod
    def _are_known(cls, asked: Any) -> Any:
        unknown = [name for name in asked if name not in cls.parameters]
        if unknown:
            known = f"known: {', '.join(cls.parameters)}" if cls.parameters else "this path takes none"
            raise PydanticCustomError(
                UNKNOWN_PARAMETER,
                "unknown {noun} {names}; {known}",
                {
                    "noun": "parameter" if len(unknown) == 1 else "parameters",
                    "names": listed(unknown),
                    "known": known,
                },
            )
        return asked


class VersionQuery(KnownQuery):
    """Which version of the model; the latest by default."""

    version: str | None = Field(None, description="a version of the model; the latest by default")


class PreparationQuery(VersionQuery):
    """How the image is prepared."""

    preprocess: Literal["auto", "none"] = Field(
        "auto", description="none: the image is already as large as the model's input and is used as it is"
    )
    invert: Literal["auto", "yes", "no"] = Field(
        "auto",
        description="whether light and dark change places, as a digit needs whose ink is darker than its ground. auto "
        "finds out for digits; with preprocess=none, and for colour images, it is the same as no",
    )
    fit: Literal["cover", "contain", "stretch"] = Field(
        "cover", description="for colour images of another shape: crop, pad or distort"
    )


class PredictionQuery(PreparationQuery):
    """Parameters of POST /predict/{model}."""

    top_k: int = Field(3, ge=1, description="how many classes `top` lists, up to the number of classes")
    include: Literal["input"] | None = Field(None, description="input: add the pixels that the net saw")


class TopKQuery(PreparationQuery):
    """Parameters of POST /predict/{model}/top-k."""

    k: int = Field(3, ge=1, description="how many classes, up to the number of classes")


class BatchQuery(PreparationQuery):
    """Parameters of POST /predict/{model}/batch."""

    top_k: int = Field(3, ge=1, description="how many classes each `top` lists, up to the number of classes")


class RankedClass(TypedDict):
    """One class of the ranking."""

    label: str
    index: int
    probability: Probability


class Preprocessing(TypedDict):
    """What was done to the image before the net saw it."""

    steps: list[str]
    inverted: bool
    box: Annotated[
        list[int] | None,
        Field(description="left, top, right, bottom of the ink in the upright picture, pixels"),
    ]
    ink_share: Annotated[
        float | None, Field(description="share of the net's pixels above 127; null for colour")
    ]


class Prediction(TypedDict):
    """The answer for one image."""

    model: Annotated[str, Field(description="the model itself, also when an alias was asked")]
    version: str
    label: str
    index: int
    probability: Probability
    top: Annotated[list[RankedClass], Field(description="the likeliest classes, best first")]
    margin: Annotated[Probability, Field(description="probability of the best class less that of the second")]
    entropy: Annotated[float, Field(description="of the probabilities, nats: 0 is sure")]
    preprocessing: Preprocessing
    warnings: list[str]
    input: NotRequired[Annotated[Pixels, Field(description="0…255, [H,W] or [H,W,3]; for include=input")]]


class TopK(TypedDict):
    """The ranking only."""

    model: str
    version: str
    top: list[RankedClass]


class BatchAnswer(TypedDict):
    """One image of a batch that was answered."""

    file: Annotated[str | None, Field(description="the file name that was sent")]
    label: str
    index: int
    probability: Probability
    top: list[RankedClass]
    margin: Probability
    entropy: float
    warnings: list[str]


class BatchProblem(TypedDict):
    """One image of a batch that could not be answered; the others are."""

    file: str | None
    problem: ProblemBody


class BatchPrediction(TypedDict):
    """One entry an image, in the order they were sent."""

    model: str
    version: str
    results: list[BatchAnswer | BatchProblem]


class ModelSummary(TypedDict):
    """A model that is served, at its latest version."""

    name: str
    aliases: list[str]
    version: str
    versions: list[str]
    dataset: str
    state: Annotated[
        Literal["ready", "unavailable"],
        Field(description="unavailable: its files have changed since the start; `refused` says how"),
    ]
    accuracy: Annotated[float, Field(description="on the whole test set")]
    accuracy_interval: Annotated[tuple[float, float], Field(description="95 %, low and high")]
    parameters: int
    bytes: Annotated[int, Field(description="of the graph and its weights")]
    links: dict[str, str]


class RefusedVersion(TypedDict):
    """A version folder or alias that is not served."""

    name: str
    version: Annotated[str | None, Field(description="null for an alias")]
    reason: str


class ModelList(TypedDict):
    """What is served, and what was refused."""

    models: list[ModelSummary]
    refused: list[RefusedVersion]


class EngineSpec(TypedDict):
    """What runs the model's graph."""

    name: Annotated[str, Field(description="onnxruntime, openvino or tensorflow")]
    precision: Annotated[str, Field(description="what it multiplies in: float32 or bfloat16")]


class ModelDetail(ModelSummary):
    """Everything that is known about one version."""

    description: str
    created: datetime
    classes: list[str]
    input: InputSpec
    engine: EngineSpec
    metrics: Metrics
    experiment: dict[str, JsonValue]
    provenance: Provenance
    members: Annotated[
        list[Member], Field(description="of a net of several towers: what each was before; else empty")
    ]


class LayerSummary(TypedDict):
    """One layer, in the order of the net."""

    name: str
    type: str
    shape: Annotated[list[int], Field(description="of its output, without the batch axis")]
    parameters: int
    trainable: int


class LayerList(TypedDict):
    """The model summary."""

    model: str
    version: str
    layers: list[LayerSummary]
    parameters: int
    trainable: int


class Sample(TypedDict):
    """One test image."""

    dataset: str
    index: Annotated[int, Field(description="in the original order, from 0")]
    label: Annotated[str, Field(description="name of the true class")]
    class_index: int
    shape: Annotated[list[int], Field(description="[H,W,C]")]
    pixels: Annotated[Pixels, Field(description="0…255, [H,W] or [H,W,3]")]


class Health(TypedDict):
    """A probe's answer."""

    status: Literal["ok"]
    models: NotRequired[int]
