"""What a classifier makes of perturbed images."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from keras_fisher.attacks.attack_result import AttackResult
from keras_fisher.attacks.attempt import Attempt
from keras_fisher.attacks.chunk import Chunk
from keras_fisher.classifiers import Classifier, class_odds
from keras_fisher.typing import Array, Tensor


def judge(chunk: Chunk, attempt: Attempt) -> AttackResult:
    """Returns the result of an attempt at `chunk`."""
    difference = (attempt.images.astype(np.float64) - chunk.images).reshape(len(attempt.images), -1)
    return AttackResult(
        images=attempt.images,
        success=chunk.is_fooled(attempt.predictions),
        norms=np.linalg.norm(difference, axis=-1),
        predictions=attempt.predictions,
        num_iterations=attempt.num_iterations,
    )


def answers(classifier: Classifier, images: Array, classes: Array) -> tuple[Array, Array]:
    """Returns (n,) int64 predictions and (n,) float64 log-odds of the classes, which do not saturate."""
    # The forward pass is the program of `predict`: another takes seconds to trace for a deep net.
    logits = classifier.parameters_of(images)
    program = _program(logits.shape[1], logits.dtype)
    predictions, log_odds = program(logits, tf.convert_to_tensor(classes, tf.int64))
    return predictions.numpy(), log_odds.numpy()


@functools.cache
def _program(num_classes: int, dtype: tf.DType) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Returns what `answers` makes of logits, traced once whatever the batch size."""

    def run(logits: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        return tf.argmax(logits, axis=-1), class_odds(logits, classes).log_odds

    signature = [tf.TensorSpec([None, num_classes], dtype), tf.TensorSpec([None], tf.int64)]
    return tf.function(run, input_signature=signature, autograph=False)


def margins(logits: Tensor, classes: Tensor) -> Tensor:
    """Returns (n,) float64 z_c − max_{j≠c} z_j: positive where c is the answer."""
    logits = tf.cast(logits, tf.float64)
    is_class = tf.one_hot(classes, logits.shape[1], on_value=True, off_value=False, dtype=tf.bool)
    minus_infinity = tf.constant(-float("inf"), tf.float64)
    others = tf.reduce_max(tf.where(is_class, minus_infinity, logits), axis=-1)
    return tf.reduce_max(tf.where(is_class, logits, minus_infinity), axis=-1) - others
