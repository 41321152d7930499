"""Checked images and labels, whole and in pieces."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from keras_fisher.checks import check_integer, message
from keras_fisher.classifiers import Classifier
from keras_fisher.classifiers.image_check import check_labels, default_batch_size
from keras_fisher.typing import Array, Images, Labels


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chunk:
    """Checked images that an attack works on at once."""

    #: (n, h, w, c) in the dtype of the model.
    images: Array
    #: (n,) int64.
    labels: Array
    #: (n,) int64, the positions in what the caller passed: seeds follow these, not the batch.
    positions: Array

    def select(self, mask: Array) -> Chunk:
        """Returns the images where `mask` is True."""
        return Chunk(images=self.images[mask], labels=self.labels[mask], positions=self.positions[mask])


def gather(classifier: Classifier, images: Images, labels: Labels | None, batch_size: int | None) -> Chunk:
    """Returns all images, checked, with labels: given, from the Dataset, or predicted."""
    if batch_size is not None:
        check_integer("batch_size", batch_size, 1)
    if isinstance(images, tf.data.Dataset):
        elements: list[Any] = list(images.as_numpy_iterator())  # pyright: ignore[reportAttributeAccessIssue]
        if elements and isinstance(elements[0], tuple):
            if labels is None:
                labels = np.concatenate([element[1] for element in elements])
            elements = [element[0] for element in elements]
        images = np.concatenate(elements) if elements else np.zeros((0, 0))
    array = classifier.check(images)
    if not len(array):
        raise ValueError(message("images", "hold at least one image", "none"))
    if labels is None:
        labels = classifier.predict(array, batch_size)
    checked = check_labels(labels, len(array), classifier.num_classes)
    return Chunk(images=array, labels=checked, positions=np.arange(len(array)))


def split(classifier: Classifier, chunk: Chunk, batch_size: int | None) -> Iterator[Chunk]:
    """Yields `chunk` in pieces of `batch_size` images; None chooses by their size."""
    size = batch_size or default_batch_size(classifier.image_shape)
    for start in range(0, len(chunk.images), size):
        mask = np.zeros(len(chunk.images), bool)
        mask[start : start + size] = True
        yield chunk.select(mask)
