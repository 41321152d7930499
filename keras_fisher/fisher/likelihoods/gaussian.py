"""Regression."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from keras_fisher.checks import check_real
from keras_fisher.fisher.likelihoods.likelihood import DiagonalMetric, Likelihood, OutputMetric
from keras_fisher.typing import Tensor


@dataclasses.dataclass(frozen=True)
class Gaussian(Likelihood):
    """y is normal with mean z and a known standard deviation; M = I / σ².

    Args:
        scale: σ, in the unit of the outputs: one number, or a tuple with one for each output.

    Source: Zhao et al. 2019, section 5, names it as future work.
    """

    scale: float | tuple[float, ...] = 1.0

    output_activation = "linear"

    def __post_init__(self) -> None:
        scales = self.scale if isinstance(self.scale, tuple) else (self.scale,)
        for scale in scales:
            check_real("scale", scale, 0.0, exclusive_minimum=True)

    def metric(self, parameters: Tensor) -> OutputMetric:
        num_outputs = parameters.shape[1]
        if isinstance(self.scale, tuple) and len(self.scale) != num_outputs:
            raise ValueError(
                f"`scale` must have one entry for each of the {num_outputs} outputs, got {len(self.scale)}."
            )
        scales = tf.broadcast_to(tf.constant(self.scale, tf.float64), tf.shape(parameters))
        scales = tf.ensure_shape(scales, parameters.shape)
        return DiagonalMetric(1.0 / tf.square(scales), tf.zeros_like(parameters[:, 0]))

    def rank_bound(self, num_outputs: int) -> int:
        return num_outputs
