"""The served defaults: what their nets are, and that their training keeps the loop's promises."""

import json
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from training.datasets import Arrays
from training.experiments import EXPERIMENTS, Experiment
from training.fit import build, fit, for_export
from training.halves import rounded
from training.nets_cifar import WHITENING, whiten
from training.runs import Run, load_checkpoint, save_checkpoint

FLAGSHIPS = ("mnist-compact", "cifar10-plain")


def giga_operations(model: keras.Model) -> float:
    """2 × multiply-adds of the convolutions and dense layers for one image, in units of 10⁹."""
    places = [int(np.prod(layer.output.shape[1:-1])) for layer in model.layers]
    kernels = [getattr(layer, "kernel", None) for layer in model.layers]
    pairs = zip(kernels, places, strict=True)
    return sum(2 * int(np.prod(kernel.shape)) * place for kernel, place in pairs if kernel is not None) / 1e9


@pytest.mark.parametrize(
    ("name", "parameters", "trainable", "operations"),
    [
        ("mnist-compact", 575_498, 574_154, 0.06),
        ("cifar10-plain", 2_491_192, 2_487_832, 0.25),
        ("cifar10-fast", 1_357_960, 1_355_272, 0.25),
        ("cifar10-residual", 3_575_224, 3_571_096, 0.52),
    ],
)
def test_flagship_nets_are_of_their_size(
    name: str, parameters: int, trainable: int, operations: float
) -> None:
    model = build(EXPERIMENTS[name])
    assert model.count_params() == parameters
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == trainable
    assert giga_operations(model) <= operations


def test_whitening_makes_the_patches_of_the_training_images_uncorrelated() -> None:
    random = np.random.default_rng(0)
    smooth = random.normal(128, 40, (200, 8, 8, 3)).repeat(4, 1).repeat(4, 2) + random.normal(
        0, 5, (200, 32, 32, 3)
    )
    images = np.clip(smooth, 0, 255).astype(np.uint8)
    model = build(EXPERIMENTS["cifar10-plain"])
    whiten(model, images)
    responses = keras.Model(model.input, model.get_layer(WHITENING).output).predict(images, verbose=0)
    half = responses.reshape(-1, 24)[:, :12].astype(np.float64)
    covariance = half.T @ half / len(half)
    assert np.abs(covariance - np.diag(covariance.diagonal())).max() < 0.02
    assert np.abs(covariance.diagonal() - 1).max() < 0.15
    assert np.allclose(responses[..., :12], -responses[..., 12:], atol=1e-4)


def test_convolutions_begin_as_the_identity() -> None:
    kernel = build(EXPERIMENTS["cifar10-plain"]).get_layer("conv2d_1").kernel.numpy()
    channels = np.random.default_rng(1).normal(size=(1, 5, 5, 64)).astype(np.float32)
    passed = keras.ops.convert_to_numpy(keras.ops.conv(channels, kernel, padding="same"))
    assert np.allclose(passed, channels, atol=1e-5)


def small(name: str, **changes: object) -> Experiment:
    """A flagship of two short epochs and a net that takes a second."""
    options = {
        "mnist-compact": {"stem": 4, "filters": ((8,), (8,))},
        "cifar10-plain": {"filters": (8, 8, 8), "depth": 2, "momentum": 0.6},
    }
    shorter = {
        "options": options[name],
        "epochs": 2,
        "batch_size": 64,
        "held_out": 100,
        "closing": 0.5,
        **changes,
    }
    return replace(EXPERIMENTS[name], **shorter)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", FLAGSHIPS)
def test_resumed_flagship_has_the_curve_of_one_that_was_never_stopped(
    name: str, few_arrays: dict[str, Arrays], tmp_path: Path
) -> None:
    experiment, arrays = small(name), few_arrays[EXPERIMENTS[name].dataset]
    whole = fit(experiment, arrays, tmp_path / "whole.npz")

    def stop(run: Run) -> None:
        if len(run.history) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(experiment, arrays, tmp_path / "stopped.npz", after_epoch=stop)
    resumed = fit(experiment, arrays, tmp_path / "stopped.npz", resume=True)
    for row, again in zip(whole.history, resumed.history, strict=True):
        assert row["loss"] == pytest.approx(again["loss"], rel=1e-4)
        assert row["val_loss"] == pytest.approx(again["val_loss"], rel=1e-3)
    assert whole.history[0]["loss"] != whole.history[1]["loss"]


def test_checkpoint_from_before_a_field_existed_is_accepted(tmp_path: Path) -> None:
    experiment = EXPERIMENTS["mnist-8-filters"]
    path = tmp_path / "old.npz"
    save_checkpoint(Run(experiment, build(experiment), [{"epoch": 1, "seconds": 1.0}]), path)
    with np.load(path) as file:
        arrays = dict(file)
    fields = ("augmentation", "averaging", "schedule", "precision", "label_smoothing", "optimiser_options")
    about = str(arrays["about"])
    for field in fields:
        assert f'"{field}"' in about
    parsed = json.loads(about)
    for field in fields:
        del parsed["experiment"][field]
    arrays["about"] = np.array(json.dumps(parsed))
    np.savez(path, **arrays)
    run = Run(experiment, build(experiment))
    load_checkpoint(run, path)
    assert len(run.history) == 1


def test_mixed_precision_keeps_its_weights_in_float32_and_is_served_in_float32() -> None:
    experiment = small("cifar10-plain", precision="mixed_bfloat16")
    run = Run(experiment, build(experiment))
    assert {weight.dtype for weight in run.model.weights} == {"float32"}
    assert run.model.get_layer("conv2d").compute_dtype == "bfloat16"
    served = for_export(run)
    assert served.model.get_layer("conv2d").compute_dtype == "float32"
    pairs = zip(rounded(run.model.get_weights(), "mixed_bfloat16"), served.model.get_weights(), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)
    assert keras.config.dtype_policy().name == "float32"
