"""One net of several that were trained separately: their calibrated logits are averaged.

Nets that began otherwise err otherwise (Hansen and Salamon, Neural Network Ensembles, 1990). What is served is one
graph and one forward pass of it, as many times the work as it has towers.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import keras

from service.manifest import HISTORY, IMAGE_INPUT, KERAS_MODEL, Member, tower_keras
from training.calibration import Calibration
from training.experiments import Experiment
from training.graphs import serving_model
from training.halves import pack
from training.naming import tower
from training.published import load_net, needed_folder, read_manifest

AVERAGE = "average"


def member_folders(experiment: Experiment, artifacts: Path) -> list[Path]:
    """The latest version folder of every member. Raises NotPublishedError."""
    return [needed_folder(artifacts, name, experiment.name) for name in experiment.members]


def net(folders: list[Path]) -> keras.Model:
    """uint8 [N,H,W,C] → the mean of the members' logits, each over its own temperature: float32 [N,classes]."""
    members = [load_net(folder / KERAS_MODEL) for folder in folders]
    image = keras.Input(members[0].input_shape[1:], dtype="uint8", name=IMAGE_INPUT)
    logits = [_tower(member, number, image) for number, member in enumerate(members, 1)]
    return keras.Model(image, keras.layers.Average(name=AVERAGE)(logits))


def _tower(member: keras.Model, number: int, image: Any) -> Any:
    """A member without its softmax over another input, its layers with names of their own."""

    def renamed(layer: Any) -> Any:
        return type(layer).from_config({**layer.get_config(), "name": tower(number, layer.name)})

    calibrated = keras.Model(member.input, member.layers[-1].input)
    copy = keras.models.clone_model(calibrated, input_tensors=image, clone_function=renamed)
    copy.set_weights(calibrated.get_weights())
    return copy.output


def head(towers: int, classes: int, calibration: Calibration) -> keras.Model:
    """What follows the towers in a net of them: `towers` times float32 [N,classes] → probabilities [N,classes]."""
    logits = [keras.Input((classes,)) for _ in range(towers)]
    return serving_model(keras.Model(logits, keras.layers.Average(name=AVERAGE)(logits)), calibration)


def history(folders: list[Path]) -> list[dict[str, float]]:
    """The members' epochs, one training after the other: `epoch` goes on counting, `tower` says whose it is."""
    rows: list[dict[str, float]] = []
    for number, folder in enumerate(folders, 1):
        own = json.loads((folder / HISTORY).read_text(encoding="utf-8"))["epochs"]
        done = len(rows)
        rows += [{**row, "epoch": done + row["epoch"], "tower": number} for row in own]
    return rows


def copy_members(folders: list[Path], folder: Path) -> None:
    """The members' Keras files, which the graphs read their weights from: byte for byte where they are packed."""
    for number, member in enumerate(folders, 1):
        shutil.copyfile(member / KERAS_MODEL, folder / tower_keras(number))
        pack(folder / tower_keras(number))


def members(folders: list[Path]) -> list[Member]:
    """What the manifest says of each. Raises DataError where one is damaged."""
    manifests = [read_manifest(folder) for folder in folders]
    return [
        Member(
            name=one.name,
            version=one.version,
            accuracy=one.metrics.accuracy,
            experiment=one.experiment,
            provenance=one.provenance,
        )
        for one in manifests
    ]
