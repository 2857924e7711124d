"""One frozen Experiment a model: data, net, optimiser, epochs, seed. Read it as a table.

Everything that decides a result is here and is written into the artifact's manifest.
"""

from dataclasses import asdict, dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Experiment:
    """How one model is made."""

    name: str
    description: str
    dataset: str
    architecture: str  # a function of training.architectures
    options: dict[str, Any] = field(default_factory=dict)  # its keyword arguments
    epochs: int = 12
    readings: tuple[int, ...] = ()  # epochs whose accuracy is reported besides the final one
    batch_size: int = 128
    optimiser: str = "adam"
    learning_rate: float = 1e-3
    seed: int = 1
    optimiser_options: dict[str, Any] = field(default_factory=dict)
    schedule: tuple[float, float, float] | None = None  # training.optimisers.Ramp: start, peak_at, end
    label_smoothing: float = 0.0  # share of the target that is spread over all classes
    augmentation: str | None = None  # one of training.augmentation
    augmentation_options: dict[str, Any] = field(default_factory=dict)
    # The last epochs see images nearer to what is served: their share of the epochs, and what changes in the options.
    closing: float = 0.0
    closing_options: dict[str, Any] = field(default_factory=dict)
    averaging: float = 0.0  # training.optimisers.Averaging: decay of the running mean in one step
    calibration: str = "temperature"  # one of training.calibration.METHODS; entropy is for photographs
    held_out: int | None = None  # validation images, where they are not training.datasets.VALIDATION_IMAGES
    # Cheaper epochs: (side in pixels, share of the epochs) that see smaller images; (share of the images that counts
    # as easy, share of the epochs) in which half of the easy images sits out (training.selection).
    smaller: tuple[int, float] | None = None
    easy: tuple[float, float] | None = None
    # The published net whose answers are the targets (training.teacher), about so many views of every image, its
    # logits divided by this.
    teacher: str | None = None
    views: int = 0
    softness: float = 1.0
    # Published experiments whose nets are the towers of this one (training.towers); then nothing is trained here.
    members: tuple[str, ...] = ()
    precision: str = "float32"  # or mixed_bfloat16: activations in bfloat16, weights always in float32

    def record(self) -> dict[str, Any]:
        """Every field, as JSON can hold it."""
        return asdict(self)


_MNIST = Experiment(
    name="mnist-baseline",
    description="The first study's net: two strided convolutions and a dense layer.",
    dataset="mnist",
    architecture="two_strided_convolutions",
    epochs=12,
)
_FALLING = (1.0, 0.0, 0.05)  # the learning rate falls evenly to a twentieth: the last epochs settle, not jump
_STRIDED = Experiment(
    name="cifar10-strided",
    description="Strided convolutions, then a tower of dense layers; trained long.",
    dataset="cifar10",
    architecture="strided_then_dense",
    options={"dropout": 0.15},
    epochs=50,
    readings=(10, 30, 50),
    schedule=_FALLING,
)

_PLAIN = Experiment(
    name="cifar10-plain",
    description=(
        "A small residual net that begins with a frozen whitening layer; the first epochs see small images, "
        "and images that are known sit out. Published as cifar10-fast 2, and the first tower of cifar10-pair."
    ),
    dataset="cifar10",
    architecture="airbench",
    options={"filters": (64, 192, 256), "depth": 3, "momentum": 0.9},
    epochs=50,
    batch_size=512,
    optimiser="nesterov",
    optimiser_options={"momentum": 0.85, "l2": 1.333e-3, "bias_rate": 64.0},
    learning_rate=0.5,  # images that stand for two raise the mean weight in a batch to 1.5
    schedule=(0.2, 0.1, 0.0),
    label_smoothing=0.1,
    augmentation="photographs",
    augmentation_options={"shift": 3, "cutout": 10},
    averaging=0.975,
    held_out=2_000,
    smaller=(24, 0.5),
    easy=(0.7, 0.9),
)

# In the order in which they can be made: members and teachers come before those that need them.
_ALL = (
    _MNIST,
    replace(
        _MNIST,
        name="mnist-8-filters",
        description="The baseline with 8 filters instead of 32: fewer features, less accurate.",
        options={"filters": 8},
    ),
    replace(
        _MNIST,
        name="mnist-stride-4",
        description="The baseline with stride 4: most of the picture is skipped, and it shows.",
        options={"stride": 4},
    ),
    replace(
        _MNIST,
        name="mnist-l2",
        description="The baseline with L2 on every kernel: nearly as accurate, weights closer to 0.",
        # A net of ReLUs can shift weight from layer to layer, and L2 alone would let the small first kernel grow.
        options={"l2": (5e-3, 1e-3, 1e-3, 1e-3)},
    ),
    Experiment(
        name="cifar10-mnist-like",
        description="The MNIST baseline's layers on colour photographs: not enough for them.",
        dataset="cifar10",
        architecture="two_strided_convolutions",
        options={"dropout": 0.1},
        epochs=10,
    ),
    Experiment(
        name="cifar10-batchnorm",
        description="Pairs of convolutions with batch normalisation and more filters the deeper.",
        dataset="cifar10",
        architecture="batch_norm_pairs",
        # Ten epochs are few: little dropout, a batch norm whose statistics keep up, and many small steps.
        options={"dropouts": (0.1, 0.2, 0.3), "momentum": 0.9},
        epochs=10,
        readings=(5, 10),
        batch_size=64,
        schedule=_FALLING,
    ),
    _STRIDED,
    replace(
        _STRIDED,
        name="cifar10-strided-l2-everywhere",
        description="L2 on every convolution and dense layer: it underfits, and is kept to show that.",
        options={"dropout": 0.15, "l2_convolutions": (1e-3,) * 3, "l2_dense": (1e-3,) * 4},
        epochs=30,
        readings=(10, 30),
    ),
    replace(
        _STRIDED,
        name="cifar10-strided-l2",
        description="L2 on a few layers only: training and validation stay closer together.",
        options={"dropout": 0.15, "l2_dense": (1e-3, 1e-3, 0.0, 0.0)},
    ),
    Experiment(
        name="mnist-compact",
        description=(
            "Few layers where the image is large, many filters where it is small; trained on many hands and pens."
        ),
        dataset="mnist",
        architecture="compact",
        options={"filters": ((64, 64), (128, 128, 128, 128))},
        epochs=32,
        batch_size=128,
        optimiser="nesterov",
        optimiser_options={"momentum": 0.9, "l2": 7e-4},
        learning_rate=0.07,  # images that stand for two raise the mean weight in a batch to 1.7
        schedule=(0.2, 0.15, 0.0),
        label_smoothing=0.05,
        augmentation="digits",
        closing=0.15,
        closing_options={
            "rotation": 10.0,
            "shear": 0.15,
            "scale": 0.1,
            "shift": 1.5,
            "elastic": 0.6,
            "swelled": 0.15,
            "redrawn": 0.1,
            "erased": 0.0,
        },
        averaging=0.95,
        easy=(0.8, 0.9),
        precision="mixed_bfloat16",
    ),
    _PLAIN,
    replace(
        _PLAIN,
        name="cifar10-residual",
        description=(
            "The net of airbench96, narrower where the image is small: groups of three convolutions with a residual "
            "connection; the first epochs see small images, and images that are known sit out."
        ),
        # Filters where they cost time, not where they cost parameters: twice the work of cifar10-plain, 1.4 × its size.
        options={"filters": (128, 256, 256), "depth": 3, "momentum": 0.9},
        precision="mixed_bfloat16",
    ),
    Experiment(
        name="cifar10-pair",
        description="A net and one of twice its work, as the towers of one: their logits are averaged.",
        dataset="cifar10",
        architecture="towers",
        epochs=0,
        batch_size=0,
        optimiser="",
        learning_rate=0.0,
        # Chosen by cross-validation on the images held out: tests/benchmarks/calibration.py.
        calibration="entropy",
        held_out=2_000,  # images that neither was trained on
        members=("cifar10-plain", "cifar10-residual"),
    ),
    replace(
        _PLAIN,
        name="cifar10-fast",
        description=(
            "A small residual net that learnt what cifar10-pair says of the images: as fast as cifar10-plain, "
            "half its size."
        ),
        # More filters where they cost work, fewer where they cost parameters.
        options={"filters": (96, 144, 160), "depth": 3, "momentum": 0.9},
        epochs=80,
        label_smoothing=0.0,  # the teacher learnt smoothed labels
        teacher="cifar10-pair",
        views=16,
        softness=1.5,
        precision="mixed_bfloat16",
    ),
)

EXPERIMENTS: dict[str, Experiment] = {experiment.name: experiment for experiment in _ALL}
