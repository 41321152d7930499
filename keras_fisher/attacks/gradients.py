"""Gradients of the loss in the images, exact in direction where softmax saturates."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from keras_fisher.attacks.chunk import Chunk
from keras_fisher.attacks.graph_target import GraphTarget
from keras_fisher.classifiers import Classifier, class_odds
from keras_fisher.typing import Array, Tensor


def uphill(classifier: Classifier, chunk: Chunk, float32_loss: bool = False) -> Array:
    """Returns (n, h, w, c) unit directions away from the labels, or towards the targets."""
    gradient = float32_loss_gradient if float32_loss else loss_gradient

    def run(images: Tensor, classes: Tensor) -> Tensor:
        return gradient(classifier, images, classes)[0]

    key = ("loss_gradient", float32_loss)
    program = classifier.program(key, run, chunk.images.shape[1:], tf.TensorSpec([None], tf.int64))
    gradients = program(tf.convert_to_tensor(chunk.images), tf.convert_to_tensor(chunk.classes)).numpy()
    directions = unit_rows(gradients)
    return directions if chunk.targets is None else -directions


def loss_gradient(
    classifier: Classifier | GraphTarget, images: Tensor, classes: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Returns ∇ₓ(−log p_c) / (1 − p_c), the gradient on a scale that does not vanish, and the logits.

    The classes c are the classifier's answers where they are None.

    The gradient in the logits is p − e_c. Float32 rounds p_c − 1 to nothing where the classifier is sure, and
    what is left points elsewhere. Here it is formed from differences of logits.
    """

    def cotangents(logits: Tensor) -> Tensor:
        return class_odds(logits, or_answers(classes, logits)).loss_gradient  # (p − e_c) / (1 − p_c)

    return pull_back(classifier, images, cotangents)


def float32_loss_gradient(
    classifier: Classifier | GraphTarget, images: Tensor, classes: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Returns ∇ₓ of the cross-entropy as TensorFlow forms it, and the logits; classes as above."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(images)
        logits = classifier.parameters(images)
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(or_answers(classes, logits), logits)
    gradients = tape.gradient(loss, images, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return gradients, logits


def pull_back(
    classifier: Classifier | GraphTarget, images: Tensor, cotangents: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """Returns Jᵀ w (batch, h, w, c) and the logits z, with w = cotangents(z) (batch, classes)."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(images)
        logits = classifier.parameters(images)
    weights = tf.cast(cotangents(logits), logits.dtype)
    gradients = tape.gradient(
        logits, images, output_gradients=weights, unconnected_gradients=tf.UnconnectedGradients.ZERO
    )
    return gradients, logits


def or_answers(classes: Tensor | None, logits: Tensor) -> Tensor:
    """Returns the classes (n,) int64, or those of the largest logits where they are None."""
    return tf.argmax(logits, axis=-1) if classes is None else tf.cast(classes, tf.int64)


def norms(images: Tensor) -> Tensor:
    """Returns (n,) float64 l2 norms of (n, h, w, c)."""
    flat = tf.cast(tf.reshape(images, [tf.shape(images)[0], -1]), tf.float64)
    return tf.norm(flat, axis=-1)


def per_image(factors: Tensor, images: Tensor) -> Tensor:
    """Returns (n,) factors with the dtype and the number of axes of the images."""
    return tf.reshape(tf.cast(factors, images.dtype), [-1, *[1] * (images.shape.rank - 1)])


def where_image(mask: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Returns the images of `first` where `mask` (n,) is True, else those of `second`."""
    return tf.where(tf.reshape(mask, [-1, *[1] * (first.shape.rank - 1)]), first, second)


def unit(images: Tensor) -> Tensor:
    """Returns (n, h, w, c) of unit l2 norm; zero stays zero.

    Scaled by the largest entry first: the squares of a tiny gradient underflow in float32.
    """
    largest = tf.reduce_max(tf.abs(images), axis=list(range(1, images.shape.rank)), keepdims=True)
    scaled = tf.math.divide_no_nan(images, largest)
    return tf.math.divide_no_nan(scaled, per_image(norms(scaled), scaled))


def unit_rows(vectors: Array) -> Array:
    """Returns (n, ...) vectors of unit l2 norm, float64; zero stays zero."""
    flat = vectors.reshape(len(vectors), -1).astype(np.float64)
    lengths = np.linalg.norm(flat, axis=-1, keepdims=True)
    flat = np.divide(flat, lengths, out=np.zeros_like(flat), where=lengths > 0)
    return flat.reshape(vectors.shape)
