"""Images and labels: real data sets through TensorFlow Datasets, and a packaged sample of MNIST."""

from keras_fisher.datasets.load import load
from keras_fisher.datasets.sample import mnist_sample, mnist_sample_positions

__all__ = ["load", "mnist_sample", "mnist_sample_positions"]
