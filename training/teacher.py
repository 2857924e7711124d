"""Distillation: a net learns what a better one says of the images, not only which class they are of.

Hinton, Vinyals and Dean, Distilling the Knowledge in a Neural Network, 2015. The teacher is asked about the very
pixels that the student sees (Beyer et al., Knowledge Distillation: A Good Teacher Is Patient and Consistent, CVPR
2022). It is the dearer of the two: so the student sees a fixed number of views of every image, again and again in
turn, and what the teacher said of them is kept on disk.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from service.manifest import KERAS_MODEL, TOWER_KERAS, TeacherVersion
from training.augmentation import Augmentation, Unchanged
from training.datasets import Images
from training.experiments import Experiment
from training.predict import predict
from training.published import load_net, needed_folder, read_manifest
from training.whole_files import DamagedError, reading, written

Floats = NDArray[np.float32]
Ask = Callable[[Images], NDArray[np.floating]]  # uint8 [N,H,W,C] → logits [N,classes]

_PRECISION = "mixed_bfloat16"  # twice as fast where processors have it; logits are kept in 16 bits anyhow
_INEXACT = ("Conv2D", "BatchNormalization", "Activation", "MaxPooling2D", "Add")  # layers computed in it


class Teacher(NamedTuple):
    """A published net that another learns from."""

    version: TeacherVersion
    ask: Ask


def find(experiment: Experiment, artifacts: Path) -> Teacher | None:
    """The latest version of an experiment's teacher; None if it has none. Raises NotPublishedError, DataError."""
    if experiment.teacher is None:
        return None
    folder = needed_folder(artifacts, experiment.teacher, experiment.name)
    listed = read_manifest(folder).files
    files = {file.name: listed[file.name].sha256 for file in _nets(folder)}
    version = TeacherVersion(name=experiment.teacher, version=folder.name, files=files)
    return Teacher(version, ask(folder))


def ask(folder: Path) -> Ask:
    """A published net as a function: images → the mean of its towers' logits, or its only ones, over no temperature
    but the towers' own."""
    nets = [_logits(load_net(file)) for file in _nets(folder)]
    image = keras.Input(nets[0].input_shape[1:], dtype="uint8")
    answers = [net(image) for net in nets]
    whole = keras.Model(image, keras.layers.Average()(answers) if len(answers) > 1 else answers[0])
    return lambda images: predict(whole, images)


def _nets(folder: Path) -> list[Path]:
    """The Keras files that decide what a published net answers as a teacher: its towers', or its only one."""
    return sorted(folder.glob(TOWER_KERAS.format("*"))) or [folder / KERAS_MODEL]


def _logits(model: keras.Model) -> keras.Model:
    """A served model without its softmax, the dear layers in bfloat16."""

    def shorter(layer: Any) -> Any:
        config = layer.get_config()
        if type(layer).__name__ in _INEXACT:
            config["dtype"] = _PRECISION
        return type(layer).from_config(config)

    net = keras.Model(model.input, model.layers[-1].input)
    copy = keras.models.clone_model(net, clone_function=shorter)
    copy.set_weights(net.get_weights())
    return copy


class Lessons:
    """The views of the training images, and what the teacher says of each."""

    def __init__(
        self, experiment: Experiment, teacher: Teacher, draw: Augmentation, images: int, kept: Path
    ) -> None:
        """`draw` draws from `images` training images; answers are kept in the folder `kept`."""
        self._experiment, self._teacher, self._draw = experiment, teacher, draw
        self._count, self._kept = images, kept

    def of(self, epoch: int) -> tuple[Augmentation, Floats]:
        """This epoch's view [N,H,W,C], in place of an augmentation, and the teacher's probabilities [N,classes]."""
        view = (epoch - 1) % self._experiment.views
        random = np.random.default_rng([self._experiment.seed, view])
        rows = np.array_split(np.arange(self._count), max(1, self._count // 4000))
        images = np.concatenate([self._draw(part, view, random) for part in rows])
        targets: Floats = softmax(self._answers(images) / self._experiment.softness, axis=1)
        return Unchanged(images), targets

    def _answers(self, images: Images) -> Floats:
        """The teacher's logits, as kept if it was asked about these very images before."""
        about = hashlib.sha256(self._teacher.version.model_dump_json().encode())
        about.update(images.tobytes())
        path = self._kept / f"{self._experiment.name}-teacher-{about.hexdigest()[:16]}.npy"
        answers = _kept(path, len(images))
        if answers is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            answers = self._teacher.ask(images).astype(np.float16)
            with written(path, path.with_suffix(".partial.npy")) as partial:
                np.save(partial, answers)
        return answers.astype(np.float32)


def _kept(path: Path, images: int) -> NDArray[np.float16] | None:
    """Answers to so many images; None where there are none, or what there was is damaged."""
    try:
        with reading():
            answers: NDArray[np.float16] = np.load(path)
    except (FileNotFoundError, DamagedError):
        return None
    return answers if answers.ndim == 2 and len(answers) == images else None
