"""Likelihoods: what the output of a network means."""

from keras_fisher.fisher.likelihoods.bernoulli import Bernoulli
from keras_fisher.fisher.likelihoods.categorical import Categorical
from keras_fisher.fisher.likelihoods.gaussian import Gaussian
from keras_fisher.fisher.likelihoods.likelihood import Likelihood, OutputMetric
from keras_fisher.fisher.likelihoods.sampled_categorical import SampledCategorical
from keras_fisher.serialization import register

# The base too: likelihoods that are derived from it need only be registered.
register(Likelihood, Bernoulli, Categorical, Gaussian, SampledCategorical)

__all__ = ["Bernoulli", "Categorical", "Gaussian", "Likelihood", "OutputMetric", "SampledCategorical"]


def __dir__() -> list[str]:
    return __all__
