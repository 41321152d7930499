"""An attack of ours, called as Foolbox calls its own."""

from __future__ import annotations

import dataclasses
from typing import Any, NoReturn

import numpy as np
from eagerpy.astensor import astensor_
from foolbox.attacks.base import get_criterion
from foolbox.criteria import Misclassification, TargetedMisclassification

from keras_fisher.attacks import Attack
from keras_fisher.checks import message
from keras_fisher.interop.foolbox.classifier_of import classifier_of
from keras_fisher.interop.run_attack import run_attack


def called_by_foolbox(attack: Attack, model: Any, inputs: Any, criterion: Any) -> Any:
    """Returns the perturbed inputs, as the kind of tensor that they are.

    Args:
        attack: of ours.
        model: a foolbox.TensorFlowModel.
        inputs: (n, h, w, c), a tensor, with or without eagerpy around it.
        criterion: labels, or one of the two criteria.

    Raises:
        TypeError: another model or criterion.
        ValueError: a criterion that does not go with the attack, or images or labels that do not fit.
    """
    images, restore = astensor_(inputs)
    criterion = get_criterion(criterion)
    labels = targets = None
    if isinstance(criterion, TargetedMisclassification):
        targets = criterion.target_classes.numpy()
        attack = dataclasses.replace(attack, targeted=True)
    elif not isinstance(criterion, Misclassification):
        rule = "be labels, Misclassification or TargetedMisclassification"
        raise TypeError(message("criterion", rule, type(criterion).__name__))
    elif attack.targeted:
        remedy = "Pass foolbox.criteria.TargetedMisclassification(targets)."
        raise ValueError(message("criterion", "name targets for a targeted attack", "labels", remedy))
    else:
        labels = criterion.labels.numpy()
    classifier = classifier_of(model, images.shape[1:])
    result = run_attack(attack, classifier, images.numpy(), labels, targets)
    return restore(images.from_numpy(np.asarray(result.images, images.numpy().dtype)))


def refuse_to_repeat(times: int) -> NoReturn:
    """Raises: an attack of ours does the same each time.

    Raises:
        ValueError: always.
    """
    remedy = "Seeds are settings here, and kf.attacks.PGD(restarts=...) repeats."
    raise ValueError(
        message("times", "be 1, without repeat(), for an attack that is repeatable", times, remedy)
    )
