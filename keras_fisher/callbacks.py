"""Keras callbacks: adversarial training in `model.fit`, and schedules for it."""

from keras_fisher.training import OSSACallback, Warmup

__all__ = ["OSSACallback", "Warmup"]


def __dir__() -> list[str]:
    return __all__
