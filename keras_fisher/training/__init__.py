"""Adversarial training: public as `kf.layers.OSSALayer`, `kf.callbacks` and `kf.losses`."""

from keras_fisher.serialization import register
from keras_fisher.training.fisher_regularizer import FisherRegularizer
from keras_fisher.training.ossa_callback import OSSACallback
from keras_fisher.training.ossa_layer import OSSALayer
from keras_fisher.training.schedules import Warmup

register(FisherRegularizer, Warmup)

__all__ = ["FisherRegularizer", "OSSACallback", "OSSALayer", "Warmup"]


def __dir__() -> list[str]:
    return __all__
