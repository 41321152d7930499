"""What is attacked, and what for."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_fisher.checks import KnowsKeywords, check_integer, message
from keras_fisher.classifiers import Classifier
from keras_fisher.classifiers.image_check import check_labels, read_dataset
from keras_fisher.typing import Array, Images, Labels, Tensor

#: Any answer but the label is sought, away from the label; the same, towards a target; the target alone.
AWAY, TOWARDS, EXACTLY = "away", "towards", "exactly"


class Goal(NamedTuple):
    """What is sought for each image of a batch, for use in a graph."""

    #: (n,) int64.
    labels: Tensor
    #: (n,) int64; the labels again where there are none.
    targets: Tensor
    #: One of AWAY, TOWARDS, EXACTLY.
    kind: str = AWAY

    @property
    def classes(self) -> Tensor:
        """(n,) int64, whose probability is changed: targets up, without them labels down."""
        return self.labels if self.kind == AWAY else self.targets

    @property
    def sign(self) -> float:
        """1.0 where the loss of `classes` is to rise, -1.0 where it is to fall."""
        return 1.0 if self.kind == AWAY else -1.0

    def is_reached(self, predictions: Tensor) -> Tensor:
        """Returns (n,) bool; no answer, -1, reaches nothing."""
        if self.kind == EXACTLY:
            return predictions == self.targets
        return (predictions != self.labels) & (predictions >= 0)

    def missing(self, logits: Tensor) -> Tensor:
        """Returns (n,) float64, what the logits lack of a success: negative where they are beyond."""
        if self.kind == EXACTLY:
            return -margins(logits, self.targets)
        return margins(logits, self.labels)


def margins(logits: Tensor, classes: Tensor) -> Tensor:
    """Returns (n,) float64 z_c − max_{j≠c} z_j: positive where c is the answer."""
    logits = tf.cast(logits, tf.float64)
    is_class = tf.one_hot(classes, logits.shape[1], on_value=True, off_value=False, dtype=tf.bool)
    lowest = tf.constant(tf.float64.min, tf.float64)
    others = tf.reduce_max(tf.where(is_class, lowest, logits), axis=-1)
    return tf.reduce_max(tf.where(is_class, logits, lowest), axis=-1) - others


@dataclasses.dataclass(frozen=True, kw_only=True)
class Batch(KnowsKeywords):
    """Checked images that an attack works on at once."""

    #: (n, h, w, c) in the dtype of the model.
    images: Array
    #: (n,) int64.
    labels: Array
    #: (n,) int64, the classes that the attack moves towards; None for away from the labels.
    targets: Array | None = None
    #: Whether only the target counts as success, and no other wrong class.
    only_targets: bool = False
    #: (n,) int64, the positions in what the caller passed: seeds follow these, not the batch.
    positions: Array

    def __len__(self) -> int:
        return len(self.images)

    @property
    def goal(self) -> Goal:
        """What is sought, with arrays."""
        if self.targets is None:
            return Goal(self.labels, self.labels)
        return Goal(self.labels, self.targets, EXACTLY if self.only_targets else TOWARDS)

    def seeds(self, seed: int) -> Array:
        """Returns (n, 2) int32, a seed for each image that does not depend on its company."""
        return np.stack([np.full(len(self), seed), self.positions], axis=1).astype(np.int32)

    def select(self, rows: Array) -> Batch:
        """Returns the images where `rows` is True, or at these indices."""
        return dataclasses.replace(
            self,
            images=self.images[rows],
            labels=self.labels[rows],
            targets=None if self.targets is None else self.targets[rows],
            positions=self.positions[rows],
        )

    def split(self, size: int) -> Iterator[Batch]:
        """Yields the images `size` at a time."""
        for start in range(0, len(self), size):
            yield self.select(np.arange(start, min(start + size, len(self))))


def gather(
    classifier: Classifier,
    images: Images,
    labels: Labels | None,
    targets: Labels | None = None,
    batch_size: int | None = None,
) -> Batch:
    """Returns all images, checked, with labels: given, from the Dataset, or predicted.

    Raises:
        TypeError, ValueError: they do not fit the classifier or each other.
    """
    if batch_size is not None:
        check_integer("batch_size", batch_size, 1)
    elements = read_dataset(images, len(classifier.image_shape))
    if elements is not None:
        images, labels = _joined(list(elements), labels)
    array = classifier.check(images)
    if not len(array):
        raise ValueError(message("images", "hold at least one image", "none"))
    if labels is not None:
        labels = check_labels(labels, len(array), classifier.num_classes)
    if targets is not None:
        targets = check_labels(targets, len(array), classifier.num_classes, "targets")
    if labels is None:
        labels = classifier.predict(array, batch_size)
    if targets is not None:
        equal = np.flatnonzero(targets == labels)
        if equal.size:
            found = f"{equal.size} equal, first at index {equal[0]}"
            remedy = "A targeted attack seeks a wrong class."
            raise ValueError(message("targets", "differ from the labels", found, remedy))
    return Batch(images=array, labels=labels, targets=targets, positions=np.arange(len(array)))


def _joined(elements: list[tuple[Array, Array | None]], labels: Labels | None) -> tuple[Array, Labels | None]:
    """Returns the images of all batches of a Dataset, and its labels if none are given."""
    if not elements:
        raise ValueError(message("images", "hold at least one image", "an empty Dataset"))
    found = [part for _, part in elements if part is not None]
    if labels is None and found:
        labels = np.concatenate(found)
    return np.concatenate([part for part, _ in elements]), labels
