"""Any Foolbox attack as one of ours."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf
from foolbox.attacks.base import Attack as FoolboxAttack
from foolbox.attacks.base import FixedEpsilonAttack as FoolboxFixedEpsilon
from foolbox.attacks.base import Repeated
from foolbox.attacks.carlini_wagner import L2CarliniWagnerAttack
from foolbox.attacks.ead import EADAttack
from foolbox.criteria import Misclassification, TargetedMisclassification
from foolbox.models.tensorflow import TensorFlowModel

from keras_fisher.attacks import Attack, Attempt, Batch, FixedEpsilonAttack, MinimumNormAttack, attempt_at
from keras_fisher.checks import check_integer, message, suggests_keywords
from keras_fisher.classifiers import Classifier, Target
from keras_fisher.interop.foreign import check_instance
from keras_fisher.typing import Array, Tensor


@suggests_keywords
def from_foolbox(
    attack: FoolboxAttack, epsilon: float | None = None, *, targeted: bool = False, seed: int = 0
) -> FoolboxFixedEpsilonAttack | FoolboxMinimumNormAttack:
    """Returns a Foolbox attack as one of ours: called, measured and searched over as they are.

    It attacks the logits, also those under a softmax, within the classifier's bounds. Success and l2 norms
    are judged by us, whatever the norm that the attack works in. Foolbox computes in float32.

    Args:
        attack: an attack object of Foolbox, with its settings. Also `attack.repeat(times)`.
        epsilon: of a fixed-epsilon attack (FGM, PGD, noise, …), in the attack's own norm;
            `least_perturbation` puts its own. None for one that minimises (DDN, DeepFool, Carlini–Wagner,
            decision-based ones, …).
        targeted: seek the class that `targets` names. Not every Foolbox attack can.
        seed: of TensorFlow's and NumPy's global random states, from which Foolbox draws. What an image gets
            depends on the batch that it is in. Afterwards NumPy's state is put back, and TensorFlow's goes on
            from a number drawn before.

    Raises:
        TypeError: no attack object of Foolbox, or a setting of the wrong type.
        ValueError: an epsilon for an attack that minimises, none for one that does not, or a bad setting.

    Example:
        >>> import foolbox
        >>> import keras_fisher as kf
        >>> images, labels = kf.datasets.mnist_sample()
        >>> classifier = kf.Classifier(kf.models.lenet5(weights="mnist"))
        >>> pgd = kf.interop.foolbox.from_foolbox(foolbox.attacks.L2PGD(steps=5), epsilon=1.0)
        >>> bool((pgd(classifier, images[:4], labels[:4]).norms <= 1.0001).all())
        True
        >>> search = {"num_scanned": 4, "num_refined": 2}
        >>> kf.attacks.least_perturbation(pgd, classifier, images[:4], labels[:4], **search).epsilons.shape
        (4,)
        >>> ddn = kf.interop.foolbox.from_foolbox(foolbox.attacks.DDNAttack(steps=20))
        >>> ddn(classifier, images[:4], labels[:4]).success.shape
        (4,)
    """
    if not _takes_epsilon(attack):
        if epsilon is not None:
            remedy = "It finds the least norm by itself: leave epsilon out."
            raise ValueError(message("epsilon", f"be None for {type(attack).__name__}", epsilon, remedy))
        return FoolboxMinimumNormAttack(attack=attack, targeted=targeted, seed=seed)
    if epsilon is None:
        remedy = "It stays within this distance, in its own norm."
        raise ValueError(message("epsilon", f"be given for {type(attack).__name__}", None, remedy))
    return FoolboxFixedEpsilonAttack(epsilon, attack=attack, targeted=targeted, seed=seed)


@dataclasses.dataclass(frozen=True)
class _OfFoolbox(Attack):
    """What both kinds share."""

    _: dataclasses.KW_ONLY
    attack: FoolboxAttack
    seed: int = 0

    can_target: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_settings(self.attack, isinstance(self, FixedEpsilonAttack), self.clip, self.seed)

    def check_classifier(self, classifier: Classifier) -> None:
        _check_bounded(classifier)


@dataclasses.dataclass(frozen=True)
class FoolboxFixedEpsilonAttack(_OfFoolbox, FixedEpsilonAttack):
    """A Foolbox attack that stays within epsilon; see `from_foolbox`, which makes it.

    Images with the same epsilon go to Foolbox together. `num_iterations` counts the calls of the model by the
    attack.

    Args:
        epsilon: the radius, in the norm of the Foolbox attack.
        clip: True; Foolbox knows no other way.
        targeted: seek the class that `targets` names.
        attack: the attack object of Foolbox.
        seed: of TensorFlow's and NumPy's global random states.
    """

    def prepare(self, classifier: Classifier, batch: Batch) -> Array:
        return attempt_at(classifier, batch, batch.images).predictions

    def attempt(self, classifier: Classifier, batch: Batch, prepared: Array, epsilon: Array) -> Attempt:
        images, num_calls = batch.images.copy(), np.zeros(len(batch), np.int64)
        for value in np.unique(epsilon[epsilon > 0]):
            rows = np.flatnonzero(epsilon == value)
            found = _call_foolbox(self.attack, classifier, batch.select(rows), float(value), self.seed)
            images[rows], num_calls[rows] = found
        attempt = attempt_at(classifier, batch, images, num_calls)
        return attempt._replace(clean_predictions=np.array(prepared))


@dataclasses.dataclass(frozen=True)
class FoolboxMinimumNormAttack(_OfFoolbox, MinimumNormAttack):
    """A Foolbox attack that minimises the perturbation; see `from_foolbox`, which makes it.

    Images that are misclassified as they are stay so, and do not go to Foolbox. Where the attack fails, the
    image is what Foolbox ended with, or the original where that is none: NaN, or the zeros that its
    Carlini–Wagner and EAD attacks return for a failure and often count as a success. `num_iterations` counts
    the calls of the model by the attack.

    Args:
        clip: True; Foolbox knows no other way.
        targeted: seek the class that `targets` names.
        attack: the attack object of Foolbox.
        seed: of TensorFlow's and NumPy's global random states.
    """

    def search(self, classifier: Classifier, batch: Batch) -> Attempt:
        images, num_calls = _call_foolbox(self.attack, classifier, batch, None, self.seed)
        return attempt_at(classifier, batch, images, num_calls)


def _takes_epsilon(attack: FoolboxAttack) -> bool:
    """Returns whether a Foolbox attack wants an epsilon; raises TypeError if it is none."""
    check_instance(attack, FoolboxAttack, "be an attack object of Foolbox")
    return isinstance(_unrepeated(attack), FoolboxFixedEpsilon)


def _unrepeated(attack: FoolboxAttack) -> FoolboxAttack:
    return _unrepeated(attack.attack) if isinstance(attack, Repeated) else attack


def _check_settings(attack: FoolboxAttack, has_epsilon: bool, clip: bool, seed: int) -> None:
    if _takes_epsilon(attack) != has_epsilon:
        rule = f"be a Foolbox attack {'with' if has_epsilon else 'without'} epsilon"
        remedy = "kf.interop.foolbox.from_foolbox makes the class that fits."
        raise TypeError(message("attack", rule, type(attack).__name__, remedy))
    if not clip:
        remedy = "Foolbox keeps within the bounds. Wide ones: kf.Classifier(model, bounds=(-1e3, 1e3))."
        raise ValueError(message("clip", "be True for a Foolbox attack", clip, remedy))
    check_integer("seed", seed, 0, 2**31 - 1)


def _check_bounded(classifier: Classifier) -> None:
    # Foolbox draws between the bounds, and divides by their distance.
    if classifier.bounds is None:
        remedy = "Wide ones will do for most attacks: kf.Classifier(model, bounds=(-1e3, 1e3))."
        raise ValueError(message("classifier", "have bounds for a Foolbox attack", None, remedy))


def _call_foolbox(
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
    with _seeded(seed):
        images, num_calls = _call(attack, classifier, batch, epsilon)
    flat = images.reshape(len(images), -1)
    is_failure = ~np.isfinite(flat).all(axis=-1)
    if isinstance(_unrepeated(attack), (L2CarliniWagnerAttack, EADAttack)):
        # What these return for a failure. Foolbox asks the model whether it is fooled by it.
        is_failure |= (flat == 0).all(axis=-1)
    images[is_failure] = batch.images[is_failure]
    return np.clip(images, *np.asarray(classifier.bounds, images.dtype)), num_calls


def _call(
    attack: FoolboxAttack, classifier: Classifier, batch: Batch, epsilon: float | None
) -> tuple[Array, Array]:
    num_calls = 0

    def model(images: Tensor) -> Tensor:
        nonlocal num_calls
        num_calls += 1
        return tf.cast(classifier.run(_logits, tf.cast(images, classifier.image_dtype)), tf.float32)

    # Several attacks of Foolbox fail in float64: it always works in float32, between bounds of that type.
    inputs = tf.constant(batch.images, tf.float32)
    lower, upper = (float(bound) for bound in np.asarray(classifier.bounds, np.float32))
    # The device is that of Foolbox's dummy tensor, which nothing here uses; None looks for GPUs, at length.
    wrapped = TensorFlowModel(model, bounds=(lower, upper), device="/CPU:0")
    criterion = Misclassification(tf.constant(batch.labels))
    if batch.only_targets:
        criterion = TargetedMisclassification(tf.constant(batch.targets))
    found: Any
    try:
        _, found, _ = attack(wrapped, inputs, criterion, epsilons=epsilon)
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


def _logits(target: Target, images: Tensor) -> Tensor:
    return target.logits(images)


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


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seeds TensorFlow's and NumPy's global random states for a while.

    NumPy's is put back. TensorFlow's cannot be read, so that it goes on from a number that it drew before:
    repeatable afterwards if it was before, and random if it was.
    """
    successor = int(tf.random.uniform([], maxval=2**31 - 1, dtype=tf.int32))
    # Some attacks of Foolbox draw from NumPy's.
    numpy_state = np.random.get_state()  # noqa: NPY002
    tf.random.set_seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(numpy_state)  # noqa: NPY002
        tf.random.set_seed(successor)
