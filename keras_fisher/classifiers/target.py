"""What graph code sees of a net."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from keras_fisher.typing import Tensor

#: Of a float32 forward and backward pass, relative.
SINGLE_PRECISION = 2e-6


@dataclasses.dataclass(frozen=True)
class Target:
    """A net as tensors see it: nothing is checked, nothing is compiled.

    `Network.target` makes one. A layer of a model in training makes its own, since a Network tries its model
    out, and a model that is read from a file has no weights by then.
    """

    #: images (batch, h, w, c) → z (batch, num_classes): logits, or the parameters of another likelihood.
    #: In inference mode, differentiable, in float32 or float64.
    logits: Callable[[Tensor], Tensor]
    #: The number of columns of z.
    num_classes: int
    #: Lowest and highest pixel; None takes any.
    bounds: tuple[float, float] | None = (0.0, 1.0)
    #: Relative rounding error of a pass through the net.
    precision: float = SINGLE_PRECISION
    #: The operation that TensorFlow has no second derivative of, so that J v cannot be had; None: it can.
    lacks_second_derivative: str | None = None
