"""Keras layers: adversarial training, Fisher eigenvalues, and heads of detectors as plain TensorFlow ops."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from keras_fisher.layers.fisher_eigenvalues import FisherEigenvalues
from keras_fisher.layers.gaussian_naive_bayes import GaussianNaiveBayes
from keras_fisher.layers.logistic_probability import LogisticProbability
from keras_fisher.layers.probability_layer import ProbabilityLayer
from keras_fisher.layers.tree_ensemble import TreeEnsemble
from keras_fisher.layers.ydf_ensemble import YdfEnsemble

if TYPE_CHECKING:
    from keras_fisher.training import OSSALayer

__all__ = [
    "FisherEigenvalues",
    "GaussianNaiveBayes",
    "LogisticProbability",
    "OSSALayer",
    "ProbabilityLayer",
    "TreeEnsemble",
    "YdfEnsemble",
]


def __getattr__(name: str) -> Any:
    # It stands above attacks, which the layers beside it know nothing of.
    if name == "OSSALayer":
        return importlib.import_module("keras_fisher.training").OSSALayer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
