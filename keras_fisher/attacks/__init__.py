"""Attacks: perturbations of images, measured in l2, that make a classifier err."""

from keras_fisher.attacks.attack import Attack
from keras_fisher.attacks.attack_result import AttackResult
from keras_fisher.attacks.fgm import FGM
from keras_fisher.attacks.least_perturbation import LeastPerturbation, least_perturbation
from keras_fisher.attacks.ossa import OSSA
from keras_fisher.attacks.random_noise import RandomNoise

__all__ = ["FGM", "OSSA", "Attack", "AttackResult", "LeastPerturbation", "RandomNoise", "least_perturbation"]
