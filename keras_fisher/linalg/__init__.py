"""Batched symmetric positive semi-definite operators and eigensolvers over tensors.

This layer knows tensors only: neither Keras nor scikit-learn, neither classifiers nor attacks.
"""

from keras_fisher.linalg.dense import Dense
from keras_fisher.linalg.dense_operator import DenseOperator
from keras_fisher.linalg.eigenpairs import Eigenpairs
from keras_fisher.linalg.eigensolver import Eigensolver
from keras_fisher.linalg.fixed_golub_kahan import FixedGolubKahan
from keras_fisher.linalg.golub_kahan import GolubKahan
from keras_fisher.linalg.gram import Gram
from keras_fisher.linalg.lanczos import Lanczos
from keras_fisher.linalg.operator import FactoredOperator, SymmetricOperator
from keras_fisher.linalg.power_iteration import PowerIteration
from keras_fisher.linalg.staged import Staged

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
