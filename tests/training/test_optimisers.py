import keras
import numpy as np
import pytest

from training.optimisers import Averaging, Nesterov, Ramp


def test_ramp_climbs_to_its_peak_and_falls_to_its_end() -> None:
    ramp = Ramp(2.0, 101, start=0.2, peak_at=0.25, end=0.1)
    rates = [float(ramp(step)) for step in range(101)]
    assert np.isclose(rates[0], 0.4)
    assert int(np.argmax(rates)) == 25
    assert np.isclose(max(rates), 2.0)
    assert np.isclose(rates[-1], 0.2)
    assert np.allclose(np.diff(rates[25:]), np.diff(rates[25:])[0], atol=1e-5)


def one_step(optimiser: Nesterov, path: str, gradient: float) -> float:
    """How far one step from weight 1 goes."""
    with keras.name_scope(path):
        variable = keras.Variable([1.0], name="beta" if path == "batch_norm" else "kernel")
    optimiser.build([variable])
    optimiser.apply([keras.ops.convert_to_tensor([gradient])], [variable])
    return float(variable.numpy()[0]) - 1


def test_batch_norm_bias_has_its_own_rate() -> None:
    plain = one_step(Nesterov(0.01, momentum=0.0, bias_rate=64.0), "conv", 0.1)
    bias = one_step(Nesterov(0.01, momentum=0.0, bias_rate=64.0), "batch_norm", 0.1)
    assert np.isclose(bias, 64 * plain, rtol=1e-3)


@pytest.mark.parametrize("path", ["conv", "batch_norm"])
def test_l2_decays_every_weight_alike(path: str) -> None:
    optimiser = Nesterov(0.5, momentum=0.0, l2=0.1, bias_rate=64.0)
    assert np.isclose(one_step(optimiser, path, 0.0), -0.05, rtol=1e-3)


def test_momentum_is_nesterovs() -> None:
    optimiser, variable = Nesterov(0.1), keras.Variable([1.0], name="kernel")
    optimiser.build([variable])
    for expected in (
        1 - 0.1 - 0.9 * 0.1,  # the velocity is −0.1, and the step looks ahead along it
        0.81 - 0.1 - 0.9 * (0.1 + 0.9 * 0.1),
    ):
        optimiser.apply([keras.ops.convert_to_tensor([1.0])], [variable])
        assert float(variable.numpy()[0]) == pytest.approx(expected)


def tiny() -> keras.Model:
    model = keras.Sequential([keras.Input((4,)), keras.layers.BatchNormalization(), keras.layers.Dense(3)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


class _Watch(keras.callbacks.Callback):  # type: ignore[misc]
    """The weights before and after whatever the callbacks ahead of it do."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[list[np.ndarray]] = []

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self.seen.append(self.model.get_weights())


@pytest.mark.parametrize(
    ("steps", "done", "whole"),
    [
        (5, 95, 1.0),  # at the end of training the decay is whole
        (3, 47, 0.5**3),  # half-way; an epoch ends with a mean, even if that comes too soon
    ],
)
def test_averaging_falls_back_to_the_mean_of_weights_and_statistics(
    steps: int, done: int, whole: float
) -> None:
    random = np.random.default_rng(0)
    model, before, after = tiny(), _Watch(), _Watch()
    start = model.get_weights()
    images = 8 * steps
    data = random.normal(3, 2, (images, 4)).astype(np.float32), random.integers(0, 3, images)
    model.fit(
        *data, batch_size=8, shuffle=False, verbose=0, callbacks=[before, Averaging(0.9, done, 100), after]
    )
    share = 0.9**5 * whole
    for first, moved, mean in zip(start, before.seen[-1], after.seen[-1], strict=True):
        assert np.allclose(mean, share * first + (1 - share) * moved, atol=1e-6)
    assert not np.allclose(after.seen[-1][1], start[1])  # batch norm's mean is among them
    for k in range(steps - 1):  # between, nothing happens
        assert all(np.array_equal(a, b) for a, b in zip(before.seen[k], after.seen[k], strict=True))
