"""Any of our attacks as a Foolbox attack."""

from __future__ import annotations

from keras_fisher.attacks import Attack, FixedEpsilonAttack
from keras_fisher.checks import message
from keras_fisher.interop.foolbox.fixed_epsilon_for_foolbox import FixedEpsilonForFoolbox
from keras_fisher.interop.foolbox.minimization_for_foolbox import MinimizationForFoolbox


def as_foolbox(attack: Attack) -> FixedEpsilonForFoolbox | MinimizationForFoolbox:
    """Returns one of our attacks as a Foolbox attack object, in l2.

    It is called as all are there: `attack(fmodel, inputs, criterion, epsilons=...)`. The model is a
    `foolbox.TensorFlowModel` around a keras.Model, or around a function of tensors; its bounds and its
    preprocessing count. A softmax that the model ends in is attacked under it. The criterion is labels,
    `Misclassification`, or `TargetedMisclassification` for an attack that can seek a class.

    Args:
        attack: an attack object of kf.attacks. Its epsilon is not used: Foolbox's `epsilons` are.

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
    if not isinstance(attack, Attack):
        found, remedy = type(attack).__name__, ""
        if isinstance(attack, type) and issubclass(attack, Attack):
            found, remedy = f"the class {attack.__name__}", f"Make one: {attack.__name__}()."
        raise TypeError(message("attack", "be an attack of kf.attacks", found, remedy))
    if isinstance(attack, FixedEpsilonAttack):
        return FixedEpsilonForFoolbox(attack)
    return MinimizationForFoolbox(attack)
