"""The data sets for those who measure with them."""

import sys

from training.datasets import Arrays, DataError, Dataset
from training.preprocess import load


def loaded(dataset: Dataset) -> Arrays:
    """As the training package has it. Exits, saying what to do, where the files are missing or damaged."""
    try:
        return load(dataset)
    except DataError as error:
        sys.exit(str(error))
