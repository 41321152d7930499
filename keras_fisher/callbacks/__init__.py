"""Keras callbacks: adversarial training in `model.fit`, and schedules for it."""

from keras_fisher.callbacks.ossa_callback import OSSACallback
from keras_fisher.callbacks.warmup import Warmup

__all__ = ["OSSACallback", "Warmup"]


def __dir__() -> list[str]:
    return __all__
