"""What is wrong with an experiment that somebody wrote: told before hours are spent on it."""

import re

from service.manifest import NAME_PATTERN
from training import architectures
from training.augmentation import AUGMENTATIONS
from training.calibration import METHODS
from training.datasets import DATASETS
from training.experiments import Experiment


def fault(experiment: Experiment) -> str | None:
    """The first one found; None where there is none."""
    known = [("dataset", set(DATASETS)), ("calibration", set(METHODS)), ("augmentation", set(AUGMENTATIONS))]
    if not experiment.members:
        known.append(("architecture", set(vars(architectures))))
    for field, there in known:
        asked = getattr(experiment, field)
        if asked is not None and asked not in there:
            return f"there is no {field} {asked!r}"
    if not re.fullmatch(NAME_PATTERN, experiment.name):
        return "its name may have small letters, digits, . _ -"
    late = [epoch for epoch in experiment.readings if not 1 <= epoch <= experiment.epochs]
    return f"its readings are of epochs {late}, and it has {experiment.epochs}" if late else None
