import numpy as np
import pytest

from training import fit
from training.datasets import DATASETS, Arrays
from training.experiments import EXPERIMENTS

# The first study's nets; (parameters, of them trainable).
STUDY = {
    "mnist-baseline": (126_786, 126_786),
    "mnist-8-filters": (33_210, 33_210),
    "mnist-stride-4": (26_434, 26_434),
    "mnist-l2": (126_786, 126_786),
    "cifar10-mnist-like": (127_362, 127_362),
    "cifar10-batchnorm": (309_290, 308_394),
    "cifar10-strided": (186_682, 186_682),
    "cifar10-strided-l2-everywhere": (186_682, 186_682),
    "cifar10-strided-l2": (186_682, 186_682),
}
EPOCHS = {
    "mnist": 12,
    "cifar10-mnist-like": 10,
    "cifar10-batchnorm": 10,
    "cifar10-strided": 50,
    "cifar10-strided-l2": 50,
}


@pytest.mark.parametrize("name", STUDY)
def test_parameter_counts_are_the_first_studys(name: str) -> None:
    model = fit.build(EXPERIMENTS[name])
    trainable = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert (model.count_params(), trainable) == STUDY[name]


def test_epochs_are_the_first_studys() -> None:
    assert {EXPERIMENTS[name].epochs for name in STUDY if name.startswith("mnist")} == {EPOCHS["mnist"]}
    for name in ("cifar10-mnist-like", "cifar10-batchnorm", "cifar10-strided", "cifar10-strided-l2"):
        assert EXPERIMENTS[name].epochs == EPOCHS[name]
    assert EXPERIMENTS["cifar10-strided"].readings[-2:] == (30, 50)
    assert EXPERIMENTS["cifar10-strided-l2-everywhere"].epochs == 30


def test_layer_names_are_the_same_however_many_nets_were_built_before() -> None:
    first, second = (fit.build(EXPERIMENTS["mnist-baseline"]) for _ in range(2))
    names = [layer.name for layer in first.layers]
    assert names == [layer.name for layer in second.layers]
    assert names[2:6] == ["conv2d", "conv2d_1", "max_pooling2d", "dropout"]


# Towers are made of nets that are trained by themselves.
@pytest.mark.parametrize("name", [name for name, one in EXPERIMENTS.items() if not one.members])
def test_one_training_step_changes_the_weights_and_stays_finite(
    name: str, few_arrays: dict[str, Arrays]
) -> None:
    experiment = EXPERIMENTS[name]
    arrays = few_arrays[experiment.dataset]
    model = fit.build(experiment)
    model.run_eagerly = True  # one step is done before it would be compiled
    images = arrays.train_images[:16]
    targets = fit._targets(experiment, arrays.train_labels[:16])
    before = [weight.numpy() for weight in model.trainable_weights]
    loss = float(model.train_on_batch(images, targets)[0])
    assert np.isfinite(loss)
    assert any(
        not np.array_equal(old, new.numpy()) for old, new in zip(before, model.trainable_weights, strict=True)
    )
    assert model.output.shape[1:] == (len(DATASETS[experiment.dataset].classes),)
