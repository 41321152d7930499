"""Images and labels: real data sets through TensorFlow Datasets, folders, and a packaged sample of MNIST."""

from keras_fisher.datasets.load import load
from keras_fisher.datasets.photos import Photo, central_square, photos
from keras_fisher.datasets.sample import mnist_sample, mnist_sample_positions

__all__ = ["Photo", "central_square", "load", "mnist_sample", "mnist_sample_positions", "photos"]


def __dir__() -> list[str]:
    return __all__
