"""Penalties for training, beside a loss."""

from keras_fisher.training import FisherRegularizer

__all__ = ["FisherRegularizer"]


def __dir__() -> list[str]:
    return __all__
