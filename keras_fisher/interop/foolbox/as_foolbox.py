"""Any of our attacks as a Foolbox attack."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

import numpy as np
from eagerpy.astensor import astensor_
from foolbox.attacks.base import AttackWithDistance, MinimizationAttack, get_criterion, raise_if_kwargs
from foolbox.attacks.base import FixedEpsilonAttack as FoolboxFixedEpsilonAttack
from foolbox.criteria import Misclassification, TargetedMisclassification
from foolbox.distances import Distance, l2
from foolbox.models.tensorflow import TensorFlowModel

from keras_fisher.attacks import Attack, FixedEpsilonAttack
from keras_fisher.checks import message, suggests_keywords
from keras_fisher.classifiers import Classifier
from keras_fisher.interop.foreign import check_instance, classifier_of, labels_and_targets
from keras_fisher.typing import Array


@suggests_keywords
def as_foolbox(attack: Attack) -> FixedEpsilonForFoolbox | MinimizationForFoolbox:
    """Returns one of our attacks as a Foolbox attack object, in l2.

    It is called as all are there: `attack(fmodel, inputs, criterion, epsilons=...)`. The model is a
    `foolbox.TensorFlowModel` around a keras.Model, or around a function of tensors; its bounds and its
    preprocessing count. A softmax that the model ends in is attacked under it. The criterion is labels,
    `Misclassification`, or `TargetedMisclassification` for an attack that can seek a class.

    Args:
        attack: an attack object of kf.attacks. Its epsilon is not used: Foolbox's `epsilons` are, and what
            does not depend on them is computed once for all. An attack without an epsilon runs once, and
            Foolbox shortens its result to each.

    Raises:
        TypeError: no attack object of ours.

    Example:
        >>> import foolbox
        >>> import tensorflow as tf
        >>> import keras_fisher as kf
        >>> images, labels = kf.datasets.mnist_sample()
        >>> fmodel = foolbox.TensorFlowModel(
        ...     kf.models.lenet5(weights="mnist"), bounds=(0, 1), device="/CPU:0"
        ... )
        >>> attack = kf.interop.foolbox.as_foolbox(kf.attacks.OSSA())
        >>> images, labels = tf.constant(images[:4]), tf.constant(labels[:4])
        >>> raw, clipped, success = attack(fmodel, images, labels, epsilons=[0.0, 1.0, 2.0])
        >>> success.shape
        TensorShape([3, 4])
    """
    check_instance(attack, Attack, "be an attack of kf.attacks")
    if isinstance(attack, FixedEpsilonAttack):
        return FixedEpsilonForFoolbox(attack)
    return MinimizationForFoolbox(attack)


# Not derived from it: its final `__call__` does not say where the epsilons of one call begin and end.
@FoolboxFixedEpsilonAttack.register
class FixedEpsilonForFoolbox(AttackWithDistance):
    """One of our attacks with an epsilon as a `foolbox.attacks.base.FixedEpsilonAttack`."""

    def __init__(self, attack: FixedEpsilonAttack) -> None:
        self.attack = attack

    @property
    def distance(self) -> Distance:
        return l2

    def __call__(self, model: Any, inputs: Any, criterion: Any, *, epsilons: Any, **kwargs: Any) -> Any:
        return _OneCall(self.attack)(model, inputs, criterion, epsilons=epsilons, **kwargs)

    def repeat(self, times: int) -> NoReturn:
        _refuse_to_repeat(times)


class _OneCall(FoolboxFixedEpsilonAttack):
    """The epsilons of one call; Foolbox asks for one after another."""

    def __init__(self, attack: FixedEpsilonAttack) -> None:
        self._attack = attack
        self._at_epsilon: Callable[[float], Array] | None = None

    @property
    def distance(self) -> Distance:
        return l2

    def run(self, model: Any, inputs: Any, criterion: Any, *, epsilon: float, **kwargs: Any) -> Any:
        raise_if_kwargs(kwargs)
        if epsilon == 0:
            return inputs
        if self._at_epsilon is None:
            self._at_epsilon = _at_each_epsilon(_read(self._attack, model, inputs, criterion))
        return _like(inputs, self._at_epsilon(float(epsilon)))


class MinimizationForFoolbox(MinimizationAttack):
    """One of our attacks without an epsilon as a `foolbox.attacks.base.MinimizationAttack`."""

    def __init__(self, attack: Attack) -> None:
        self.attack = attack

    @property
    def distance(self) -> Distance:
        return l2

    def run(
        self, model: Any, inputs: Any, criterion: Any, *, early_stop: float | None = None, **kwargs: Any
    ) -> Any:
        # An offer to stop at this norm, which no attack of Foolbox 3.3 takes up either.
        del early_stop
        raise_if_kwargs(kwargs)
        attack, classifier, images, labels, targets = _read(self.attack, model, inputs, criterion)
        return _like(inputs, attack(classifier, images, labels, targets=targets).images)

    def repeat(self, times: int) -> NoReturn:
        _refuse_to_repeat(times)


class _Call(NamedTuple):
    """A call of Foolbox, in our words."""

    attack: Any  # with `targeted` as the criterion wants it
    classifier: Classifier
    images: Array
    labels: Array | None
    targets: Array | None


def _read(attack: Attack, model: Any, inputs: Any, criterion: Any) -> _Call:
    """Returns what Foolbox asks for.

    Raises:
        TypeError: a model or a criterion that is not known here.
        ValueError: a criterion that does not go with the attack, or what no Classifier can be made of.
    """
    criterion = get_criterion(criterion)
    if isinstance(criterion, TargetedMisclassification):
        classes = criterion.target_classes.numpy()
        attack = dataclasses.replace(attack, targeted=True)
    elif not isinstance(criterion, Misclassification):
        rule = "be labels, Misclassification or TargetedMisclassification"
        raise TypeError(message("criterion", rule, type(criterion).__name__))
    elif attack.targeted:
        remedy = "Pass foolbox.criteria.TargetedMisclassification(targets)."
        raise ValueError(message("criterion", "name targets for a targeted attack", "labels", remedy))
    else:
        classes = criterion.labels.numpy()
    images = astensor_(inputs)[0].numpy()
    classifier = classifier_of_foolbox(model, images.shape[1:])
    labels, targets = labels_and_targets(attack, classes, classifier.num_classes)
    return _Call(attack, classifier, images, labels, targets)


def classifier_of_foolbox(model: Any, image_shape: tuple[int, ...]) -> Classifier:
    """Returns the Classifier of a foolbox.TensorFlowModel, with its bounds and its preprocessing.

    Args:
        model: of Foolbox, around a keras.Model or a function of tensors.
        image_shape: of one image.

    Raises:
        TypeError: another model of Foolbox, or none.
        ValueError: what no Classifier can be made of.
    """
    if not isinstance(model, TensorFlowModel):
        remedy = "For a Keras model: foolbox.TensorFlowModel(model, bounds=(0, 1))."
        raise TypeError(message("model", "be a foolbox.TensorFlowModel", type(model).__name__, remedy))
    # Foolbox gives no other access to what it wraps.
    *moments, flip_axis = model._preprocess_args
    mean, std = (None if moment is None else np.asarray(moment.numpy()) for moment in moments)
    lower, upper = model.bounds
    bounds = None if np.isinf([lower, upper]).all() else (float(lower), float(upper))
    return classifier_of(model, model._model, image_shape, bounds, mean, std, flip_axis)


def _at_each_epsilon(call: _Call) -> Callable[[float], Array]:
    """Returns the function epsilon → images (n, h, w, c); what does not depend on epsilon is computed here.

    The only place that knows of an attack of ours more than how to call it.
    """
    attack, classifier = call.attack, call.classifier
    everything = attack.gather(classifier, call.images, call.labels, call.targets, None)
    batches = list(everything.split(classifier.default_batch_size()))
    prepared = [(batch, attack.prepare(classifier, batch)) for batch in batches]

    def at_epsilon(epsilon: float) -> Array:
        moved = [
            attack.attempt(classifier, batch, rows, np.full(len(batch), epsilon)).images
            for batch, rows in prepared
        ]
        return np.concatenate(moved)

    return at_epsilon


def _like(inputs: Any, images: Array) -> Any:
    """Returns the images as the kind of tensor that the inputs are."""
    tensor, restore = astensor_(inputs)
    return restore(tensor.from_numpy(np.asarray(images, tensor.numpy().dtype)))


def _refuse_to_repeat(times: int) -> NoReturn:
    remedy = "Seeds are settings here, and kf.attacks.PGD(restarts=...) repeats."
    rule = "be 1, without repeat(), for an attack that is repeatable"
    raise ValueError(message("times", rule, times, remedy))
