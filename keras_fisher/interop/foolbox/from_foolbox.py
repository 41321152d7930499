"""Any Foolbox attack as one of ours."""

from __future__ import annotations

from foolbox.attacks.base import Attack as FoolboxAttack

from keras_fisher.checks import message
from keras_fisher.interop.foolbox.foolbox_fixed_epsilon_attack import FoolboxFixedEpsilonAttack
from keras_fisher.interop.foolbox.foolbox_minimum_norm_attack import FoolboxMinimumNormAttack
from keras_fisher.interop.foolbox.wrapped_attack import takes_epsilon


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
    if not takes_epsilon(attack):
        if epsilon is not None:
            remedy = "It finds the least norm by itself: leave epsilon out."
            raise ValueError(message("epsilon", f"be None for {type(attack).__name__}", epsilon, remedy))
        return FoolboxMinimumNormAttack(attack=attack, targeted=targeted, seed=seed)
    if epsilon is None:
        remedy = "It stays within this distance, in its own norm."
        raise ValueError(message("epsilon", f"be given for {type(attack).__name__}", None, remedy))
    return FoolboxFixedEpsilonAttack(epsilon, attack=attack, targeted=targeted, seed=seed)
