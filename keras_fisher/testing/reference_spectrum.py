"""The Fisher spectrum by another route."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from keras_fisher.checks import KnowsKeywords, suggests_keywords
from keras_fisher.testing.float64_copy import check_logits
from keras_fisher.typing import Array


@dataclasses.dataclass(frozen=True)
class ReferenceSpectrum(KnowsKeywords):
    """All min(C − 1, pixels) eigenpairs of each image, float64."""

    #: (n, k) descending.
    eigenvalues: Array
    #: (n, k, pixels) unit rows.
    eigenvectors: Array


@suggests_keywords
def reference_spectrum(model: keras.Model, images: Array) -> ReferenceSpectrum:
    """Returns the Fisher spectrum from the dense Jacobian of a float64 model, with no code of the solvers.

    Uses G = Σ_{i<j} p_i p_j (J_i − J_j)(J_i − J_j)ᵀ, which is Σ_y p_y g_y g_yᵀ written in pairs of classes: a
    sum of positive terms, in which nothing cancels however sure the model is. The eigenpairs are the
    singular values (squared) and right vectors of the factor with rows √(p_i p_j) (J_i − J_j).

    Args:
        model: images → logits, in float64 (`float64_copy`).
        images: (n, h, w, c).

    Raises:
        TypeError: a model of another precision.
        ValueError: a model of one unit.
    """
    images = tf.convert_to_tensor(np.asarray(images, np.float64))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(images)
        logits = model(images, training=False)
    if logits.dtype != tf.float64:
        raise TypeError(f"`model` must compute in float64, got {logits.dtype.name}. Use float64_copy(model).")
    check_logits(logits)
    of_class = tf.eye(logits.shape[1], dtype=tf.float64)
    gradients = [
        tape.gradient(logits, images, output_gradients=tf.broadcast_to(row, tf.shape(logits)))
        for row in of_class
    ]
    jacobian = np.stack([gradient.numpy().reshape(len(images), -1) for gradient in gradients], axis=1)
    scores = logits.numpy()
    shifted = scores - scores.max(axis=-1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    first, second = np.triu_indices(scores.shape[1], k=1)
    count = min(scores.shape[1] - 1, jacobian.shape[2])
    values, vectors = [], []
    for rows, log_probabilities in zip(jacobian, log_p, strict=True):
        log_weights = 0.5 * (log_probabilities[first] + log_probabilities[second])
        top = log_weights.max()
        factor = np.exp(log_weights - top)[:, None] * (rows[first] - rows[second])
        _, singular, right = np.linalg.svd(factor, full_matrices=False)
        values.append(np.square(singular[:count]) * np.exp(2 * top))
        vectors.append(right[:count])
    return ReferenceSpectrum(np.array(values), np.array(vectors))
