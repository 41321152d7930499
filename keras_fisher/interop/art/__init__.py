"""Our attacks and detectors for the Adversarial Robustness Toolbox (ART), and its classifiers for us.

`as_art` makes an ART `EvasionAttack` of any attack of ours, `OSSA` is the one of the paper, and
`FisherEvasionDetector` is a detector of ours as an ART `EvasionDetector`. `from_art` makes a Classifier of an
ART classifier.
"""

from __future__ import annotations

from keras_fisher.interop.missing_library import missing_library

try:
    # The library, not this package.
    import art as _
    import art.attacks as _  # noqa: F401, F811
except ModuleNotFoundError as error:
    missing_library("adversarial-robustness-toolbox", "kf.interop.art", error)

from keras_fisher.interop.art.art_evasion_attack import ArtEvasionAttack
from keras_fisher.interop.art.as_art import as_art
from keras_fisher.interop.art.fisher_evasion_detector import FisherEvasionDetector
from keras_fisher.interop.art.from_art import from_art
from keras_fisher.interop.art.ossa import OSSA

__all__ = ["OSSA", "ArtEvasionAttack", "FisherEvasionDetector", "as_art", "from_art"]


def __dir__() -> list[str]:
    return __all__
