"""A schedule that rises over the first epochs."""

from __future__ import annotations

import dataclasses

from keras_fisher.checks import check_integer, check_real


@dataclasses.dataclass(frozen=True)
class Warmup:
    """A value that rises linearly, epoch by epoch, and then stays: for `epsilon` and `fraction`.

    Args:
        value: from epoch `epochs` on, epochs counted from 0.
        epochs: how many epochs have less.
        start: in epoch 0.

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

    def __call__(self, epoch: int) -> float:
        """Returns the value of an epoch, counted from 0."""
        progress = min(epoch / self.epochs, 1.0)
        return self.start + progress * (self.value - self.start)
