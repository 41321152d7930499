"""Classifiers of the experiments: softmax-free nets of images in [0, 1]."""

from keras_fisher.models.keras_applications import from_keras_applications
from keras_fisher.models.lenet5 import lenet5
from keras_fisher.models.resnet152 import resnet152
from keras_fisher.models.vgg import vgg

__all__ = ["from_keras_applications", "lenet5", "resnet152", "vgg"]


def __dir__() -> list[str]:
    return __all__
