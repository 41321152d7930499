"""Keras layers: adversarial training, Fisher eigenvalues, and heads of detectors as plain TensorFlow ops."""

from keras_fisher.layers.fisher_eigenvalues import FisherEigenvalues
from keras_fisher.layers.gaussian_naive_bayes import GaussianNaiveBayes
from keras_fisher.layers.logistic_probability import LogisticProbability
from keras_fisher.layers.ossa_layer import OSSALayer
from keras_fisher.layers.probability_layer import ProbabilityLayer
from keras_fisher.layers.tree_ensemble import TreeEnsemble
from keras_fisher.layers.ydf_ensemble import YdfEnsemble

__all__ = [
    "FisherEigenvalues",
    "GaussianNaiveBayes",
    "LogisticProbability",
    "OSSALayer",
    "ProbabilityLayer",
    "TreeEnsemble",
    "YdfEnsemble",
]


def __dir__() -> list[str]:
    return __all__
