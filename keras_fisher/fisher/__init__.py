"""The Fisher information of a classifier's output in its input."""

from keras_fisher.fisher import likelihoods, solvers
from keras_fisher.fisher.alias_table import AliasTable
from keras_fisher.fisher.fisher_operator import Estimate, FisherOperator
from keras_fisher.fisher.fisher_spectrum import fisher_spectrum
from keras_fisher.fisher.pullback_operator import PullbackOperator
from keras_fisher.fisher.spectrum import Spectrum

__all__ = [
    "AliasTable",
    "Estimate",
    "FisherOperator",
    "PullbackOperator",
    "Spectrum",
    "fisher_spectrum",
    "likelihoods",
    "solvers",
]


def __dir__() -> list[str]:
    return __all__
