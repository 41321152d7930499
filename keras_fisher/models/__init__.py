"""Classifiers of the experiments: softmax-free nets of images in [0, 1]."""

from keras_fisher.models.lenet5 import lenet5
from keras_fisher.models.vgg import vgg

__all__ = ["lenet5", "vgg"]
