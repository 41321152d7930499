"""A Foolbox attack, called on a batch of ours."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from foolbox.attacks.base import Attack as FoolboxAttack
from foolbox.attacks.base import FixedEpsilonAttack, Repeated
from foolbox.attacks.carlini_wagner import L2CarliniWagnerAttack
from foolbox.attacks.ead import EADAttack
from foolbox.criteria import Criterion, Misclassification, TargetedMisclassification
from foolbox.models.tensorflow import TensorFlowModel

from keras_fisher.attacks import Batch
from keras_fisher.checks import check_integer, message
from keras_fisher.classifiers import Classifier
from keras_fisher.interop.random_state import seeded
from keras_fisher.typing import Array, Tensor


def takes_epsilon(attack: FoolboxAttack) -> bool:
    """Returns whether a Foolbox attack wants an epsilon.

    Raises:
        TypeError: it is no attack object of Foolbox.
    """
    if not isinstance(attack, FoolboxAttack):
        found, remedy = type(attack).__name__, ""
        if isinstance(attack, type) and issubclass(attack, FoolboxAttack):
            found, remedy = f"the class {attack.__name__}", f"Make one: {attack.__name__}()."
        raise TypeError(message("attack", "be an attack object of Foolbox", found, remedy))
    return isinstance(_unrepeated(attack), FixedEpsilonAttack)


def check_settings(attack: FoolboxAttack, has_epsilon: bool, clip: bool, seed: int) -> None:
    """Refuses what a Foolbox attack cannot be given.

    Raises:
        TypeError, ValueError: no attack object, one of the other kind, clip=False, or a seed out of range.
    """
    if takes_epsilon(attack) != has_epsilon:
        kind = "with" if has_epsilon else "without"
        remedy = "kf.interop.foolbox.from_foolbox makes the class that fits."
        raise TypeError(
            message("attack", f"be a Foolbox attack {kind} epsilon", type(attack).__name__, remedy)
        )
    if not clip:
        remedy = "Foolbox keeps within the bounds. Wide ones: kf.Classifier(model, bounds=(-1e3, 1e3))."
        raise ValueError(message("clip", "be True for a Foolbox attack", clip, remedy))
    check_integer("seed", seed, 0, 2**31 - 1)


def check_bounded(classifier: Classifier) -> None:
    """Refuses a classifier without bounds: Foolbox draws between them, and divides by their distance.

    Raises:
        ValueError: it has none.
    """
    if classifier.bounds is None:
        remedy = "Wide ones will do for most attacks: kf.Classifier(model, bounds=(-1e3, 1e3))."
        raise ValueError(message("classifier", "have bounds for a Foolbox attack", None, remedy))


def call_foolbox(
    attack: FoolboxAttack, classifier: Classifier, batch: Batch, epsilon: float | None, seed: int
) -> tuple[Array, Array]:
    """Returns (n, h, w, c) images that Foolbox makes, and (n,) int64, how often it called the model for them.

    Args:
        attack: of Foolbox.
        classifier: one with bounds.
        batch: n images, with targets if they are sought.
        epsilon: in the norm of the attack; None for an attack without.
        seed: of TensorFlow's and NumPy's global random states.

    Raises:
        ValueError: an attack that cannot do what is asked, or what Foolbox raises.
    """
    with seeded(seed):
        images, num_calls = _call(attack, classifier, batch, epsilon)
    is_failure = ~np.isfinite(images).reshape(len(images), -1).all(axis=-1)
    if isinstance(_unrepeated(attack), (L2CarliniWagnerAttack, EADAttack)):
        # What these return for a failure. Foolbox asks the model whether it is fooled by it.
        is_failure |= (images == 0).reshape(len(images), -1).all(axis=-1)
    images[is_failure] = batch.images[is_failure]
    return images, num_calls


def _call(
    attack: FoolboxAttack, classifier: Classifier, batch: Batch, epsilon: float | None
) -> tuple[Array, Array]:
    num_calls = 0
    logits = classifier.program("parameters", classifier.parameters, batch.images.shape[1:])

    def model(images: Tensor) -> Tensor:
        nonlocal num_calls
        num_calls += 1
        return tf.cast(logits(tf.cast(images, classifier.image_dtype)), tf.float32)

    # Several attacks of Foolbox fail in float64: it always works in float32, between bounds of that type.
    inputs = tf.constant(batch.images, tf.float32)
    lower, upper = (float(bound) for bound in np.asarray(classifier.bounds, np.float32))
    # The device is that of Foolbox's dummy tensor, which nothing here uses; None looks for GPUs, at length.
    wrapped = TensorFlowModel(model, bounds=(lower, upper), device="/CPU:0")
    found: Any
    try:
        _, found, _ = attack(wrapped, inputs, _criterion(batch), epsilons=epsilon)
    except ValueError as error:
        reason = str(error)
        if reason == "unsupported criterion":
            rule = f"be what {type(attack).__name__} can do"
            raise ValueError(message("targeted", rule, batch.only_targets)) from error
        if "init_attack failed" not in reason:
            raise
        return _call_in_halves(attack, classifier, batch, epsilon)
    images = np.array(found.numpy(), batch.images.dtype)
    # Each time it is done, Foolbox calls the model once more to judge.
    num_calls -= attack.times if isinstance(attack, Repeated) else 1
    return images, np.full(len(images), num_calls)


def _call_in_halves(
    attack: FoolboxAttack, classifier: Classifier, batch: Batch, epsilon: float | None
) -> tuple[Array, Array]:
    """Returns what `_call` does, where one image without a starting point makes Foolbox give up the batch."""
    count = len(batch.images)
    if count == 1:
        return batch.images.copy(), np.zeros(1, np.int64)
    halves = np.arange(count // 2), np.arange(count // 2, count)
    parts = [_call(attack, classifier, batch.select(half), epsilon) for half in halves]
    images, num_calls = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return images, num_calls


def _criterion(batch: Batch) -> Criterion:
    if batch.only_targets:
        return TargetedMisclassification(tf.constant(batch.targets))
    return Misclassification(tf.constant(batch.labels))


def _unrepeated(attack: FoolboxAttack) -> FoolboxAttack:
    return _unrepeated(attack.attack) if isinstance(attack, Repeated) else attack
