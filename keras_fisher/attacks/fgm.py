"""The fast gradient method."""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf

from keras_fisher.attacks.chunk import Chunk
from keras_fisher.attacks.one_step_attack import OneStepAttack
from keras_fisher.checks import check_flag
from keras_fisher.classifiers import Classifier, class_odds
from keras_fisher.typing import Array, Tensor


@dataclasses.dataclass(frozen=True)
class FGM(OneStepAttack):
    """One step of length epsilon along the gradient of the loss −log p(y|x), l2.

    The gradient in the logits is p − e_y. Float32 rounds p_y − 1 to nothing where the classifier is sure, and
    what is left points elsewhere. Here its direction is formed from differences of logits and is exact
    however sure the classifier is.

    Args:
        epsilon: l2 norm of the step.
        clip: keep the images within the classifier's bounds.
        float32_loss: take the gradient of the ordinary cross-entropy in the model's precision, as other
            libraries do. For comparison: its direction is lost where softmax saturates.

    Source: Goodfellow, Shlens and Szegedy 2014, with the l2 norm; Zhao et al. 2019, section 3.4.

    Example:
        >>> import keras_fisher as kf
        >>> images, labels = kf.datasets.mnist_sample()
        >>> result = kf.attacks.FGM(epsilon=2.0)(kf.models.lenet5(weights="mnist"), images[:8], labels[:8])
        >>> result.images.shape, bool((result.norms <= 2.0001).all())
        ((8, 28, 28, 1), True)
    """

    _: dataclasses.KW_ONLY
    float32_loss: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_flag("float32_loss", self.float32_loss)

    def prepare(self, classifier: Classifier, chunk: Chunk) -> Array:
        gradient = float32_loss_gradient if self.float32_loss else loss_gradient

        def run(images: Tensor, labels: Tensor) -> Tensor:
            return gradient(classifier, images, labels)

        key = ("loss_gradient", self.float32_loss)
        program = classifier.program(key, run, chunk.images.shape[1:], tf.TensorSpec([None], tf.int64))
        gradients = program(tf.convert_to_tensor(chunk.images), tf.convert_to_tensor(chunk.labels)).numpy()
        return unit_rows(gradients)


def loss_gradient(classifier: Classifier, images: Tensor, labels: Tensor) -> Tensor:
    """Returns ∇ₓ(−log p_y) / (1 − p_y): the direction of the gradient, on a scale that does not vanish."""
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = classifier.parameters(images)
    cotangents = class_odds(logits, labels).loss_gradient  # (p − e_y) / (1 − p_y)
    return tape.gradient(
        logits,
        images,
        output_gradients=tf.cast(cotangents, logits.dtype),
        unconnected_gradients=tf.UnconnectedGradients.ZERO,
    )


def float32_loss_gradient(classifier: Classifier, images: Tensor, labels: Tensor) -> Tensor:
    """Returns ∇ₓ of the cross-entropy as TensorFlow forms it."""
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = classifier.parameters(images)
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    return tape.gradient(loss, images, unconnected_gradients=tf.UnconnectedGradients.ZERO)


def unit_rows(vectors: Array) -> Array:
    """Returns (n, ...) vectors of unit l2 norm, float64; zero stays zero."""
    flat = vectors.reshape(len(vectors), -1).astype(np.float64)
    norms = np.linalg.norm(flat, axis=-1, keepdims=True)
    flat = np.divide(flat, norms, out=np.zeros_like(flat), where=norms > 0)
    return flat.reshape(vectors.shape)
