"""What moves the weights: the rate over time, Nesterov's momentum, averaging."""

from typing import Any

import keras
import numpy as np

AVERAGED_EVERY = 5  # steps


class Ramp(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """From `start`·peak in a straight line to the peak at `peak_at`·steps, then in another to `end`·peak."""

    def __init__(self, peak: float, steps: int, start: float, peak_at: float, end: float) -> None:
        self._config = {"peak": peak, "steps": steps, "start": start, "peak_at": peak_at, "end": end}

    def __call__(self, step: Any) -> Any:
        c = self._config
        share = keras.ops.cast(step, "float32") / max(1, c["steps"] - 1)
        up = c["start"] + (1 - c["start"]) * share / max(c["peak_at"], 1e-9)
        down = 1 - (1 - c["end"]) * (share - c["peak_at"]) / max(1 - c["peak_at"], 1e-9)
        return c["peak"] * keras.ops.where(share < c["peak_at"], up, keras.ops.maximum(down, c["end"]))

    def get_config(self) -> dict[str, Any]:
        return dict(self._config)


class Nesterov(keras.optimizers.SGD):  # type: ignore[misc]
    """SGD with Nesterov's momentum, L2 inside the gradient, and a rate of its own for batch norm's biases."""

    def __init__(
        self,
        learning_rate: Any,
        momentum: float = 0.9,
        l2: float = 0.0,
        bias_rate: float = 1.0,
        **options: Any,
    ) -> None:
        """`l2` is the coefficient in the gradient: l2·w. `bias_rate` multiplies batch norm's betas' rate and
        divides their L2, so that both decay alike (airbench)."""
        super().__init__(learning_rate, momentum=momentum, nesterov=True, **options)
        self._l2, self._bias_rate = l2, bias_rate
        self._rates: list[float] = []

    def build(self, variables: list[Any]) -> None:
        super().build(variables)
        self._rates = [self._bias_rate if variable.path.endswith("/beta") else 1.0 for variable in variables]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        rate = self._rates[self._get_variable_index(variable)]
        gradient = gradient + (self._l2 / rate) * keras.ops.cast(variable, gradient.dtype)
        super().update_step(gradient, variable, learning_rate * rate)


class Averaging(keras.callbacks.Callback):  # type: ignore[misc]
    """Look-ahead: every few steps the weights, batch norm's statistics included, fall back to their running mean
    (Zhang et al., Lookahead Optimizer, 2019, with airbench's decay that grows as the cube of time).

    It also falls back after an epoch's last step, so what is validated and kept is the mean and nothing else
    needs to be kept.
    """

    def __init__(self, decay: float, done: int, steps: int) -> None:
        """`decay` of the mean in one step at the end; `done` steps went before this epoch, of `steps` in all."""
        super().__init__()
        self._decay, self._done, self._steps = decay**AVERAGED_EVERY, done, steps
        self._mean: list[Any] = []

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._mean = self.model.get_weights()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        if (batch + 1) % AVERAGED_EVERY and batch + 1 < self.params["steps"]:
            return
        share = np.float32(self._decay * ((self._done + batch + 1) / self._steps) ** 3)
        self._mean = [
            share * mean + (1 - share) * now
            for mean, now in zip(self._mean, self.model.get_weights(), strict=True)
        ]
        self.model.set_weights(self._mean)
