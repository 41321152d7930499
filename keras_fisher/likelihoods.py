"""Likelihoods: what the output of a network means, for `likelihood=` of `fisher_spectrum`."""

from keras_fisher.fisher.likelihoods import (
    Bernoulli,
    Categorical,
    Gaussian,
    Likelihood,
    OutputMetric,
    SampledCategorical,
)

__all__ = ["Bernoulli", "Categorical", "Gaussian", "Likelihood", "OutputMetric", "SampledCategorical"]


def __dir__() -> list[str]:
    return __all__
