"""keras-fisher: how fragile is a Keras classifier at an image, in which directions, and has it been pushed?

The Fisher information matrix of the output with respect to the input answers all three. See README.md.
"""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING

from keras_fisher.lazy import lazy_names

if TYPE_CHECKING:
    from keras_fisher import (
        adaptive,
        artefacts,
        attacks,
        callbacks,
        datasets,
        detectors,
        interop,
        layers,
        likelihoods,
        losses,
        models,
        solvers,
        testing,
    )
    from keras_fisher.classifiers import Classifier, Network, ensemble
    from keras_fisher.detectors import FisherDetector, load_detector
    from keras_fisher.fisher import FisherOperator, Spectrum, fisher_spectrum

try:
    __version__ = metadata.version("keras-fisher")
except metadata.PackageNotFoundError:  # Run from a checkout that is not installed.
    __version__ = "0+unknown"

__all__ = [
    "Classifier",
    "FisherDetector",
    "FisherOperator",
    "Network",
    "Spectrum",
    "adaptive",
    "artefacts",
    "attacks",
    "callbacks",
    "datasets",
    "detectors",
    "ensemble",
    "fisher_spectrum",
    "interop",
    "layers",
    "likelihoods",
    "load_detector",
    "losses",
    "models",
    "solvers",
    "testing",
]

# The command line has help to show before TensorFlow is there.
__getattr__, __dir__ = lazy_names(
    __name__,
    __all__,
    {
        "Classifier": "keras_fisher.classifiers",
        "FisherDetector": "keras_fisher.detectors",
        "FisherOperator": "keras_fisher.fisher",
        "Network": "keras_fisher.classifiers",
        "Spectrum": "keras_fisher.fisher",
        "ensemble": "keras_fisher.classifiers",
        "fisher_spectrum": "keras_fisher.fisher",
        "load_detector": "keras_fisher.detectors",
    },
)
