"""What a classifier makes of perturbed images."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from keras_fisher.attacks.attack_result import AttackResult
from keras_fisher.attacks.chunk import Chunk
from keras_fisher.classifiers import Classifier, class_odds
from keras_fisher.classifiers.image_check import default_batch_size
from keras_fisher.typing import Array


def judge(
    classifier: Classifier, chunk: Chunk, perturbed: Array, batch_size: int | None = None
) -> AttackResult:
    """Returns the result of perturbing `chunk` into `perturbed`, which need not be within the bounds."""
    size = batch_size or default_batch_size(classifier.image_shape)
    parts = [
        answers(classifier, perturbed[start : start + size], chunk.labels[start : start + size])[0]
        for start in range(0, len(perturbed), size)
    ]
    predictions = np.concatenate(parts)
    difference = (perturbed.astype(np.float64) - chunk.images).reshape(len(perturbed), -1)
    return AttackResult(
        perturbed, predictions != chunk.labels, np.linalg.norm(difference, axis=-1), predictions
    )


def answers(classifier: Classifier, images: Array, labels: Array) -> tuple[Array, Array]:
    """Returns (n,) int64 predictions and (n,) float64 log-odds of the labels, which fall as the loss rises.

    The log-odds do not saturate, where the cross-entropy of a confident answer is 0 in any precision.
    """

    def run(images, labels):
        logits = classifier.parameters(images)
        return tf.argmax(logits, axis=-1), class_odds(logits, labels).log_odds

    program = classifier.program("answers", run, images.shape[1:], tf.TensorSpec([None], tf.int64))
    predictions, log_odds = program(tf.convert_to_tensor(images), tf.convert_to_tensor(labels))
    return predictions.numpy(), log_odds.numpy()
