"""What changes from epoch to epoch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_fisher.checks import Settings, check_integer, check_real, suggests_keywords

#: A number, or a function from the epoch, counted from 0, to one.
Schedule = float | Callable[[int], float]


def value_at(schedule: Schedule, epoch: int) -> Any:
    """Returns the value of an epoch, unchecked."""
    value: Any = schedule(epoch) if callable(schedule) else schedule
    # A schedule of Keras returns a tensor.
    return value.numpy().item() if isinstance(value, tf.Tensor) else value


@dataclasses.dataclass(frozen=True)
class Warmup(Settings):
    """A value that rises linearly, epoch by epoch, and then stays: for `epsilon` and `fraction`.

    Any function from the epoch to a number will do as well, schedules of Keras among them. They are made for
    learning rates: this one is `keras.optimizers.schedules.PolynomialDecay(start, epochs, value)`.

    Args:
        value: float. From epoch `epochs` on, epochs counted from 0.
        epochs: int. How many epochs have less.
        start: float, default 0.0. In epoch 0.

    Raises:
        TypeError, ValueError: `value` or `start` is negative or no number, or `epochs` no integer from 1 on.

    Example:
        >>> from keras_fisher.callbacks import Warmup
        >>> [Warmup(2.0, epochs=2)(epoch) for epoch in range(4)]
        [0.0, 1.0, 2.0, 2.0]
    """

    value: float
    epochs: int
    start: float = 0.0

    def __post_init__(self) -> None:
        check_real("value", self.value, 0.0)
        check_integer("epochs", self.epochs, 1)
        check_real("start", self.start, 0.0)

    @suggests_keywords
    def __call__(self, epoch: int) -> float:
        """Returns the value of an epoch, counted from 0."""
        progress = min(epoch / self.epochs, 1.0)
        return self.start + progress * (self.value - self.start)
