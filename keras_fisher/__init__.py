"""keras-fisher: how fragile is a Keras classifier at an image, in which directions, and has it been pushed?

The Fisher information matrix of the output with respect to the input answers all three. See README.md.
"""

from __future__ import annotations

import importlib
from importlib import metadata
from typing import TYPE_CHECKING, Any

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
        losses,
        models,
        testing,
    )
    from keras_fisher.classifiers import Classifier, ensemble
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

# A name is imported when it is asked for: TensorFlow takes seconds, and the command line has help to show.
_HOMES = {
    "Classifier": "keras_fisher.classifiers",
    "FisherDetector": "keras_fisher.detectors",
    "Spectrum": "keras_fisher.fisher",
    "ensemble": "keras_fisher.classifiers",
    "fisher_spectrum": "keras_fisher.fisher",
    "likelihoods": "keras_fisher.fisher",
    "load_detector": "keras_fisher.detectors",
    "solvers": "keras_fisher.fisher",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    else:
        value = importlib.import_module(f"{__name__}.{name}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
