"""How an attack on one classifier fools others."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_fisher.attacks.attack import Attack, logits_of
from keras_fisher.attacks.attempt import answers
from keras_fisher.checks import KnowsKeywords, check_flag, message, suggests_keywords
from keras_fisher.classifiers import Classifier, as_classifier
from keras_fisher.progress import track
from keras_fisher.typing import Array, Images, Labels


@dataclasses.dataclass(frozen=True, repr=False)
class TransferMatrix(KnowsKeywords):
    """Which images, crafted on one classifier, fool another: rows are tested on, columns crafted from."""

    #: m names, of the rows as of the columns.
    names: tuple[str, ...]
    #: (n,) bool, the images that every classifier answers right before the attack: those that count.
    is_counted: Array
    #: (m, m, n) bool, classifier i is fooled by image k crafted on classifier j.
    success: Array

    @property
    def num_images(self) -> int:
        """The denominator of `rates`."""
        return int(self.is_counted.sum())

    @property
    def rates(self) -> Array:
        """(m, m) fooled over all images that count; NaN for none."""
        return _share(self.success[..., self.is_counted], np.ones(self.num_images, bool))

    @property
    def rates_of_successful(self) -> Array:
        """(m, m) the same over the images of a column that fool their own classifier: 1 on the diagonal."""
        counted = self.success[..., self.is_counted]
        return _share(counted, np.diagonal(counted).T[None])

    def __repr__(self) -> str:
        names = ", ".join(self.names)
        return f"TransferMatrix({names}; n={len(self.is_counted)}, num_images={self.num_images})"


def _share(success: Array, among: Array) -> Array:
    """Returns the mean of `success` (m, m, n) over the last axis, where `among` is True."""
    count = np.broadcast_to(among, success.shape).sum(axis=-1)
    hits = (success & among).sum(axis=-1)
    return np.divide(hits, count, out=np.full(count.shape, np.nan), where=count > 0)


@suggests_keywords
def transfer_matrix(
    attack: Attack,
    classifiers: Mapping[str, Classifier | keras.Model],
    images: Images,
    labels: Labels | None = None,
    *,
    targets: Labels | None = None,
    batch_size: int | None = None,
    progress: bool = False,
) -> TransferMatrix:
    """Returns how the images that an attack makes of each classifier fool the others.

    Args:
        attack: any attack of kf.attacks.
        classifiers: by name, of one shape of images and the same classes. The images are clipped to the
            bounds of the one that they are crafted on.
        images: (n, h, w, c) within all bounds, or a Dataset.
        labels: (n,) class indices; None: the Dataset's. Predictions will not do: the classifiers may differ.
        targets: (n,) class indices, of a targeted attack.
        batch_size: images at once.
        progress: show a bar.

    Raises:
        TypeError, ValueError: a bad argument, before any work is done.

    Source: Zhao et al. 2019, Table 3. The paper does not say which images count: here those that all of the
    classifiers answer right. Its diagonal of 100 % is that of `rates_of_successful`.

    Example:
        >>> import keras_fisher as kf
        >>> images, labels = kf.datasets.mnist_sample()
        >>> nets = {"a": kf.models.lenet5(weights="mnist"), "b": kf.models.lenet5(weights="mnist")}
        >>> kf.attacks.transfer_matrix(kf.attacks.FGM(3.0), nets, images[:20], labels[:20]).rates.shape
        (2, 2)
    """
    if not isinstance(attack, Attack):
        remedy = "Make one: FGM(), not FGM." if isinstance(attack, type) else ""
        raise TypeError(message("attack", "be an attack of kf.attacks", repr(attack), remedy))
    check_flag("progress", progress)
    nets = _check_classifiers(classifiers)
    specification = getattr(images, "element_spec", None)
    if labels is None and not (isinstance(specification, tuple) and len(specification) > 1):
        remedy = "Which images count depends on them."
        raise ValueError(message("labels", "be given for a transfer matrix", None, remedy))
    gathered = {}
    for name, net in nets.items():
        gathered[name] = attack.gather(net, images, labels, targets, batch_size)
        # A Dataset is read once: it may be shuffled.
        images, labels = gathered[name].images, gathered[name].labels
    first = next(iter(gathered.values()))
    is_counted = np.logical_and.reduce(
        [net.predict(first.images, batch_size) == first.labels for net in nets.values()]
    )
    success = np.zeros((len(nets), len(nets), len(first.images)), bool)
    for column, (name, net) in enumerate(track(nets.items(), "transfer", len(nets), progress)):
        batch = gathered[name]
        given = batch.targets if attack.targeted or attack.chooses_targets else None
        crafted = attack(net, batch.images, batch.labels, targets=given, batch_size=batch_size)
        for row, tested in enumerate(nets.values()):
            if row == column:
                success[row, column] = crafted.success
            else:
                # Past the check of bounds: the attack may not clip.
                predictions = _predict(tested, crafted.images, batch_size)
                success[row, column] = batch.goal.is_reached(predictions)
    return TransferMatrix(tuple(nets), is_counted, success)


def _predict(classifier: Classifier, images: Array, batch_size: int | None) -> Array:
    size = batch_size or classifier.default_batch_size()
    starts = range(0, len(images), size)
    return np.concatenate([answers(logits_of(classifier, images[at : at + size])) for at in starts])


def _check_classifiers(classifiers: Any) -> dict[str, Classifier]:
    if not isinstance(classifiers, Mapping):
        raise TypeError(
            message("classifiers", "be a dict of names and classifiers", type(classifiers).__name__)
        )
    if not classifiers:
        raise ValueError(message("classifiers", "name at least one", "none"))
    nets = {str(name): as_classifier(net) for name, net in classifiers.items()}
    kinds = {(net.num_classes, net.image_shape) for net in nets.values()}
    if len(kinds) > 1:
        raise ValueError(
            message("classifiers", "share their classes and the shape of images", sorted(map(str, kinds)))
        )
    return nets
