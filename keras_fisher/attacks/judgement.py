"""What a classifier makes of perturbed images."""

from __future__ import annotations

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

    def run(images, classes):
        logits = classifier.parameters(images)
        return tf.argmax(logits, axis=-1), class_odds(logits, classes).log_odds

    program = classifier.program("answers", run, images.shape[1:], tf.TensorSpec([None], tf.int64))
    predictions, log_odds = program(tf.convert_to_tensor(images), tf.convert_to_tensor(classes))
    return predictions.numpy(), log_odds.numpy()


def margins(logits: Tensor, classes: Tensor) -> Tensor:
    """Returns (n,) float64 z_c − max_{j≠c} z_j: positive where c is the answer."""
    logits = tf.cast(logits, tf.float64)
    is_class = tf.one_hot(classes, logits.shape[1], on_value=True, off_value=False, dtype=tf.bool)
    minus_infinity = tf.constant(-float("inf"), tf.float64)
    others = tf.reduce_max(tf.where(is_class, minus_infinity, logits), axis=-1)
    return tf.reduce_max(tf.where(is_class, logits, minus_infinity), axis=-1) - others
