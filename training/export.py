"""A trained run → a version folder that the service can trust: graphs, figures, checksums, manifest."""

import json
import platform
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version as library_version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.manifest import (
    HISTORY,
    KERAS_MODEL,
    MANIFEST,
    MODEL,
    TEST_PROBABILITIES,
    TOWERS_HEAD,
    WEIGHT_STATISTICS,
    InputSpec,
    Manifest,
    Provenance,
    Reading,
    SeedResult,
    file_entry,
)
from training import calibration, evaluate, towers
from training.calibration import Calibration
from training.datasets import DATASETS, Arrays, Dataset, Labels, training_split
from training.fit import for_export
from training.graphs import serving_model, write_graphs
from training.halves import pack
from training.locks import held
from training.machine import commit, here
from training.parity import bfloat16_answers, change_of_labels, compare, run_graph
from training.predict import predict
from training.published import history_text
from training.runs import Run
from training.statistics import layer_table, weight_statistics
from training.stops import heed
from training.views import mean_logits, six_views
from training.whole_files import naming

RANGE_SAMPLE = 500  # test images that the layers' activation ranges are read from
_LIBRARIES = ("keras", "numpy", "onnx", "onnxruntime", "tf2onnx")

Step = Callable[[str], None]  # told what is being done now


def publish(
    run: Run,
    arrays: Arrays,
    artifacts: Path,
    *,
    command: str,
    others: Sequence[Run] = (),
    step: Step = lambda _: None,
) -> Path:
    """Evaluate a finished run once and write it as the next version. Returns the version's folder.

    `others` are finished runs of the same experiment with other seeds, whose results are told beside its own.
    Raises ParityError, and BusyError where another process publishes this model; writes nothing then.
    """
    home = artifacts / "models" / run.experiment.name
    home.mkdir(parents=True, exist_ok=True)
    with held(home / ".lock", f"publishing {run.experiment.name} in {home}"), naming(home):
        return _publish(run, others, arrays, home, command, step)


def _publish(run: Run, others: Sequence[Run], arrays: Arrays, home: Path, command: str, step: Step) -> Path:
    version = str(1 + max((int(p.name) for p in home.iterdir() if p.name.isdigit()), default=0))
    if not run.members:  # theirs are published as they are
        run, *others = map(for_export, (run, *others))
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=home) as scratch:
        folder = Path(scratch) / version
        folder.mkdir()
        manifest = _write(run, arrays, folder, version, command, step)
        if others:
            seeds = _seeds([run, *others], arrays, step)
            metrics = manifest.metrics.model_copy(update={"seeds": seeds})
            manifest = manifest.model_copy(update={"metrics": metrics})
        (folder / MANIFEST).write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")
        heed()
        folder.rename(home / version)
    return home / version


def _write(run: Run, arrays: Arrays, folder: Path, version: str, command: str, step: Step) -> Manifest:
    dataset = DATASETS[run.experiment.dataset]
    images, labels = arrays.test_images, arrays.test_labels
    step("fitting the calibration on the validation images")
    fitted = _calibration(run, arrays)
    step("reading the test set with Keras")
    logits = predict(run.model, images)
    model = serving_model(run.model, fitted)
    step("writing the graphs")
    if run.members:
        towers.copy_members(run.members, folder)
        towers.head(len(run.members), len(dataset.classes), fitted).save(folder / TOWERS_HEAD)
    else:
        model.save(folder / KERAS_MODEL)
        pack(folder / KERAS_MODEL)
    write_graphs(model, folder)
    step("reading the test set with the exported graph")
    served = run_graph(folder / MODEL, images)
    parity = compare(fitted.probabilities(logits), served)
    step("reading the test set in bfloat16")
    shorter = bfloat16_answers(folder / MODEL, images)
    np.save(folder / TEST_PROBABILITIES, served)
    (folder / HISTORY).write_text(history_text(run.history), encoding="utf-8")
    statistics = json.dumps({"layers": weight_statistics(model)}) + "\n"
    (folder / WEIGHT_STATISTICS).write_text(statistics, encoding="utf-8")
    step("reading the layers")
    layers = layer_table(model, images[:RANGE_SAMPLE])
    figures = evaluate.metrics(
        served,
        Calibration(temperature=1.0).probabilities(logits),
        labels,
        dataset.classes,
        calibration=fitted,
        validation_accuracy=_validation_accuracy(run, arrays),
        readings=_readings(run, arrays),
        accuracy_tta=_accuracy_tta(run, arrays, step),
    )
    height, width, channels = dataset.shape
    return Manifest(
        name=run.experiment.name,
        version=version,
        dataset=dataset.name,
        description=run.experiment.description,
        created=datetime.now(UTC).replace(microsecond=0),
        classes=list(dataset.classes),
        input=InputSpec.model_validate({"height": height, "width": width, "channels": channels}),
        files={path.name: file_entry(path) for path in sorted(folder.iterdir())},
        layers=layers,
        parameters=sum(layer.parameters for layer in layers),
        trainable_parameters=sum(layer.trainable for layer in layers),
        metrics=figures,
        parity=parity,
        bfloat16=None if shorter is None else change_of_labels(served, shorter, labels),
        experiment=json.loads(json.dumps(run.experiment.record())),
        provenance=_provenance(run, dataset, command),
        members=towers.members(run.members),
    )


def _calibration(run: Run, arrays: Arrays) -> Calibration:
    _, _, images, labels = training_split(arrays, run.experiment.held_out)
    if run.experiment.calibration == calibration.TEMPERATURE:
        return calibration.fit(calibration.TEMPERATURE, predict(run.model, images), labels)
    # Two numbers need more to go by: nets that were trained on them answer mirrored and shifted images as well.
    views = [predict(run.model, view) for _, view in six_views(images)]
    return calibration.fit(run.experiment.calibration, np.concatenate(views), np.tile(labels, len(views)))


def _validation_accuracy(run: Run, arrays: Arrays) -> float | None:
    if not run.members:
        return run.history[-1].get("val_accuracy")
    _, _, images, labels = training_split(arrays, run.experiment.held_out)
    return _share_right(predict(run.model, images), labels)


def _accuracy_tta(run: Run, arrays: Arrays, step: Step) -> float | None:
    """Of nets that were trained on mirrored and shifted photographs; None for others."""
    if run.experiment.augmentation != "photographs":
        return None
    step("reading the test set six times over, for comparison with papers that do")
    logits = mean_logits(partial(predict, run.model), arrays.test_images)
    return _share_right(logits, arrays.test_labels)


def _readings(run: Run, arrays: Arrays) -> list[Reading]:
    """Test accuracy of the weights kept at the reading epochs, read after all training and choosing is over."""
    final = run.model.get_weights()
    readings = []
    for epoch in run.experiment.readings:
        run.model.set_weights(run.kept[epoch])
        logits = predict(run.model, arrays.test_images)
        readings.append(
            Reading(
                epoch=epoch,
                validation_accuracy=run.history[epoch - 1]["val_accuracy"],
                test_accuracy=_share_right(logits, arrays.test_labels),
            )
        )
    run.model.set_weights(final)
    return readings


def _seeds(runs: list[Run], arrays: Arrays, step: Step) -> list[SeedResult]:
    """One result a run, each by a single reading of the test set."""
    step("reading the test set with the nets of other seeds")
    return [
        SeedResult(
            seed=run.experiment.seed,
            validation_accuracy=run.history[-1].get("val_accuracy"),
            test_accuracy=_share_right(predict(run.model, arrays.test_images), arrays.test_labels),
            seconds=round(run.seconds, 1),
        )
        for run in sorted(runs, key=lambda run: run.experiment.seed)
    ]


def _share_right(logits: NDArray[np.float32], labels: Labels) -> float:
    return float((logits.argmax(axis=1) == labels).mean())


def _provenance(run: Run, dataset: Dataset, command: str) -> Provenance:
    origin = run.origin or here()
    libraries = {name: library_version(name) for name in _LIBRARIES}
    libraries |= {one.backend: one.version for one in (here(), origin)}
    return Provenance(
        command=command,
        seed=run.experiment.seed,
        seconds=round(run.seconds, 1),
        hardware=origin.hardware,
        commit=commit(),
        libraries={"python": platform.python_version(), **libraries},
        data={name: md5 for source in dataset.sources for name, md5 in source.md5.items()},
        teacher=run.teacher,
    )
