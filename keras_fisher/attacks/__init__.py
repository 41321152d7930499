"""Attacks: perturbations of images, measured in l2, that make a classifier err."""

from keras_fisher.attacks.attack import Attack
from keras_fisher.attacks.attack_result import AttackResult
from keras_fisher.attacks.attempt import Attempt
from keras_fisher.attacks.bim import BIM
from keras_fisher.attacks.carlini_wagner import CarliniWagner
from keras_fisher.attacks.chunk import Chunk
from keras_fisher.attacks.ddn import DDN
from keras_fisher.attacks.deep_fool import DeepFool
from keras_fisher.attacks.detector_aware import DetectorAware
from keras_fisher.attacks.evasion_result import EvasionResult
from keras_fisher.attacks.fgm import FGM
from keras_fisher.attacks.fixed_epsilon_attack import FixedEpsilonAttack
from keras_fisher.attacks.fooling_curve import FoolingCurve, fooling_curve
from keras_fisher.attacks.iterative_attack import IterativeAttack
from keras_fisher.attacks.iterative_ossa import IterativeOSSA
from keras_fisher.attacks.iterative_otcm import IterativeOTCM
from keras_fisher.attacks.least_perturbation import LeastPerturbation, least_perturbation
from keras_fisher.attacks.minimum_norm_attack import MinimumNormAttack
from keras_fisher.attacks.opt import Opt
from keras_fisher.attacks.ossa import OSSA
from keras_fisher.attacks.otcm import OTCM
from keras_fisher.attacks.pgd import PGD
from keras_fisher.attacks.random_noise import RandomNoise
from keras_fisher.attacks.score_gradient import ScoreGradient
from keras_fisher.attacks.targets import least_likely_targets, random_targets
from keras_fisher.attacks.transfer_matrix import TransferMatrix, transfer_matrix
from keras_fisher.serialization import register

# The bases too: attacks that are derived from them need only be registered.
register(Attack, FixedEpsilonAttack, IterativeAttack, MinimumNormAttack)
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
    "CarliniWagner",
    "Chunk",
    "DeepFool",
    "DetectorAware",
    "EvasionResult",
    "FixedEpsilonAttack",
    "FoolingCurve",
    "IterativeAttack",
    "IterativeOSSA",
    "IterativeOTCM",
    "LeastPerturbation",
    "MinimumNormAttack",
    "Opt",
    "RandomNoise",
    "ScoreGradient",
    "TransferMatrix",
    "fooling_curve",
    "least_likely_targets",
    "least_perturbation",
    "random_targets",
    "transfer_matrix",
]


def __dir__() -> list[str]:
    return __all__
