"""Losses: penalties on the Fisher information of a classifier in its input."""

from keras_fisher.losses.fisher_regularizer import FisherRegularizer

__all__ = ["FisherRegularizer"]


def __dir__() -> list[str]:
    return __all__
