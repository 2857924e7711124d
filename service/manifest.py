"""The artifact contract: what a version folder holds, as one `manifest.json`.

Training writes it, the service reads it, and it is the only module the two share. A folder
`models/<name>/<version>/` is complete or absent: the manifest lists every other file with its
size and SHA-256, so a reader that checked those may trust everything else it says.
"""

import hashlib
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, PositiveInt, model_validator

MANIFEST = "manifest.json"
MODEL = "model.onnx"
FEATURE_MAPS = "feature_maps.onnx"
KERAS_MODEL = "model.keras"  # the graphs read their tensors out of it (ONNX external data)
TOWER_KERAS = "tower-{}.keras"  # instead, where a net is made of others: theirs, unchanged
TOWERS_HEAD = "head.keras"  # and what follows: the logits of every tower, each calibrated → probabilities
TEST_PROBABILITIES = "test_probabilities.npy"
HISTORY = "history.json"
WEIGHT_STATISTICS = "weights.json"
ALIASES = "aliases.json"  # beside models/: alias → model

_OWN_WEIGHTS = ".bin"

IMAGE_INPUT = "image"  # name of the graphs' one input
PROBABILITIES = "probabilities"  # name of model.onnx's one output

NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,63}$"
VERSION_PATTERN = r"^[1-9][0-9]{0,8}$"
FILE_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$"  # a plain name: it cannot leave its folder

Fraction = Annotated[float, Field(ge=0, le=1)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class FileEntry(_Frozen):
    """One file beside the manifest."""

    bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class InputSpec(_Frozen):
    """What the graph takes: uint8 [N,height,width,channels], 0…255. All scaling is inside the graph."""

    height: int = Field(gt=0)
    width: int = Field(gt=0)
    channels: Literal[1, 3]
    dtype: Literal["uint8"] = "uint8"
    layout: Literal["NHWC"] = "NHWC"


class Layer(_Frozen):
    """One layer of the net, in order. `shape` is its output's without the batch axis."""

    name: str
    type: str
    shape: list[PositiveInt] = Field(min_length=1)
    parameters: int = Field(ge=0)
    trainable: int = Field(ge=0, description="how many of the parameters training changes")
    minimum: float = Field(description="least activation over a sample of the test set")
    maximum: float = Field(description="greatest activation over the same sample")


class ClassMetrics(_Frozen):
    label: str
    accuracy: Fraction = Field(description="share of this class's test images that are named right (recall)")
    precision: Fraction = Field(description="share of the answers with this label that are right")
    count: int = Field(ge=0, description="test images of this class")


class Reading(_Frozen):
    """Accuracy at an epoch on the way, of the weights as they were then."""

    epoch: int = Field(gt=0)
    validation_accuracy: Fraction
    test_accuracy: Fraction


class SeedResult(_Frozen):
    """The same experiment with one seed: how much of a result is chance."""

    seed: int
    validation_accuracy: Fraction | None
    test_accuracy: Fraction
    seconds: float = Field(ge=0, description="of training, wall clock")


class Parity(_Frozen):
    """How far the exported graph is from the Keras model, on the whole test set."""

    largest_difference: float = Field(ge=0, description="of any probability")
    labels_changed: int = Field(ge=0, description="images whose label differs")
    labels_changed_clear: int = Field(ge=0, description="of those, with a Keras margin of 1e-4 or more")


class ReducedPrecision(_Frozen):
    """What the graph's answers to the whole test set become in a shorter float."""

    images: int = Field(gt=0)
    labels_changed: int = Field(ge=0, description="images whose label differs from the float32 graph's")
    correct_changed: int = Field(description="right answers gained (or, negative, lost)")

    @property
    def faithful(self) -> bool:
        """At most one label in a thousand changes, and the accuracy by at most 0.05 points."""
        return 1000 * self.labels_changed <= self.images and 2000 * abs(self.correct_changed) <= self.images


class Metrics(_Frozen):
    """Of the served graph on the whole test set: single forward pass, final epoch, touched once."""

    accuracy: Fraction
    accuracy_interval: tuple[Fraction, Fraction] = Field(description="Wilson, 95 %")
    errors: int = Field(ge=0)
    images: int = Field(gt=0)
    nll: float = Field(ge=0, description="mean −log p(true label), nats, after the temperature")
    nll_before_temperature: float = Field(ge=0)
    ece: Fraction = Field(
        description="expected calibration error, 15 equal-width bins, after the temperature"
    )
    ece_before_temperature: Fraction
    temperature: float = Field(gt=0, description="fitted on the validation split, inside the graph")
    temperature_exponent: float = Field(
        0.0,
        description="logits are divided by temperature × (the answer's entropy as a share of the greatest) to this "
        "power; 0: by one temperature for all images",
    )
    validation_accuracy: Fraction | None = Field(description="null when trained on every training image")
    per_class: list[ClassMetrics]
    confusion: list[list[int]] = Field(description="[true][predicted], counts")
    readings: list[Reading] = []
    accuracy_tta: Fraction | None = Field(
        None, description="with test-time augmentation; never what is served"
    )
    seeds: list[SeedResult] = Field(
        [], description="where it was trained several times, the served run among them; chosen on validation"
    )


class TeacherVersion(_Frozen):
    """A published net whose answers another one learnt, and the files that these come from."""

    name: str = Field(pattern=NAME_PATTERN)
    version: str = Field(pattern=VERSION_PATTERN)
    files: dict[str, str] = Field(description="its Keras files → SHA-256")


class Provenance(_Frozen):
    """How to get the same model again, and what it took."""

    command: str
    seed: int
    seconds: float = Field(ge=0, description="of training, wall clock")
    hardware: str
    commit: str | None
    libraries: dict[str, str]
    data: dict[str, str] = Field(description="original file → MD5 of its contents")
    teacher: TeacherVersion | None = Field(
        None, description="whose answers were the targets; null where labels were, or it was not recorded"
    )


class Member(_Frozen):
    """A net that was trained and published on its own, and is one tower of this one."""

    name: str = Field(pattern=NAME_PATTERN)
    version: str = Field(pattern=VERSION_PATTERN)
    accuracy: Fraction = Field(description="its own on the test set")
    experiment: dict[str, JsonValue]
    provenance: Provenance


class Manifest(_Frozen):
    """`manifest.json`."""

    schema_version: Literal[1] = 1
    name: str = Field(pattern=NAME_PATTERN)
    version: str = Field(pattern=VERSION_PATTERN)
    dataset: str = Field(pattern=NAME_PATTERN)
    description: str
    created: datetime
    classes: list[str] = Field(min_length=2)
    input: InputSpec
    files: dict[Annotated[str, Field(pattern=FILE_PATTERN)], FileEntry]
    layers: list[Layer]
    parameters: int = Field(ge=0)
    trainable_parameters: int = Field(ge=0)
    metrics: Metrics
    parity: Parity
    bfloat16: ReducedPrecision | None = Field(None, description="null where it was not measured")
    experiment: dict[str, JsonValue]
    provenance: Provenance
    members: list[Member] = Field(
        [], description="for a net of several towers: what each of them was before, in order"
    )

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> "Manifest":
        if MODEL not in self.files:
            raise ValueError(f"files lists no {MODEL}")
        if sum(layer.parameters for layer in self.layers) != self.parameters:
            raise ValueError("the layers' parameters do not add up to parameters")
        if len({layer.name for layer in self.layers}) != len(self.layers):
            raise ValueError("two layers have one name")
        if FEATURE_MAPS in self.files and not self.layers:
            raise ValueError(f"files lists {FEATURE_MAPS}, and no layer is named")
        if [len(row) for row in self.metrics.confusion] != [len(self.classes)] * len(self.classes):
            raise ValueError("the confusion matrix has not one row and one column a class")
        return self


def tower_keras(number: int) -> str:
    """The Keras file of a net's tower, counted from 1."""
    return TOWER_KERAS.format(number)


def served_files(manifest: Manifest) -> list[str]:
    """What predictions need: the graph and the files that it reads its weights from."""
    files = manifest.files
    weights = [
        name for name in files if name.endswith(_OWN_WEIGHTS)
    ]  # a copy of the Keras file's, in older versions
    weights = weights or [name for name in files if name.endswith(".keras") and name != TOWERS_HEAD]
    return [MODEL, *weights]


def served_bytes(manifest: Manifest) -> int:
    """Size of these, together."""
    return sum(manifest.files[name].bytes for name in served_files(manifest))


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_entry(path: Path) -> FileEntry:
    """The manifest's line for a file on disk."""
    return FileEntry(bytes=path.stat().st_size, sha256=sha256_of(path))


DATASET = "dataset.json"
TEST_IMAGES = "test.npz"
VOTES = "votes.json"


class DatasetManifest(_Frozen):
    """`datasets/<name>/dataset.json`: the test images beside it, uint8 [images,H,W,C], and what they show."""

    schema_version: Literal[1] = 1
    name: str = Field(pattern=NAME_PATTERN)
    classes: list[str] = Field(min_length=2)
    images: int = Field(gt=0)
    shape: tuple[int, int, int]
    licence: str
    files: dict[Annotated[str, Field(pattern=FILE_PATTERN)], FileEntry]


class Votes(_Frozen):
    """What five people said of one test image: the label it was given, the one a model guessed, neither, both."""

    given: int = Field(ge=0)
    guessed: int = Field(ge=0)
    neither: int = Field(ge=0)
    both: int = Field(ge=0)
    guessed_index: int = Field(ge=0, description="the class that `guessed` counts votes for")

    @property
    def disputed(self) -> bool:
        """Fewer than half of the people find the given label right, be it with another."""
        return self.given + self.both < self.guessed + self.neither


class VotesFile(_Frozen):
    """`datasets/<name>/votes.json`: votes by test index, for the images that were asked about."""

    source: str
    licence: str
    votes: dict[int, Votes]
