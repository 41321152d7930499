"""Checked images, labels and targets, whole and in pieces."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_fisher.attacks.attempt import Attempt
from keras_fisher.checks import check_integer, message
from keras_fisher.classifiers import Classifier
from keras_fisher.classifiers.image_check import check_labels
from keras_fisher.typing import Array, Images, Labels


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chunk:
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

    @property
    def classes(self) -> Array:
        """(n,) the classes whose probability the attack changes: targets up, without them labels down."""
        return self.labels if self.targets is None else self.targets

    def is_fooled(self, predictions: Array, indices: Array | None = None) -> Array:
        """Returns (m,) bool: whether the attack has its goal where these are the answers.

        Args:
            predictions: (m,) int64.
            indices: (m,) which images these are; None is all of them in order.
        """
        goal = self.targets if self.only_targets and self.targets is not None else self.labels
        goal = goal if indices is None else goal[indices]
        return predictions == goal if self.only_targets else predictions != goal

    def select(self, mask: Array) -> Chunk:
        """Returns the images where `mask` is True, or at these indices."""
        return dataclasses.replace(
            self,
            images=self.images[mask],
            labels=self.labels[mask],
            targets=None if self.targets is None else self.targets[mask],
            positions=self.positions[mask],
        )


def gather(
    classifier: Classifier,
    images: Images,
    labels: Labels | None,
    targets: Labels | None = None,
    batch_size: int | None = None,
) -> Chunk:
    """Returns all images, checked, with labels: given, from the Dataset, or predicted."""
    if batch_size is not None:
        check_integer("batch_size", batch_size, 1)
    if isinstance(images, tf.data.Dataset):
        elements: list[Any] = list(images.as_numpy_iterator())  # pyright: ignore[reportAttributeAccessIssue]
        if elements and isinstance(elements[0], tuple):
            if labels is None:
                labels = np.concatenate([np.atleast_1d(element[1]) for element in elements])
            elements = [element[0] for element in elements]
        if not elements:
            raise ValueError(message("images", "hold at least one image", "an empty Dataset"))
        if isinstance(elements[0], dict):
            remedy = "Map it first: dataset.map(lambda row: (row['image'], row['label']))."
            raise TypeError(message("images", "hold images, or images and labels", "dicts", remedy))
        if elements[0].ndim == len(classifier.image_shape):
            remedy = "Call dataset.batch(256)."
            raise ValueError(
                message("images", "come in batches", f"elements of shape {elements[0].shape}", remedy)
            )
        images = np.concatenate(elements)
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
    return Chunk(images=array, labels=labels, targets=targets, positions=np.arange(len(array)))


def split(classifier: Classifier, chunk: Chunk, batch_size: int | None) -> Iterator[Chunk]:
    """Yields `chunk` in pieces of `batch_size` images; None chooses by their size."""
    size = batch_size or classifier.default_batch_size()
    for start in range(0, len(chunk.images), size):
        yield chunk.select(np.arange(start, min(start + size, len(chunk.images))))


def concatenate(attempts: Sequence[Attempt]) -> Attempt:
    """Returns the attempts of successive chunks, all of one kind, as one."""
    kind = type(attempts[0])
    fields = [field.name for field in dataclasses.fields(kind)]
    return kind(*(np.concatenate([getattr(part, name) for part in attempts]) for name in fields))
