"""What an attack inside a graph differentiates."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from keras_fisher.typing import Tensor


@dataclasses.dataclass(frozen=True)
class GraphTarget:
    """A classifier as tensors see it: nothing is checked, nothing is compiled.

    A `Classifier` has all of this too. A layer of a model in training cannot hold one, since that tries its
    model out when it is made, and a model that is read from a file has no weights by then.
    """

    #: images (batch, h, w, c) → logits (batch, classes), in inference mode.
    parameters: Callable[[Tensor], Tensor]
    #: C.
    num_classes: int
    #: Lowest and highest pixel; None takes any.
    bounds: tuple[float, float] | None = (0.0, 1.0)
