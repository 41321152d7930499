"""Attacks: perturbations of images, measured in l2, that make a classifier err."""

from keras_fisher.attacks.attack import Attack, FixedEpsilonAttack, MinimumNormAttack, attempt_at
from keras_fisher.attacks.attempt import AttackResult, Attempt
from keras_fisher.attacks.batch import Batch
from keras_fisher.attacks.carlini_wagner import CarliniWagner, Opt
from keras_fisher.attacks.ddn import DDN
from keras_fisher.attacks.deep_fool import DeepFool
from keras_fisher.attacks.directions import Direction, labels_or_predictions, loss_ascent_direction
from keras_fisher.attacks.fooling_curve import FoolingCurve, fooling_curve
from keras_fisher.attacks.image_ops import unit
from keras_fisher.attacks.iterative_attack import IterativeAttack
from keras_fisher.attacks.least_perturbation import LeastPerturbation, least_perturbation
from keras_fisher.attacks.one_step_attack import FGM, OneStepAttack, RandomNoise
from keras_fisher.attacks.ossa import OSSA, IterativeOSSA
from keras_fisher.attacks.otcm import OTCM, IterativeOTCM, least_likely_targets, random_targets
from keras_fisher.attacks.pgd import BIM, PGD
from keras_fisher.attacks.transfer_matrix import TransferMatrix, transfer_matrix
from keras_fisher.serialization import register

# The bases too: attacks that are derived from them need only be registered.
register(Attack, FixedEpsilonAttack, IterativeAttack, MinimumNormAttack, OneStepAttack, loss_ascent_direction)
register(FGM, OTCM, OSSA, RandomNoise, BIM, PGD, IterativeOTCM, IterativeOSSA)
register(CarliniWagner, DDN, DeepFool, Opt)

__all__ = [
    "BIM",
    "DDN",
    "FGM",
    "OSSA",
    "OTCM",
    "PGD",
    "Attack",
    "AttackResult",
    "Attempt",
    "Batch",
    "CarliniWagner",
    "DeepFool",
    "Direction",
    "FixedEpsilonAttack",
    "FoolingCurve",
    "IterativeAttack",
    "IterativeOSSA",
    "IterativeOTCM",
    "LeastPerturbation",
    "MinimumNormAttack",
    "OneStepAttack",
    "Opt",
    "RandomNoise",
    "TransferMatrix",
    "attempt_at",
    "fooling_curve",
    "labels_or_predictions",
    "least_likely_targets",
    "least_perturbation",
    "loss_ascent_direction",
    "random_targets",
    "transfer_matrix",
    "unit",
]


def __dir__() -> list[str]:
    return __all__
