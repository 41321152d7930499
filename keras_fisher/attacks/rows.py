"""The images of a chunk that are still at work."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import numpy as np
import tensorflow as tf

from keras_fisher.typing import Array

State = TypeVar("State", bound=tuple[Any, ...])

#: Finished images stay in the batch until they are one in so many: each new batch size costs some set-up.
_ONE_IN = 16


class Rows(Generic[State]):
    """A named tuple of tensors with one row for each image at work; the finished ones leave.

    Args:
        state: a NamedTuple of tensors, (n, ...) each.
        num_images: n, as many as the chunk has.
    """

    def __init__(self, state: State, num_images: int) -> None:
        self.state = state
        #: (active,) where in the chunk each row belongs.
        self.positions: Array = np.arange(num_images)
        #: (active,) bool, rows whose image has not finished.
        self.is_open: Array = np.ones(num_images, bool)

    def __bool__(self) -> bool:
        return bool(self.is_open.any())

    def finish(self, mask: Array) -> None:
        """Lets the rows where `mask` (active,) is True leave, together when they are worth it."""
        self.is_open = self.is_open & ~mask
        num_closed = len(self.is_open) - np.count_nonzero(self.is_open)
        if num_closed * _ONE_IN > len(self.is_open):
            kept = np.flatnonzero(self.is_open)
            self.state = type(self.state)(*(tf.gather(tensor, kept) for tensor in self.state))  # pyright: ignore[reportCallIssue]
            self.positions = self.positions[kept]
            self.is_open = np.ones(len(kept), bool)
