"""Batched symmetric positive semi-definite operators and eigensolvers over tensors.

This layer knows tensors only: neither Keras nor scikit-learn, neither classifiers nor attacks.
"""

from keras_fisher.linalg.direct import Dense, Gram
from keras_fisher.linalg.eigensolver import Eigenpairs, Eigensolver, Staged
from keras_fisher.linalg.golub_kahan import FixedGolubKahan, GolubKahan
from keras_fisher.linalg.lanczos import Lanczos
from keras_fisher.linalg.operators import DenseOperator, FactoredOperator, SymmetricOperator
from keras_fisher.linalg.power_iteration import PowerIteration

__all__ = [
    "Dense",
    "DenseOperator",
    "Eigenpairs",
    "Eigensolver",
    "FactoredOperator",
    "FixedGolubKahan",
    "GolubKahan",
    "Gram",
    "Lanczos",
    "PowerIteration",
    "Staged",
    "SymmetricOperator",
]


def __dir__() -> list[str]:
    return __all__
