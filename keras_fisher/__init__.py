"""keras-fisher: how fragile is a Keras classifier at an image, in which directions, and has it been pushed?

The Fisher information matrix of the output with respect to the input answers all three. See README.md.
"""

from importlib import metadata

from keras_fisher import attacks, datasets, detectors, models
from keras_fisher.classifiers import Classifier
from keras_fisher.detectors import FisherDetector, load_detector
from keras_fisher.fisher import Spectrum, fisher_spectrum, likelihoods, solvers

try:
    __version__ = metadata.version("keras-fisher")
except metadata.PackageNotFoundError:  # Run from a checkout that is not installed.
    __version__ = "0+unknown"

__all__ = [
    "Classifier",
    "FisherDetector",
    "Spectrum",
    "attacks",
    "datasets",
    "detectors",
    "fisher_spectrum",
    "likelihoods",
    "load_detector",
    "models",
    "solvers",
]
