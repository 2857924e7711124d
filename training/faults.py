"""What is wrong with an experiment that somebody wrote: told before hours are spent on it."""

import inspect
import math
import re
from collections.abc import Callable, Collection, Iterator
from typing import Any, get_type_hints

import numpy as np
from pydantic import TypeAdapter, ValidationError

from service.manifest import NAME_PATTERN
from training.architectures import ARCHITECTURES
from training.augmentation import AUGMENTATIONS
from training.calibration import METHODS
from training.checkpoints import OF_SEED
from training.datasets import DATASETS
from training.experiments import EXPERIMENTS, Experiment
from training.fit import net, optimiser

_PRECISIONS = ("float32", "mixed_bfloat16")


def fault(experiment: Experiment) -> str | None:
    """The first one found; None where there is none."""
    return next(_faults(experiment), None)


def _faults(experiment: Experiment) -> Iterator[str]:
    """Whoever goes on after one asks for what it says is not there."""
    yield from _of_other_types(experiment)
    yield from _unknown(experiment)
    if not re.fullmatch(NAME_PATTERN, experiment.name):
        yield "its name may have small letters, digits, . _ -"
    if OF_SEED.search(experiment.name):
        yield "its name ends as those of the files where another experiment's other seeds are kept"
    images, held_out = DATASETS[experiment.dataset].train_images, experiment.held_out
    if held_out is not None and not 1 <= held_out < images:
        yield f"held_out is {held_out} of {images} images: some must be left to validate on, and some to train on"
    yield from _of_others(experiment)
    if not experiment.members:
        yield from _of_training(experiment)
    late = [epoch for epoch in experiment.readings if not 1 <= epoch <= experiment.epochs]
    if late:
        yield f"its readings are of epochs {late}, and it has {experiment.epochs}"


def _of_other_types(experiment: Experiment) -> Iterator[str]:
    for name, of_type in get_type_hints(Experiment).items():
        try:
            TypeAdapter(of_type).validate_python(getattr(experiment, name), strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            yield f"{'.'.join(map(str, (name, *first['loc'])))}: {first['msg']}"


def _unknown(experiment: Experiment) -> Iterator[str]:
    known: dict[str, Collection[str | None]] = {
        "dataset": DATASETS,
        "calibration": METHODS,
        "augmentation": [None, *AUGMENTATIONS],
        "precision": _PRECISIONS,
    }
    if not experiment.members:
        known["architecture"] = ARCHITECTURES
    for field, there in known.items():
        asked = getattr(experiment, field)
        if asked not in there:
            yield f"there is no {field} {asked!r}"


def _of_others(experiment: Experiment) -> Iterator[str]:
    """What is wrong with the nets that it is made from, as far as they are experiments."""
    taught_by = [("teacher", experiment.teacher)] if experiment.teacher else []
    for role, name in (*taught_by, *(("member", name) for name in experiment.members)):
        other = EXPERIMENTS.get(name)
        if name == experiment.name:
            yield f"it is its own {role}"
        elif other is not None and other.dataset != experiment.dataset:
            yield f"its {role} {name} is of {other.dataset}, and not of {experiment.dataset}"
        elif other is not None and other.members and role == "member":
            yield f"its member {name} is itself put together of others"


def _of_training(experiment: Experiment) -> Iterator[str]:
    for field in ("epochs", "batch_size", *(["views"] if experiment.teacher else [])):
        if getattr(experiment, field) < 1:
            yield f"{field} is {getattr(experiment, field)}: it must be 1 or more"
    yield from _out_of_bounds(experiment)
    dataset = DATASETS[experiment.dataset]
    net = inspect.signature(ARCHITECTURES[experiment.architecture])
    yield from _refused("options", net.bind, dataset.shape, len(dataset.classes), **experiment.options)
    if experiment.augmentation is None:
        for field in ("augmentation_options", "closing_options"):
            if getattr(experiment, field):
                yield f"{field}: there is no augmentation"
    else:
        draw, image = AUGMENTATIONS[experiment.augmentation], np.zeros((1, *dataset.shape), np.uint8)
        for field, own in (("augmentation_options", {}), ("closing_options", experiment.closing_options)):
            yield from _refused(field, draw, image, **{**experiment.augmentation_options, **own})
    yield from _refused("optimiser", optimiser, experiment)
    if experiment.smaller is not None:
        yield from _refused("smaller", _take_over_weights, experiment, experiment.smaller[0])


def _out_of_bounds(experiment: Experiment) -> Iterator[str]:
    for field in ("learning_rate", *(["softness"] if experiment.teacher else [])):
        if not 0 < getattr(experiment, field) < math.inf:
            yield f"{field} is {getattr(experiment, field)}: it must be more than 0"
    side, small_epochs = experiment.smaller or (1, 0.0)
    easy, easy_epochs = experiment.easy or (0.0, 0.0)
    whole = DATASETS[experiment.dataset].shape[0]
    if not 1 <= side <= whole:
        yield f"smaller.0 is {side}: it must be from 1 to {whole} pixels"
    for field, share in (
        ("closing", experiment.closing),
        ("smaller.1", small_epochs),
        ("easy.1", easy_epochs),
    ):
        if not 0 <= share <= 1:
            yield f"{field} is {share}: it must be from 0 to 1"
    # Of these the whole would leave nothing: no label, no step, no image that is hard.
    for field, share in (
        ("label_smoothing", experiment.label_smoothing),
        ("averaging", experiment.averaging),
        ("easy.0", easy),
    ):
        if not 0 <= share < 1:
            yield f"{field} is {share}: it must be from 0 to less than 1"


def _take_over_weights(experiment: Experiment, side: int) -> None:
    """Raises ValueError where the net for images of `side`·`side` pixels has other weights than that for whole ones."""
    whole = net(experiment)
    try:
        small = net(experiment, side)
    except ValueError as error:
        raise ValueError(f"{experiment.architecture} takes no images of {side}·{side} pixels") from error
    shapes = [[tuple(weight.shape) for weight in one.weights] for one in (whole, small)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"{experiment.architecture} has other weights for images of {side}·{side} pixels")


def _refused(field: str, make: Callable[..., Any], *arguments: Any, **options: Any) -> Iterator[str]:
    """What `make` has against a field of the experiment."""
    try:
        make(*arguments, **options)
    except (TypeError, ValueError) as error:
        yield f"{field}: {' '.join(str(error).split())}"
