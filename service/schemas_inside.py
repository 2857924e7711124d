"""Bodies of the answers about what is inside a model and where it fails: typed dictionaries, as in schemas."""

from typing import Annotated, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from service.hard_examples import Kind, Sort
from service.manifest import ClassMetrics, Reading
from service.schemas import Preprocessing, Probability, RankedClass


class ClassBody(TypedDict):
    """A class."""

    index: int
    label: str


class SampleBody(TypedDict):
    """Which test image was looked at."""

    dataset: str
    index: int
    label: str


class LayerMaps(TypedDict):
    """What one layer makes of the image, in a few numbers."""

    name: str
    type: str
    shape: Annotated[list[int], Field(description="[H,W,C], or [units]")]
    minimum: float
    mean: float
    maximum: float
    dead_channels: Annotated[float, Field(description="share of the channels that are 0 everywhere")]
    links: Annotated[dict[str, str], Field(description="where POST was used: POST the image there again")]


class AboutImage(TypedDict):
    """Which image was looked at: a test image, or the one sent and what was done to it."""

    sample: NotRequired[SampleBody]
    preprocessing: NotRequired[Preprocessing]
    warnings: NotRequired[list[str]]


class FeatureMapList(AboutImage):
    """Every layer, without the maps themselves."""

    model: str
    version: str
    layers: list[LayerMaps]


class Numbers(TypedDict):
    """The maps themselves."""

    values: NotRequired[
        Annotated[list[float] | list[list[float]], Field(description="nested lists of this shape")]
    ]
    data: NotRequired[
        Annotated[str, Field(description="base64 of little-endian float32 in C order, of this shape")]
    ]


class FeatureMapValues(AboutImage, Numbers):
    """The maps of one layer: `values` for one channel or a vector, else `data`."""

    model: str
    version: str
    layer: LayerMaps
    channels: list[int]
    shape: Annotated[list[int], Field(description="[H,W] of one channel, else [H,W,C] or [units]")]


class VotesBody(TypedDict):
    """How many of the people asked said that it is what the label says, what a model guessed, neither, both."""

    given: int
    guessed: int
    neither: int
    both: int
    guessed_label: Annotated[
        str | None,
        Field(description="the class that `guessed` counts; null where the model guessed the label itself"),
    ]


class HardExampleItem(TypedDict):
    """One test image and what the model said of it."""

    index: Annotated[int, Field(description="in the original order of the test set")]
    true: ClassBody
    predicted: ClassBody
    probability_true: Probability
    probability_predicted: Probability
    margin: Annotated[Probability, Field(description="p1 − p2")]
    entropy: Annotated[float, Field(description="nats")]
    loss: Annotated[float, Field(description="−log p of the true label, nats")]
    image: str
    votes: VotesBody | None
    disputed: Annotated[
        bool,
        Field(
            description="most of the people asked disagree with the label; votes for both labels count as agreement"
        ),
    ]


class HardExampleList(TypedDict):
    """A page of test images."""

    model: str
    version: str
    dataset: str
    kind: Kind
    sort: Sort
    total: Annotated[int, Field(description="that fit, on all pages")]
    offset: int
    limit: int
    items: list[HardExampleItem]


class ConfusionBody(TypedDict):
    """Another class that the image might be taken for."""

    label: str
    index: int
    probability: Probability
    count: Annotated[int, Field(description="test images of the same true class that are taken for this one")]


class HardExampleDetail(HardExampleItem):
    """One test image in full."""

    model: str
    version: str
    dataset: str
    kind: Kind
    probabilities: Annotated[list[RankedClass], Field(description="of every class, in their order")]
    confusions: Annotated[list[ConfusionBody], Field(description="the likeliest classes but the true one")]


class Training(TypedDict):
    """How the training went."""

    model: str
    version: str
    epochs: Annotated[
        list[dict[str, int | float]],
        Field(
            description="each with epoch, loss, accuracy (of the training images, while the weights still "
            "change), val_loss, val_accuracy, learning_rate and seconds. A loss is what training minimises: the "
            "cross-entropy, with the experiment's label smoothing or teacher, plus its L2 penalties. Models that were "
            "trained differently cannot be compared by it; by the nll of their metrics they can"
        ),
    ]
    readings: Annotated[list[Reading], Field(description="of the weights as they were at these epochs")]
    seconds: float
    gap: Annotated[
        float | None,
        Field(
            description="training less validation accuracy after the last epoch; null for a net put together of others"
        ),
    ]


class ConfusedPair(TypedDict):
    """Test images of one class that are taken for another."""

    true: str
    predicted: str
    count: int


class ConfusionMatrix(TypedDict):
    """Who is taken for whom, on the whole test set."""

    model: str
    version: str
    classes: list[str]
    matrix: Annotated[list[list[int]], Field(description="[true][predicted], counts")]
    per_class: list[ClassMetrics]
    most_confused: list[ConfusedPair]


class CalibrationBin(TypedDict):
    """Test images whose best probability lies between two bounds."""

    low: float
    high: float
    count: int
    confidence: Annotated[float | None, Field(description="mean best probability; null where there are none")]
    accuracy: Annotated[float | None, Field(description="share that is right; null where there are none")]


class Calibration(TypedDict):
    """Whether the model is right as often as it says."""

    model: str
    version: str
    bins: list[CalibrationBin]
    ece: Annotated[float, Field(description="expected calibration error: mean |confidence − accuracy|")]
    ece_before_temperature: float
    temperature: float
    temperature_exponent: Annotated[
        float,
        Field(
            description="logits are divided by temperature × (the answer's entropy as a share of the greatest) to "
            "this power; 0: by one temperature for all images"
        ),
    ]
    nll: float


class Histogram(TypedDict):
    """Counts between edges, of which there is one more."""

    edges: list[float]
    counts: list[int]


class WeightStatistics(TypedDict):
    """One tensor of a layer."""

    name: str
    shape: list[int]
    count: int
    mean: float
    standard_deviation: float
    minimum: float
    maximum: float
    histogram: Histogram


class LayerWeights(TypedDict):
    """The weights of one layer."""

    name: str
    type: str
    weights: list[WeightStatistics]


class WeightsOfModel(TypedDict):
    """The weights of one model's layer, or of all that have any."""

    model: str
    version: str
    layers: list[LayerWeights]


class Weights(WeightsOfModel):
    """A model's weights, and another's beside them."""

    against: NotRequired[WeightsOfModel]
